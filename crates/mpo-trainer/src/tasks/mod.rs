//! What is trained: one file an objective's rows, batches and loss. The trainer knows none of them.

mod mpo;
mod sft;

use burn::tensor::Tensor;
use mpo_models::CausalLm;

use crate::events::RowValues;
pub use mpo::{MpoOptions, MpoTask, Padding};
pub use sft::{Demonstration, SftTask};

/// The loss of some rows, and what it is made of.
#[derive(Debug)]
pub struct MicroBatch {
    /// One loss a row, `[rows]`, differentiable.
    pub losses: Tensor<1>,
    /// Named columns of `[rows]`, for the log.
    pub columns: Vec<(&'static str, Tensor<1>)>,
}

/// Rows to train on and their loss.
pub trait Task {
    /// How many rows there are.
    fn rows(&self) -> usize;

    /// Tokens that pass through the model for a row: what a micro-batch is filled by.
    fn tokens(&self, row: usize) -> usize;

    /// Losses of these rows, computed in one pass.
    fn losses(&self, model: &CausalLm, rows: &[usize]) -> MicroBatch;

    /// Where a row came from and which language it counts for.
    fn describe(&self, row: usize) -> RowValues;

    /// Identifies the rows and everything about them that enters the loss, so that a run is not resumed on others.
    fn fingerprint(&self) -> String;
}
