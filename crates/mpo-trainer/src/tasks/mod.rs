//! What is trained: one file for each kind of rows that losses are computed from. The trainer knows none of them.

mod bilingual;
mod demonstrations;
mod pairs;
mod unpaired;

use std::fmt::{self, Debug};

use burn::tensor::Tensor;
use mpo_data::{LabelledAnswer, LanguagePair, TokenizedPair, TokenizedRow};
use mpo_models::{Batch, Outputs};
use mpo_objectives::{Loss, Objective};

use crate::batches::Batches;
use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::events::RowValues;
use crate::reference::{Reference, digest};
use crate::step::LOSS;
use bilingual::BilingualTask;
use demonstrations::DemonstrationTask;
use pairs::PairTask;
use unpaired::UnpairedTask;

/// The loss of some rows, and what it is made of.
#[derive(Debug)]
pub struct MicroBatch {
    /// One loss for each row, `[rows]`, differentiable.
    pub losses: Tensor<1>,
    /// Named columns of `[rows]`, for the log.
    pub columns: Vec<(&'static str, Tensor<1>)>,
}

impl MicroBatch {
    /// The same without what the backward needs, whose memory is freed.
    pub(crate) fn detached(self) -> Self {
        let columns = self.columns.into_iter();
        Self {
            losses: self.losses.without_autodiff(),
            columns: columns.map(|(name, column)| (name, column.without_autodiff())).collect(),
        }
    }

    /// The losses and what they are made of, by name.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&'static str, Tensor<1>)> {
        let losses = (LOSS, self.losses.clone());
        std::iter::once(losses).chain(self.columns.iter().cloned())
    }
}

/// What passes through a model, and what is made of its outputs.
pub struct Work<'t, T> {
    /// What passes through.
    pub batch: Batch,
    /// What is made of it.
    pub then: Box<dyn FnOnce(&Outputs) -> T + 't>,
}

impl<'t, T> Work<'t, T> {
    pub(crate) fn new(batch: Batch, then: impl FnOnce(&Outputs) -> T + 't) -> Self {
        Self { batch, then: Box::new(then) }
    }
}

impl<T> Debug for Work<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("batch", &self.batch).finish_non_exhaustive()
    }
}

/// A number that the losses of a whole batch share, computed before them and without gradients.
pub struct Shared<'t> {
    /// Its name in the log.
    pub name: &'static str,
    /// What it is computed from; each part passes through the model at once.
    pub work: Vec<Work<'t, Tensor<1>>>,
    /// The number, given those of all parts.
    pub of: Reduction<'t>,
}

/// Makes one number of many.
pub type Reduction<'t> = Box<dyn FnOnce(&[f64]) -> f64 + 't>;

impl Debug for Shared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).field("work", &self.work).finish_non_exhaustive()
    }
}

/// Rows to train on and their loss. A task says what passes through the model; it never calls it.
pub trait Task: Debug {
    /// How many rows there are.
    fn rows(&self) -> usize;

    /// Rows that a batch needs at least.
    fn min_batch(&self) -> usize {
        1
    }

    /// Tokens that pass through the model for a row: what a micro-batch is filled by.
    fn tokens(&self, row: usize) -> usize;

    /// What the losses of these rows share; most tasks have nothing.
    fn shared(&self, _rows: &[usize]) -> Option<Shared<'_>> {
        None
    }

    /// Losses of these rows, computed in one pass, given what they share.
    fn losses<'t>(&'t self, rows: &'t [usize], shared: Option<f64>) -> Work<'t, MicroBatch>;

    /// Where a row came from and which language it counts for.
    fn describe(&self, row: usize) -> RowValues;

    /// Identifies the rows and everything about them that enters the loss, so that a run is not resumed on others.
    fn fingerprint(&self) -> String;
}

/// Rows as the data has them.
#[derive(Debug, Clone)]
pub enum TrainingRows {
    /// Pairs in the dominant and in a target language.
    Bilingual(Vec<TokenizedRow>),
    /// Pairs in one language.
    Monolingual(Vec<LanguagePair>),
    /// Single answers.
    Unpaired(Vec<LabelledAnswer>),
}

