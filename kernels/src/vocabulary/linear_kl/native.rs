//! Tiles of both heads side by side.
//!
//! Forward: two products. Backward: the same two again, then one of the policy's for each gradient.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_flex::FlexTensor;
use multiversion::multiversion;
use rayon::prelude::*;

use super::composition;
use super::kernel::LinearKlKernel;
use crate::cpu::{Stored, contiguous, exp, floats, rounded, tanh_and_slope, tensor};
use crate::vocabulary::head::Wanted;
use crate::vocabulary::head::kept::Kept;
use crate::vocabulary::head::native::{Block, Head, Rows, blocks, buffer_size};
use crate::vocabulary::softcap::native::soft_cap;
use crate::vocabulary::softmax::native::RowSoftmax;

impl LinearKlKernel for Flex {
    fn linear_kl(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        reference_hidden: FloatTensor<Self>,
        reference_head: FloatTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if hidden.dtype() == DType::F64 {
            return composition::forward::<Self>(hidden, head, reference_hidden, reference_head, softcap);
        }
        let tensors = [hidden, head, reference_hidden, reference_head].map(contiguous);
        forward(&Models::new(&tensors, softcap))
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
        let dtype = hidden.dtype();
        if dtype == DType::F64 {
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
        let tensors = [hidden, head, reference_hidden, reference_head].map(contiguous);
        let models = Models::new(&tensors, softcap);
        let (hidden_grad, head_grad) = backward(&models, &contiguous(statistics), &contiguous(grad), wanted);
        let width = models.policy.width;
        let rows = hidden_grad.len() / width;
        (rounded(hidden_grad, [rows, width], dtype), head_grad)
    }
}

/// Both models' heads with their hidden states in f32.
struct Models<'a> {
    policy: Head<'a>,
    hidden: Rows<'a>,
    reference: Head<'a>,
    reference_hidden: Rows<'a>,
    softcap: Option<f32>,
}

impl<'a> Models<'a> {
    fn new(tensors: &'a [FlexTensor; 4], softcap: Option<f64>) -> Self {
        let [hidden, head, reference_hidden, reference_head] = tensors;
        let policy = Head::new(head, hidden.dtype());
        let reference = Head::new(reference_head, reference_hidden.dtype());
        let rows = |hidden, head: &Head<'_>| Rows::new(Stored::of(hidden).wide(DType::F32), head.width, hidden.dtype());
        Self {
            hidden: rows(hidden, &policy),
            reference_hidden: rows(reference_hidden, &reference),
            policy,
            reference,
            softcap: softcap.map(|cap| cap as f32),
        }
    }

    fn rows(&self) -> usize {
        self.hidden.count()
    }

    fn policy_logits(&self, block: &Block, out: &mut [f32]) {
        logits(&self.policy, &self.hidden, self.softcap, block, out);
    }

    fn reference_logits(&self, block: &Block, out: &mut [f32]) {
        let hidden = &self.reference_hidden;
        logits(&self.reference, hidden, self.softcap, block, out);
    }
}

fn logits(head: &Head<'_>, hidden: &Rows<'_>, softcap: Option<f32>, block: &Block, out: &mut [f32]) {
    head.tile(block.columns.clone()).logits(hidden, block.rows.clone(), out);
    if let Some(cap) = softcap {
        soft_cap(out, cap);
    }
}

fn forward(models: &Models<'_>) -> (FlexTensor, FlexTensor) {
    let runs: Vec<Vec<RowKl>> = models.policy.runs().into_par_iter().map(|run| forward_run(models, run)).collect();
    let row = |i: usize| {
        let mut row = runs[0][i];
        runs[1..].iter().for_each(|run| row.merge(&run[i]));
        row
    };
    let n = models.rows();
    let rows: Vec<RowKl> = (0..n).map(row).collect();
    (
        tensor(rows.iter().map(RowKl::divergence).collect(), [n]),
        tensor(rows.iter().flat_map(RowKl::statistics).collect(), [n, 5]),
    )
}

fn forward_run(models: &Models<'_>, run: Range<usize>) -> Vec<RowKl> {
    let mut rows = vec![RowKl::EMPTY; models.rows()];
    let mut buffers = [(); 2].map(|()| vec![0.0; buffer_size(rows.len(), run.len())]);
    for block in blocks(rows.len(), run) {
        let (columns, [z, r]) = (block.columns.len(), &mut buffers);
        let size = block.rows.len() * columns;
        let (z, r) = (&mut z[..size], &mut r[..size]);
        models.policy_logits(&block, z);
        models.reference_logits(&block, r);
        let logits = z.chunks_exact(columns).zip(r.chunks_exact(columns));
        for ((z, r), row) in logits.zip(&mut rows[block.rows]) {
            row.merge(&RowKl::of(z, r));
        }
    }
    rows
}

