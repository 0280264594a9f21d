//! Tiles of the vocabulary in parallel, each met by all rows while it is in the cache; no logits reach memory but those that
//! are kept for the backward.
//!
//! Forward: one product and one online softmax. Backward: the same product again where its logits were not kept, then one
//! for each gradient.

use std::mem::MaybeUninit;
use std::ops::Range;

use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_flex::FlexTensor;
use half::{bf16, f16};
use rayon::prelude::*;

use super::composition;
use super::kernel::{LinearLogProbsKernel, Options};
use crate::cpu::{Element, Stored, contiguous, floats, own_memory, rounded, tensor};
use crate::vocabulary::head::Wanted;
use crate::vocabulary::head::kept::{Kept, Plan};
use crate::vocabulary::head::native::{Block, Head, Rows, blocks, buffer_size};
use crate::vocabulary::softcap::native::soft_cap;
use crate::vocabulary::softmax::native::{RowGradient, RowSoftmax, outputs};
use crate::vocabulary::targets::native::{Counted, checked};

impl LinearLogProbsKernel for Flex {
    fn linear_token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        options: Options,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if hidden.dtype() == DType::F64 {
            return composition::forward::<Self>(hidden, head, targets, options);
        }
        let (dtype, hidden, head) = (hidden.dtype(), contiguous(hidden), contiguous(head));
        let head = Head::new(&head, dtype);
        let softcap = options.softcap.map(|cap| cap as f32);
        let targets = checked(&targets, head.vocabulary());
        let counted = Counted::new(&targets);
        let hidden = Rows::new(counted.rows_of(Stored::of(&hidden), head.width), head.width, dtype);
        let kept = Plan::new(&head, hidden.count(), options.keep);
        let mut logits = Vec::with_capacity(kept.len());
        let shares = kept.shares(&mut logits.spare_capacity_mut()[..kept.len()]);
        let runs: Vec<Vec<RowSoftmax>> = head
            .runs()
            .into_par_iter()
            .zip(shares)
            .map(|(run, share)| forward_run(&head, &hidden, &counted.targets, softcap, run, share))
            .collect();
        // SAFETY: the shares are all of these, and every run has filled its own.
        unsafe { logits.set_len(kept.len()) };
        let mut statistics = vec![RowSoftmax::IGNORED; targets.len()];
        for (i, &row) in counted.rows.iter().enumerate() {
            statistics[row] = runs[0][i];
            runs[1..].iter().for_each(|run| statistics[row].merge(&run[i]));
        }
        let (log_probs, statistics) = outputs(&statistics, &targets);
        (log_probs, statistics, tensor(logits, [kept.len()]))
    }

    fn linear_token_log_probs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        statistics: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        options: Options,
        wanted: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let dtype = hidden.dtype();
        if dtype == DType::F64 {
            return composition::backward::<Self>(hidden, head, targets, statistics, grad, options, wanted);
        }
        let tensors = [hidden, head, statistics, grad].map(contiguous);
        let rows = GradientRows::new(&tensors, &targets, options.softcap);
        let kept = Plan::new(&rows.head, rows.hidden.count(), options.keep);
        let kept = Kept::new(kept, floats(&logits));
        let (hidden_grad, head_grad) =
            rows.head.gradients(&rows.hidden, wanted, kept, |block, logits| rows.write(block, logits));
        let width = rows.head.width;
        let hidden_grad = if wanted.hidden { rows.counted.in_place(hidden_grad, width) } else { vec![] };
        let count = hidden_grad.len() / width;
        (rounded(hidden_grad, [count, width], dtype), head_grad)
    }

    fn add_linear_token_log_probs_head_grad(
        sum: FloatTensor<Self>,
        first: usize,
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        statistics: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        softcap: Option<f64>,
    ) -> FloatTensor<Self> {
        if hidden.dtype() == DType::F64 {
            return composition::add_head_grad::<Self>(sum, first, hidden, head, targets, statistics, grad, softcap);
        }
        let tensors = [hidden, head, statistics, grad].map(contiguous);
        let rows = GradientRows::new(&tensors, &targets, softcap);
        let mut sum = own_memory(sum);
        match sum.dtype() {
            DType::F32 => rows.add_head_gradient::<f32>(first, &mut sum),
            DType::F16 => rows.add_head_gradient::<f16>(first, &mut sum),
            DType::BF16 => rows.add_head_gradient::<bf16>(first, &mut sum),
            other => panic!("native kernels are given f32, f16 or bf16, got {other:?}"),
        }
        sum
    }
}

/// Every row's softmax over these columns. What is kept of their logits fills `share`.
fn forward_run(
    head: &Head<'_>,
    hidden: &Rows<'_>,
    targets: &[usize],
    softcap: Option<f32>,
    run: Range<usize>,
    mut share: &mut [MaybeUninit<f32>],
) -> Vec<RowSoftmax> {
    let mut rows = vec![RowSoftmax::EMPTY; targets.len()];
    let mut buffer = vec![0.0; buffer_size(targets.len(), run.len())];
    for block in blocks(targets.len(), run) {
        let logits = &mut buffer[..block.rows.len() * block.columns.len()];
        head.tile(block.columns.clone()).logits(hidden, block.rows.clone(), logits);
        if let Some(kept) = share.split_off_mut(..logits.len()) {
            kept.write_copy_of_slice(logits);
        }
        if let Some(cap) = softcap {
            soft_cap(logits, cap);
        }
        for (logits, row) in logits.chunks_exact(block.columns.len()).zip(block.rows) {
            let target = targets[row].checked_sub(block.columns.start);
            rows[row].merge(&RowSoftmax::of(logits, target));
        }
    }
    assert!(share.is_empty(), "what is kept are whole tiles");
    rows
}

/// The rows that count, and what turns their logits into gradients.
struct GradientRows<'a> {
    head: Head<'a>,
    hidden: Rows<'a>,
    counted: Counted,
    gradients: Vec<RowGradient>,
}

impl<'a> GradientRows<'a> {
    /// Of contiguous hidden states, head, statistics and gradients.
    fn new(tensors: &'a [FlexTensor; 4], targets: &FlexTensor, softcap: Option<f64>) -> Self {
        let [hidden, head, statistics, grad] = tensors;
        let dtype = hidden.dtype();
        let head = Head::new(head, dtype);
        let softcap = softcap.map(|cap| cap as f32);
        let counted = Counted::new(&checked(targets, head.vocabulary()));
        let hidden = Rows::new(counted.rows_of(Stored::of(hidden), head.width), head.width, dtype);
        let gradient = |&row: &usize| RowGradient::new(floats(statistics), floats(grad), row, softcap);
        let gradients = counted.rows.iter().map(gradient).collect();
        Self { head, hidden, counted, gradients }
    }

    fn add_head_gradient<E: Element>(&self, first: usize, sum: &mut FlexTensor) {
        let sum = sum.storage_mut::<E>();
        self.head.add_gradient(&self.hidden, first, sum, |block, logits| self.write(block, logits));
    }

    /// Logits → their gradients.
    fn write(&self, block: &Block, logits: &mut [f32]) {
        for (logits, row) in logits.chunks_exact_mut(block.columns.len()).zip(block.rows.clone()) {
            let target = self.counted.targets[row].checked_sub(block.columns.start);
            self.gradients[row].write(logits, target);
        }
    }
}
