//! Tiles of the vocabulary in parallel, each met by all rows while it is in the cache; logits never reach memory.
//!
//! Forward: one product and one online softmax. Backward: the same product again, then one for each gradient.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use rayon::prelude::*;

use super::composition;
use super::kernel::LinearLogProbsKernel;
use crate::cpu::{Stored, contiguous, floats, rounded};
use crate::vocabulary::head::Wanted;
use crate::vocabulary::head::native::{Head, Rows, blocks, buffer_size};
use crate::vocabulary::softcap::native::soft_cap;
use crate::vocabulary::softmax::native::{RowGradient, RowSoftmax, outputs};
use crate::vocabulary::targets::native::{Counted, checked};

impl LinearLogProbsKernel for Flex {
    fn linear_token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if hidden.dtype() == DType::F64 {
            return composition::forward::<Self>(hidden, head, targets, softcap);
        }
        let (hidden, head) = (contiguous(hidden), contiguous(head));
        let head = Head::new(&head, hidden.dtype());
        let softcap = softcap.map(|cap| cap as f32);
        let targets = checked(&targets, head.vocabulary());
        let counted = Counted::new(&targets);
        let hidden = Rows::new(counted.rows_of(Stored::of(&hidden), head.width), head.width);
        let runs: Vec<Vec<RowSoftmax>> = head
            .runs()
            .into_par_iter()
            .map(|run| forward_run(&head, &hidden, &counted.targets, softcap, run))
            .collect();
        let mut statistics = vec![RowSoftmax::IGNORED; targets.len()];
        for (i, &row) in counted.rows.iter().enumerate() {
            statistics[row] = runs[0][i];
            runs[1..].iter().for_each(|run| statistics[row].merge(&run[i]));
        }
        outputs(&statistics, &targets)
    }

    fn linear_token_log_probs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        statistics: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        softcap: Option<f64>,
        wanted: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let dtype = hidden.dtype();
        if dtype == DType::F64 {
            return composition::backward::<Self>(hidden, head, targets, statistics, grad, softcap, wanted);
        }
        let (hidden, head) = (contiguous(hidden), contiguous(head));
        let head = Head::new(&head, dtype);
        let softcap = softcap.map(|cap| cap as f32);
        let (statistics, grad) = (contiguous(statistics), contiguous(grad));
        let targets = checked(&targets, head.vocabulary());
        let counted = Counted::new(&targets);
        let hidden = Rows::new(counted.rows_of(Stored::of(&hidden), head.width), head.width);
        let rows: Vec<RowGradient> = counted
            .rows
            .iter()
            .map(|&row| RowGradient::new(floats(&statistics), floats(&grad), row, softcap))
            .collect();
        let (hidden_grad, head_grad) = head.gradients(&hidden, wanted, |block, logits| {
            let columns = block.columns.len();
            for (logits, row) in logits.chunks_exact_mut(columns).zip(block.rows.clone()) {
                let target = counted.targets[row].checked_sub(block.columns.start);
                rows[row].write(logits, target);
            }
        });
        let hidden_grad = if wanted.hidden { counted.in_place(hidden_grad, head.width) } else { vec![] };
        let count = hidden_grad.len() / head.width;
        (rounded(hidden_grad, [count, head.width], dtype), head_grad)
    }
}

/// Every row's softmax over these columns.
fn forward_run(
    head: &Head<'_>,
    hidden: &Rows<'_>,
    targets: &[usize],
    softcap: Option<f32>,
    run: Range<usize>,
) -> Vec<RowSoftmax> {
    let mut rows = vec![RowSoftmax::EMPTY; targets.len()];
    let mut buffer = vec![0.0; buffer_size(targets.len(), run.len())];
    for block in blocks(targets.len(), run) {
        let logits = &mut buffer[..block.rows.len() * block.columns.len()];
        head.tile(block.columns.clone()).logits(hidden, block.rows.clone(), logits);
        if let Some(cap) = softcap {
            soft_cap(logits, cap);
        }
        for (logits, row) in logits.chunks_exact(block.columns.len()).zip(block.rows) {
            let target = targets[row].checked_sub(block.columns.start);
            rows[row].merge(&RowSoftmax::of(logits, target));
        }
    }
    rows
}
