//! One launch a tensor, one pass over all four, in place; and a sum of squares in a fixed order.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::AdamWStep;
use super::kernel::AdamWKernel;
use crate::cube::{address_type, cube_sum, cubes, empty, owned, units, vector_size};

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

    /// The same bits in every run: Burn's sum on a GPU adds by atomics, in whatever order.
    fn add_squares(sum: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = into_contiguous(x);
        let (client, vector, units) = (x.client.clone(), vector_size(&x), units(&x));
        let vectors = x.meta.shape().num_elements() / vector;
        let parts = vectors.div_ceil(units as usize * VECTORS_OF_A_UNIT).clamp(1, PARTS);
        let squares = empty(&x, [parts], DType::F32);
        let out = empty(&x, [1], DType::F32);
        let dtype = dtype_to_storage_type(x.dtype);
        // SAFETY: units read vectors below `vectors`, and parts below `parts`, which there is a cube each for.
        unsafe {
            sum_squares::launch_unchecked(
                &client,
                cubes(parts),
                CubeDim::new_1d(units),
                address_type(&[&x]),
                vector,
                x.into_tensor_arg(),
                squares.clone().into_tensor_arg(),
                vectors,
                parts,
                units,
                dtype,
            );
            add_parts::launch_unchecked(
                &client,
                cubes(1),
                CubeDim::new_1d(units),
                into_contiguous(sum).into_tensor_arg(),
                squares.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                parts,
                units,
            );
        }
        out
    }
}

/// Vectors that a unit should sum at least, and the most parts that there are of a sum.
const VECTORS_OF_A_UNIT: usize = 16;
const PARTS: usize = 1_024;

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

/// A part for each cube: the sum of every `parts`th run of its units' vectors.
#[cube(launch_unchecked, address_type = "dynamic")]
fn sum_squares<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    squares: &mut Tensor<f32>,
    vectors: usize,
    parts: usize,
    #[comptime] units: u32,
    #[define(F)] _dtype: ElemType,
) {
    let mut sums = Vector::<f32, N>::new(0.0);
    let mut at = CUBE_POS_X as usize * comptime!(units as usize) + UNIT_POS_X as usize;
    while at < vectors {
        let values = Vector::<f32, N>::cast_from(x[at]);
        sums += values * values;
        at += parts * comptime!(units as usize);
    }
    let sum = cube_sum(sums.vector_sum(), units);
    if UNIT_POS_X == 0 {
        squares[CUBE_POS_X as usize] = sum;
    }
}

#[cube(launch_unchecked)]
fn add_parts(so_far: &Tensor<f32>, squares: &Tensor<f32>, out: &mut Tensor<f32>, parts: usize, #[comptime] units: u32) {
    let mut sum = f32::new(0.0);
    let mut at = UNIT_POS_X as usize;
    while at < parts {
        sum += squares[at];
        at += comptime!(units as usize);
    }
    let sum = cube_sum(sum, units);
    if UNIT_POS_X == 0 {
        out[0] = so_far[0] + sum;
    }
}
