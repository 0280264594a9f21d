//! Tiles of query rows against the keys they can see; one task per query head.
//!
//! The forward saves one log-sum-exp per row and head; the backward makes the probabilities again from it. A tile's
//! scores fit the cache, and the causal half that nobody sees is never computed.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use multiversion::multiversion;
use rayon::prelude::*;

use super::kernel::AttentionKernel;
use super::tile::Tile;
use super::{AttentionOptions, PackedLayout};
use crate::cpu::{Matrix, MatrixMut, Threads, contiguous, dot, exp, exp_and_sum, floats, max, tanh, tensor};

impl AttentionKernel for Flex {
    fn packed_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (q, k, v) = (contiguous(q), contiguous(k), contiguous(v));
        let (q, k, v) = (floats(&q), floats(&k), floats(&v));
        let tokens = layout.tokens();
        let heads: Vec<(Vec<f32>, Vec<f32>)> = (0..options.heads)
            .into_par_iter()
            .map(|head| Head::new(q, k, v, head, &layout, &options).forward())
            .collect();
        let (out, log_sum_exp): (Vec<_>, Vec<_>) = heads.into_iter().unzip();
        (
            tensor(interleave(&out, 1, options.head_dim), [tokens, options.heads * options.head_dim]),
            tensor(log_sum_exp.concat(), [options.heads, tokens]),
        )
    }

    fn packed_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        out: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (q, k, v, out, grad) = (contiguous(q), contiguous(k), contiguous(v), contiguous(out), contiguous(grad));
        let (q, k, v, out, grad) = (floats(&q), floats(&k), floats(&v), floats(&out), floats(&grad));
        let tokens = layout.tokens();
        assert_eq!(layout.keys(), tokens, "attention: a batch with cached keys has no backward");
        let heads: Vec<HeadGradients> = (0..options.heads)
            .into_par_iter()
            .zip(floats(&log_sum_exp).par_chunks(tokens))
            .map(|(head, log_sum_exp)| Head::new(q, k, v, head, &layout, &options).backward(out, grad, log_sum_exp))
            .collect();
        let group = options.heads / options.kv_heads;
        let (mut q_grad, mut k_grad, mut v_grad) = (vec![], vec![], vec![]);
        for head in heads {
            q_grad.push(head.q);
            k_grad.push(head.k);
            v_grad.push(head.v);
        }
        let (width, kv_width) = (options.heads * options.head_dim, options.kv_heads * options.head_dim);
        (
            tensor(interleave(&q_grad, 1, options.head_dim), [tokens, width]),
            tensor(interleave(&k_grad, group, options.head_dim), [tokens, kv_width]),
            tensor(interleave(&v_grad, group, options.head_dim), [tokens, kv_width]),
        )
    }
}

/// `[tokens, head_dim]` of every head → `[tokens, heads / group · head_dim]`, heads of a group summed.
fn interleave(heads: &[Vec<f32>], group: usize, head_dim: usize) -> Vec<f32> {
    let width = heads.len() / group * head_dim;
    let mut out = vec![0.0; heads[0].len() / head_dim * width];
    for (head, values) in heads.iter().enumerate() {
        let first = head / group * head_dim;
        for (out, row) in out.chunks_exact_mut(width).zip(values.chunks_exact(head_dim)) {
            for (out, value) in out[first..first + head_dim].iter_mut().zip(row) {
                *out += value;
            }
        }
    }
    out
}

/// One query head's gradients, `[tokens, head_dim]` each; `k` and `v` are its share of its key head's.
struct HeadGradients {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

/// One query head and the key head that serves it.
struct Head<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    layout: &'a PackedLayout,
    options: &'a AttentionOptions,
    /// Elements between rows, and before this head's first, in `q` (and the output) and in `k` and `v`.
    width: usize,
    first: usize,
    kv_width: usize,
    kv_first: usize,
}

