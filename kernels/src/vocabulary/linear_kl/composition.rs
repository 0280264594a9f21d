//! Both directions in Burn's own operations, in chunks of rows: for types that have no kernel.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, Slice};

use crate::vocabulary::head::Wanted;
use crate::vocabulary::head::composition::{chunks, gradients, logits};
use crate::vocabulary::softcap::composition::{capped, through_cap};

/// See [`LinearKlKernel::linear_kl`](super::kernel::LinearKlKernel::linear_kl).
pub(super) fn forward<B: Backend>(
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    reference_hidden: FloatTensor<B>,
    reference_head: FloatTensor<B>,
    softcap: Option<f64>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let parts = chunks::<B>(&hidden, &head).map(|rows| {
        let rows_of = |t: &FloatTensor<B>| B::float_slice(t.clone(), &[rows]);
        let z = capped::<B>(logits::<B>(rows_of(&hidden), head.clone()), softcap);
        let r = logits::<B>(rows_of(&reference_hidden), reference_head.clone());
        let r = capped::<B>(r, softcap);
        let (max, e, sum) = softmax::<B>(z.clone());
        let (r_max, _, r_sum) = softmax::<B>(r.clone());
        let difference = B::float_sub(B::float_sub(z, max.clone()), B::float_sub(r, r_max.clone()));
        let above = B::float_sum_dim(B::float_mul(e, difference), 1);
        let log_normalisers = B::float_sub(B::float_log(sum.clone()), B::float_log(r_sum.clone()));
        let kl = B::float_sub(B::float_div(above.clone(), sum.clone()), log_normalisers);
        let n = kl.shape()[0];
        (B::float_reshape(kl, Shape::new([n])), B::float_cat(vec![max, sum, above, r_max, r_sum], 1))
    });
    let (kl, statistics) = parts.unzip();
    (B::float_cat(kl, 0), B::float_cat(statistics, 0))
}

/// See [`LinearKlKernel::linear_kl_backward`](super::kernel::LinearKlKernel::linear_kl_backward).
#[allow(clippy::too_many_arguments)]
pub(super) fn backward<B: Backend>(
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    reference_hidden: FloatTensor<B>,
    reference_head: FloatTensor<B>,
    statistics: FloatTensor<B>,
    grad: FloatTensor<B>,
    softcap: Option<f64>,
    wanted: Wanted,
) -> (FloatTensor<B>, FloatTensor<B>) {
    gradients::<B>(&hidden, &head, wanted, |rows: Slice, z| {
        let rows_of = |t: &FloatTensor<B>| B::float_slice(t.clone(), &[rows]);
        let (z, statistics) = (capped::<B>(z, softcap), rows_of(&statistics));
        let r = logits::<B>(rows_of(&reference_hidden), reference_head.clone());
        let r = capped::<B>(r, softcap);
        let n = z.shape()[0];
        let statistic = |i: usize| B::float_slice(statistics.clone(), &[(0..n).into(), (i..i + 1).into()]);
        let sum = statistic(1);
        // d KL / d z = p (d − Σ p d) with d = z − r, or that shifted by any number
        let shifted = B::float_sub(z.clone(), statistic(0));
        let p = B::float_div(B::float_exp(shifted.clone()), sum.clone());
        let mean = B::float_div(statistic(2), sum);
        let difference = B::float_sub(shifted, B::float_sub(r, statistic(3)));
        let centred = B::float_sub(difference, mean);
        let grad = B::float_reshape(rows_of(&grad), Shape::new([n, 1]));
        let gradient = B::float_mul(B::float_mul(p, centred), grad);
        through_cap::<B>(gradient, z, softcap)
    })
}

/// Row maximum, e^(logit − maximum), and its row sum.
fn softmax<B: Backend>(logits: FloatTensor<B>) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let max = B::float_max_dim(logits.clone(), 1);
    let e = B::float_exp(B::float_sub(logits, max.clone()));
    (max, e.clone(), B::float_sum_dim(e, 1))
}
