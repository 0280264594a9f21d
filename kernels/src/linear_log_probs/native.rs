//! Tiles of the vocabulary in parallel, each met by all rows while it is in the cache; logits never reach memory.
//!
//! Forward: one product and one online softmax. Backward: the same product again, then two.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_flex::FlexTensor;
use half::{bf16, f16};
use rayon::prelude::*;

use super::head::{Counted, Head, Rows, blocks, buffer_size};
use super::kernel::LinearLogProbsKernel;
use super::{LinearLogProbsOptions, composition};
use crate::cpu::{Element, contiguous, floats, tensor};
use crate::token_log_probs::native::{RowGradient, RowSoftmax, checked, outputs, soft_cap};

/// Columns that gradient filtering keeps or skips together.
const FILTERED: usize = 128;

impl LinearLogProbsKernel for Flex {
    fn linear_token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        options: LinearLogProbsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let run = match hidden.dtype() {
            DType::F32 => forward::<f32>,
            DType::F16 => forward::<f16>,
            DType::BF16 => forward::<bf16>,
            _ => return composition::forward::<Self>(hidden, head, targets, options.softcap),
        };
        run(hidden, head, targets, options)
    }

    fn linear_token_log_probs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        statistics: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        options: LinearLogProbsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let run = match hidden.dtype() {
            DType::F32 => backward::<f32>,
            DType::F16 => backward::<f16>,
            DType::BF16 => backward::<bf16>,
            _ => {
                return composition::backward::<Self>(hidden, head, targets, statistics, grad, options.softcap);
            }
        };
        run(hidden, head, targets, statistics, grad, options)
    }
}

fn forward<E: Element>(
    hidden: FlexTensor,
    head: FlexTensor,
    targets: FlexTensor,
    options: LinearLogProbsOptions,
) -> (FlexTensor, FlexTensor) {
    let (hidden, head) = (contiguous(hidden), contiguous(head));
    let head = Head::<E>::new(&head);
    let softcap = options.softcap.map(|cap| cap as f32);
    let targets = checked(&targets, head.vocabulary());
    let counted = Counted::new(&targets);
    let hidden = Rows::new(counted.rows_of(E::slice(&hidden), head.width), head.width);
    let runs: Vec<Vec<RowSoftmax>> =
        head.runs().into_par_iter().map(|run| forward_run(&head, &hidden, &counted.targets, softcap, run)).collect();
    let mut statistics = vec![RowSoftmax::IGNORED; targets.len()];
    for (i, &row) in counted.rows.iter().enumerate() {
        statistics[row] = runs[0][i];
        runs[1..].iter().for_each(|run| statistics[row].merge(&run[i]));
    }
    outputs(&statistics, &targets)
}

/// Every row's softmax over these columns.
fn forward_run<E: Element>(
    head: &Head<'_, E>,
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

fn backward<E: Element>(
    hidden: FlexTensor,
    head: FlexTensor,
    targets: FlexTensor,
    statistics: FlexTensor,
    grad: FlexTensor,
    options: LinearLogProbsOptions,
) -> (FlexTensor, FlexTensor) {
    let (hidden, head) = (contiguous(hidden), contiguous(head));
    let head = Head::<E>::new(&head);
    let softcap = options.softcap.map(|cap| cap as f32);
    let (statistics, grad) = (contiguous(statistics), contiguous(grad));
    let targets = checked(&targets, head.vocabulary());
    let counted = Counted::new(&targets);
    let hidden = Rows::new(counted.rows_of(E::slice(&hidden), head.width), head.width);
    let rows: Vec<RowGradient> =
        counted.rows.iter().map(|&row| RowGradient::new(floats(&statistics), floats(&grad), row, softcap)).collect();
    let (hidden_grad, head_grad) = head.gradients(&hidden, |block, logits| {
        let columns = block.columns.len();
        for (logits, row) in logits.chunks_exact_mut(columns).zip(block.rows.clone()) {
            let target = counted.targets[row].checked_sub(block.columns.start);
            rows[row].write(logits, target);
        }
        match options.gradient_filter {
            None => vec![0..columns],
            Some(smallest) => active_columns(logits, &rows[block.rows.clone()], columns, smallest),
        }
    });
    let hidden_grad = counted.in_place::<E>(&hidden_grad, head.width);
    (tensor(hidden_grad, [targets.len(), head.width]), tensor(head_grad, [head.vocabulary(), head.width]))
}

/// The columns where some row's |onehot − softmax| reaches `smallest`, neighbours together.
fn active_columns(gradients: &[f32], rows: &[RowGradient], columns: usize, smallest: f32) -> Vec<Range<usize>> {
    let mut active: Vec<Range<usize>> = vec![];
    for start in (0..columns).step_by(FILTERED) {
        let end = (start + FILTERED).min(columns);
        let counts = gradients.chunks_exact(columns).zip(rows).any(|(row, of)| {
            // A NaN does not vanish: it must reach the gradients.
            let vanishes = |g: &f32| g.abs() <= smallest * of.scale();
            !row[start..end].iter().all(vanishes)
        });
        match active.last_mut() {
            Some(last) if counts && last.end == start => last.end = end,
            _ if counts => active.push(start..end),
            _ => {}
        }
    }
    active
}
