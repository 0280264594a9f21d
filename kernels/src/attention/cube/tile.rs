//! What the three kernels do with tiles: rows staged in shared memory, multiplied with each other, and summed by weight.
//!
//! A unit at `(x, y)` keeps rows `y + down · i` of its tile, columns `4 x + c` of a block, and vectors
//! `x + across · n` of a head's row: neighbours read neighbouring vectors, or the same one.

use cubecl::prelude::*;

use super::schedule::{FAR, MET_NUMBERS, TILE_NUMBERS};
use super::shape::{SIDE, TileShape};

pub(super) type Side = Const<SIDE>;
/// Four numbers.
pub(super) type Four = Vector<f32, Side>;

/// One head's columns of a matrix of rows.
#[derive(CubeType)]
pub(super) struct Head {
    /// Elements between rows.
    stride: usize,
    /// The head's first element in a row.
    first: usize,
}

#[cube]
impl Head {
    pub(super) fn new(head: usize, heads: usize, #[comptime] shape: TileShape) -> Head {
        Head { stride: heads * comptime!(shape.head_dim), first: head * comptime!(shape.head_dim) }
    }

    /// Element of a row's vector.
    fn at(&self, row: usize, vector: usize) -> usize {
        row * self.stride + self.first + vector * comptime!(SIDE)
    }
}

/// The rows of a tile and of the block that it meets, and their places.
#[derive(CubeType)]
pub(super) struct Rows {
    /// −1 where there is none.
    indices: Shared<[i32]>,
    places: Shared<[i32]>,
    /// Where the rows that the tile meets begin and end among the pairs of the schedule.
    pub(super) start: usize,
    pub(super) end: usize,
    #[cube(comptime)]
    shape: TileShape,
    #[cube(comptime)]
    of_queries: bool,
    /// Whether a query sees all keys that it meets, and not only those before it.
    #[cube(comptime)]
    everywhere: bool,
}

#[cube]
impl Rows {
    /// Of a tile; to be waited for before its rows are asked for.
    pub(super) fn of(
        schedule: &Tensor<i32>,
        tile: usize,
        tiles: usize,
        #[comptime] shape: TileShape,
        #[comptime] of_queries: bool,
        #[comptime] everywhere: bool,
    ) -> Rows {
        let mut indices = Shared::<[i32]>::new_slice(comptime!(shape.rows() + shape.columns()));
        let mut places = Shared::<[i32]>::new_slice(comptime!(shape.rows() + shape.columns()));
        let numbers = tile * TILE_NUMBERS;
        let rows = schedule[numbers + 1] as usize;
        let mut i = UNIT_POS as usize;
        while i < comptime!(shape.rows()) {
            if i < rows {
                indices[i] = schedule[numbers] + i as i32;
                places[i] = schedule[numbers + 2] + i as i32;
            } else {
                indices[i] = -1;
                places[i] = nowhere(of_queries);
            }
            i += comptime!(shape.units());
        }
        let pairs = tiles * TILE_NUMBERS;
        Rows {
            indices,
            places,
            start: pairs + schedule[numbers + 3] as usize * MET_NUMBERS,
            end: pairs + schedule[numbers + 4] as usize * MET_NUMBERS,
            shape,
            of_queries,
            everywhere,
        }
    }

    /// The block from number `at` of the schedule on; to be waited for.
    pub(super) fn meet(&mut self, schedule: &Tensor<i32>, at: usize) {
        let own = comptime!(self.shape.rows());
        let mut i = UNIT_POS as usize;
        while i < comptime!(self.shape.columns()) {
            let pair = at + i * MET_NUMBERS;
            if pair < self.end {
                self.indices[own + i] = schedule[pair];
                self.places[own + i] = schedule[pair + 1];
            } else {
                self.indices[own + i] = -1;
                self.places[own + i] = nowhere(comptime!(!self.of_queries));
            }
            i += comptime!(self.shape.units());
        }
    }

    /// Whether the unit's row `i` and column `column` see each other.
    pub(super) fn see(&self, #[comptime] i: usize, #[comptime] c: usize, window: i32) -> bool {
        let own = self.places[own_row(i, self.shape)];
        let met = self.places[comptime!(self.shape.rows()) + own_column(c)];
        let (query, key) = if comptime!(self.of_queries) { (own, met) } else { (met, own) };
        if comptime!(self.everywhere) { query >= 0 && key < FAR } else { key <= query && key + window > query }
    }

