//! The backward: what it needs of every row, then the gradients of queries, then those of keys and values.

use cubecl::prelude::*;

use super::bias::with_bias;
use super::schedule::MET_NUMBERS;
use super::shape::{SIDE, TileShape};
use super::tile::{Four, Head, Rows, Side, Stage, Weights, no_sums, store};
use crate::vocabulary::softcap::cube::cap_and_slope;

/// Numbers of a row and head: the log-sum-exp of its scores, and output · gradient.
const STATISTICS: usize = 2;
/// Units that share a row, and rows of a cube, where the statistics are made.
pub(super) const LANES: usize = 8;

/// The statistics `[heads, tokens, 2]`; `LANES` units for each row and head.
#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
pub(super) fn statistics<F: Float, N: Size>(
    out: &Tensor<Vector<F, N>>,
    grad: &Tensor<Vector<F, N>>,
    log_sum_exp: &Tensor<f32>,
    statistics: &mut Tensor<f32>,
    tokens: usize,
    heads: usize,
    vectors: usize,
    #[comptime] lanes: usize,
    #[comptime] rows: usize,
    #[define(F)] _dtype: ElemType,
) {
    let mut parts = Shared::<[f32]>::new_slice(comptime!(lanes * rows));
    let (lane, unit) = (UNIT_POS_X as usize, UNIT_POS as usize);
    let mut first = CUBE_POS_X as usize * rows;
    while first < tokens * heads {
        let row = first + UNIT_POS_Y as usize;
        let mut along = f32::new(0.0);
        if row < tokens * heads {
            let mut at = lane;
            while at < vectors {
                let out = Vector::<f32, N>::cast_from(out[row * vectors + at]);
                let grad = Vector::<f32, N>::cast_from(grad[row * vectors + at]);
                along += (out * grad).vector_sum();
                at += lanes;
            }
        }
        parts[unit] = along;
        sync_cube();
        if lane == 0 && row < tokens * heads {
            let mut along = f32::new(0.0);
            #[unroll]
            for other in 0..lanes {
                along += parts[unit + other];
            }
            let row = row % heads * tokens + row / heads;
            statistics[row * STATISTICS] = log_sum_exp[row];
            statistics[row * STATISTICS + 1] = along;
        }
        sync_cube();
        first += CUBE_COUNT_X as usize * rows;
    }
}

/// The gradient of `q`: one cube for each tile of queries and query head.
#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
pub(super) fn query_gradient<F: Float, N: Size>(
    q: &Tensor<Vector<F, N>>,
    k: &Tensor<Vector<F, N>>,
    v: &Tensor<Vector<F, N>>,
    grad: &Tensor<Vector<F, N>>,
    bias: ComptimeOption<&Tensor<f32>>,
    statistics: &Tensor<f32>,
    schedule: &Tensor<i32>,
    q_grad: &mut Tensor<Vector<F, N>>,
    tokens: usize,
    tiles: usize,
    group: usize,
    scale: f32,
    softcap: f32,
    window: i32,
    distances: usize,
    zero: i32,
    #[comptime] everywhere: bool,
    #[comptime] capped: bool,
    #[comptime] shape: TileShape,
    #[define(F)] _dtype: ElemType,
) {
    let tile = (CUBE_POS_Y + CUBE_POS_Z * CUBE_COUNT_Y) as usize;
    if tile >= tiles {
        terminate!();
    }
    let (head, heads) = (CUBE_POS_X as usize, CUBE_COUNT_X as usize);
    let q_head = Head::new(head, heads, shape);
    let kv_head = Head::new(head / group, heads / group, shape);
    let mut rows = Rows::of(schedule, tile, tiles, shape, true, everywhere);
    let mut stage = Stage::new(shape);
    let mut weights = Weights::new(shape);
    let mut sums = no_sums(shape);
    sync_cube();
    let (mut log_sum_exp, mut along) = (Four::new(0.0), Four::new(0.0));
    #[unroll]
    for i in 0..SIDE {
        let (log, dot) = row_statistics(statistics, head * tokens, rows.row(i));
        log_sum_exp.insert(i, log);
        along.insert(i, dot);
    }
    let mut at = rows.start;
    while at < rows.end {
        rows.meet(schedule, at);
        sync_cube();
        let scores = stage.products(q, &q_head, k, &kv_head, &rows);
        let dots = stage.products(grad, &q_head, v, &kv_head, &rows);
        #[unroll]
        for i in 0..SIDE {
            let score = with_bias(scores[i] * Four::new(scale), bias, head, distances, zero, &rows, i);
            let (score, slope) = cap_and_slope::<Side>(score, softcap, capped);
            let probability: Four = (score - Four::new(log_sum_exp.extract(i))).exp();
            let along: Four = dots[i] - Four::new(along.extract(i));
            let mut weight = probability * along * slope;
            #[unroll]
            for c in 0..SIDE {
                if !rows.see(i, c, window) {
                    weight.insert(c, f32::new(0.0));
                }
            }
            weights.set(i, weight);
        }
        stage.add_weighted(&mut sums, &weights, k, &kv_head, &rows);
        at += comptime!(shape.columns() * MET_NUMBERS);
    }
    store(q_grad, &q_head, &sums, Four::new(scale), &rows);
}

