//! The head `[vocabulary, hidden_size]`, met tile by tile: logits made for a tile, and what their gradients add to those
//! of the hidden states and of the head.

pub(crate) mod composition;
#[cfg(feature = "cube")]
pub(crate) mod cube;
#[cfg(feature = "flex")]
pub(crate) mod kept;
#[cfg(feature = "flex")]
pub(crate) mod native;

/// Which gradients are asked for: an operation gives an empty tensor in place of one that is not, and makes no product for
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Of the hidden states.
    pub(crate) hidden: bool,
    pub(crate) head: bool,
}

impl Wanted {
    /// By the parents of an operation: those that are there are tracked.
    pub(crate) fn by<T>([hidden, head]: &[Option<T>; 2]) -> Self {
        Self { hidden: hidden.is_some(), head: head.is_some() }
    }
}
