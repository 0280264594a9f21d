//! The head met tile by tile on a GPU: a matrix product into a buffer of bounded size, for a kernel to read.
//!
//! Tiles are columns, not rows: the head's gradient is then written once, where chunks of rows would add to all of it
//! once per chunk. Logits and the sum of `hidden`'s gradient are f32 whatever the inputs are. Products are made in the type
//! of `hidden`: a tile of a head of another type is cast for them.

use std::ops::Range;

use burn::backend::ops::FloatTensorOps;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::Wanted;
use crate::cube::{dims, empty, transposed};
use crate::product::product;

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

    /// The columns of each tile, whose logits fit a quarter of the device's largest buffer.
    pub(crate) fn tiles(&self, hidden: &CubeTensor) -> impl Iterator<Item = Range<usize>> + use<> {
        let [rows, _] = dims(hidden);
        tiles(0..self.vocabulary(), self.tile_bytes() / (rows * size_of::<f32>()))
    }

    fn tile_bytes(&self) -> usize {
        let largest = self.0.client.properties().memory.max_page_size;
        TILE_BYTES.min(largest / 4) as usize
    }

    /// `hidden · headᵀ` for these columns, f32 and contiguous.
    pub(crate) fn logits(&self, hidden: &CubeTensor, columns: &Range<usize>) -> CubeTensor {
        logits(hidden, self.tile(columns, hidden.dtype))
    }

    /// The gradients of `hidden` and of the head, those that are wanted, from those of every tile's logits.
    pub(crate) fn gradients(
        self,
        hidden: CubeTensor,
        wanted: Wanted,
        gradient: impl Fn(CubeTensor, &Range<usize>) -> CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        let mut hidden_grad: Option<CubeTensor> = None;
        let mut head_grad: Option<CubeTensor> = None;
        for columns in self.tiles(&hidden) {
            let tile = self.tile(&columns, hidden.dtype);
            let gradient = gradient(logits(&hidden, tile.clone()), &columns);
            if wanted.hidden {
                let part = product(gradient.clone(), tile, DType::F32);
                hidden_grad = Some(match hidden_grad {
                    Some(sum) => CubeBackend::float_add(sum, part),
                    None => part,
                });
            }
            if wanted.head {
                let part = product(transposed(gradient), hidden.clone(), self.0.dtype);
                head_grad = Some(match head_grad {
                    None if columns.len() == self.vocabulary() => part,
                    grad => {
                        let grad = grad.unwrap_or_else(|| empty(&self.0, dims(&self.0), self.0.dtype));
                        CubeBackend::float_slice_assign(grad, &[columns.into()], part)
                    }
                });
            }
        }
        let none = |like: &CubeTensor| empty(like, [0, dims(like)[1]], like.dtype);
        (
            hidden_grad.map_or_else(|| none(&hidden), |grad| CubeBackend::float_cast(grad, hidden.dtype.into())),
            head_grad.unwrap_or_else(|| none(&self.0)),
        )
    }

    /// `sum` with the gradient of the head's rows from `first` on added, from those of every tile's logits. Beside it lie a
    /// tile's part of the head's gradient, of a quarter of a tile's bytes at most, and its logits.
    pub(crate) fn add_gradient(
        &self,
        mut sum: CubeTensor,
        first: usize,
        hidden: CubeTensor,
        gradient: impl Fn(CubeTensor, &Range<usize>) -> CubeTensor,
    ) -> CubeTensor {
        let ([count, width], [rows, _]) = (dims(&sum), dims(&hidden));
        let numbers = self.tile_bytes() / size_of::<f32>();
        for columns in tiles(first..first + count, (numbers / 4 / width).min(numbers / rows)) {
            let gradient = gradient(logits(&hidden, self.tile(&columns, hidden.dtype)), &columns);
            let part = product(transposed(gradient), hidden.clone(), self.0.dtype);
            let own = [(columns.start - first..columns.end - first).into()];
            // The slice is a view, which is gone when the sum is written.
            let part = CubeBackend::float_add(part, CubeBackend::float_slice(sum.clone(), &own));
            sum = CubeBackend::float_slice_assign(sum, &own, part);
        }
        sum
    }

    /// These rows of the head, as `dtype`.
    fn tile(&self, columns: &Range<usize>, dtype: DType) -> CubeTensor {
        let rows = CubeBackend::float_slice(self.0.clone(), &[columns.clone().into()]);
        CubeBackend::float_cast(rows, dtype.into())
    }
}

fn logits(hidden: &CubeTensor, tile: CubeTensor) -> CubeTensor {
    product(hidden.clone(), transposed(tile), DType::F32)
}

/// Tiles of at most so many columns, in multiples of 256 so that slices are aligned and rows can be read in vectors; what is
/// left of an odd number of columns is a tile of its own. At least 256, so that 131,072 rows are the most that a buffer of
/// 128 MiB, software Vulkan's, has room for.
fn tiles(columns: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let step = (most / 256).max(1) * 256;
    let (length, end) = (columns.len(), columns.end);
    let even = if length.is_multiple_of(16) { end } else { end - length % 256 };
    (columns.start..even)
        .step_by(step)
        .map(move |start| start..(start + step).min(even))
        .chain((even < end).then_some(even..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_of_whole_vectors_but_for_an_odd_rest() {
        let tiles = |columns, most| tiles(columns, most).collect::<Vec<_>>();
        assert_eq!(tiles(0..1_040, 700), [0..512, 512..1_024, 1_024..1_040]);
        assert_eq!(tiles(256..1_300, 700), [256..768, 768..1_280, 1_280..1_300]);
        assert_eq!(tiles(512..1_024, 10), [512..768, 768..1_024]);
        assert_eq!(tiles(0..7, 10), [0..7]);
        assert!(tiles(9..9, 10).is_empty());
    }
}
