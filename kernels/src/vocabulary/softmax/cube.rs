//! One cube per row, one pass over memory each way, f32 throughout: online maximum and sum forward, softmax − onehot
//! backward. Both take the logits of a tile of columns at a time, for heads whose logits never exist at once.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::cube::{address_type, cube_sum, cubes, dims, empty, over_first, units, vector_size};
use crate::vocabulary::softcap::cube::{cap, cap_and_slope};
use crate::vocabulary::targets::IGNORED;

/// Every row's softmax over the columns seen so far.
pub(crate) struct RunningSoftmax {
    targets: CubeTensor,
    vocabulary: usize,
    softcap: Option<f64>,
    /// `[rows, 3]`: largest logit, Σ e^(logit − largest), the target's logit.
    statistics: CubeTensor,
    log_probs: CubeTensor,
}

impl RunningSoftmax {
    /// Before the first column; `targets` contiguous.
    pub(crate) fn new(targets: CubeTensor, vocabulary: usize, softcap: Option<f64>) -> Self {
        let rows = targets.meta.shape()[0];
        Self {
            statistics: empty(&targets, [rows, 3], DType::F32),
            log_probs: empty(&targets, [rows], DType::F32),
            targets,
            vocabulary,
            softcap,
        }
    }

    /// Adds the columns from `first` on; `logits` with whole rows, tiles in order.
    pub(crate) fn add(&mut self, logits: CubeTensor, first: usize) {
        let ([rows, columns], row_stride) = (dims(&logits), logits.meta.strides()[0]);
        let (client, vector, units) = (logits.client.clone(), vector_size(&logits), units(&logits));
        let dtypes = [dtype_to_storage_type(logits.dtype), dtype_to_storage_type(self.targets.dtype)];
        // SAFETY: a cube's rows are below `rows`, a unit's vectors below `columns / vector`; the logits have as many,
        // `row_stride` apart, and the other tensors are contiguous.
        unsafe {
            add_columns::launch_unchecked(
                &client,
                cubes(rows),
                CubeDim::new_1d(units),
                address_type(&[&logits]),
                vector,
                logits.into_tensor_arg(),
                self.targets.clone().into_tensor_arg(),
                self.statistics.clone().into_tensor_arg(),
                self.log_probs.clone().into_tensor_arg(),
                rows,
                columns / vector,
                row_stride / vector,
                first as i32,
                self.vocabulary as i32,
                self.softcap.unwrap_or(1.0) as f32,
                self.softcap.is_some(),
                first == 0,
                first + columns == self.vocabulary,
                units,
                dtypes,
            );
        }
    }

    /// The log-probs and the statistics, after the last column.
    pub(crate) fn finish(self) -> (CubeTensor, CubeTensor) {
        (self.log_probs, self.statistics)
    }
}

/// What turns logits into their gradients.
pub(crate) struct RowGradients {
    targets: CubeTensor,
    statistics: CubeTensor,
    grad: CubeTensor,
    softcap: Option<f64>,
}

impl RowGradients {
    /// Of the rows with these targets, statistics and gradients.
    pub(crate) fn new(targets: CubeTensor, statistics: CubeTensor, grad: CubeTensor, softcap: Option<f64>) -> Self {
        Self {
            targets: into_contiguous(targets),
            statistics: into_contiguous(statistics),
            grad: into_contiguous(grad),
            softcap,
        }
    }

    /// The gradients of the columns from `first` on, as `dtype`: over the logits, which have whole rows, if they are of
    /// that type and nothing else holds them.
    pub(crate) fn of(&self, logits: CubeTensor, first: usize, dtype: DType) -> CubeTensor {
        let ([rows, columns], row_stride) = (dims(&logits), logits.meta.strides()[0]);
        let (client, vector, units) = (logits.client.clone(), vector_size(&logits), units(&logits));
        let (out, out_arg) = over_first(&logits, dtype);
        let dtypes = [
            dtype_to_storage_type(logits.dtype),
            dtype_to_storage_type(dtype),
            dtype_to_storage_type(self.targets.dtype),
        ];
        let address = address_type(&[&logits, &out]);
        // SAFETY: as in `RunningSoftmax::add`; where the output is the input, every element is read before it is
        // written, by the unit that writes it.
        unsafe {
            columns_gradient::launch_unchecked(
                &client,
                cubes(rows),
                CubeDim::new_1d(units),
                address,
                vector,
                logits.into_tensor_arg(),
                self.targets.clone().into_tensor_arg(),
                self.statistics.clone().into_tensor_arg(),
                self.grad.clone().into_tensor_arg(),
                out_arg,
                rows,
                columns / vector,
                row_stride / vector,
                out.meta.strides()[0] / vector,
                first as i32,
                self.softcap.unwrap_or(1.0) as f32,
                self.softcap.is_some(),
                units,
                dtypes,
            );
        }
        out
    }
}

