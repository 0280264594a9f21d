//! The softmax of every row of logits: the target's log-prob forward, `grad · (onehot − softmax)` backward.
//!
//! The statistics of a row, three numbers, are all that the backward needs beside the logits: the largest logit,
//! Σ e^(logit − largest), and the target's logit. Those of two runs of columns merge, so logits may come in tiles.

pub(crate) mod composition;
#[cfg(feature = "cube")]
pub(crate) mod cube;
#[cfg(feature = "flex")]
pub(crate) mod native;
pub(crate) mod reference;
