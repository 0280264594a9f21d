//! Rows taken by their numbers, as an embedding does, added up by them, as its gradient is, and written by them, as a cache
//! of keys and values is.

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
    assert_fits("add_rows", &sum, ids, &rows);
    let added =
        <Dispatch as kernel::EmbeddingKernel>::add_rows(sum.into_dispatch(), rows.into_dispatch(), ids.to_vec());
    Tensor::from_dispatch(added)
}

/// `matrix` `[places, width]` with `rows[i]` `[rows, width]` in the place of its row `ids[i]`; in place where nothing else holds
/// `matrix`. No number may be given twice. Without autodiff.
///
/// # Panics
/// On other shapes or types, with autodiff, or if there is no such row.
pub fn write_rows(matrix: Tensor<2>, ids: &[u32], rows: Tensor<2>) -> Tensor<2> {
    assert_fits("write_rows", &matrix, ids, &rows);
    let written =
        <Dispatch as kernel::EmbeddingKernel>::write_rows(matrix.into_dispatch(), rows.into_dispatch(), ids.to_vec());
    Tensor::from_dispatch(written)
}

/// `rows` of the width and type of `into`, for its rows `ids`.
fn assert_fits(operation: &str, into: &Tensor<2>, ids: &[u32], rows: &Tensor<2>) {
    let [_, width] = into.dims();
    assert!(
        rows.dims() == [ids.len(), width] && into.dtype() == rows.dtype(),
        "{operation}: expected [V, W] and rows [{}, W] of one type, got {:?} {:?} and {:?} {:?}",
        ids.len(),
        into.dims(),
        into.dtype(),
        rows.dims(),
        rows.dtype()
    );
    assert!(!into.is_autodiff() && !rows.is_autodiff(), "{operation}: no gradient flows through it");
    assert_inside(operation, ids, into);
}

fn assert_inside(operation: &str, ids: &[u32], matrix: &Tensor<2>) {
    let [rows, _] = matrix.dims();
    if let Some(outside) = ids.iter().find(|&&id| id as usize >= rows) {
        panic!("{operation}: expected rows below {rows}, got {outside}");
    }
}

#[cfg(test)]
mod tests;