impl TrainingRows {
    /// Rows of the data.
    pub fn len(&self) -> usize {
        match self {
            Self::Bilingual(rows) => rows.len(),
            Self::Monolingual(rows) => rows.len(),
            Self::Unpaired(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every list of token ids in them.
    pub fn token_ids(&self) -> Box<dyn Iterator<Item = &[u32]> + '_> {
        match self {
            Self::Bilingual(rows) => Box::new(rows.iter().flat_map(|row| [&row.dominant, &row.target]).flat_map(parts)),
            Self::Monolingual(rows) => Box::new(rows.iter().flat_map(move |row| parts(&row.pair))),
            Self::Unpaired(rows) => Box::new(rows.iter().flat_map(|row| [&row.prompt[..], &row.answer])),
        }
    }

    /// How many tokens each sequence has, a prompt with one of its answers.
    pub fn sequence_lengths(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        fn both(pair: &TokenizedPair) -> [usize; 2] {
            [pair.chosen(), pair.rejected()].map(|answer| pair.prompt().len() + answer.len())
        }
        match self {
            Self::Bilingual(rows) => Box::new(rows.iter().flat_map(|row| [&row.dominant, &row.target]).flat_map(both)),
            Self::Monolingual(rows) => Box::new(rows.iter().flat_map(|row| both(&row.pair))),
            Self::Unpaired(rows) => Box::new(rows.iter().map(|row| row.prompt.len() + row.answer.len())),
        }
    }

    /// Whether `objective`, which is `config`'s, can be trained on such rows: found before anything is computed.
    ///
    /// # Errors
    /// If it cannot.
    pub fn check(&self, objective: &dyn Objective, config: &TrainConfig) -> Result<(), TrainError> {
        let definition = config.method.definition();
        let wrong = |expected| Err(wrong_rows(definition.name, expected, self));
        if self.is_empty() {
            return Err(TrainError::NoRows);
        }
        match (objective.loss(), self) {
            (Loss::Bilingual(loss), Self::Bilingual(rows)) => bilingual::check(loss, rows),
            (Loss::Bilingual(_), _) => wrong(BILINGUAL),
            (Loss::Pairs(_) | Loss::ReferencedPairs(_), Self::Unpaired(_)) => wrong(PAIRS),
            (Loss::Demonstrations(_), Self::Unpaired(answers)) => match answers.iter().any(|answer| answer.desirable) {
                true => Ok(()),
                false => Err(TrainError::NoRows),
            },
            (Loss::Unpaired(_), Self::Unpaired(answers)) if answers.len() < definition.min_batch => {
                let expected = format!("at least {} answers for {}", definition.min_batch, definition.name);
                let got = answers.len().to_string();
                Err(TrainError::setting("rows", expected, got))
            }
            _ => Ok(()),
        }
    }

    /// Identifies the rows: their token ids, languages and labels, in their order.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |languages: [&str; 2], parts: &[&[u32]], desirable: bool| {
            for language in languages {
                hasher.update(language.as_bytes());
                hasher.update(&[0]);
            }
            hasher.update(&digest(parts));
            hasher.update(&[desirable.into()]);
        };
        match self {
            Self::Bilingual(rows) => {
                for row in rows {
                    let languages = [row.dominant_language.code(), row.language.code()];
                    let parts = [parts(&row.dominant), parts(&row.target)].concat();
                    add(languages, &parts, true);
                }
            }
            Self::Monolingual(rows) => {
                for row in rows {
                    add(["", row.language.code()], &parts(&row.pair), true);
                }
            }
            Self::Unpaired(rows) => {
                for row in rows {
                    let parts = [&row.prompt[..], &row.answer];
                    add(["", row.language.code()], &parts, row.desirable);
                }
            }
        }
        hasher.finalize().to_string()
    }

    /// What kind of rows they are, for people.
    fn kind(&self) -> &'static str {
        match self {
            Self::Bilingual(_) => BILINGUAL,
            Self::Monolingual(_) => "pairs in one language",
            Self::Unpaired(_) => "single answers",
        }
    }

    /// Every pair once: those of the target languages, then the dominant one's.
    fn into_pairs(self, method: &str) -> Result<Vec<LanguagePair>, TrainError> {
        match self {
            Self::Bilingual(rows) => Ok(LanguagePair::of_rows(&rows)),
            Self::Monolingual(pairs) => Ok(pairs),
            Self::Unpaired(_) => Err(wrong_rows(method, PAIRS, &self)),
        }
    }

    /// Every answer once.
    fn into_answers(self, method: &str) -> Result<Vec<LabelledAnswer>, TrainError> {
        match self {
            Self::Unpaired(answers) => Ok(answers),
            rows => Ok(rows.into_pairs(method)?.iter().flat_map(both_answers).collect()),
        }
    }
}

fn parts(pair: &TokenizedPair) -> [&[u32]; 3] {
    [pair.prompt(), pair.chosen(), pair.rejected()]
}

fn both_answers(row: &LanguagePair) -> [LabelledAnswer; 2] {
    [(row.pair.chosen(), true), (row.pair.rejected(), false)].map(|(answer, desirable)| LabelledAnswer {
        language: row.language,
        prompt: row.pair.prompt().to_vec(),
        answer: answer.to_vec(),
        desirable,
        origin: row.origin.clone(),
    })
}

const PAIRS: &str = "pairs of answers";
const BILINGUAL: &str = "pairs in two languages";

fn wrong_rows(method: &str, expected: &'static str, got: &TrainingRows) -> TrainError {
    TrainError::WrongRows { method: method.to_owned(), expected, got: got.kind() }
}

/// The task of training with `objective` on `rows`. What it needs of the reference is computed here, and nothing else.
///
/// # Errors
/// If the rows are not of the kind it needs, or those of `reference`.
pub fn build_task<'a>(
    objective: &'a dyn Objective,
    rows: TrainingRows,
    config: &TrainConfig,
    pad_token: u32,
    reference: &mut Reference<'_>,
) -> Result<Box<dyn Task + 'a>, TrainError> {
    rows.check(objective, config)?;
    let method = config.method.definition().name;
    Ok(match objective.loss() {
        Loss::Demonstrations(loss) => {
            let mut answers = rows.into_answers(method)?;
            answers.retain(|answer| answer.desirable);
            Box::new(DemonstrationTask::new(loss, answers))
        }
        Loss::Pairs(loss) => {
            let pairs = rows.into_pairs(method)?;
            Box::new(PairTask::new(loss, pairs, objective.sft_weight()))
        }
        Loss::ReferencedPairs(loss) => {
            let pairs = rows.into_pairs(method)?;
            let weight = objective.sft_weight();
            Box::new(PairTask::with_reference(loss, pairs, weight, reference)?)
        }
        Loss::Unpaired(loss) => {
            let answers = rows.into_answers(method)?;
            let min = config.method.definition().min_batch;
            let batches = Batches::new(config, answers.len(), min);
            let max_tokens = config.micro_batch_tokens;
            Box::new(UnpairedTask::new(loss, answers, &batches, max_tokens, reference)?)
        }
        Loss::Bilingual(loss) => {
            let TrainingRows::Bilingual(rows) = rows else {
                return Err(wrong_rows(method, BILINGUAL, &rows));
            };
            let weight = objective.sft_weight();
            Box::new(BilingualTask::new(loss, rows, weight, pad_token, reference)?)
        }
    })
}
