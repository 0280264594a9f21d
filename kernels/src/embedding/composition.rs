//! All in Burn's own operations: for the CPU, and for types that have no kernel.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{IndexingUpdateOp, Slice, TensorData};

/// See [`EmbeddingKernel::take_rows`](super::kernel::EmbeddingKernel::take_rows).
pub(super) fn take_rows<B: Backend>(matrix: FloatTensor<B>, ids: Vec<u32>) -> FloatTensor<B> {
    let ids = indices::<B>(ids, &matrix.device());
    B::float_select(matrix, 0, ids)
}

/// See [`EmbeddingKernel::add_rows`](super::kernel::EmbeddingKernel::add_rows).
pub(super) fn add_rows<B: Backend>(sum: FloatTensor<B>, rows: FloatTensor<B>, ids: Vec<u32>) -> FloatTensor<B> {
    let ids = indices::<B>(ids, &sum.device());
    B::float_select_assign(sum, 0, ids, rows, IndexingUpdateOp::Add)
}

/// See [`EmbeddingKernel::write_rows`](super::kernel::EmbeddingKernel::write_rows). Rows that follow each other are written at
/// once.
pub(super) fn write_rows<B: Backend>(
    mut matrix: FloatTensor<B>,
    rows: FloatTensor<B>,
    ids: Vec<u32>,
) -> FloatTensor<B> {
    let mut first = 0;
    for run in ids.chunk_by(|one, next| one + 1 == *next) {
        let of = |start: usize| Slice::from(start..start + run.len());
        let part = B::float_slice(rows.clone(), &[of(first)]);
        matrix = B::float_slice_assign(matrix, &[of(run[0] as usize)], part);
        first += run.len();
    }
    matrix
}

fn indices<B: Backend>(ids: Vec<u32>, device: &B::Device) -> IntTensor<B> {
    let count = ids.len();
    let ids: Vec<i32> = ids.into_iter().map(|id| id as i32).collect();
    B::int_from_data(TensorData::new(ids, [count]), device)
}
