//! A row's softmax on the CPU, over its logits piece by piece.

use burn_flex::FlexTensor;
use multiversion::multiversion;

use crate::cpu::{exp, exp_sum, max, tanh_and_slope, tensor};

/// A row's softmax over the columns seen so far.
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

/// The log-probs and the statistics as tensors.
pub(crate) fn outputs(rows: &[RowSoftmax], targets: &[Option<usize>]) -> (FlexTensor, FlexTensor) {
    let log_probs = rows.iter().zip(targets).map(|(row, target)| match target {
        Some(_) => row.log_prob(),
        None => 0.0,
    });
    let statistics = rows.iter().flat_map(|row| [row.max, row.sum, row.target]);
    (tensor(log_probs.collect(), [rows.len()]), tensor(statistics.collect(), [rows.len(), 3]))
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
