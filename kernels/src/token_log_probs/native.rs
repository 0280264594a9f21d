//! One pass over each row, in tiles that stay in the cache.

use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_flex::FlexTensor;
use half::{bf16, f16};
use multiversion::multiversion;
use rayon::prelude::*;

use super::kernel::TokenLogProbsKernel;
use super::{IGNORED, composition};
use crate::cpu::{Element, contiguous, exp, exp_sum, floats, integers, max, own_memory, tanh_and_slope, tensor};

/// Logits of one row that are widened, capped and summed at a time: 16 KiB.
const TILE: usize = 4_096;

impl TokenLogProbsKernel for Flex {
    fn token_log_probs(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let run = match logits.dtype() {
            DType::F32 => forward::<f32>,
            DType::F16 => forward::<f16>,
            DType::BF16 => forward::<bf16>,
            _ => return composition::forward::<Self>(logits, targets, softcap),
        };
        run(logits, targets, softcap.map(|cap| cap as f32))
    }

    fn token_log_probs_backward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        statistics: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        softcap: Option<f64>,
    ) -> FloatTensor<Self> {
        let run = match logits.dtype() {
            DType::F32 => backward::<f32>,
            DType::F16 => backward::<f16>,
            DType::BF16 => backward::<bf16>,
            _ => return composition::backward::<Self>(logits, targets, statistics, grad, softcap),
        };
        run(logits, targets, statistics, grad, softcap.map(|cap| cap as f32))
    }
}

fn forward<E: Element>(logits: FlexTensor, targets: FlexTensor, softcap: Option<f32>) -> (FlexTensor, FlexTensor) {
    let [_, vocabulary]: [usize; 2] = logits.layout().shape().dims();
    let logits = contiguous(logits);
    let targets = checked(&targets, vocabulary);
    let rows: Vec<RowSoftmax> = E::slice(&logits)
        .par_chunks_exact(vocabulary)
        .zip(&targets)
        .map(|(logits, &target)| {
            let Some(target) = target else {
                return RowSoftmax::IGNORED;
            };
            let (mut row, mut scratch) = (RowSoftmax::EMPTY, vec![]);
            for (tile, first) in logits.chunks(TILE).zip((0..).step_by(TILE)) {
                let tile = widened_and_capped(tile, softcap, &mut scratch);
                row.merge(&RowSoftmax::of(tile, target.checked_sub(first)));
            }
            row
        })
        .collect();
    outputs(&rows, &targets)
}

/// The log-probs and the statistics as tensors.
pub(crate) fn outputs(rows: &[RowSoftmax], targets: &[Option<usize>]) -> (FlexTensor, FlexTensor) {
    let log_probs = rows.iter().zip(targets).map(|(row, target)| match target {
        Some(_) => row.log_prob(),
        None => 0.0,
    });
    let statistics = rows.iter().flat_map(|row| [row.max, row.sum, row.target]);
    (tensor(log_probs.collect(), [rows.len()]), tensor(statistics.collect(), [rows.len(), 3]))
}

fn backward<E: Element>(
    logits: FlexTensor,
    targets: FlexTensor,
    statistics: FlexTensor,
    grad: FlexTensor,
    softcap: Option<f32>,
) -> FlexTensor {
    let [_, vocabulary]: [usize; 2] = logits.layout().shape().dims();
    let targets = checked(&targets, vocabulary);
    let (statistics, grad) = (contiguous(statistics), contiguous(grad));
    let row_gradients = |out: &mut [E], logits: Option<&[E]>, row: usize| {
        let Some(target) = targets[row] else {
            return out.fill(E::default());
        };
        let gradient = RowGradient::new(floats(&statistics), floats(&grad), row, softcap);
        let mut scratch = vec![0.0; TILE.min(vocabulary)];
        for first in (0..vocabulary).step_by(TILE) {
            let tile = first..(first + TILE).min(vocabulary);
            let scratch = &mut scratch[..tile.len()];
            E::widen(logits.map_or(&out[tile.clone()], |logits| &logits[tile.clone()]), scratch);
            gradient.write(scratch, target.checked_sub(first));
            E::narrow(scratch, &mut out[tile]);
        }
    };
    let mut logits = own_memory(logits);
    if let Some(own) = logits.try_storage_mut::<E>() {
        own.par_chunks_exact_mut(vocabulary).enumerate().for_each(|(row, out)| row_gradients(out, None, row));
        return logits;
    }
    let logits_slice = E::slice(&logits);
    let mut out = vec![E::default(); logits_slice.len()];
    out.par_chunks_exact_mut(vocabulary)
        .zip(logits_slice.par_chunks_exact(vocabulary))
        .enumerate()
        .for_each(|(row, (out, logits))| row_gradients(out, Some(logits), row));
    tensor(out, [targets.len(), vocabulary])
}