/// The gradients of `k` and `v`: one cube for each tile of keys and key head, over all query heads that it serves.
#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
pub(super) fn key_gradients<F: Float, N: Size>(
    q: &Tensor<Vector<F, N>>,
    k: &Tensor<Vector<F, N>>,
    v: &Tensor<Vector<F, N>>,
    grad: &Tensor<Vector<F, N>>,
    bias: ComptimeOption<&Tensor<f32>>,
    statistics: &Tensor<f32>,
    schedule: &Tensor<i32>,
    k_grad: &mut Tensor<Vector<F, N>>,
    v_grad: &mut Tensor<Vector<F, N>>,
    tokens: usize,
    tiles: usize,
    group: usize,
    scale: f32,
    softcap: f32,
    window: i32,
    distances: usize,
    zero: i32,
    #[comptime] everywhere: bool,
    #[comptime] capped: bool,
    #[comptime] shape: TileShape,
    #[define(F)] _dtype: ElemType,
) {
    let tile = (CUBE_POS_Y + CUBE_POS_Z * CUBE_COUNT_Y) as usize;
    if tile >= tiles {
        terminate!();
    }
    let (kv_head_index, kv_heads) = (CUBE_POS_X as usize, CUBE_COUNT_X as usize);
    let kv_head = Head::new(kv_head_index, kv_heads, shape);
    let mut rows = Rows::of(schedule, tile, tiles, shape, false, everywhere);
    let mut stage = Stage::new(shape);
    let mut weights = Weights::new(shape);
    let mut k_sums = no_sums(shape);
    let mut v_sums = no_sums(shape);
    sync_cube();
    for member in 0..group {
        let head = kv_head_index * group + member;
        let q_head = Head::new(head, kv_heads * group, shape);
        let mut at = rows.start;
        while at < rows.end {
            rows.meet(schedule, at);
            sync_cube();
            let (mut log_sum_exp, mut along) = (Four::new(0.0), Four::new(0.0));
            #[unroll]
            for c in 0..SIDE {
                let (log, dot) = row_statistics(statistics, head * tokens, rows.column(c));
                log_sum_exp.insert(c, log);
                along.insert(c, dot);
            }
            let mut scores = stage.products(k, &kv_head, q, &q_head, &rows);
            let dots = stage.products(v, &kv_head, grad, &q_head, &rows);
            #[unroll]
            for i in 0..SIDE {
                let score = with_bias(scores[i] * Four::new(scale), bias, head, distances, zero, &rows, i);
                let (score, slope) = cap_and_slope::<Side>(score, softcap, capped);
                let mut probability: Four = (score - log_sum_exp).exp();
                let along: Four = dots[i] - along;
                let mut weight = probability * along * slope;
                #[unroll]
                for c in 0..SIDE {
                    if !rows.see(i, c, window) {
                        probability.insert(c, f32::new(0.0));
                        weight.insert(c, f32::new(0.0));
                    }
                }
                weights.set(i, probability);
                scores[i] = weight;
            }
            stage.add_weighted(&mut v_sums, &weights, grad, &q_head, &rows);
            #[unroll]
            for i in 0..SIDE {
                weights.set(i, scores[i]);
            }
            stage.add_weighted(&mut k_sums, &weights, q, &q_head, &rows);
            at += comptime!(shape.columns() * MET_NUMBERS);
        }
    }
    store(k_grad, &kv_head, &k_sums, Four::new(scale), &rows);
    store(v_grad, &kv_head, &v_sums, Four::new(1.0), &rows);
}

/// The log-sum-exp of a row's scores and its output · gradient, zeros where there is no row.
#[cube]
pub(super) fn row_statistics(statistics: &Tensor<f32>, first: usize, row: i32) -> (f32, f32) {
    let (mut log_sum_exp, mut along) = (f32::new(0.0), f32::new(0.0));
    if row >= 0 {
        let at = (first + row as usize) * STATISTICS;
        log_sum_exp = statistics[at];
        along = statistics[at + 1];
    }
    (log_sum_exp, along)
}
