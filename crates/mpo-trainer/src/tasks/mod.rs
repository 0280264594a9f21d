//! What is trained: one file for each kind of rows that losses are computed from. The trainer knows none of them.

mod bilingual;
mod demonstrations;
mod pairs;
mod unpaired;

use std::fmt::Debug;

use burn::tensor::{Tensor, TensorData};
use mpo_data::{LabelledAnswer, LanguagePair, TokenizedPair, TokenizedRow};
use mpo_kernels::SequenceScore;
use mpo_models::CausalLm;
use mpo_objectives::{Loss, Objective};

use crate::batches::Batches;
use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::events::RowValues;
use crate::reference::{Padding, Reference};
use bilingual::BilingualTask;
use demonstrations::DemonstrationTask;
use pairs::PairTask;
use unpaired::UnpairedTask;

/// The loss of some rows, and what it is made of.
#[derive(Debug)]
pub struct MicroBatch {
    /// One loss a row, `[rows]`, differentiable.
    pub losses: Tensor<1>,
    /// Named columns of `[rows]`, for the log.
    pub columns: Vec<(&'static str, Tensor<1>)>,
}

/// Numbers that the losses of a whole batch share, for the log and for [`Task::losses`]; most tasks have none.
#[derive(Debug, Default)]
pub struct Shared(pub Vec<(&'static str, f64)>);

/// Rows to train on and their loss.
pub trait Task: Debug {
    /// How many rows there are.
    fn rows(&self) -> usize;

    /// Rows that a batch needs at least.
    fn min_batch(&self) -> usize {
        1
    }

    /// Tokens that pass through the model for a row: what a micro-batch is filled by.
    fn tokens(&self, row: usize) -> usize;

    /// What the losses of a batch share, computed before its micro-batches and without gradients.
    fn shared(&self, _model: &CausalLm, _batch: &[usize]) -> Shared {
        Shared::default()
    }

    /// Losses of these rows, computed in one pass.
    fn losses(&self, model: &CausalLm, rows: &[usize], shared: &Shared) -> MicroBatch;

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
        fn parts(pair: &TokenizedPair) -> [&[u32]; 3] {
            [pair.prompt(), pair.chosen(), pair.rejected()]
        }
        match self {
            Self::Bilingual(rows) => Box::new(
                rows.iter()
                    .flat_map(|row| [&row.dominant, &row.target])
                    .flat_map(parts),
            ),
            Self::Monolingual(rows) => Box::new(rows.iter().flat_map(move |row| parts(&row.pair))),
            Self::Unpaired(rows) => {
                Box::new(rows.iter().flat_map(|row| [&row.prompt[..], &row.answer]))
            }
        }
    }

    /// Whether `objective`, which goes by the name `method`, can be trained on such rows.
    ///
    /// # Errors
    /// If it cannot.
    pub fn check(&self, objective: &dyn Objective, method: &str) -> Result<(), TrainError> {
        let wrong = |expected| Err(wrong_rows(method, expected, self));
        match (objective.loss(), self) {
            (Loss::Bilingual(_), Self::Monolingual(_) | Self::Unpaired(_)) => wrong(BILINGUAL),
            (Loss::Pairs(_) | Loss::ReferencedPairs(_), Self::Unpaired(_)) => wrong(PAIRS),
            _ => Ok(()),
        }
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
            rows => Ok(rows
                .into_pairs(method)?
                .iter()
                .flat_map(both_answers)
                .collect()),
        }
    }
}

fn both_answers(row: &LanguagePair) -> [LabelledAnswer; 2] {
    [(row.pair.chosen(), true), (row.pair.rejected(), false)].map(|(answer, desirable)| {
        LabelledAnswer {
            language: row.language,
            prompt: row.pair.prompt().to_vec(),
            answer: answer.to_vec(),
            desirable,
            origin: row.origin.clone(),
        }
    })
}

const PAIRS: &str = "pairs of answers";
const BILINGUAL: &str = "pairs in two languages";

fn wrong_rows(method: &str, expected: &'static str, got: &TrainingRows) -> TrainError {
    TrainError::WrongRows {
        method: method.to_owned(),
        expected,
        got: got.kind(),
    }
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
    let method = config.method.definition().name;
    Ok(match objective.loss() {
        Loss::Demonstrations(loss) => {
            let mut answers = rows.into_answers(method)?;
            answers.retain(|answer| answer.desirable);
            Box::new(DemonstrationTask::new(loss, answers))
        }
        Loss::Pairs(loss) => Box::new(PairTask::new(loss, rows.into_pairs(method)?)),
        Loss::ReferencedPairs(loss) => {
            let pairs = rows.into_pairs(method)?;
            Box::new(PairTask::with_reference(loss, pairs, reference)?)
        }
        Loss::Unpaired(kto) => {
            let answers = rows.into_answers(method)?;
            let min = config.method.definition().min_batch;
            if answers.len() < min {
                let expected = format!("at least {min} answers for {method}");
                return Err(TrainError::setting(
                    "rows",
                    expected,
                    answers.len().to_string(),
                ));
            }
            let batches = Batches::new(config, answers.len(), min);
            let max_tokens = config.micro_batch_tokens;
            Box::new(UnpairedTask::new(
                kto, answers, &batches, max_tokens, reference,
            )?)
        }
        Loss::Bilingual(mpo) => {
            let TrainingRows::Bilingual(rows) = rows else {
                return Err(wrong_rows(method, BILINGUAL, &rows));
            };
            let padding = Padding {
                token: pad_token,
                multiple: mpo.pad_multiple,
            };
            Box::new(BilingualTask::new(mpo, rows, padding, reference)?)
        }
    })
}

/// Scores of the same answers under the reference: its sums beside the policy's.
fn reference_score(policy: &SequenceScore, sums: Vec<f32>) -> SequenceScore {
    let count = sums.len();
    SequenceScore {
        sum: Tensor::from_data(TensorData::new(sums, [count]), &policy.sum.device()),
        tokens: policy.tokens.clone(),
    }
}
