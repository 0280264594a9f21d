//! What the matrix products of a model are computed in.

use burn::tensor::{DType, Tensor};

/// The type of a model's matrix products, and of what lies between them: attention, rotary embeddings, the gated unit.
///
/// Weights, the residual stream, norms, log-probs and losses are f32 in both, and so are all sums and the gradients of weights.
/// What goes into a product is rounded and what comes out of it, as under PyTorch's `torch.autocast`; the head's logits are
/// not, nor is anything inside of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// f32, whose factors are not rounded on any device.
    #[default]
    F32,
    /// bf16, of seven bits of fraction: half the memory of what is kept for the backward, and on tensor cores at least
    /// twice the speed.
    Bf16,
}

impl Precision {
    /// What products are made in.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }

    /// What goes into a product.
    pub(crate) fn of<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        tensor.cast(self.dtype())
    }
}
