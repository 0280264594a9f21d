//! Three products on a GPU. A weight of another type than the rows is cast for the product and forgotten after it.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;

use super::kernel::LinearKernel;
use crate::cube::transposed;
use crate::product::product;

impl LinearKernel for CubeBackend {
    fn linear_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = x.dtype;
        product(x, transposed(Self::float_cast(weight, dtype.into())), dtype)
    }

    fn linear_input_grad(weight: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = grad.dtype;
        product(grad, Self::float_cast(weight, dtype.into()), dtype)
    }

    fn linear_weight_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>, dtype: DType) -> FloatTensor<Self> {
        product(transposed(grad), x, dtype)
    }
}
