//! The head met tile by tile on a GPU: a matrix product into a buffer of bounded size, for a kernel to read.
//!
//! Tiles are columns, not rows: the head's gradient is then written once, where chunks of rows would add to all of it
//! once per chunk. Logits and the sum of `hidden`'s gradient are f32 whatever the inputs are.

use std::ops::Range;

use burn::backend::ops::FloatTensorOps;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::tensor::CubeTensor;

use crate::cube::{dims, empty};

/// The most bytes of logits alive, where the device has them: large enough for the products to run at full speed.
const TILE_BYTES: u64 = 256 << 20;

/// `[vocabulary, width]`.
pub(crate) struct Head(CubeTensor);

impl Head {
    pub(crate) fn new(head: CubeTensor) -> Self {
        Self(head)
    }

    pub(crate) fn vocabulary(&self) -> usize {
        dims(&self.0)[0]
    }

    /// The columns of each tile: as many as fit a quarter of the device's largest buffer, in multiples of 256 so that
    /// slices are aligned and rows can be read in vectors; what is left of an odd vocabulary is a tile of its own. At
    /// least 256, so that 131,072 rows are the most that a buffer of 128 MiB, software Vulkan's, has room for.
    pub(crate) fn tiles(&self, hidden: &CubeTensor) -> impl Iterator<Item = Range<usize>> + use<> {
        let largest = self.0.client.properties().memory.max_page_size;
        let bytes = TILE_BYTES.min(largest / 4) as usize;
        let [rows, _] = dims(hidden);
        let columns = (bytes / (rows * size_of::<f32>()) / 256).max(1) * 256;
        let vocabulary = self.vocabulary();
        let even = if vocabulary.is_multiple_of(16) { vocabulary } else { vocabulary - vocabulary % 256 };
        (0..even)
            .step_by(columns)
            .map(move |start| start..(start + columns).min(even))
            .chain((even < vocabulary).then_some(even..vocabulary))
    }

    /// `hidden · headᵀ` for these columns, f32 and contiguous.
    pub(crate) fn logits(&self, hidden: &CubeTensor, columns: &Range<usize>) -> CubeTensor {
        product(hidden.clone(), transposed(self.rows(columns)))
    }

    /// The gradients of `hidden` and of the head, from those of every tile's logits.
    pub(crate) fn gradients(
        self,
        hidden: CubeTensor,
        gradient: impl Fn(CubeTensor, &Range<usize>) -> CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        let (vocabulary, dtype) = (self.vocabulary(), hidden.dtype);
        let mut hidden_grad: Option<CubeTensor> = None;
        let mut head_grad: Option<CubeTensor> = None;
        for columns in self.tiles(&hidden) {
            let gradient = gradient(self.logits(&hidden, &columns), &columns);
            let part = product(gradient.clone(), self.rows(&columns));
            hidden_grad = Some(match hidden_grad {
                Some(sum) => CubeBackend::float_add(sum, part),
                None => part,
            });
            let part = CubeBackend::float_matmul(transposed(gradient), hidden.clone());
            head_grad = Some(match head_grad {
                None if columns.len() == vocabulary => part,
                grad => {
                    let grad = grad.unwrap_or_else(|| empty(&self.0, dims(&self.0), dtype));
                    CubeBackend::float_slice_assign(grad, &[columns.into()], part)
                }
            });
        }
        let hidden_grad = hidden_grad.expect("there is at least one column");
        (CubeBackend::float_cast(hidden_grad, dtype.into()), head_grad.expect("there is at least one column"))
    }

    fn rows(&self, rows: &Range<usize>) -> CubeTensor {
        CubeBackend::float_slice(self.0.clone(), &[rows.clone().into()])
    }
}

fn transposed(matrix: CubeTensor) -> CubeTensor {
    CubeBackend::float_swap_dims(matrix, 0, 1)
}

/// `lhs · rhs`, summed and written in f32.
fn product(lhs: CubeTensor, rhs: CubeTensor) -> CubeTensor {
    let ([rows, _], [_, columns]) = (dims(&lhs), dims(&rhs));
    let out = empty(&lhs, [rows, columns], DType::F32);
    matmul(lhs, rhs, Some(out), MatmulStrategy::default(), DType::F32)
        .unwrap_or_else(|error| panic!("a [{rows}, {columns}] matrix product: {error:?}"))
}
