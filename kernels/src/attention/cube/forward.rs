//! The forward: one cube for each tile of queries and query head.

use cubecl::prelude::*;

use super::bias::with_bias;
use super::params::{Params, own_tile};
use super::queries::Queries;
use super::schedule::MET_NUMBERS;
use super::shape::SIDE;
use super::tile::{Four, Side, no_sums, store};
use crate::vocabulary::softcap::cube::cap;

/// No score is below it but −∞, which WGSL has no literal for.
const LOWEST: f32 = f32::MIN;

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
pub(super) fn forward<F: Float, N: Size>(
    q: &Tensor<Vector<F, N>>,
    k: &Tensor<Vector<F, N>>,
    v: &Tensor<Vector<F, N>>,
    bias: ComptimeOption<&Tensor<f32>>,
    schedule: &Tensor<i32>,
    out: &mut Tensor<Vector<F, N>>,
    log_sum_exp: &mut Tensor<f32>,
    params: Params,
    #[define(F)] _dtype: ElemType,
) {
    let tile = own_tile();
    if tile >= params.tiles {
        terminate!();
    }
    let shape = comptime!(params.shape);
    let mut queries = Queries::of(schedule, tile, &params);
    // Of each of the unit's rows: the largest score that any unit has met, and the unit's own part of Σ e^(score − largest).
    let mut largest = Four::new(LOWEST);
    let mut sum = Four::new(0.0);
    let mut sums = no_sums(shape);
    let mut at = queries.rows.start;
    while at < queries.rows.end {
        queries.rows.meet(schedule, at);
        sync_cube();
        let mut scores = queries.stage.products(q, &queries.q_head, k, &queries.kv_head, &queries.rows);
        let mut larger = largest;
        #[unroll]
        for i in 0..SIDE {
            let score = with_bias(scores[i] * Four::new(params.scale), bias, queries.head, &params, &queries.rows, i);
            let mut row = cap::<Side>(score, params.softcap, params.capped);
            #[unroll]
            for c in 0..SIDE {
                if !queries.rows.see(i, c, params.window) {
                    row.insert(c, LOWEST);
                }
                larger.insert(i, max(larger.extract(i), row.extract(c)));
            }
            scores[i] = row;
        }
        let larger = queries.weights.largest(larger);
        let fading = (largest - larger).exp();
        largest = larger;
        sum *= fading;
        #[unroll]
        for i in 0..SIDE {
            let score = scores[i];
            let mut weight = (score - Four::new(largest.extract(i))).exp();
            #[unroll]
            for c in 0..SIDE {
                // A row that has met nothing yet has `LOWEST` as its largest. A NaN stays.
                if score.extract(c) == LOWEST {
                    weight.insert(c, f32::new(0.0));
                }
            }
            sum.insert(i, sum.extract(i) + weight.vector_sum());
            queries.weights.set(i, weight);
            #[unroll]
            for n in 0..comptime!(shape.kept()) {
                let at = comptime!(i * shape.kept() + n);
                sums[at] *= Four::new(fading.extract(i));
            }
        }
        queries.stage.add_weighted(&mut sums, &queries.weights, v, &queries.kv_head, &queries.rows);
        at += comptime!(shape.columns() * MET_NUMBERS);
    }
    // A tile that meets nothing has waited for nothing.
    sync_cube();
    let sum = queries.weights.sum(sum);
    let mut inverse = Four::new(0.0);
    #[unroll]
    for i in 0..SIDE {
        let mut log = f32::new(0.0);
        if sum.extract(i) != 0.0 {
            inverse.insert(i, f32::new(1.0) / sum.extract(i));
            log = largest.extract(i) + sum.extract(i).ln();
        }
        let row = queries.rows.row(i);
        if UNIT_POS_X == 0 && row >= 0 {
            log_sum_exp[queries.head * params.tokens + row as usize] = log;
        }
    }
    store(out, &queries.q_head, &sums, inverse, &queries.rows);
}
