//! The operation as a backend extension.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::DType;
#[cfg(feature = "cube")]
use burn::tensor::Shape;

use super::composition;

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait LinearKernel: Backend {
    /// `x · weightᵀ`, in the type of `x`.
    #[fusion(dtype = x, shape = Shape::new([x[0], weight[0]]))]
    fn linear_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        composition::product::<Self>(x, weight)
    }

    /// `grad · weight`, the gradient of `x`, in the type of `grad`.
    #[fusion(dtype = grad, shape = Shape::new([grad[0], weight[1]]))]
    fn linear_input_grad(weight: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        composition::input_grad::<Self>(weight, grad)
    }

    /// `gradᵀ · x`, the gradient of a weight of `dtype`, in that type and in the weight's layout.
    #[fusion(dtype = *dtype, shape = Shape::new([grad[1], x[1]]))]
    fn linear_weight_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>, dtype: DType) -> FloatTensor<Self> {
        composition::weight_grad::<Self>(x, grad, dtype)
    }
}