    /// How far the key of the unit's row `i` and column `column` is behind the query.
    pub(super) fn distance(&self, #[comptime] i: usize, #[comptime] c: usize) -> i32 {
        let own = self.places[own_row(i, self.shape)];
        let met = self.places[comptime!(self.shape.rows()) + own_column(c)];
        if comptime!(self.of_queries) { met - own } else { own - met }
    }

    /// How far the first row of the block is behind the first of the tile, both of which are there.
    pub(super) fn first_distance(&self) -> i32 {
        self.places[comptime!(self.shape.rows())] - self.places[0]
    }

    /// The matrix row of row `row` of the tile; −1 where there is none.
    fn own_index(&self, row: usize) -> i32 {
        let last = comptime!(self.shape.rows() - 1);
        self.indices[min(row, last)]
    }

    /// The matrix row of row `row` of the block; −1 where there is none.
    fn met_index(&self, row: usize) -> i32 {
        let last = comptime!(self.shape.columns() - 1);
        self.indices[comptime!(self.shape.rows()) + min(row, last)]
    }

    /// The matrix row of the unit's row `i`; −1 where there is none.
    pub(super) fn row(&self, #[comptime] i: usize) -> i32 {
        self.indices[own_row(i, self.shape)]
    }

    /// The matrix row of the unit's column `c`.
    pub(super) fn column(&self, #[comptime] c: usize) -> i32 {
        self.indices[comptime!(self.shape.rows()) + own_column(c)]
    }
}

/// The place of a row that is not there: a query sees nothing, a key is seen by nobody.
#[cube]
fn nowhere(#[comptime] query: bool) -> i32 {
    if comptime!(query) { -1 } else { FAR }
}

#[cube]
fn own_row(#[comptime] i: usize, #[comptime] shape: TileShape) -> usize {
    UNIT_POS_Y as usize + comptime!(shape.down * i)
}

#[cube]
fn own_column(#[comptime] c: usize) -> usize {
    UNIT_POS_X as usize * SIDE + c
}

/// Shared memory that rows pass through.
#[derive(CubeType)]
pub(super) struct Stage {
    vectors: Shared<[Four]>,
    #[cube(comptime)]
    shape: TileShape,
}

#[cube]
impl Stage {
    pub(super) fn new(#[comptime] shape: TileShape) -> Stage {
        Stage { vectors: Shared::<[Four]>::new_slice(comptime!(shape.stage())), shape }
    }

