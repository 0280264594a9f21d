//! What the kernels are told beside their tensors.

use cubecl::prelude::*;

use super::shape::TileShape;

/// How scores are made, and by which tiles.
#[derive(CubeLaunch, CubeType)]
pub(super) struct Params {
    /// Rows of queries.
    pub(super) tokens: usize,
    pub(super) tiles: usize,
    /// Query heads that each key head serves.
    pub(super) group: usize,
    pub(super) scale: f32,
    /// Of meaning where scores are `capped`.
    pub(super) softcap: f32,
    pub(super) window: i32,
    /// How many distances have a bias, and which of them is 0; of meaning where there is one.
    pub(super) distances: usize,
    pub(super) zero: i32,
    /// Whether a query sees all keys that it meets, and not only those before it.
    #[cube(comptime)]
    pub(super) everywhere: bool,
    #[cube(comptime)]
    pub(super) capped: bool,
    #[cube(comptime)]
    pub(super) shape: TileShape,
}

/// The tile that a cube takes; where tiles are counted in two dimensions, the last may be none.
#[cube]
pub(super) fn own_tile() -> usize {
    (CUBE_POS_Y + CUBE_POS_Z * CUBE_COUNT_Y) as usize
}
