//! Both directions in Burn's own operations: for types that have no kernel.

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::{IndexingUpdateOp, Shape};

use crate::vocabulary::softcap::composition::{capped, through_cap};
use crate::vocabulary::targets::IGNORED;

/// The log-probs `[tokens]` and the statistics `[tokens, 3]` of `logits` `[tokens, vocabulary]`.
pub(crate) fn forward<B: Backend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    softcap: Option<f64>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let n = targets.shape()[0];
    let logits = capped::<B>(logits, softcap);
    let ignored = ignored::<B>(&targets);
    let max = B::float_max_dim(logits.clone(), 1);
    let sum = B::float_sum_dim(B::float_exp(B::float_sub(logits.clone(), max.clone())), 1);
    let target = B::float_gather(1, logits, column::<B>(targets));
    let log_probs = B::float_sub(B::float_sub(target.clone(), max.clone()), B::float_log(sum.clone()));
    let log_probs = B::float_mask_fill(log_probs, ignored, 0.0.into());
    (B::float_reshape(log_probs, Shape::new([n])), B::float_cat(vec![max, sum, target], 1))
}

/// The gradient of the logits, from that of the log-probs and the statistics.
pub(crate) fn backward<B: Backend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    statistics: FloatTensor<B>,
    grad: FloatTensor<B>,
    softcap: Option<f64>,
) -> FloatTensor<B> {
    let shape = logits.shape();
    let logits = capped::<B>(logits, softcap);
    let ignored = B::bool_expand(ignored::<B>(&targets), shape.clone());
    let statistic = |i: usize| B::float_slice(statistics.clone(), &[(0..shape[0]).into(), (i..i + 1).into()]);
    let shifted = B::float_sub(B::float_sub(logits.clone(), statistic(0)), B::float_log(statistic(1)));
    // d log p / d logit = onehot − softmax
    let grad = B::float_reshape(grad, Shape::new([shape[0], 1]));
    let minus = B::float_neg(B::float_mul(B::float_exp(shifted), grad.clone()));
    let out = B::float_scatter(1, minus, column::<B>(targets), grad, IndexingUpdateOp::Add);
    B::float_mask_fill(through_cap::<B>(out, logits, softcap), ignored, 0.0.into())
}

/// Which targets are ignored, `[tokens, 1]`.
fn ignored<B: Backend>(targets: &IntTensor<B>) -> BoolTensor<B> {
    let (n, dtype) = (targets.shape()[0], get_or_init_device_settings::<B>(&targets.device()).bool_dtype);
    let column = B::int_reshape(targets.clone(), Shape::new([n, 1]));
    B::int_equal_elem(column, IGNORED.into(), dtype)
}

/// Targets as a column to gather and scatter with; ignored ones become the first of the vocabulary.
fn column<B: Backend>(targets: IntTensor<B>) -> IntTensor<B> {
    let n = targets.shape()[0];
    let ignored = ignored::<B>(&targets);
    let column = B::int_reshape(targets, Shape::new([n, 1]));
    B::int_mask_fill(column, ignored, 0.into())
}