fn backward(models: &Models<'_>, statistics: &FlexTensor, grad: &FlexTensor, wanted: Wanted) -> (Vec<f32>, FlexTensor) {
    let (statistics, grad) = (floats(statistics), floats(grad));
    models.policy.gradients(&models.hidden, wanted, Kept::NONE, |block, z| {
        let columns = block.columns.len();
        let mut r = vec![0.0; z.len()];
        models.reference_logits(block, &mut r);
        let logits = z.chunks_exact_mut(columns).zip(r.chunks_exact(columns));
        for ((z, r), row) in logits.zip(block.rows.clone()) {
            let [max, sum, above, r_max, _] = [0, 1, 2, 3, 4].map(|i| statistics[5 * row + i]);
            let row = RowGradient { max, log_sum: sum.ln(), r_max, mean: above / sum, grad: grad[row] };
            match models.softcap {
                None => write_gradient(z, r, &row),
                Some(cap) => write_capped_gradient(z, r, &row, cap),
            }
        }
    })
}

/// A row of both models over the columns seen so far.
#[derive(Clone, Copy)]
struct RowKl {
    policy: RowSoftmax,
    /// Σ e^(z − max z) ((z − max z) − (r − max r)): both shifted first, so that large logits cost no precision.
    above: f32,
    reference: RowSoftmax,
}

impl RowKl {
    const EMPTY: Self = Self { policy: RowSoftmax::EMPTY, above: 0.0, reference: RowSoftmax::EMPTY };

    fn of(z: &[f32], r: &[f32]) -> Self {
        let (policy, reference) = (RowSoftmax::of(z, None), RowSoftmax::of(r, None));
        Self { policy, above: sum_above(z, r, policy.max, reference.max), reference }
    }

    fn merge(&mut self, other: &Self) {
        let parts = [*self, *other];
        self.policy.merge(&other.policy);
        self.reference.merge(&other.reference);
        self.above = parts.iter().map(|part| part.shifted_above(self.policy.max, self.reference.max)).sum();
    }

    /// `above` for these maxima.
    fn shifted_above(&self, max: f32, r_max: f32) -> f32 {
        if self.policy.max == f32::NEG_INFINITY {
            return 0.0;
        }
        let scale = exp(self.policy.max - max);
        // Tokens of probability zero do not count, even if the reference is infinitely far from them.
        if scale == 0.0 {
            return 0.0;
        }
        if self.reference.max == f32::NEG_INFINITY {
            return scale * self.above;
        }
        let shift = (self.policy.max - max) - (self.reference.max - r_max);
        scale * (self.above + self.policy.sum * shift)
    }

    fn divergence(&self) -> f32 {
        let (policy, reference) = (self.policy, self.reference);
        self.above / policy.sum - (policy.sum.ln() - reference.sum.ln())
    }

    fn statistics(&self) -> [f32; 5] {
        let (policy, reference) = (self.policy, self.reference);
        [policy.max, policy.sum, self.above, reference.max, reference.sum]
    }
}

/// Σ e^(z − max) ((z − max) − (r − r_max)), without tokens of probability zero.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn sum_above(z: &[f32], r: &[f32], max: f32, r_max: f32) -> f32 {
    if max == f32::NEG_INFINITY {
        return 0.0;
    }
    // A reference that is −∞ everywhere here: the divergence is ∞.
    let r_max = if r_max == f32::NEG_INFINITY { 0.0 } else { r_max };
    let term = |z: f32, r: f32| {
        let e = exp(z - max);
        if e == 0.0 { 0.0 } else { e * ((z - max) - (r - r_max)) }
    };
    let (z_chunks, r_chunks) = (z.chunks_exact(16), r.chunks_exact(16));
    let tail = z_chunks.remainder().iter().zip(r_chunks.remainder());
    let tail: f32 = tail.map(|(&z, &r)| term(z, r)).sum();
    let mut sums = [0.0f32; 16];
    for (z, r) in z_chunks.zip(r_chunks) {
        for lane in 0..16 {
            sums[lane] += term(z[lane], r[lane]);
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// What turns a row of the policy's logits into their gradients.
struct RowGradient {
    max: f32,
    log_sum: f32,
    r_max: f32,
    /// Of (z − max z) − (r − max r) under the policy.
    mean: f32,
    grad: f32,
}

impl RowGradient {
    /// `grad · p · ((z − r) − mean)`
    #[inline(always)]
    fn of(&self, z: f32, r: f32) -> f32 {
        let p = exp((z - self.max) - self.log_sum);
        let centred = ((z - self.max) - (r - self.r_max)) - self.mean;
        if p == 0.0 { 0.0 } else { self.grad * p * centred }
    }
}

/// Logits → their gradients.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn write_gradient(z: &mut [f32], r: &[f32], row: &RowGradient) {
    for (z, &r) in z.iter_mut().zip(r) {
        *z = row.of(*z, r);
    }
}

/// The same through the soft-cap, from the policy's logits before it and the reference's after it.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn write_capped_gradient(z: &mut [f32], r: &[f32], row: &RowGradient, cap: f32) {
    for (z, &r) in z.iter_mut().zip(r) {
        let (tanh, slope) = tanh_and_slope(*z / cap);
        *z = row.of(cap * tanh, r) * slope;
    }
}
