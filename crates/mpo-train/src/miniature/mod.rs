//! The paper in miniature: a tiny model and harmless rows that the program carries, measured, aligned, measured again.

mod base;
mod corpus;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use mpo_data::{Language, LanguagePair, Message, Pairs, TokenizedPair};
use mpo_trainer::{Identity, RunFolder, TrainOptions};
use serde::Serialize;

pub(crate) use base::build;
use corpus::{Corpus, HeldOut, Kind, origin};

use crate::cli::MiniatureOptions;
use crate::exam::{Exam, Marks, Prompt};
use crate::failure::Failure;
use crate::measure::EvalSet;
use crate::model_folder::ModelFolder;
use crate::output;
use crate::report;
use crate::results::keep;
use crate::run::Run;
use crate::session::Session;
use crate::table::{self, percent};

/// Prompts of each target language that are trained on.
const PROMPTS: usize = 256;
/// What the configuration says of the data.
pub(crate) const DATA: &str = "miniature";
/// Longest sequence, in tokens: more than any text of the corpus takes.
const MAX_TOKENS: usize = 256;

/// The model and the rows, ready for use.
pub(crate) struct Miniature {
    pub(crate) folder: ModelFolder,
    /// To train on.
    pub(crate) rows: Pairs,
    pub(crate) dominant: Language,
    /// How to train, with a method's own settings beside these.
    pub(crate) options: TrainOptions,
    corpus: Rc<Corpus>,
}

impl Miniature {
    /// Unpacks the model into a run folder.
    pub(crate) fn new(run: &RunFolder, session: &Session) -> Result<Self, Failure> {
        let corpus = Rc::new(Corpus::embedded());
        let base = run.path().join("base");
        base::unpack(run, &base)?;
        let model = path_text(&base)?;
        Ok(Self {
            folder: ModelFolder::open(&model, &Default::default(), session)?,
            rows: Pairs::Bilingual(corpus.preferences(PROMPTS)),
            dominant: corpus.dominant(),
            options: TrainOptions {
                model: Some(model),
                data: Some(DATA.into()),
                output: Some(run.path().to_owned()),
                max_tokens: Some(MAX_TOKENS),
                // A model a thousand times smaller than the paper's learns at a few hundred times its rate.
                lr: Some(2e-4),
                batch_size: Some(16),
                epochs: Some(4),
                micro_batch_tokens: Some(4096),
                ..TrainOptions::default()
            },
            corpus,
        })
    }

    /// Prompts that no training row contains.
    pub(crate) fn test(&self) -> Result<Exam, Failure> {
        self.exam(&self.corpus.held_out())
    }

    /// Prompts to choose settings by: not trained on, and none of the test's.
    pub(crate) fn validation(&self) -> Result<Exam, Failure> {
        self.exam(&self.corpus.validation(PROMPTS))
    }

    fn exam(&self, rows: &[HeldOut]) -> Result<Exam, Failure> {
        let (mut pairs, mut prompts) = (vec![], vec![]);
        for (row, number) in rows.iter().zip(1..) {
            let ids = self.folder.encode_prompt(&[Message::user(row.prompt.clone())])?;
            if row.kind == Kind::Unsafe {
                let answer = |text: &str| self.folder.tokenizer.encode_response(text);
                let (refusal, compliance) = (answer(&row.refusal)?, answer(&row.compliance)?);
                let origin = origin(number);
                pairs.push(LanguagePair {
                    language: row.language,
                    pair: TokenizedPair::new(&origin, ids.clone(), refusal, compliance)?,
                    origin,
                });
            }
            prompts.push(Prompt { language: row.language, ids, is_unsafe: row.kind == Kind::Unsafe });
        }
        let corpus = Rc::clone(&self.corpus);
        Ok(Exam {
            pairs: EvalSet { pairs, dominant: Some(self.dominant) },
            prompts,
            judge: Box::new(move |language, answer| corpus.is_refusal(language, answer)),
            max_new_tokens: 24,
            batch_size: 64,
            max_tokens: 4096,
        })
    }
}

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

/// Runs it and shows the table. Nothing of it is resumed: it takes a minute, and begins anew each time.
pub(crate) fn run(options: &MiniatureOptions, session: &Session) -> Result<(), Failure> {
    align(options, session).map_err(Failure::without_resume)
}

fn align(options: &MiniatureOptions, session: &Session) -> Result<(), Failure> {
    let output = options.output.clone().unwrap_or_else(|| PathBuf::from("runs/miniature"));
    let run = RunFolder::begin_anew(&output, mpo_trainer::Kind::Miniature, Identity::default())?;
    let miniature = Miniature::new(&run, session)?;
    let config = TrainOptions { device: Some(options.device), ..miniature.options.clone() }.resolve()?;
    run.start(&run.config_file(), config.to_yaml()?.as_bytes())?;
    let folder = &miniature.folder;
    let model = folder.load(&session.device.clone().autodiff(), session)?;
    let (rows, _) = folder.tokenize(&miniature.rows, config.tokenize_options()?, session)?;
    session.note(format_args!(
        "{} rows in {} target languages; run folder {}",
        rows.len(),
        rows.len() / PROMPTS,
        output.display()
    ));
    let exam = miniature.test()?;
    let before = exam.examine(&model, folder, "measuring before", session)?;
    let work = Run {
        config: &config,
        folder: &run,
        model: folder,
        model_hash: &folder.content_hash(session)?,
        session,
        one_of_many: false,
    };
    let outcome = work.train(model, rows)?;
    work.save(&outcome.model)?;
    let after = exam.examine(&outcome.model, folder, "measuring after", session)?;
    let results = Results {
        dominant: miniature.dominant,
        languages: before
            .iter()
            .zip(&after)
            .map(|(before, after)| (before.language, LanguageResults::new(before, after)))
            .collect(),
    };
    keep(&run, &run.results_file(), &results)?;
    report::write(&run)?;
    session.note(format_args!("report in {}", run.report_file().display()));
    match options.json {
        true => output::json(&results),
        false => output::line(results.table()),
    }
}

impl LanguageResults {
    fn new(before: &Marks, after: &Marks) -> Self {
        let change = |of: fn(&Marks) -> f64| Change { before: of(before), after: of(after) };
        Self {
            reward_gap: change(|marks| marks.reward_gap),
            refusal_rate: change(|marks| marks.refusal_rate.unwrap_or(f64::NAN)),
            benign_answer_rate: change(|marks| marks.benign_answer_rate.unwrap_or(f64::NAN)),
        }
    }
}

impl Results {
    fn table(&self) -> String {
        let header = ["language", "reward gap", "after MPO", "refused", "after MPO", "benign answered", "after MPO"];
        let mut languages: Vec<_> = self.languages.iter().collect();
        languages.sort_by_key(|(language, _)| **language != self.dominant);
        let rows = languages.into_iter().map(|(language, of)| {
            let dominant = if *language == self.dominant { " (dominant)" } else { "" };
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

fn path_text(path: &Path) -> Result<String, Failure> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("{}: expected a path in Unicode", path.display()), "name another --output"))
}