    /// The dot products of every row of the tile in `lhs` with every row of the block in `rhs`, f32. Waits for whatever
    /// was written to shared memory before.
    pub(super) fn products<F: Float, N: Size>(
        &mut self,
        lhs: &Tensor<Vector<F, N>>,
        lhs_head: &Head,
        rhs: &Tensor<Vector<F, N>>,
        rhs_head: &Head,
        rows: &Rows,
    ) -> Array<Four> {
        let shape = comptime!(self.shape);
        let mut out = Array::<Four>::new(SIDE);
        #[unroll]
        for i in 0..SIDE {
            out[i] = Four::new(0.0);
        }
        let (x, y) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
        let (stride, chunk) = comptime!((shape.chunk_stride(), shape.chunk()));
        for part in 0..comptime!(shape.chunks()) {
            let first = part * chunk;
            let (own, met) = comptime!((shape.rows(), shape.columns()));
            // All loads before the first of them is waited for.
            let own_loads = comptime!((own * chunk).div_ceil(shape.units()));
            let met_loads = comptime!((met * chunk).div_ceil(shape.units()));
            let mut loaded = Array::<Four>::new(comptime!(own_loads + met_loads));
            #[unroll]
            for n in 0..own_loads {
                let i = UNIT_POS as usize + comptime!(n * shape.units());
                loaded[n] = load(lhs, lhs_head, rows.own_index(i / chunk), first + i % chunk, shape);
            }
            #[unroll]
            for n in 0..met_loads {
                let i = UNIT_POS as usize + comptime!(n * shape.units());
                loaded[own_loads + n] = load(rhs, rhs_head, rows.met_index(i / chunk), first + i % chunk, shape);
            }
            #[unroll]
            for n in 0..own_loads {
                let i = UNIT_POS as usize + comptime!(n * shape.units());
                if i < comptime!(own * chunk) {
                    self.vectors[i / chunk * stride + i % chunk] = loaded[n];
                }
            }
            #[unroll]
            for n in 0..met_loads {
                let i = UNIT_POS as usize + comptime!(n * shape.units());
                if i < comptime!(met * chunk) {
                    let row = i / chunk;
                    // Lane `c` of all units lies together.
                    let at = own + row % SIDE * comptime!(shape.across) + row / SIDE;
                    self.vectors[at * stride + i % chunk] = loaded[own_loads + n];
                }
            }
            sync_cube();
            for vector in 0..chunk {
                let mut rhs = Array::<Four>::new(SIDE);
                #[unroll]
                for c in 0..SIDE {
                    rhs[c] = self.vectors[(own + comptime!(c * shape.across) + x) * stride + vector];
                }
                #[unroll]
                for i in 0..SIDE {
                    let lhs = self.vectors[(y + comptime!(shape.down * i)) * stride + vector];
                    let mut sums = out[i];
                    #[unroll]
                    for c in 0..SIDE {
                        let rhs = rhs[c];
                        let mut sum = sums.extract(c);
                        #[unroll]
                        for lane in 0..SIDE {
                            sum = fma(lhs.extract(lane), rhs.extract(lane), sum);
                        }
                        sums.insert(c, sum);
                    }
                    out[i] = sums;
                }
            }
            sync_cube();
        }
        out
    }

    /// Adds to the tile's `sums` every row of the block in `from`, by weight.
    pub(super) fn add_weighted<F: Float, N: Size>(
        &mut self,
        sums: &mut Array<Four>,
        weights: &Weights,
        from: &Tensor<Vector<F, N>>,
        head: &Head,
        rows: &Rows,
    ) {
        let shape = comptime!(self.shape);
        let (width, batch, kept) = comptime!((shape.width(), shape.batch(), shape.kept()));
        let (x, y) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
        for part in 0..comptime!(shape.columns() / batch) {
            let first = part * batch;
            let loads = comptime!((batch * width).div_ceil(shape.units()));
            let mut loaded = Array::<Four>::new(loads);
            #[unroll]
            for n in 0..loads {
                let i = UNIT_POS as usize + comptime!(n * shape.units());
                loaded[n] = load(from, head, rows.met_index(first + i / width), i % width, shape);
            }
            #[unroll]
            for n in 0..loads {
                let i = UNIT_POS as usize + comptime!(n * shape.units());
                if i < comptime!(batch * width) {
                    self.vectors[i] = loaded[n];
                }
            }
            sync_cube();
            for four in 0..comptime!(batch / SIDE) {
                let mut weight = Array::<Four>::new(SIDE);
                #[unroll]
                for i in 0..SIDE {
                    let row = y + comptime!(shape.down * i);
                    weight[i] = weights.vectors[row * comptime!(shape.weights_stride()) + first / SIDE + four];
                }
                #[unroll]
                for c in 0..SIDE {
                    #[unroll]
                    for n in 0..kept {
                        let vector = self.vectors[(four * SIDE + c) * width + comptime!(n * shape.across) + x];
                        #[unroll]
                        for i in 0..SIDE {
                            let at = comptime!(i * kept + n);
                            sums[at] = fma(Four::new(weight[i].extract(c)), vector, sums[at]);
                        }
                    }
                }
            }
            sync_cube();
        }
    }
}

/// A vector of a head's row, zeros beyond its width and where there is no row. Without a branch, so that a load need not
/// wait for the one before.
#[cube]
fn load<F: Float, N: Size>(
    from: &Tensor<Vector<F, N>>,
    head: &Head,
    row: i32,
    vector: usize,
    #[comptime] shape: TileShape,
) -> Four {
    let exists = row >= 0 && vector < comptime!(shape.width());
    let vector = min(vector, comptime!(shape.width() - 1));
    let at = head.at(max(row, 0) as usize, vector);
    let nothing = Four::new(0.0);
    if comptime!(shape.head_dim.is_multiple_of(SIDE)) {
        select(exists, Four::cast_from(from[at / SIDE]), nothing)
    } else {
        let mut out = nothing;
        #[unroll]
        for lane in 0..SIDE {
            if exists && vector * SIDE + lane < comptime!(shape.head_dim) {
                out.insert(lane, f32::cast_from(from[at + lane].extract(0usize)));
            }
        }
        out
    }
}

