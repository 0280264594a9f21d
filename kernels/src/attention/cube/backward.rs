//! The backward: what it needs of every row, then the gradients of queries, then those of keys and values.

use cubecl::prelude::*;

use super::bias::with_bias;
use super::params::{Params, own_tile};
use super::queries::{Queries, STATISTICS, row_statistics};
use super::schedule::MET_NUMBERS;
use super::shape::SIDE;
use super::tile::{Four, Head, Rows, Side, Stage, Weights, no_sums, store};
use crate::vocabulary::softcap::cube::cap_and_slope;

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
    params: Params,
    #[define(F)] _dtype: ElemType,
) {
    let tile = own_tile();
    if tile >= params.tiles {
        terminate!();
    }
    let shape = comptime!(params.shape);
    let mut queries = Queries::of(schedule, tile, &params);
    let mut sums = no_sums(shape);
    sync_cube();
    let (log_sum_exp, along) = queries.statistics(statistics, &params);
    let mut at = queries.rows.start;
    while at < queries.rows.end {
        queries.rows.meet(schedule, at);
        sync_cube();
        queries.weigh_by_gradients(q, k, v, grad, bias, log_sum_exp, along, &params);
        queries.stage.add_weighted(&mut sums, &queries.weights, k, &queries.kv_head, &queries.rows);
        at += comptime!(shape.columns() * MET_NUMBERS);
    }
    store(q_grad, &queries.q_head, &sums, Four::new(params.scale), &queries.rows);
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
    params: Params,
    #[define(F)] _dtype: ElemType,
) {
    let tile = own_tile();
    if tile >= params.tiles {
        terminate!();
    }
    let shape = comptime!(params.shape);
    let (kv_head_index, kv_heads) = (CUBE_POS_X as usize, CUBE_COUNT_X as usize);
    let kv_head = Head::new(kv_head_index, kv_heads, shape);
    let mut rows = Rows::of(schedule, tile, params.tiles, shape, false, params.everywhere);
    let mut stage = Stage::new(shape);
    let mut weights = Weights::new(shape);
    let mut k_sums = no_sums(shape);
    let mut v_sums = no_sums(shape);
    sync_cube();
    for member in 0..params.group {
        let head = kv_head_index * params.group + member;
        let q_head = Head::new(head, kv_heads * params.group, shape);
        let mut at = rows.start;
        while at < rows.end {
            rows.meet(schedule, at);
            sync_cube();
            let (mut log_sum_exp, mut along) = (Four::new(0.0), Four::new(0.0));
            #[unroll]
            for c in 0..SIDE {
                let (log, dot) = row_statistics(statistics, head * params.tokens, rows.column(c));
                log_sum_exp.insert(c, log);
                along.insert(c, dot);
            }
            let mut scores = stage.products(k, &kv_head, q, &q_head, &rows);
            let dots = stage.products(v, &kv_head, grad, &q_head, &rows);
            #[unroll]
            for i in 0..SIDE {
                let score = with_bias(scores[i] * Four::new(params.scale), bias, head, &params, &rows, i);
                let (score, slope) = cap_and_slope::<Side>(score, params.softcap, params.capped);
                let mut probability: Four = (score - log_sum_exp).exp();
                let along: Four = dots[i] - along;
                let mut weight = probability * along * slope;
                #[unroll]
                for c in 0..SIDE {
                    if !rows.see(i, c, params.window) {
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
    store(k_grad, &kv_head, &k_sums, Four::new(params.scale), &rows);
    store(v_grad, &kv_head, &v_sums, Four::new(1.0), &rows);
}
