//! The operations as a backend extension.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
use burn::tensor::DType;
#[cfg(feature = "cube")]
use burn::tensor::Shape;

use super::composition;
use super::layout::Layout;

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait Nf4Kernel: Backend {
    /// The matrix in f32; no gradient flows through it.
    #[fusion(dtype = DType::F32, shape = { let _ = (words, floats); Shape::new(layout.shape) })]
    fn nf4_values(words: IntTensor<Self>, floats: FloatTensor<Self>, layout: Layout) -> FloatTensor<Self> {
        composition::values::<Self>(words, floats, layout)
    }

    /// `x · weightᵀ`, in the type of `x`.
    #[fusion(dtype = x, shape = { let _ = (words, floats); Shape::new([x[0], layout.shape[0]]) })]
    fn nf4_product(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        floats: FloatTensor<Self>,
        layout: Layout,
    ) -> FloatTensor<Self> {
        composition::product::<Self>(x, words, floats, layout)
    }

    /// `grad · weight`, the gradient of `x`, in the type of `grad`.
    #[fusion(dtype = grad, shape = { let _ = (words, floats); Shape::new([grad[0], layout.shape[1]]) })]
    fn nf4_input_grad(
        grad: FloatTensor<Self>,
        words: IntTensor<Self>,
        floats: FloatTensor<Self>,
        layout: Layout,
    ) -> FloatTensor<Self> {
        composition::input_grad::<Self>(grad, words, floats, layout)
    }
}