/// Targets as indices; none for those ignored.
pub(crate) fn checked(targets: &FlexTensor, vocabulary: usize) -> Vec<Option<usize>> {
    let index = |target: i64| {
        assert!(
            target == i64::from(IGNORED) || (0..vocabulary as i64).contains(&target),
            "expected targets in the vocabulary 0..{vocabulary} or {IGNORED}, got {target}"
        );
        usize::try_from(target).ok()
    };
    integers(targets).into_iter().map(index).collect()
}

/// A row's softmax as far as it has been seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowSoftmax {
    pub(crate) max: f32,
    /// Σ e^(logit − max)
    pub(crate) sum: f32,
    /// The target's logit; 0 until it is met.
    pub(crate) target: f32,
}

impl RowSoftmax {
    /// Nothing seen yet.
    pub(crate) const EMPTY: Self = Self { max: f32::NEG_INFINITY, sum: 0.0, target: 0.0 };
    /// Of a row that was not looked at.
    pub(crate) const IGNORED: Self = Self { max: 0.0, sum: 1.0, target: 0.0 };

    /// Over some logits, the target among them if its place is.
    pub(crate) fn of(logits: &[f32], target: Option<usize>) -> Self {
        let (max, sum) = max_and_sum(logits);
        let target = target.and_then(|target| logits.get(target));
        Self { max, sum, target: target.copied().unwrap_or(0.0) }
    }

    /// Adds what `other` has seen.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.target += other.target;
        // Columns of −∞ only (a masked vocabulary) have nothing to add, and no finite number to shift by.
        if other.max == f32::NEG_INFINITY {
            return;
        }
        if other.max > self.max || other.max.is_nan() {
            self.sum = self.sum * exp(self.max - other.max) + other.sum;
            self.max = other.max;
        } else {
            self.sum += other.sum * exp(other.max - self.max);
        }
    }

    /// Two small differences in place of one of large numbers: logits of ±1e4 cost no precision.
    fn log_prob(&self) -> f32 {
        (self.target - self.max) - self.sum.ln()
    }
}

/// What turns a row of logits into their gradients.
pub(crate) struct RowGradient {
    max: f32,
    log_sum: f32,
    grad: f32,
    softcap: Option<f32>,
}

impl RowGradient {
    /// Of a row, by the statistics `[rows, 3]` and the gradients `[rows]`.
    pub(crate) fn new(statistics: &[f32], grad: &[f32], row: usize, softcap: Option<f32>) -> Self {
        Self { max: statistics[3 * row], log_sum: statistics[3 * row + 1].ln(), grad: grad[row], softcap }
    }

    /// The size of the row's own gradient, by which every logit's is multiplied.
    pub(crate) fn scale(&self) -> f32 {
        self.grad.abs()
    }

    /// Logits → `grad · (onehot − softmax)`, through the soft-cap.
    pub(crate) fn write(&self, logits: &mut [f32], target: Option<usize>) {
        let target = target.filter(|&target| target < logits.len());
        let at_target = target.map(|target| (target, logits[target]));
        match self.softcap {
            None => softmax_times(logits, self.max, self.log_sum, -self.grad),
            Some(cap) => capped_softmax_times(logits, self.max, self.log_sum, -self.grad, cap),
        }
        if let Some((target, logit)) = at_target {
            let slope = self.softcap.map_or(1.0, |cap| tanh_and_slope(logit / cap).1);
            logits[target] += self.grad * slope;
        }
    }
}

fn widened_and_capped<'a, E: Element>(logits: &'a [E], softcap: Option<f32>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
    let Some(cap) = softcap else {
        return E::widened(logits, scratch);
    };
    scratch.resize(logits.len(), 0.0);
    E::widen(logits, scratch);
    soft_cap(scratch, cap);
    scratch
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub(crate) fn soft_cap(logits: &mut [f32], cap: f32) {
    logits.iter_mut().for_each(|z| *z = cap * tanh_and_slope(*z / cap).0);
}

/// The largest logit and Σ e^(logit − largest).
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn max_and_sum(logits: &[f32]) -> (f32, f32) {
    let largest = max(logits);
    if largest == f32::NEG_INFINITY {
        return (largest, 0.0);
    }
    (largest, exp_sum(logits, largest))
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn softmax_times(logits: &mut [f32], max: f32, log_sum: f32, factor: f32) {
    logits.iter_mut().for_each(|z| *z = factor * exp((*z - max) - log_sum));
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn capped_softmax_times(logits: &mut [f32], max: f32, log_sum: f32, factor: f32, cap: f32) {
    logits.iter_mut().for_each(|z| {
        let (tanh, slope) = tanh_and_slope(*z / cap);
        *z = factor * exp((cap * tanh - max) - log_sum) * slope;
    });
}
