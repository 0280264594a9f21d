//! The head `[vocabulary, hidden_size]`, met tile by tile: logits made for a tile, and what their gradients add to those
//! of the hidden states and of the head.

pub(crate) mod composition;
#[cfg(feature = "cube")]
pub(crate) mod cube;
#[cfg(feature = "flex")]
pub(crate) mod native;
