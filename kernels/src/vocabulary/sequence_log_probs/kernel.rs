//! The operation as a backend extension.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
#[cfg(feature = "cube")]
use burn::tensor::Shape;

use super::composition;

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait SegmentKernel: Backend {
    /// Sums of consecutive runs of `x` `[Σ lengths]`, `[lengths]`.
    #[fusion(dtype = x, shape = Shape::new([lengths.len()]))]
    fn segment_sums(x: FloatTensor<Self>, lengths: Vec<usize>) -> FloatTensor<Self> {
        composition::segment_sums::<Self>(x, &lengths)
    }

    /// Every element of `sums` `[lengths]` as often as its run is long, `[Σ lengths]`: the gradient of the sums.
    #[fusion(dtype = sums, shape = Shape::new([lengths.iter().sum::<usize>()]))]
    fn segment_repeat(sums: FloatTensor<Self>, lengths: Vec<usize>) -> FloatTensor<Self> {
        composition::segment_repeat::<Self>(sums, &lengths)
    }
}