impl<'a> Head<'a> {
    fn new(
        q: &'a [f32],
        k: &'a [f32],
        v: &'a [f32],
        head: usize,
        layout: &'a PackedLayout,
        options: &'a AttentionOptions,
    ) -> Self {
        let kv_head = head / (options.heads / options.kv_heads);
        Self {
            q,
            k,
            v,
            layout,
            options,
            width: options.heads * options.head_dim,
            first: head * options.head_dim,
            kv_width: options.kv_heads * options.head_dim,
            kv_first: kv_head * options.head_dim,
        }
    }

    fn tiles(&self) -> impl Iterator<Item = Tile> {
        self.layout.queries().flat_map(|(first, segment)| Tile::of(segment, first, self.options.window))
    }

    /// This head's columns of rows of `q`, the output or its gradient.
    fn query_rows<'b>(&self, data: &'b [f32], rows: &Range<usize>) -> Matrix<'b> {
        Matrix::strided(&data[rows.start * self.width + self.first..], rows.len(), self.options.head_dim, self.width)
    }

    /// Its key head's columns of rows of `k` or `v`.
    fn key_rows<'b>(&self, data: &'b [f32], rows: &Range<usize>) -> Matrix<'b> {
        Matrix::strided(
            &data[rows.start * self.kv_width + self.kv_first..],
            rows.len(),
            self.options.head_dim,
            self.kv_width,
        )
    }

    /// `lhs · (rows of keys)ᵀ` for every key of the tile, `[rows, keys]`.
    fn against_keys(&self, out: &mut [f32], scale: f32, lhs: Matrix<'_>, keys: &[f32], tile: &Tile) {
        let mut column = 0;
        for block in &tile.blocks {
            MatrixMut::strided(&mut out[column..], tile.rows.len(), block.len(), tile.keys).assign(
                scale,
                lhs,
                self.key_rows(keys, block).transposed(),
                Threads::One,
            );
            column += block.len();
        }
    }

    /// `out += scale · weights · (rows of keys)`, weights `[rows, keys]`.
    fn weighted_keys(&self, out: &mut [f32], scale: f32, weights: &[f32], keys: &[f32], tile: &Tile) {
        let mut column = 0;
        for block in &tile.blocks {
            MatrixMut::new(out, tile.rows.len(), self.options.head_dim).add(
                scale,
                Matrix::strided(&weights[column..], tile.rows.len(), block.len(), tile.keys),
                self.key_rows(keys, block),
                Threads::One,
            );
            column += block.len();
        }
    }

    /// `out[keys] += scale · weightsᵀ · lhs`: what the tile's rows give back to the keys they saw.
    fn back_to_keys(&self, out: &mut [f32], scale: f32, weights: &[f32], lhs: Matrix<'_>, tile: &Tile) {
        let width = self.options.head_dim;
        let mut column = 0;
        for block in &tile.blocks {
            MatrixMut::new(&mut out[block.start * width..block.end * width], block.len(), width).add(
                scale,
                Matrix::strided(&weights[column..], tile.rows.len(), block.len(), tile.keys).transposed(),
                lhs,
                Threads::One,
            );
            column += block.len();
        }
    }

    /// The output and the log-sum-exps, `[tokens, head_dim]` and `[tokens]`.
    fn forward(&self) -> (Vec<f32>, Vec<f32>) {
        let width = self.options.head_dim;
        let tokens = self.layout.tokens();
        let (mut out, mut log_sum_exp) = (vec![0.0; tokens * width], vec![0.0; tokens]);
        let mut scores = vec![];
        for tile in self.tiles().filter(|tile| tile.keys > 0) {
            scores.resize(tile.rows.len() * tile.keys, 0.0);
            self.against_keys(
                &mut scores,
                self.options.scale as f32,
                self.query_rows(self.q, &tile.rows),
                self.k,
                &tile,
            );
            for (i, row) in scores.chunks_exact_mut(tile.keys).enumerate() {
                let visible = tile.visible(i, self.options.window);
                log_sum_exp[tile.rows.start + i] = softmax(row, visible, self.options.softcap.map(|cap| cap as f32));
            }
            let out = &mut out[tile.rows.start * width..tile.rows.end * width];
            self.weighted_keys(out, 1.0, &scores, self.v, &tile);
        }
        (out, log_sum_exp)
    }

    fn backward(&self, out: &[f32], grad: &[f32], log_sum_exp: &[f32]) -> HeadGradients {
        let width = self.options.head_dim;
        let size = self.layout.tokens() * width;
        let mut gradients = HeadGradients { q: vec![0.0; size], k: vec![0.0; size], v: vec![0.0; size] };
        let scale = self.options.scale as f32;
        let (mut probabilities, mut score_grads) = (vec![], vec![]);
        for tile in self.tiles().filter(|tile| tile.keys > 0) {
            let (q, grad_rows) = (self.query_rows(self.q, &tile.rows), self.query_rows(grad, &tile.rows));
            probabilities.resize(tile.rows.len() * tile.keys, 0.0);
            score_grads.resize(tile.rows.len() * tile.keys, 0.0);
            self.against_keys(&mut probabilities, scale, q, self.k, &tile);
            self.against_keys(&mut score_grads, 1.0, grad_rows, self.v, &tile);
            let rows = probabilities.chunks_exact_mut(tile.keys).zip(score_grads.chunks_exact_mut(tile.keys));
            for (i, (probabilities, score_grads)) in rows.enumerate() {
                let row = tile.rows.start + i;
                let columns = row * self.width + self.first..row * self.width + self.first + width;
                softmax_backward(
                    probabilities,
                    score_grads,
                    tile.visible(i, self.options.window),
                    log_sum_exp[row],
                    dot(&out[columns.clone()], &grad[columns]),
                    self.options.softcap.map(|cap| cap as f32),
                );
            }
            self.back_to_keys(&mut gradients.v, 1.0, &probabilities, grad_rows, &tile);
            self.back_to_keys(&mut gradients.k, scale, &score_grads, q, &tile);
            let q_grad = &mut gradients.q[tile.rows.start * width..tile.rows.end * width];
            self.weighted_keys(q_grad, scale, &score_grads, self.k, &tile);
        }
        gradients
    }
}

