//! One pass forward, one backward, f32 throughout.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::kernel::GluKernel;
use super::{Activation, GELU_CUBIC, GELU_SCALE};
use crate::cube::{address_type, dims, empty, vector_size};

impl GluKernel for CubeBackend {
    fn glu(gate: FloatTensor<Self>, up: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        let (gate, up) = (into_contiguous(gate), into_contiguous(up));
        let [rows, width] = dims(&gate);
        let (client, vector) = (gate.client.clone(), vector_size(&gate));
        let vectors = rows * width / vector;
        let cube_dim = CubeDim::new(&client, vectors);
        let out = empty(&gate, [rows, width], gate.dtype);
        let dtype = dtype_to_storage_type(gate.dtype);
        // SAFETY: units beyond `vectors` stop, and every tensor is contiguous with as many.
        unsafe {
            forward::launch_unchecked(
                &client,
                calculate_cube_count_elemwise(&client, vectors, cube_dim),
                cube_dim,
                address_type(&[&gate]),
                vector,
                gate.into_tensor_arg(),
                up.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                vectors,
                activation,
                dtype,
            );
        }
        out
    }

    fn glu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [gate, up, grad] = [gate, up, grad].map(into_contiguous);
        let [rows, width] = dims(&gate);
        let (client, vector) = (gate.client.clone(), vector_size(&gate));
        let vectors = rows * width / vector;
        let cube_dim = CubeDim::new(&client, vectors);
        let gate_grad = empty(&gate, [rows, width], gate.dtype);
        let up_grad = empty(&gate, [rows, width], gate.dtype);
        let dtype = dtype_to_storage_type(gate.dtype);
        // SAFETY: as above.
        unsafe {
            backward::launch_unchecked(
                &client,
                calculate_cube_count_elemwise(&client, vectors, cube_dim),
                cube_dim,
                address_type(&[&gate]),
                vector,
                gate.into_tensor_arg(),
                up.into_tensor_arg(),
                grad.into_tensor_arg(),
                gate_grad.clone().into_tensor_arg(),
                up_grad.clone().into_tensor_arg(),
                vectors,
                activation,
                dtype,
            );
        }
        (gate_grad, up_grad)
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn forward<F: Float, N: Size>(
    gate: &Tensor<Vector<F, N>>,
    up: &Tensor<Vector<F, N>>,
    out: &mut Tensor<Vector<F, N>>,
    vectors: usize,
    #[comptime] activation: Activation,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= vectors {
        terminate!();
    }
    let (value, _) = activate::<N>(Vector::cast_from(gate[ABSOLUTE_POS]), activation);
    out[ABSOLUTE_POS] = Vector::cast_from(value * Vector::cast_from(up[ABSOLUTE_POS]));
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
fn backward<F: Float, N: Size>(
    gate: &Tensor<Vector<F, N>>,
    up: &Tensor<Vector<F, N>>,
    grad: &Tensor<Vector<F, N>>,
    gate_grad: &mut Tensor<Vector<F, N>>,
    up_grad: &mut Tensor<Vector<F, N>>,
    vectors: usize,
    #[comptime] activation: Activation,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= vectors {
        terminate!();
    }
    let (value, slope) = activate::<N>(Vector::cast_from(gate[ABSOLUTE_POS]), activation);
    let up = Vector::<f32, N>::cast_from(up[ABSOLUTE_POS]);
    let grad = Vector::<f32, N>::cast_from(grad[ABSOLUTE_POS]);
    gate_grad[ABSOLUTE_POS] = Vector::cast_from(grad * up * slope);
    up_grad[ABSOLUTE_POS] = Vector::cast_from(grad * value);
}

/// The activation and its derivative.
#[cube]
fn activate<N: Size>(x: Vector<f32, N>, #[comptime] activation: Activation) -> (Vector<f32, N>, Vector<f32, N>) {
    let one = Vector::<f32, N>::new(1.0);
    match comptime!(activation) {
        Activation::Silu => {
            let sigmoid = one / (one + (Vector::new(0.0) - x).exp());
            (x * sigmoid, sigmoid * (one + x * (one - sigmoid)))
        }
        Activation::GeluTanh => {
            let square = x * x;
            let inner = Vector::new(GELU_SCALE) * x * (one + Vector::new(GELU_CUBIC) * square);
            // (1 + tanh u) / 2 = σ(2u)
            let half = one / (one + (Vector::new(-2.0) * inner).exp());
            let inner_slope = Vector::new(GELU_SCALE) * (one + Vector::new(3.0 * GELU_CUBIC) * square);
            (x * half, half + x * Vector::new(2.0) * half * (one - half) * inner_slope)
        }
    }
}