/// No logit is below it but −∞, which WGSL has no literal for.
pub(crate) const LOWEST: f32 = f32::MIN;

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
fn add_columns<F: Float, I: Int, N: Size>(
    logits: &Tensor<Vector<F, N>>,
    targets: &Tensor<I>,
    statistics: &mut Tensor<f32>,
    log_probs: &mut Tensor<f32>,
    rows: usize,
    vectors: usize,
    row_stride: usize,
    first: i32,
    vocabulary: i32,
    softcap: f32,
    #[comptime] capped: bool,
    #[comptime] is_first: bool,
    #[comptime] is_last: bool,
    #[comptime] units: u32,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let unit = UNIT_POS_X as usize;
    let mut row = CUBE_POS_X as usize;
    while row < rows {
        let target = i32::cast_from(targets[row]);
        let counts = target != comptime!(IGNORED);
        let mut end = vectors;
        if !counts {
            end = 0;
        }
        let base = row * row_stride;
        let mut max = f32::new(LOWEST);
        let mut sum = f32::new(0.0);
        let mut target_logit = f32::new(0.0);
        let mut at = unit;
        while at < end {
            let z = cap::<N>(Vector::cast_from(logits[base + at]), softcap, capped);
            let mut largest = max;
            #[unroll]
            for lane in 0..z.vector_size() {
                let logit = z.extract(lane);
                if logit > largest {
                    largest = logit;
                }
                if first + (at * z.vector_size() + lane) as i32 == target {
                    target_logit = logit;
                }
            }
            if largest > max {
                sum *= (max - largest).exp();
                max = largest;
            }
            // A NaN is never the largest, but the sum keeps it.
            sum += (z - Vector::new(max)).exp().vector_sum();
            at += comptime!(units as usize);
        }
        let (mut max, mut sum) = merge_units(max, sum, units);
        let mut target_logit = cube_sum(target_logit, units);
        if unit == 0 {
            if comptime!(!is_first) {
                let before = statistics[row * 3];
                let larger = if before > max { before } else { max };
                sum = sum * (max - larger).exp() + statistics[row * 3 + 1] * (before - larger).exp();
                max = larger;
                target_logit += statistics[row * 3 + 2];
            }
            if !counts {
                max = f32::new(0.0);
                sum = f32::new(1.0);
                target_logit = f32::new(0.0);
            }
            statistics[row * 3] = max;
            statistics[row * 3 + 1] = sum;
            statistics[row * 3 + 2] = target_logit;
            if comptime!(is_last) {
                let log_sum = sum.ln();
                let mut log_prob = (target_logit - max) - log_sum;
                if counts && (target < 0 || target >= vocabulary) {
                    // The logarithm of a negative number: NaN, for which WGSL has no literal either.
                    log_prob = (f32::new(-1.0) - sum).ln();
                }
                log_probs[row] = log_prob;
            }
        }
        row += CUBE_COUNT_X as usize;
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
fn columns_gradient<F: Float, G: Float, I: Int, N: Size>(
    logits: &Tensor<Vector<F, N>>,
    targets: &Tensor<I>,
    statistics: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<Vector<G, N>>,
    rows: usize,
    vectors: usize,
    row_stride: usize,
    out_stride: usize,
    first: i32,
    softcap: f32,
    #[comptime] capped: bool,
    #[comptime] units: u32,
    #[define(F, G, I)] _dtypes: [ElemType; 3],
) {
    let mut row = CUBE_POS_X as usize;
    while row < rows {
        let target = i32::cast_from(targets[row]);
        let counts = target != comptime!(IGNORED);
        let base = row * row_stride;
        let out_base = row * out_stride;
        let max = statistics[row * 3];
        let log_sum = statistics[row * 3 + 1].ln();
        let scale = grad[row];
        let mut at = UNIT_POS_X as usize;
        while at < vectors {
            let mut gradient = Vector::<f32, N>::new(0.0);
            if counts {
                let z = Vector::cast_from(logits[base + at]);
                let (z, slope) = cap_and_slope::<N>(z, softcap, capped);
                let shifted = (z - Vector::new(max)) - Vector::new(log_sum);
                gradient = Vector::new(f32::new(0.0) - scale) * shifted.exp();
                #[unroll]
                for lane in 0..z.vector_size() {
                    if first + (at * z.vector_size() + lane) as i32 == target {
                        gradient.insert(lane, gradient.extract(lane) + scale);
                    }
                }
                if comptime!(capped) {
                    gradient *= slope;
                }
            }
            out[out_base + at] = Vector::cast_from(gradient);
            at += comptime!(units as usize);
        }
        row += CUBE_COUNT_X as usize;
    }
}

/// The units' maxima and sums as one, for all of them.
#[cube]
fn merge_units(max: f32, sum: f32, #[comptime] units: u32) -> (f32, f32) {
    let mut maxima = Shared::<[f32]>::new_slice(comptime!(units as usize));
    let mut sums = Shared::<[f32]>::new_slice(comptime!(units as usize));
    let unit = UNIT_POS_X as usize;
    maxima[unit] = max;
    sums[unit] = sum;
    sync_cube();
    #[unroll]
    for step in 0..comptime!(units.ilog2()) {
        let half = comptime!((units >> (step + 1)) as usize);
        if unit < half {
            let (mine, other) = (maxima[unit], maxima[unit + half]);
            let larger = if other > mine { other } else { mine };
            sums[unit] = sums[unit] * (mine - larger).exp() + sums[unit + half] * (other - larger).exp();
            maxima[unit] = larger;
        }
        sync_cube();
    }
    let merged = (maxima[0], sums[0]);
    sync_cube();
    merged
}
