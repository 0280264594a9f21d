//! Rows taken by their numbers, as an embedding does, and added up by them, as its gradient is.

mod autodiff;
mod composition;
#[cfg(feature = "cube")]
mod cube;
pub(crate) mod kernel;

use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// Rows `ids` of `matrix` `[rows, width]`: `[ids, width]`. Differentiable in `matrix`.
///
/// # Panics
/// If there is no such row.
pub fn take_rows(matrix: Tensor<2>, ids: &[u32]) -> Tensor<2> {
    assert_inside("take_rows", ids, &matrix);
    let taken = <Dispatch as kernel::EmbeddingKernel>::take_rows(matrix.into_dispatch(), ids.to_vec());
    Tensor::from_dispatch(taken)
}

/// `sum` `[vocabulary, width]` with `rows[i]` `[tokens, width]` added to row `ids[i]`, in the order of tokens; in place where
/// nothing else holds `sum`. Without autodiff.
///
/// # Panics
/// On other shapes or types, with autodiff, or if there is no such row.
pub fn add_rows(sum: Tensor<2>, ids: &[u32], rows: Tensor<2>) -> Tensor<2> {
    let [_, width] = sum.dims();
    assert!(
        rows.dims() == [ids.len(), width] && sum.dtype() == rows.dtype(),
        "add_rows: expected sum [V, W] and rows [{}, W] of one type, got {:?} {:?} and {:?} {:?}",
        ids.len(),
        sum.dims(),
        sum.dtype(),
        rows.dims(),
        rows.dtype()
    );
    assert!(!sum.is_autodiff() && !rows.is_autodiff(), "add_rows: no gradient flows through it");
    assert_inside("add_rows", ids, &sum);
    let added =
        <Dispatch as kernel::EmbeddingKernel>::add_rows(sum.into_dispatch(), rows.into_dispatch(), ids.to_vec());
    Tensor::from_dispatch(added)
}

fn assert_inside(operation: &str, ids: &[u32], matrix: &Tensor<2>) {
    let [rows, _] = matrix.dims();
    if let Some(outside) = ids.iter().find(|&&id| id as usize >= rows) {
        panic!("{operation}: expected rows below {rows}, got {outside}");
    }
}

#[cfg(test)]
mod tests;
