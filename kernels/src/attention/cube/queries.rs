//! A tile of queries: what it is worked on with, and the gradients of its scores.

use cubecl::prelude::*;

use super::bias::with_bias;
use super::params::Params;
use super::shape::SIDE;
use super::tile::{Four, Head, Rows, Side, Stage, Weights};
use crate::vocabulary::softcap::cube::cap_and_slope;

/// Numbers of a row and head: the log-sum-exp of its scores, and output · gradient.
pub(super) const STATISTICS: usize = 2;

/// A tile of queries of one head.
#[derive(CubeType)]
pub(super) struct Queries {
    pub(super) head: usize,
    pub(super) q_head: Head,
    pub(super) kv_head: Head,
    pub(super) rows: Rows,
    pub(super) stage: Stage,
    pub(super) weights: Weights,
}

#[cube]
impl Queries {
    /// Of the cube's head; to be waited for before its rows are asked for.
    pub(super) fn of(schedule: &Tensor<i32>, tile: usize, params: &Params) -> Queries {
        let (head, heads) = (CUBE_POS_X as usize, CUBE_COUNT_X as usize);
        let shape = comptime!(params.shape);
        Queries {
            head,
            q_head: Head::new(head, heads, shape),
            kv_head: Head::new(head / params.group, heads / params.group, shape),
            rows: Rows::of(schedule, tile, params.tiles, shape, true, params.everywhere),
            stage: Stage::new(shape),
            weights: Weights::new(shape),
        }
    }

    /// The statistics of the unit's rows.
    pub(super) fn statistics(&self, statistics: &Tensor<f32>, params: &Params) -> (Four, Four) {
        let (mut log_sum_exp, mut along) = (Four::new(0.0), Four::new(0.0));
        #[unroll]
        for i in 0..SIDE {
            let (log, dot) = row_statistics(statistics, self.head * params.tokens, self.rows.row(i));
            log_sum_exp.insert(i, log);
            along.insert(i, dot);
        }
        (log_sum_exp, along)
    }

    /// Makes the gradients of the block's scores, as they are before they are scaled, the weights. Waits for whatever was written
    /// to shared memory before.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn weigh_by_gradients<F: Float, N: Size>(
        &mut self,
        q: &Tensor<Vector<F, N>>,
        k: &Tensor<Vector<F, N>>,
        v: &Tensor<Vector<F, N>>,
        grad: &Tensor<Vector<F, N>>,
        bias: ComptimeOption<&Tensor<f32>>,
        log_sum_exp: Four,
        along: Four,
        params: &Params,
    ) {
        let scores = self.stage.products(q, &self.q_head, k, &self.kv_head, &self.rows);
        let dots = self.stage.products(grad, &self.q_head, v, &self.kv_head, &self.rows);
        #[unroll]
        for i in 0..SIDE {
            let score = with_bias(scores[i] * Four::new(params.scale), bias, self.head, params, &self.rows, i);
            let (score, slope) = cap_and_slope::<Side>(score, params.softcap, params.capped);
            let probability: Four = (score - Four::new(log_sum_exp.extract(i))).exp();
            let along: Four = dots[i] - Four::new(along.extract(i));
            let mut weight = probability * along * slope;
            #[unroll]
            for c in 0..SIDE {
                if !self.rows.see(i, c, params.window) {
                    weight.insert(c, f32::new(0.0));
                }
            }
            self.weights.set(i, weight);
        }
    }
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
