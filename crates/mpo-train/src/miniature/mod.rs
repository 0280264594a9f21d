//! The paper in miniature: a tiny model and harmless rows that the program carries, measured, aligned, measured again.

mod base;
mod corpus;
mod measure;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mpo_data::Language;
use mpo_models::SaveOptions;
use mpo_trainer::{
    MpoTask, Reference, ReferenceCache, RunFolder, TrainError, TrainOptions, Trainer,
    write_atomically,
};
use serde::Serialize;

pub(crate) use base::build;
use corpus::Corpus;
use measure::Measured;

use crate::cli::MiniatureOptions;
use crate::failure::Failure;
use crate::model_folder::ModelFolder;
use crate::output;
use crate::progress::TrainProgress;
use crate::results::store;
use crate::session::Session;
use crate::table;

/// Rows of each target language that MPO trains on.
const ROWS_PER_LANGUAGE: usize = 256;
/// What the configuration says of the data.
const DATA: &str = "miniature";
/// Longest sequence, in tokens: more than any text of the corpus takes.
const MAX_TOKENS: usize = 256;

/// `results.json`.
#[derive(Debug, Serialize)]
struct Results {
    dominant: Language,
    /// By ISO code.
    languages: BTreeMap<Language, LanguageResults>,
}

/// What training changed for one language, on held-out prompts.
#[derive(Debug, Serialize)]
struct LanguageResults {
    /// Mean log p(refusal) − mean log p(compliance) on unsafe prompts, nats a token.
    reward_gap: Change,
    /// Unsafe prompts refused, a fraction.
    refusal_rate: Change,
    /// Benign prompts answered, a fraction.
    benign_answer_rate: Change,
}

#[derive(Debug, Serialize)]
struct Change {
    before: f64,
    after: f64,
}

/// Runs it and shows the table.
pub(crate) fn run(options: &MiniatureOptions, session: &Session) -> Result<(), Failure> {
    let output = options
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs/miniature"));
    let corpus = Corpus::embedded();
    refuse_to_replace_another_run(&output)?;
    let run = RunFolder::replace(&output)?;
    let base = output.join("base");
    base::unpack(&base)?;
    let folder = ModelFolder::open(&path_text(&base)?, &Default::default(), session)?;
    let model = folder.load(&session.device.clone().autodiff(), session)?;
    let pairs = corpus.preferences(ROWS_PER_LANGUAGE);
    let rows = folder.tokenize_bilingual(&pairs, MAX_TOKENS, session)?.rows;
    let config = TrainOptions {
        model: Some(path_text(&base)?),
        data: Some(DATA.into()),
        output: Some(output.clone()),
        device: Some(options.device),
        max_tokens: Some(MAX_TOKENS),
        // A model a thousand times smaller than the paper's learns at a few hundred times its rate.
        lr: Some(2e-4),
        batch_size: Some(16),
        epochs: Some(4),
        micro_batch_tokens: Some(4096),
        ..TrainOptions::default()
    }
    .resolve()?;
    write_atomically(&run.config_file(), config.to_yaml()?.as_bytes())?;
    session.note(format_args!(
        "{} rows in {} target languages; run folder {}",
        rows.len(),
        rows.len() / ROWS_PER_LANGUAGE,
        output.display()
    ));

    let before = Measured::new(&model, &folder, &corpus, "measuring before", session)?;
    let options_of_loss = config.mpo_options(folder.pad_token());
    let hash = folder.content_hash(session)?;
    let (retain, padding) = (options_of_loss.retain, options_of_loss.padding);
    let bar = session.bar("reference", rows.len());
    let reference = Reference::compute(&model, &rows, retain, padding, 4096, |done, _| {
        bar.set_position(done as u64);
        !session.stopped()
    })?;
    drop(bar);
    ReferenceCache::new(run.reference_file(), &hash, &rows, retain, padding).store(&reference)?;
    let trainer = Trainer {
        task: &MpoTask::new(rows, reference, options_of_loss),
        config: &config,
        run: &run,
        model_config: &folder.config,
        model_hash: &hash,
    };
    let outcome = trainer.run(model, &mut TrainProgress::new(session))?;
    let saving = SaveOptions {
        dtype: mpo_models::WeightDtype::F32,
        copy_from: Some(&base),
        overwrite: true,
        ..SaveOptions::default()
    };
    outcome
        .model
        .save(&run.model_dir(), &folder.config, &saving)?;
    let after = Measured::new(&outcome.model, &folder, &corpus, "measuring after", session)?;

    let results = Results {
        dominant: corpus.dominant(),
        languages: before
            .0
            .iter()
            .zip(&after.0)
            .map(|(before, after)| (before.language, LanguageResults::new(before, after)))
            .collect(),
    };
    store(&run.results_file(), &results)?;
    match options.json {
        true => output::json(&results),
        false => output::line(results.table()),
    }
}

impl LanguageResults {
    fn new(before: &measure::Language, after: &measure::Language) -> Self {
        let change = |of: fn(&measure::Language) -> f64| Change {
            before: of(before),
            after: of(after),
        };
        Self {
            reward_gap: change(|measured| measured.reward_gap),
            refusal_rate: change(|measured| measured.refusal_rate),
            benign_answer_rate: change(|measured| measured.benign_answer_rate),
        }
    }
}

impl Results {
    fn table(&self) -> String {
        let header = [
            "language",
            "reward gap",
            "after MPO",
            "refused",
            "after MPO",
            "benign answered",
            "after MPO",
        ];
        let percent = |rate: f64| format!("{:.0} %", 100.0 * rate);
        let mut languages: Vec<_> = self.languages.iter().collect();
        languages.sort_by_key(|(language, _)| **language != self.dominant);
        let rows = languages.into_iter().map(|(language, of)| {
            let dominant = if *language == self.dominant {
                " (dominant)"
            } else {
                ""
            };
            [
                format!("{}{dominant}", language.name()),
                format!("{:.2}", of.reward_gap.before),
                format!("{:.2}", of.reward_gap.after),
                percent(of.refusal_rate.before),
                percent(of.refusal_rate.after),
                percent(of.benign_answer_rate.before),
                percent(of.benign_answer_rate.after),
            ]
        });
        table::render(header, rows, 1)
    }
}

/// An earlier miniature makes way; somebody's training does not.
fn refuse_to_replace_another_run(output: &Path) -> Result<(), Failure> {
    let config = output.join("config.yaml");
    if config.exists() && TrainOptions::from_file(&config)?.data != Some(DATA.into()) {
        return Err(TrainError::RunExists {
            path: output.to_owned(),
        }
        .into());
    }
    Ok(())
}

fn path_text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::new(
            format!("{}: expected a path in Unicode", path.display()),
            "name another --output",
        )
    })
}