/// Sums of rows of the tile, made by [`Stage::add_weighted`], times a factor each.
#[cube]
pub(super) fn store<F: Float, N: Size>(
    out: &mut Tensor<Vector<F, N>>,
    head: &Head,
    sums: &Array<Four>,
    factors: Four,
    rows: &Rows,
) {
    let shape = comptime!(rows.shape);
    #[unroll]
    for i in 0..SIDE {
        let row = rows.row(i);
        #[unroll]
        for n in 0..comptime!(shape.kept()) {
            let vector = UNIT_POS_X as usize + comptime!(n * shape.across);
            if row >= 0 && vector < comptime!(shape.width()) {
                let values = sums[comptime!(i * shape.kept() + n)] * Four::new(factors.extract(i));
                let at = head.at(row as usize, vector);
                if comptime!(shape.head_dim.is_multiple_of(SIDE)) {
                    out[at / SIDE] = Vector::cast_from(values);
                } else {
                    #[unroll]
                    for lane in 0..SIDE {
                        if vector * SIDE + lane < comptime!(shape.head_dim) {
                            out[at + lane] = Vector::new(F::cast_from(values.extract(lane)));
                        }
                    }
                }
            }
        }
    }
}

/// The sums that a unit keeps, at zero.
#[cube]
pub(super) fn no_sums(#[comptime] shape: TileShape) -> Array<Four> {
    let mut sums = Array::<Four>::new(comptime!(SIDE * shape.kept()));
    #[unroll]
    for at in 0..comptime!(SIDE * shape.kept()) {
        sums[at] = Four::new(0.0);
    }
    sums
}

/// A weight for every row of the tile and column of the block, in shared memory.
#[derive(CubeType)]
pub(super) struct Weights {
    vectors: Shared<[Four]>,
    #[cube(comptime)]
    shape: TileShape,
}

#[cube]
impl Weights {
    pub(super) fn new(#[comptime] shape: TileShape) -> Weights {
        Weights { vectors: Shared::<[Four]>::new_slice(comptime!(shape.weights())), shape }
    }

    /// Keeps the unit's columns of its row `i`.
    pub(super) fn set(&mut self, #[comptime] i: usize, columns: Four) {
        let shape = comptime!(self.shape);
        self.vectors[own_row(i, shape) * comptime!(shape.weights_stride()) + UNIT_POS_X as usize] = columns;
    }

    /// The weight of row `row` and column `column`.
    pub(super) fn get(&self, row: usize, column: usize) -> f32 {
        let four = self.vectors[row * comptime!(self.shape.weights_stride()) + column / SIDE];
        let lane = column % SIDE;
        let mut weight = four.extract(0usize);
        #[unroll]
        for other in 1..SIDE {
            weight = select(lane == other, four.extract(other), weight);
        }
        weight
    }

    /// The largest of what the units of a row of units have, number by number. Weights are lost.
    pub(super) fn largest(&mut self, mine: Four) -> Four {
        self.share(mine);
        let first = UNIT_POS_Y as usize * comptime!(self.shape.across);
        let mut largest = self.vectors[first];
        for x in 1..comptime!(self.shape.across) {
            largest = max(largest, self.vectors[first + x]);
        }
        sync_cube();
        largest
    }

    /// The sum of what the units of a row of units have, number by number. Weights are lost.
    pub(super) fn sum(&mut self, mine: Four) -> Four {
        self.share(mine);
        let first = UNIT_POS_Y as usize * comptime!(self.shape.across);
        let mut sum = self.vectors[first];
        for x in 1..comptime!(self.shape.across) {
            sum += self.vectors[first + x];
        }
        sync_cube();
        sum
    }

    fn share(&mut self, mine: Four) {
        let first = UNIT_POS_Y as usize * comptime!(self.shape.across);
        self.vectors[first + UNIT_POS_X as usize] = mine;
        sync_cube();
    }
}
