//! Both directions in Burn's own operations: for types that have no kernel.

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Shape;

pub(super) fn segment_sums<B: Backend>(x: FloatTensor<B>, lengths: &[usize]) -> FloatTensor<B> {
    let mut end = 0;
    let sums = lengths.iter().map(|&length| {
        end += length;
        B::float_sum(B::float_slice(x.clone(), &[(end - length..end).into()]))
    });
    B::float_cat(sums.collect(), 0)
}

pub(super) fn segment_repeat<B: Backend>(sums: FloatTensor<B>, lengths: &[usize]) -> FloatTensor<B> {
    let runs = lengths.iter().enumerate().map(|(i, &length)| {
        let sum = B::float_slice(sums.clone(), &[(i..i + 1).into()]);
        B::float_expand(sum, Shape::new([length]))
    });
    B::float_cat(runs.collect(), 0)
}
