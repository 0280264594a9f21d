//! The operations as a backend extension.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
#[cfg(feature = "cube")]
use burn::tensor::Shape;

use super::composition;

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait EmbeddingKernel: Backend {
    /// Rows `ids` of `matrix`.
    #[fusion(dtype = matrix, shape = Shape::new([ids.len(), matrix[1]]))]
    fn take_rows(matrix: FloatTensor<Self>, ids: Vec<u32>) -> FloatTensor<Self> {
        composition::take_rows::<Self>(matrix, ids)
    }

    /// `sum` with `rows[i]` added to its row `ids[i]`, in the order of `rows`.
    #[fusion(dtype = sum, shape = sum)]
    fn add_rows(sum: FloatTensor<Self>, rows: FloatTensor<Self>, ids: Vec<u32>) -> FloatTensor<Self> {
        composition::add_rows::<Self>(sum, rows, ids)
    }

    /// `matrix` with `rows[i]` in the place of its row `ids[i]`.
    #[fusion(dtype = matrix, shape = matrix)]
    fn write_rows(matrix: FloatTensor<Self>, rows: FloatTensor<Self>, ids: Vec<u32>) -> FloatTensor<Self> {
        composition::write_rows::<Self>(matrix, rows, ids)
    }
}

#[cfg(feature = "flex")]
impl EmbeddingKernel for burn::backend::Flex {}
