//! What is trained: one file for each kind of rows that losses are computed from. The trainer knows none of them.

mod bilingual;
mod crossed;
mod demonstrations;
mod pairs;
mod parallel;
mod rows;
mod sizes;
mod unpaired;

use std::fmt::{self, Debug};

use burn::tensor::{Device, Tensor, TensorData};
use mpo_data::TokenizedRows;
use mpo_models::{Batch, Outputs};
use mpo_objectives::{Loss, Objective};

use crate::batches::Batches;
use crate::error::TrainError;
use crate::events::RowValues;
use crate::reference::Reference;
use crate::settings::TrainConfig;
use crate::step::LOSS;
use bilingual::BilingualTask;
use crossed::CrossedTask;
use demonstrations::DemonstrationTask;
use pairs::PairTask;
use parallel::ParallelTask;
pub(crate) use parallel::fingerprint as fingerprint_of_prompts;
use rows::{BILINGUAL, PAIRS, PARALLEL, wrong_rows};
pub use rows::{check_rows, digest_rows};
pub use sizes::{assumed_row_size, prompt_sizes, row_sizes};
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

/// The reference's numbers on a device, `[values]`.
fn floats(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// The task of training with `objective` on `rows`. What it needs of the reference is computed here, and nothing else.
///
/// # Errors
/// If the rows are not of the kind it needs, or those of `reference`.
pub fn build_task<'a>(
    objective: &'a dyn Objective,
    rows: TokenizedRows,
    config: &TrainConfig,
    pad_token: u32,
    reference: &mut Reference<'_>,
) -> Result<Box<dyn Task + 'a>, TrainError> {
    check_rows(&rows, objective, config)?;
    let method = config.method.definition().name;
    let pairs = |rows: TokenizedRows| {
        let kind = rows.kind();
        rows.into_pairs().ok_or_else(|| wrong_rows(method, PAIRS, kind))
    };
    Ok(match objective.loss() {
        Loss::Demonstrations(loss) => {
            let mut answers = rows.into_answers();
            answers.retain(|answer| answer.desirable);
            Box::new(DemonstrationTask::new(loss, answers))
        }
        Loss::Pairs(loss) => {
            let pairs = pairs(rows)?;
            Box::new(PairTask::new(loss, pairs, objective.sft_weight()))
        }
        Loss::ReferencedPairs(loss) => {
            let pairs = pairs(rows)?;
            let weight = objective.sft_weight();
            Box::new(PairTask::with_reference(loss, pairs, weight, reference)?)
        }
        Loss::Unpaired(loss) => {
            let answers = rows.into_answers();
            let min = config.method.definition().min_batch;
            let batches = Batches::new(config, answers.len(), min);
            let max_tokens = config.micro_batch_tokens;
            Box::new(UnpairedTask::new(loss, answers, &batches, max_tokens, reference)?)
        }
        Loss::Bilingual(loss) => {
            let TokenizedRows::Bilingual(rows) = rows else {
                return Err(wrong_rows(method, BILINGUAL, rows.kind()));
            };
            let weight = objective.sft_weight();
            Box::new(BilingualTask::new(loss, rows, weight, pad_token, reference)?)
        }
        Loss::Crossed(loss) => {
            let TokenizedRows::Bilingual(rows) = rows else {
                return Err(wrong_rows(method, BILINGUAL, rows.kind()));
            };
            Box::new(CrossedTask::new(loss, rows, reference)?)
        }
        Loss::Parallel(loss) => {
            let prompts = rows.parallel_prompts().ok_or_else(|| wrong_rows(method, PARALLEL, rows.kind()))?;
            Box::new(ParallelTask::new(loss, prompts, reference)?)
        }
    })
}
