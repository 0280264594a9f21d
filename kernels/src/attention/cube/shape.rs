//! How a cube divides its work among its units.

use burn_cubecl::tensor::CubeTensor;

/// Rows of a tile and of what it meets that each unit multiplies with each other: a vector of rows by a vector of columns.
pub(super) const SIDE: usize = 4;
/// The most vectors of a row that are staged at a time where two rows are multiplied.
const CHUNK: usize = 8;
/// The most sums that each unit of a large cube keeps: with more registers a unit, few such cubes run at a time.
const SUMS: usize = 32;
/// Units of a large cube.
const LARGE: usize = 256;

/// A tile of `SIDE · down` rows against blocks of `SIDE · across` rows of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TileShape {
    pub(super) across: usize,
    pub(super) down: usize,
    pub(super) head_dim: usize,
}

impl TileShape {
    /// The largest that the device has room for, where a unit keeps so many `sums` of each of its rows; low tiles where no
    /// segment has more than `longest` rows.
    pub(super) fn of(head_dim: usize, sums: usize, longest: usize, like: &CubeTensor) -> Self {
        let hardware = &like.client.properties().hardware;
        let (memory, units) = (hardware.max_shared_memory_size, hardware.max_units_per_cube as usize);
        let fits = |shape: &Self| {
            let few = shape.units() < LARGE || sums * SIDE * SIDE * shape.kept() <= SUMS;
            few && shape.bytes() <= memory && shape.units() <= units
        };
        let shape = |[across, down]: [usize; 2]| Self { across, down, head_dim };
        let low = [[16, 4], [8, 4]].map(shape).into_iter().filter(|shape| longest <= shape.rows());
        let square = [[16, 16], [16, 8], [8, 8], [4, 4], [2, 2], [2, 1], [1, 1]].map(shape);
        low.chain(square).find(fits).expect("one unit has room for a head")
    }

    pub(super) fn units(&self) -> usize {
        self.across * self.down
    }

    /// Rows of a tile.
    pub(super) fn rows(&self) -> usize {
        SIDE * self.down
    }

    /// Rows of the other side in a block.
    pub(super) fn columns(&self) -> usize {
        SIDE * self.across
    }

    /// Vectors in a head's row.
    pub(super) fn width(&self) -> usize {
        self.head_dim.div_ceil(SIDE)
    }

    /// Vectors of a head's row that a unit keeps of each of its rows.
    pub(super) fn kept(&self) -> usize {
        self.width().div_ceil(self.across)
    }

    /// In how many chunks rows are multiplied with each other.
    pub(super) fn chunks(&self) -> usize {
        self.width().div_ceil(CHUNK)
    }

    /// Vectors of a row in a chunk.
    pub(super) fn chunk(&self) -> usize {
        self.width().div_ceil(self.chunks())
    }

    /// Vectors from one staged row of a chunk to the next: odd, so that neighbouring rows lie in different banks.
    pub(super) fn chunk_stride(&self) -> usize {
        self.chunk() | 1
    }

    /// Whole rows that are staged at a time where they are summed: as many as the chunks have room for, a divisor of the
    /// block.
    pub(super) fn batch(&self) -> usize {
        let room = (self.rows() + self.columns()) * self.chunk_stride() / (SIDE * self.width());
        SIDE << room.clamp(1, self.across).ilog2()
    }

    /// Vectors of shared memory for staged rows.
    pub(super) fn stage(&self) -> usize {
        let chunks = (self.rows() + self.columns()) * self.chunk_stride();
        // The last row may be read beyond its end, by units that have nothing to keep there.
        chunks.max(self.batch() * self.width() + self.across)
    }

    /// Vectors from one row of weights to the next: odd.
    pub(super) fn weights_stride(&self) -> usize {
        self.across | 1
    }

    /// Vectors of shared memory for the weights of a block.
    pub(super) fn weights(&self) -> usize {
        self.rows() * self.weights_stride()
    }

    /// Bytes of shared memory, with the index and the place of every row.
    fn bytes(&self) -> usize {
        (self.stage() + self.weights()) * SIDE * size_of::<f32>()
            + 2 * (self.rows() + self.columns()) * size_of::<i32>()
    }
}
