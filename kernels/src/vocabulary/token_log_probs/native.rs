//! One pass over each row, in tiles that stay in the cache.

use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_flex::FlexTensor;
use half::{bf16, f16};
use rayon::prelude::*;

use super::kernel::TokenLogProbsKernel;
use crate::cpu::{Element, contiguous, floats, own_memory, tensor};
use crate::vocabulary::softcap::native::soft_cap;
use crate::vocabulary::softmax::composition;
use crate::vocabulary::softmax::native::{RowGradient, RowSoftmax, outputs};
use crate::vocabulary::targets::native::checked;

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

fn widened_and_capped<'a, E: Element>(logits: &'a [E], softcap: Option<f32>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
    let Some(cap) = softcap else {
        return E::widened(logits, scratch);
    };
    scratch.resize(logits.len(), 0.0);
    E::widen(logits, scratch);
    soft_cap(scratch, cap);
    scratch
}
