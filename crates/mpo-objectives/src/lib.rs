//! Objectives: pure functions of sequence scores and hidden states. They know neither models nor files.
//!
//! One objective, one file: its source, its formula, its conventions, a hand-worked test.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod mpo;
mod pair;
mod sft;

pub use mpo::{RetainNorm, gap_loss, retain_loss};
pub use pair::PairScore;
pub use sft::sft_loss;
