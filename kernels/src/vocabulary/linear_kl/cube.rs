//! A tile of both models' logits at a time: two products, and one pass over them.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::composition;
use super::kernel::LinearKlKernel;
use crate::cube::{address_type, cubes, dims, empty, over_first, units, vector_size};
use crate::vocabulary::head::Wanted;
use crate::vocabulary::head::cube::Head;
use crate::vocabulary::softcap::cube::{cap, cap_and_slope};
use crate::vocabulary::softmax::cube::LOWEST;

impl LinearKlKernel for CubeBackend {
    fn linear_kl(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        reference_hidden: FloatTensor<Self>,
        reference_head: FloatTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if hidden.dtype == DType::F64 {
            return composition::forward::<Self>(hidden, head, reference_hidden, reference_head, softcap);
        }
        let (head, reference_head) = (Head::new(head), Head::new(reference_head));
        let [rows, _] = dims(&hidden);
        let statistics = empty(&hidden, [rows, 5], DType::F32);
        let kl = empty(&hidden, [rows], DType::F32);
        for columns in head.tiles(&hidden) {
            let z = head.logits(&hidden, &columns);
            let r = reference_head.logits(&reference_hidden, &columns);
            let (client, vector, units) = (z.client.clone(), vector_size(&z), units(&z));
            // SAFETY: a cube's rows are below `rows`, a unit's vectors below `columns / vector`, and both tiles are
            // contiguous with as many.
            unsafe {
                add_columns::launch_unchecked(
                    &client,
                    cubes(rows),
                    CubeDim::new_1d(units),
                    address_type(&[&z, &r]),
                    vector,
                    z.into_tensor_arg(),
                    r.into_tensor_arg(),
                    statistics.clone().into_tensor_arg(),
                    kl.clone().into_tensor_arg(),
                    rows,
                    columns.len() / vector,
                    softcap.unwrap_or(1.0) as f32,
                    softcap.is_some(),
                    columns.start == 0,
                    units,
                );
            }
        }
        (kl, statistics)
    }

    fn linear_kl_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        reference_hidden: FloatTensor<Self>,
        reference_head: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        softcap: Option<f64>,
        wanted: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if hidden.dtype == DType::F64 {
            return composition::backward::<Self>(
                hidden,
                head,
                reference_hidden,
                reference_head,
                statistics,
                grad,
                softcap,
                wanted,
            );
        }
        let dtype = hidden.dtype;
        let reference_head = Head::new(reference_head);
        let (statistics, grad) = (into_contiguous(statistics), into_contiguous(grad));
        Head::new(head).gradients(hidden, wanted, |z, columns| {
            let r = reference_head.logits(&reference_hidden, columns);
            gradient(z, r, &statistics, &grad, softcap, dtype)
        })
    }
}

