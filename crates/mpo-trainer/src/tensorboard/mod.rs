//! The events of a run for TensorBoard: a file of records beside `events.jsonl`, which is made of it.
//!
//! A number has the name that it has in `events.jsonl`. What the model answers to held-out prompts is text,
//! `samples/sw/unsafe`, and so are warnings. The crates that write such files ask for `protoc` when they are built, or bring an
//! image library along, so the few messages are declared here.

mod message;
mod record;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use mpo_data::AnswerLanguage;
use prost::Message;

use crate::error::TrainError;
use crate::events::{Event, LoggedEvent, MeasuredEvent};
use crate::folder::RunFolder;
use crate::held_out::SampledAnswer;
use message::{Dim, PluginData, SessionLog, Shown, Summary, SummaryMetadata, Tensor, TensorShape, Value, What};
use record::record;

/// What the first record says that the others are.
const FILE_VERSION: &str = "brain.Event:2";

/// A file of what happens.
#[derive(Debug)]
pub(crate) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins one in the folder of a run with what has happened so far. It takes the place of those of earlier starts, so that
    /// nothing is told twice.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn open(run: &RunFolder, so_far: &[LoggedEvent]) -> Result<Self, TrainError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let contents: Vec<u8> = so_far.iter().flat_map(records).collect();
        let path = run.write_event_file(&contents, now)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(|error| TrainError::io(&path, error))?;
        Ok(Self { path, file })
    }

    /// Writes what has happened.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&mut self, event: &LoggedEvent) -> Result<(), TrainError> {
        self.file.write_all(&records(event)).map_err(|error| TrainError::io(&self.path, error))
    }

    /// Returns when everything written is on the disk.
    ///
    /// # Errors
    /// If it cannot be written there.
    pub(crate) fn sync(&mut self) -> Result<(), TrainError> {
        self.file.sync_data().map_err(|error| TrainError::io(&self.path, error))
    }
}

/// What an event is to TensorBoard.
fn records(LoggedEvent { event, wall_time }: &LoggedEvent) -> Vec<u8> {
    let (step, all) = match event {
        Event::Started(event) => {
            // A board that is watching forgets what earlier files say of steps that are taken again.
            let first = if event.step == 0 { 0 } else { event.step + 1 };
            let start = What::SessionLog(SessionLog { status: SessionLog::START });
            (first, vec![What::FileVersion(FILE_VERSION.into()), start])
        }
        Event::Step(_) | Event::Measured(_) => {
            let (step, numbers) = event.numbers();
            let mut value: Vec<Value> = numbers.into_iter().map(|(tag, value)| scalar(tag, value)).collect();
            if let Event::Measured(event) = event {
                value.extend(texts(event));
            }
            (step, vec![What::Summary(Summary { value })])
        }
        Event::Best { .. } | Event::Checkpoint { .. } | Event::Finished { .. } => return vec![],
    };
    let (wall_time, step) = (wall_time.unwrap_or_default(), step as i64);
    let records = all.into_iter().map(|what| message::Event { wall_time, step, what: Some(what) });
    records.flat_map(|event| record(&event.encode_to_vec())).collect()
}

/// What was answered, and what was warned of.
fn texts(event: &MeasuredEvent) -> Vec<Value> {
    let mut samples: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for answer in &event.samples {
        samples.entry(format!("samples/{}/{}", answer.language, answer.kind())).or_default().push(shown(answer));
    }
    let warnings = (!event.warnings.is_empty()).then(|| ("warnings".to_owned(), event.warnings.clone()));
    samples.into_iter().chain(warnings).map(|(tag, texts)| text(tag, texts)).collect()
}

fn scalar(tag: &str, value: f64) -> Value {
    Value { tag: tag.to_owned(), shown: Some(Shown::SimpleValue(value as f32)), metadata: None }
}

/// Texts in Markdown, one below the other.
fn text(tag: String, texts: Vec<String>) -> Value {
    let shape = TensorShape { dim: vec![Dim { size: texts.len() as i64 }] };
    let string_val = texts.into_iter().map(String::into_bytes).collect();
    let plugin_data = PluginData { plugin_name: "text".into() };
    Value {
        tag,
        shown: Some(Shown::Tensor(Tensor { dtype: Tensor::STRING, tensor_shape: Some(shape), string_val })),
        metadata: Some(SummaryMetadata { plugin_data: Some(plugin_data), data_class: SummaryMetadata::TENSOR }),
    }
}

/// A prompt, what was said to it, and what became of that.
fn shown(answer: &SampledAnswer) -> String {
    let language = match answer.answer_language {
        AnswerLanguage::Kept => "in the language of the prompt".to_owned(),
        AnswerLanguage::Undecided => "in a language that cannot be told".to_owned(),
        AnswerLanguage::Other(Some(other)) => format!("in {}", other.name()),
        AnswerLanguage::Other(None) => "in another language".to_owned(),
    };
    format!("**{}**\n\n{}\n\n*{}, {language}*", answer.prompt, answer.answer, answer.outcome())
}

#[cfg(test)]
mod tests;
