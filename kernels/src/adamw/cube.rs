//! One launch a tensor, one pass over all four, in place.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::AdamWStep;
use super::kernel::AdamWKernel;
use crate::cube::{address_type, vector_size};

impl AdamWKernel for CubeBackend {
    fn adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        momentum: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let grad = into_contiguous(grad);
        let [param, momentum, variance] = [param, momentum, variance].map(owned);
        let (client, vector) = (param.client.clone(), vector_size(&param).min(vector_size(&momentum)));
        let vectors = param.meta.shape().num_elements() / vector;
        let cube_dim = CubeDim::new(&client, vectors);
        let by = step.factors();
        let dtypes = [param.dtype, momentum.dtype].map(dtype_to_storage_type);
        // SAFETY: units beyond `vectors` stop, and all four tensors are contiguous with as many; nothing else holds the
        // three that are written.
        unsafe {
            update::launch_unchecked(
                &client,
                calculate_cube_count_elemwise(&client, vectors, cube_dim),
                cube_dim,
                address_type(&[&param]),
                vector,
                param.clone().into_tensor_arg(),
                momentum.clone().into_tensor_arg(),
                variance.clone().into_tensor_arg(),
                grad.into_tensor_arg(),
                vectors,
                by.grad_scale,
                by.beta1,
                by.beta2,
                by.new1,
                by.new2,
                by.keep,
                by.rate,
                by.inverse_root,
                by.eps,
                dtypes,
            );
        }
        (param, momentum, variance)
    }
}

/// A contiguous tensor that nothing else holds: a copy, if need be.
fn owned(tensor: CubeTensor) -> CubeTensor {
    let tensor = if tensor.can_mut() { tensor } else { tensor.copy() };
    // After the copy, which may pad rows.
    into_contiguous(tensor)
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
fn update<F: Float, M: Float, N: Size>(
    param: &mut Tensor<Vector<F, N>>,
    momentum: &mut Tensor<Vector<M, N>>,
    variance: &mut Tensor<Vector<M, N>>,
    grad: &Tensor<Vector<F, N>>,
    vectors: usize,
    grad_scale: f32,
    beta1: f32,
    beta2: f32,
    new1: f32,
    new2: f32,
    keep: f32,
    rate: f32,
    inverse_root: f32,
    eps: f32,
    #[define(F, M)] _dtypes: [ElemType; 2],
) {
    if ABSOLUTE_POS >= vectors {
        terminate!();
    }
    let grad = Vector::<f32, N>::cast_from(grad[ABSOLUTE_POS]) * Vector::new(grad_scale);
    let first = Vector::new(beta1) * Vector::<f32, N>::cast_from(momentum[ABSOLUTE_POS]) + Vector::new(new1) * grad;
    let second =
        Vector::new(beta2) * Vector::<f32, N>::cast_from(variance[ABSOLUTE_POS]) + Vector::new(new2) * grad * grad;
    let root = second.sqrt() * Vector::new(inverse_root) + Vector::new(eps);
    let before = Vector::<f32, N>::cast_from(param[ABSOLUTE_POS]);
    let after = before * Vector::new(keep) - Vector::new(rate) * first / root;
    param[ABSOLUTE_POS] = Vector::cast_from(after);
    momentum[ABSOLUTE_POS] = Vector::cast_from(first);
    variance[ABSOLUTE_POS] = Vector::cast_from(second);
}
