//! The operation as a backend extension.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

/// Which way to turn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

impl Direction {
    /// The factor on every sine.
    pub(crate) fn sign(self) -> f32 {
        match self {
            Self::Forward => 1.0,
            Self::Backward => -1.0,
        }
    }
}

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait RopeKernel: Backend {
    /// Every head of `x` turned by its token's angles.
    #[fusion(dtype = x, shape = x)]
    fn rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        direction: Direction,
    ) -> FloatTensor<Self>;
}