/// The gradient of a tile of the policy's logits, as `dtype`.
fn gradient(
    z: CubeTensor,
    r: CubeTensor,
    statistics: &CubeTensor,
    grad: &CubeTensor,
    softcap: Option<f64>,
    dtype: DType,
) -> CubeTensor {
    let [rows, columns] = dims(&z);
    let (client, vector, units) = (z.client.clone(), vector_size(&z), units(&z));
    let (out, out_arg) = over_first(&z, dtype);
    let address = address_type(&[&z, &r, &out]);
    // SAFETY: as above; the output has the shape of the tiles, and where it is one every element is read before it is
    // written, by the unit that writes it.
    unsafe {
        columns_gradient::launch_unchecked(
            &client,
            cubes(rows),
            CubeDim::new_1d(units),
            address,
            vector,
            z.into_tensor_arg(),
            r.into_tensor_arg(),
            statistics.clone().into_tensor_arg(),
            grad.clone().into_tensor_arg(),
            out_arg,
            rows,
            columns / vector,
            softcap.unwrap_or(1.0) as f32,
            softcap.is_some(),
            units,
            dtype_to_storage_type(dtype),
        );
    }
    out
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
fn add_columns<N: Size>(
    policy: &Tensor<Vector<f32, N>>,
    reference: &Tensor<Vector<f32, N>>,
    statistics: &mut Tensor<f32>,
    kl: &mut Tensor<f32>,
    rows: usize,
    vectors: usize,
    softcap: f32,
    #[comptime] capped: bool,
    #[comptime] is_first: bool,
    #[comptime] units: u32,
) {
    let unit = UNIT_POS_X as usize;
    let mut row = CUBE_POS_X as usize;
    while row < rows {
        let base = row * vectors;
        let mut max = f32::new(LOWEST);
        let mut sum = f32::new(0.0);
        let mut above = f32::new(0.0);
        let mut r_max = f32::new(LOWEST);
        let mut r_sum = f32::new(0.0);
        let mut at = unit;
        while at < vectors {
            let z = cap::<N>(policy[base + at], softcap, capped);
            let r = cap::<N>(reference[base + at], softcap, capped);
            let mut largest = max;
            let mut r_largest = r_max;
            #[unroll]
            for lane in 0..z.vector_size() {
                if z.extract(lane) > largest {
                    largest = z.extract(lane);
                }
                if r.extract(lane) > r_largest {
                    r_largest = r.extract(lane);
                }
            }
            if largest > max || r_largest > r_max {
                let scale = (max - largest).exp();
                let shifted = above + sum * ((max - largest) - (r_max - r_largest));
                above = unless_zero(shifted, scale);
                sum *= scale;
                r_sum *= (r_max - r_largest).exp();
                max = largest;
                r_max = r_largest;
            }
            let e = (z - Vector::new(max)).exp();
            sum += e.vector_sum();
            #[unroll]
            for lane in 0..z.vector_size() {
                let e = e.extract(lane);
                // Nothing of probability zero counts; not `> 0`, which would hide a NaN.
                if e != 0.0 {
                    above += e * ((z.extract(lane) - max) - (r.extract(lane) - r_max));
                }
            }
            r_sum += (r - Vector::new(r_max)).exp().vector_sum();
            at += comptime!(units as usize);
        }
        let merged = merge_units(RowKl { max, sum, above, r_max, r_sum }, units);
        if unit == 0 {
            let own = row * 5;
            let merged = if comptime!(is_first) {
                merged
            } else {
                let before = RowKl {
                    max: statistics[own],
                    sum: statistics[own + 1],
                    above: statistics[own + 2],
                    r_max: statistics[own + 3],
                    r_sum: statistics[own + 4],
                };
                merge(before, merged)
            };
            statistics[own] = merged.max;
            statistics[own + 1] = merged.sum;
            statistics[own + 2] = merged.above;
            statistics[own + 3] = merged.r_max;
            statistics[own + 4] = merged.r_sum;
            kl[row] = merged.above / merged.sum - (merged.sum.ln() - merged.r_sum.ln());
        }
        row += CUBE_COUNT_X as usize;
    }
}

/// What has been seen of a row: the statistics, in their order.
#[derive(CubeType, Clone, Copy)]
struct RowKl {
    max: f32,
    sum: f32,
    above: f32,
    r_max: f32,
    r_sum: f32,
}

#[cube]
fn merge(a: RowKl, b: RowKl) -> RowKl {
    let max = if b.max > a.max { b.max } else { a.max };
    let r_max = if b.r_max > a.r_max { b.r_max } else { a.r_max };
    let (a_scale, b_scale) = ((a.max - max).exp(), (b.max - max).exp());
    let a_above = a.above + a.sum * ((a.max - max) - (a.r_max - r_max));
    let b_above = b.above + b.sum * ((b.max - max) - (b.r_max - r_max));
    RowKl {
        max,
        sum: a.sum * a_scale + b.sum * b_scale,
        above: unless_zero(a_above, a_scale) + unless_zero(b_above, b_scale),
        r_max,
        r_sum: a.r_sum * (a.r_max - r_max).exp() + b.r_sum * (b.r_max - r_max).exp(),
    }
}

/// `value · scale`, and zero where the scale is: tokens of probability zero do not count, even if the reference is
/// infinitely far from them.
#[cube]
fn unless_zero(value: f32, scale: f32) -> f32 {
    if scale == 0.0 { f32::new(0.0) } else { value * scale }
}

/// The units' parts as one, for all of them.
#[cube]
fn merge_units(part: RowKl, #[comptime] units: u32) -> RowKl {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(5 * units as usize));
    let unit = UNIT_POS_X as usize;
    store(&mut shared, unit, part);
    sync_cube();
    #[unroll]
    for step in 0..comptime!(units.ilog2()) {
        let half = comptime!((units >> (step + 1)) as usize);
        if unit < half {
            let merged = merge(load(&shared, unit), load(&shared, unit + half));
            store(&mut shared, unit, merged);
        }
        sync_cube();
    }
    let merged = load(&shared, 0usize);
    sync_cube();
    merged
}

#[cube]
fn store(shared: &mut Shared<[f32]>, unit: usize, part: RowKl) {
    shared[5 * unit] = part.max;
    shared[5 * unit + 1] = part.sum;
    shared[5 * unit + 2] = part.above;
    shared[5 * unit + 3] = part.r_max;
    shared[5 * unit + 4] = part.r_sum;
}

#[cube]
fn load(shared: &Shared<[f32]>, unit: usize) -> RowKl {
    RowKl {
        max: shared[5 * unit],
        sum: shared[5 * unit + 1],
        above: shared[5 * unit + 2],
        r_max: shared[5 * unit + 3],
        r_sum: shared[5 * unit + 4],
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
fn columns_gradient<F: Float, N: Size>(
    policy: &Tensor<Vector<f32, N>>,
    reference: &Tensor<Vector<f32, N>>,
    statistics: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<Vector<F, N>>,
    rows: usize,
    vectors: usize,
    softcap: f32,
    #[comptime] capped: bool,
    #[comptime] units: u32,
    #[define(F)] _dtype: ElemType,
) {
    let mut row = CUBE_POS_X as usize;
    while row < rows {
        let base = row * vectors;
        let max = statistics[row * 5];
        let sum = statistics[row * 5 + 1];
        let log_sum = sum.ln();
        let mean = statistics[row * 5 + 2] / sum;
        let r_max = statistics[row * 5 + 3];
        let scale = grad[row];
        let mut at = UNIT_POS_X as usize;
        while at < vectors {
            let (z, slope) = cap_and_slope::<N>(policy[base + at], softcap, capped);
            let r = cap::<N>(reference[base + at], softcap, capped);
            let p = ((z - Vector::new(max)) - Vector::new(log_sum)).exp();
            let mut gradient = Vector::<f32, N>::new(0.0);
            #[unroll]
            for lane in 0..z.vector_size() {
                let p = p.extract(lane);
                if p != 0.0 {
                    let difference = (z.extract(lane) - max) - (r.extract(lane) - r_max);
                    let centred = difference - mean;
                    gradient.insert(lane, scale * p * centred);
                }
            }
            if comptime!(capped) {
                gradient *= slope;
            }
            out[base + at] = Vector::cast_from(gradient);
            at += comptime!(units as usize);
        }
        row += CUBE_COUNT_X as usize;
    }
}
