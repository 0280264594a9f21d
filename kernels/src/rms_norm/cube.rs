//! One cube per row, two passes over it: its sum of squares, then its output; f32 throughout. The backward's cubes take
//! several rows each, and their units keep the weight's gradient of their columns in registers.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::prelude::*;

use super::kernel::RmsNormKernel;
use crate::cube::{address_type, cube_sum, cubes, dims, empty, units_for, vector_size};

/// Cubes of the backward, each of which keeps a share of the weight's gradient.
const SHARES: usize = 512;

impl RmsNormKernel for CubeBackend {
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        offset: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, weight) = (into_contiguous(x), into_contiguous(weight));
        let [rows, width] = dims(&x);
        let (client, vector) = (x.client.clone(), vector_size(&x));
        let units = units_for(&x, width / vector);
        let out = empty(&x, [rows, width], x.dtype);
        let inverse_rms = empty(&x, [rows], DType::F32);
        let dtype = dtype_to_storage_type(x.dtype);
        // SAFETY: a cube's rows are below `rows`, a unit's vectors below `width / vector`; every tensor is contiguous
        // with as many.
        unsafe {
            forward::launch_unchecked(
                &client,
                cubes(rows),
                CubeDim::new_1d(units),
                address_type(&[&x]),
                vector,
                x.into_tensor_arg(),
                weight.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                inverse_rms.clone().into_tensor_arg(),
                rows,
                width / vector,
                eps as f32,
                offset,
                units,
                dtype,
            );
        }
        (out, inverse_rms)
    }

    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        inverse_rms: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        offset: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [x, weight, inverse_rms, grad] = [x, weight, inverse_rms, grad].map(into_contiguous);
        let [rows, width] = dims(&x);
        let (client, vector) = (x.client.clone(), vector_size(&x));
        let units = units_for(&x, width / vector);
        let dtype = x.dtype;
        let out = empty(&x, [rows, width], dtype);
        let shares = rows.min(SHARES);
        let weight_grad = empty(&x, [shares, width], DType::F32);
        // SAFETY: as above; there are as many shares as cubes.
        unsafe {
            backward::launch_unchecked(
                &client,
                cubes(shares),
                CubeDim::new_1d(units),
                address_type(&[&x]),
                vector,
                x.into_tensor_arg(),
                weight.into_tensor_arg(),
                inverse_rms.into_tensor_arg(),
                grad.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                weight_grad.clone().into_tensor_arg(),
                rows,
                offset,
                width / vector,
                units,
                dtype_to_storage_type(dtype),
            );
        }
        let weight_grad = Self::float_sum_dim(weight_grad, 0);
        let weight_grad = Self::float_reshape(weight_grad, Shape::new([width]));
        (out, Self::float_cast(weight_grad, dtype.into()))
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
fn forward<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    weight: &Tensor<Vector<F, N>>,
    out: &mut Tensor<Vector<F, N>>,
    inverse_rms: &mut Tensor<f32>,
    rows: usize,
    vectors: usize,
    eps: f32,
    offset: f32,
    #[comptime] units: u32,
    #[define(F)] _dtype: ElemType,
) {
    let mut row = CUBE_POS_X as usize;
    while row < rows {
        let base = row * vectors;
        let mut squares = f32::new(0.0);
        let mut at = UNIT_POS_X as usize;
        while at < vectors {
            let x = Vector::<f32, N>::cast_from(x[base + at]);
            squares += (x * x).vector_sum();
            at += comptime!(units as usize);
        }
        let width = f32::cast_from((vectors * out.vector_size()) as u32);
        let scale = f32::new(1.0) / (cube_sum(squares, units) / width + eps).sqrt();
        if UNIT_POS_X == 0 {
            inverse_rms[row] = scale;
        }
        let mut at = UNIT_POS_X as usize;
        while at < vectors {
            let x = Vector::<f32, N>::cast_from(x[base + at]);
            let weight = Vector::new(offset) + Vector::<f32, N>::cast_from(weight[at]);
            out[base + at] = Vector::cast_from(x * Vector::new(scale) * weight);
            at += comptime!(units as usize);
        }
        row += CUBE_COUNT_X as usize;
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
fn backward<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    weight: &Tensor<Vector<F, N>>,
    inverse_rms: &Tensor<f32>,
    grad: &Tensor<Vector<F, N>>,
    out: &mut Tensor<Vector<F, N>>,
    weight_grad: &mut Tensor<Vector<f32, N>>,
    rows: usize,
    offset: f32,
    #[comptime] vectors: usize,
    #[comptime] units: u32,
    #[define(F)] _dtype: ElemType,
) {
    let (share, unit) = (CUBE_POS_X as usize, UNIT_POS_X as usize);
    let parts = comptime!(vectors.div_ceil(units as usize));
    let mut weight_sums = Array::<Vector<f32, N>>::new(parts);
    #[unroll]
    for part in 0..parts {
        weight_sums[part] = Vector::new(0.0);
    }
    let mut row = share;
    while row < rows {
        let base = row * vectors;
        let scale = inverse_rms[row];
        let mut along = f32::new(0.0);
        #[unroll]
        for part in 0..parts {
            let at = unit + comptime!(part * units as usize);
            if at < vectors {
                let x = Vector::<f32, N>::cast_from(x[base + at]);
                let grad = Vector::<f32, N>::cast_from(grad[base + at]);
                let weight = Vector::new(offset) + Vector::<f32, N>::cast_from(weight[at]);
                along += (grad * weight * x).vector_sum();
            }
        }
        // y = x·r, dr/dx = −r³ x / width: the gradient loses its component along x.
        let width = f32::cast_from((vectors * out.vector_size()) as u32);
        let along = cube_sum(along, units) * scale * scale / width;
        #[unroll]
        for part in 0..parts {
            let at = unit + comptime!(part * units as usize);
            if at < vectors {
                let x = Vector::<f32, N>::cast_from(x[base + at]);
                let grad = Vector::<f32, N>::cast_from(grad[base + at]);
                let weight = Vector::new(offset) + Vector::<f32, N>::cast_from(weight[at]);
                let gradient = Vector::new(scale) * (grad * weight - Vector::new(along) * x);
                out[base + at] = Vector::cast_from(gradient);
                weight_sums[part] += grad * x * Vector::new(scale);
            }
        }
        row += CUBE_COUNT_X as usize;
    }
    #[unroll]
    for part in 0..parts {
        let at = unit + comptime!(part * units as usize);
        if at < vectors {
            weight_grad[share * vectors + at] = weight_sums[part];
        }
    }
}
