//! Which token of the vocabulary follows, and which tokens do not count.

#[cfg(feature = "flex")]
pub(crate) mod native;

/// The target of a token that does not count, as PyTorch has it: log-prob 0, gradient 0.
pub const IGNORED: i32 = -100;
