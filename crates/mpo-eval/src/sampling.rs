//! Answers of a model while it trains, always to the same few prompts.

use std::collections::HashMap;
use std::path::Path;

use mpo_chat::{Answering, ChatError, ModelFolder};
use mpo_data::{AnswerLanguage, Detector, Language, LanguagePair, Message};
use mpo_models::{CausalLm, GenerateOptions, SamplingError};
use mpo_progress::Progress;
use mpo_trainer::{SampledAnswer, Sampler, TrainError};

use crate::error::EvalError;
use crate::prompts::Prompt;
use crate::refusal::is_refusal;
use crate::room::{longest_refusal, note_short};

/// Tokens of an answer, if a usual refusal takes no more: a loop has come round.
const NEW_TOKENS: usize = 48;

/// Prompts answered at once: their keys and values stand beside what training holds.
const LANES: usize = 8;

/// A model and a few prompts.
pub struct Sampling<'a> {
    folder: &'a ModelFolder,
    prompts: Vec<Prompt>,
    /// What the user says in each prompt.
    texts: Vec<String>,
    max_new_tokens: usize,
    detector: Detector,
}

/// Which prompts are answered, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Sampled<'a> {
    /// Prompts of each language and kind at most.
    pub count: usize,
    /// A file of benign prompts.
    pub benign: Option<&'a Path>,
    /// The longest prompt, in tokens.
    pub max_tokens: usize,
    /// The longest answer, in tokens; none for one that a usual refusal in each of the languages fits into.
    pub max_new_tokens: Option<usize>,
}

impl<'a> Sampling<'a> {
    /// Of each language and kind, unsafe or benign, the first prompts of `rows` and of the file of benign ones that differ and are
    /// short enough. `progress` is told if there are none, and where answers have no room for a refusal.
    ///
    /// # Errors
    /// If the file cannot be read, or has a line that is no prompt.
    pub fn new(
        folder: &'a ModelFolder,
        rows: &[LanguagePair],
        asked: Sampled<'_>,
        progress: &dyn Progress,
    ) -> Result<Self, EvalError> {
        let Sampled { count, benign, max_tokens, max_new_tokens } = asked;
        let benign = benign.map(|path| Prompt::benign(path, folder)).transpose()?;
        let mut prompts: Vec<Prompt> = vec![];
        let mut taken: HashMap<(Language, bool), usize> = HashMap::new();
        for prompt in rows.iter().map(Prompt::of_row).chain(benign.unwrap_or_default()) {
            let taken = taken.entry((prompt.language, prompt.is_unsafe)).or_default();
            // What is held of it beside training must fit where a row does.
            let fits = prompt.ids.len() <= max_tokens && folder.is_in_reach(prompt.ids.len());
            let is_new = fits && !prompts.iter().any(|other| other.ids == prompt.ids);
            if *taken < count && is_new {
                *taken += 1;
                prompts.push(prompt);
            }
        }
        if prompts.is_empty() {
            progress.note(&format_args!(
                "no answers are sampled while it trains: no row measured is a pair whose prompt has at most {max_tokens} tokens"
            ));
        }
        let languages = || prompts.iter().map(|prompt| prompt.language);
        let max_new_tokens = match max_new_tokens {
            Some(given) => {
                let refuses = |language, answer: &str| Ok(is_refusal(answer, Some(language)));
                note_short(folder, languages(), given, refuses, progress)?;
                given
            }
            None => longest_refusal(folder, languages())?.max(NEW_TOKENS),
        };
        let (before, after) = frame(folder)?;
        let text = |prompt: &Prompt| -> Result<String, EvalError> {
            let whole = folder.tokenizer.decode(&prompt.ids)?;
            let said = whole.strip_prefix(&*before).and_then(|rest| rest.strip_suffix(&*after));
            Ok(said.unwrap_or(&whole).to_owned())
        };
        let texts = prompts.iter().map(text).collect::<Result<_, _>>()?;
        Ok(Self { folder, texts, prompts, max_new_tokens, detector: Detector::new(None)? })
    }
}

/// What the chat template writes before and after the words of a user who says nothing else.
fn frame(folder: &ModelFolder) -> Result<(String, String), EvalError> {
    const WORDS: &str = "How are you?";
    let text = folder.tokenizer.decode(&folder.encode_prompt(&[Message::user(WORDS)])?)?;
    let frame = text.split_once(WORDS);
    Ok(frame.map(|(before, after)| (before.to_owned(), after.to_owned())).unwrap_or_default())
}

impl Sampler for Sampling<'_> {
    fn sample(&self, model: &CausalLm, progress: &dyn Progress) -> Result<Vec<SampledAnswer>, TrainError> {
        let options = GenerateOptions { batch_size: LANES, ..self.folder.generate_options(self.max_new_tokens) };
        let prompts: Vec<Vec<u32>> = self.prompts.iter().map(|prompt| prompt.ids.clone()).collect();
        let answering = Answering { folder: self.folder, model, options, progress };
        let answers = answering.all(&prompts, "sampling answers").map_err(|error| match error {
            ChatError::Stopped => TrainError::Interrupted,
            ChatError::Sampling(SamplingError::NotFinite { prompt, got }) => TrainError::NotFinite {
                what: "every logit",
                value: f64::from(got),
                row: format!("the answer to prompt {} of those sampled", prompt + 1),
            },
            ChatError::Data(error) => error.into(),
            ChatError::Model(error) => error.into(),
            error => TrainError::Sampling(error.into()),
        })?;
        let asked = self.prompts.iter().zip(&self.texts);
        let sampled = asked.zip(answers).map(|((prompt, text), answer)| SampledAnswer {
            language: prompt.language,
            is_unsafe: prompt.is_unsafe,
            prompt: text.clone(),
            refused: is_refusal(&answer.text, Some(prompt.language)),
            answer_language: AnswerLanguage::of(&self.detector, prompt.language, text, &answer.text),
            answer: answer.text,
            complete: answer.complete,
        });
        Ok(sampled.collect())
    }
}
