//! What an encoder-decoder has beside its decoder.

/// An encoder before the decoder, which attends to what it made: T5's. Widths, heads and feed-forward blocks are the decoder's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncoderConfig {
    /// Number of layers.
    pub num_layers: usize,
    /// How many kinds of distance between two tokens there are, for each of which every head of a stack adds a number to
    /// scores.
    pub buckets: usize,
    /// From this distance on all are of one kind.
    pub max_distance: usize,
    /// Whether feed-forward blocks are gated; else they are `relu(x · wiᵀ) · woᵀ`.
    pub gated: bool,
    /// What the decoder's input begins with.
    pub start_token_id: u32,
}
