//! What is added to scores by how far a key is from its query, and its gradient.
//!
//! The gradient of a distance is a sum over all pairs so far apart. A cube sums those of its tile of queries, distance by
//! distance, each of which one unit owns, and the sums of tiles are added up in their order: no atomics, the same bits in
//! every run.

use cubecl::prelude::*;

use super::params::{Params, own_tile};
use super::queries::Queries;
use super::schedule::MET_NUMBERS;
use super::shape::SIDE;
use super::tile::{Four, Rows};

/// The scores of the unit's row `i` with the bias of `head` added, where there is one.
#[cube]
pub(super) fn with_bias(
    scores: Four,
    bias: ComptimeOption<&Tensor<f32>>,
    head: usize,
    params: &Params,
    rows: &Rows,
    #[comptime] i: usize,
) -> Four {
    #[comptime]
    match bias {
        ComptimeOption::Some(bias) => add_bias(scores, bias, head, params, rows, i),
        ComptimeOption::None => scores,
    }
}

#[cube]
fn add_bias(scores: Four, bias: &Tensor<f32>, head: usize, params: &Params, rows: &Rows, #[comptime] i: usize) -> Four {
    let mut sums = scores;
    #[unroll]
    for c in 0..SIDE {
        // Where the pair is none, its distance is none of the table's.
        let at = min(max(rows.distance(i, c) + params.zero, 0), params.distances as i32 - 1);
        sums.insert(c, scores.extract(c) + bias[head * params.distances + at as usize]);
    }
    sums
}

/// The sums `[heads, tiles, distances]` of the gradients of scores: one cube for each tile of queries and query head.
#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
pub(super) fn tile_sums<F: Float, N: Size>(
    q: &Tensor<Vector<F, N>>,
    k: &Tensor<Vector<F, N>>,
    v: &Tensor<Vector<F, N>>,
    grad: &Tensor<Vector<F, N>>,
    bias: ComptimeOption<&Tensor<f32>>,
    statistics: &Tensor<f32>,
    schedule: &Tensor<i32>,
    sums: &mut Tensor<f32>,
    params: Params,
    #[define(F)] _dtype: ElemType,
) {
    let tile = own_tile();
    if tile >= params.tiles {
        terminate!();
    }
    let shape = comptime!(params.shape);
    let distances = params.distances;
    let mut queries = Queries::of(schedule, tile, &params);
    // A unit owns every distance that leaves its number where units are counted around.
    let (unit, units) = (UNIT_POS as usize, comptime!(shape.units()));
    let own = (queries.head * params.tiles + tile) * distances;
    let mut at = unit;
    while at < distances {
        sums[own + at] = f32::new(0.0);
        at += units;
    }
    sync_cube();
    let (log_sum_exp, along) = queries.statistics(statistics, &params);
    let mut block = queries.rows.start;
    while block < queries.rows.end {
        queries.rows.meet(schedule, block);
        sync_cube();
        queries.weigh_by_gradients(q, k, v, grad, bias, log_sum_exp, along, &params);
        sync_cube();
        // Distances from that of the first column and the last row to that of the last column and the first row.
        let (height, width) = comptime!((shape.rows(), shape.columns()));
        let lowest = queries.rows.first_distance() + params.zero - comptime!(height as i32 - 1);
        let end = min(lowest + comptime!((height + width) as i32 - 1), distances as i32);
        let start = max(lowest, 0);
        // The first that is the unit's own.
        let mut at = start as usize;
        at += (unit + units - at % units) % units;
        while (at as i32) < end {
            let diagonal = at as i32 - lowest;
            let mut sum = f32::new(0.0);
            for row in 0..height {
                let column = diagonal + row as i32 - comptime!(height as i32 - 1);
                if column >= 0 && column < comptime!(width as i32) {
                    sum += queries.weights.get(row, column as usize);
                }
            }
            sums[own + at] += sum;
            at += units;
        }
        sync_cube();
        block += comptime!(shape.columns() * MET_NUMBERS);
    }
}

/// The sums over all tiles, `[heads, distances]`.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(super) fn sum_tiles(sums: &Tensor<f32>, out: &mut Tensor<f32>, tiles: usize, distances: usize, all: usize) {
    let mut at = ABSOLUTE_POS;
    while at < all {
        let (head, distance) = (at / distances, at % distances);
        let mut sum = f32::new(0.0);
        for tile in 0..tiles {
            sum += sums[(head * tiles + tile) * distances + distance];
        }
        out[at] = sum;
        at += CUBE_COUNT * CUBE_DIM as usize;
    }
}
