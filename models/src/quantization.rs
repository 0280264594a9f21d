//! What the weights of a frozen base are made smaller to.

/// How the linear maps of a frozen base's layers are stored, in place of how its checkpoint has them. Embedding, head, norms and
/// biases stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantization {
    /// Four bits a number, and a scale for each 64 (Dettmers et al., 2023, QLoRA, arXiv:2305.14314).
    Nf4 {
        /// Whether the scales are quantized too, to eight bits: 0.52 bytes a number instead of 0.56.
        double: bool,
    },
}
