//! Everything that meets the vocabulary: from logits or hidden states to log-probs, divergences and sequence scores.
//!
//! Each operation has a folder of the usual form. They share [`softmax`] (rows of logits), [`head`] (logits made tile by
//! tile), [`softcap`], [`targets`] and [`dtypes`].

pub(crate) mod head;
pub(crate) mod linear_kl;
pub(crate) mod linear_log_probs;
pub(crate) mod sequence_log_probs;
pub(crate) mod token_log_probs;

mod argmax;
mod dtypes;
pub(crate) mod softcap;
mod softmax;
mod targets;

pub use argmax::argmax;
pub use linear_kl::{HeadInputs, linear_kl};
pub use linear_log_probs::{LinearLogProbs, linear_token_log_probs};
pub use sequence_log_probs::{SequenceScore, sequence_log_probs};
pub use targets::IGNORED;
pub use token_log_probs::token_log_probs;

#[cfg(test)]
mod testing;