/// Scores of one row → probabilities over the visible keys, zero elsewhere; returns the log-sum-exp.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn softmax(scores: &mut [f32], visible: Range<usize>, softcap: Option<f32>) -> f32 {
    scores[..visible.start].fill(0.0);
    scores[visible.end..].fill(0.0);
    let scores = &mut scores[visible];
    if scores.is_empty() {
        return 0.0;
    }
    if let Some(cap) = softcap {
        scores.iter_mut().for_each(|score| *score = cap * tanh(*score / cap));
    }
    let largest = max(scores);
    let sum = exp_and_sum(scores, largest);
    let inverse = 1.0 / sum;
    scores.iter_mut().for_each(|score| *score *= inverse);
    largest + sum.ln()
}

/// Scores → probabilities, and the gradients of the probabilities → those of the scores before scale and soft-cap.
/// `along` is Σ output · its gradient, which equals Σ probability · its gradient.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn softmax_backward(
    scores: &mut [f32],
    grads: &mut [f32],
    visible: Range<usize>,
    log_sum_exp: f32,
    along: f32,
    softcap: Option<f32>,
) {
    for hidden in [0..visible.start, visible.end..scores.len()] {
        scores[hidden.clone()].fill(0.0);
        grads[hidden].fill(0.0);
    }
    let pairs = scores[visible.clone()].iter_mut().zip(&mut grads[visible]);
    match softcap {
        None => pairs.for_each(|(score, grad)| {
            *score = exp(*score - log_sum_exp);
            *grad = *score * (*grad - along);
        }),
        Some(cap) => pairs.for_each(|(score, grad)| {
            let t = tanh(*score / cap);
            *score = exp(cap * t - log_sum_exp);
            *grad = *score * (*grad - along) * (1.0 - t * t);
        }),
    }
}
