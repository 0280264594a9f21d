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
        forward([q, k, v], None, &layout, &options)
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
        let ([q, k, v], _) = backward([q, k, v], None, [out, log_sum_exp, grad], &layout, &options);
        (q, k, v)
    }

    fn biased_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
        zero: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        forward([q, k, v], Some((bias, zero)), &layout, &options)
    }

    fn biased_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
        zero: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let ([q, k, v], bias) = backward([q, k, v], Some((bias, zero)), [out, log_sum_exp, grad], &layout, &options);
        let distances = bias.len() / options.heads;
        (q, k, v, tensor(bias, [options.heads, distances]))
    }
}

/// A tensor of this backend.
type Rows = FloatTensor<Flex>;

fn forward(
    rows: [Rows; 3],
    bias: Option<(Rows, usize)>,
    layout: &PackedLayout,
    options: &AttentionOptions,
) -> (Rows, Rows) {
    let (rows, bias) = (rows.map(contiguous), bias.map(|(bias, zero)| (contiguous(bias), zero)));
    let rows = rows.each_ref().map(floats);
    let bias = bias.as_ref().map(|(bias, zero)| (floats(bias), *zero));
    let tokens = layout.tokens();
    let heads: Vec<(Vec<f32>, Vec<f32>)> =
        (0..options.heads).into_par_iter().map(|head| Head::new(rows, bias, head, layout, options).forward()).collect();
    let (out, log_sum_exp): (Vec<_>, Vec<_>) = heads.into_iter().unzip();
    (
        tensor(interleave(&out, 1, options.head_dim), [tokens, options.heads * options.head_dim]),
        tensor(log_sum_exp.concat(), [options.heads, tokens]),
    )
}

/// The gradients of queries, keys and values, and that of the bias: its rows end to end, nothing where there is none.
fn backward(
    rows: [Rows; 3],
    bias: Option<(Rows, usize)>,
    forward: [Rows; 3],
    layout: &PackedLayout,
    options: &AttentionOptions,
) -> ([Rows; 3], Vec<f32>) {
    let (rows, bias) = (rows.map(contiguous), bias.map(|(bias, zero)| (contiguous(bias), zero)));
    let [out, log_sum_exp, grad] = forward.map(contiguous);
    let rows = rows.each_ref().map(floats);
    let bias = bias.as_ref().map(|(bias, zero)| (floats(bias), *zero));
    let (out, grad) = (floats(&out), floats(&grad));
    let (tokens, keys) = (layout.tokens(), layout.keys());
    let heads: Vec<HeadGradients> = (0..options.heads)
        .into_par_iter()
        .zip(floats(&log_sum_exp).par_chunks(tokens))
        .map(|(head, log_sum_exp)| Head::new(rows, bias, head, layout, options).backward(out, grad, log_sum_exp))
        .collect();
    let group = options.heads / options.kv_heads;
    let (mut q_grad, mut k_grad, mut v_grad, mut bias_grad) = (vec![], vec![], vec![], vec![]);
    for mut head in heads {
        q_grad.push(head.q);
        k_grad.push(head.k);
        v_grad.push(head.v);
        bias_grad.append(&mut head.bias);
    }
    let (width, kv_width) = (options.heads * options.head_dim, options.kv_heads * options.head_dim);
    let gradients = [
        tensor(interleave(&q_grad, 1, options.head_dim), [tokens, width]),
        tensor(interleave(&k_grad, group, options.head_dim), [keys, kv_width]),
        tensor(interleave(&v_grad, group, options.head_dim), [keys, kv_width]),
    ];
    (gradients, bias_grad)
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

/// One query head's gradients, `[tokens, head_dim]` of `q`, `[keys, head_dim]` of `k` and `v`, which are its share of its key
/// head's; of its bias by distance, if there is one.
struct HeadGradients {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    bias: Vec<f32>,
}

/// What one head adds to scores by the distance from query to key, and where distance 0 is.
struct HeadBias<'a> {
    values: &'a [f32],
    zero: usize,
}

impl HeadBias<'_> {
    /// Where those of row `i` of a tile and these of its keys are.
    fn range(&self, tile: &Tile, i: usize, keys: &Range<usize>) -> Range<usize> {
        let first = tile.distance(i, keys.start, self.zero);
        first..first + keys.len()
    }
}

/// One query head and the key head that serves it.
struct Head<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    bias: Option<HeadBias<'a>>,
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
        [q, k, v]: [&'a [f32]; 3],
        bias: Option<(&'a [f32], usize)>,
        head: usize,
        layout: &'a PackedLayout,
        options: &'a AttentionOptions,
    ) -> Self {
        let kv_head = head / (options.heads / options.kv_heads);
        let bias = bias.map(|(values, zero)| {
            let distances = values.len() / options.heads;
            HeadBias { values: &values[head * distances..(head + 1) * distances], zero }
        });
        Self {
            q,
            k,
            v,
            bias,
            layout,
            options,
            width: options.heads * options.head_dim,
            first: head * options.head_dim,
            kv_width: options.kv_heads * options.head_dim,
            kv_first: kv_head * options.head_dim,
        }
    }

    fn tiles(&self) -> impl Iterator<Item = Tile> {
        self.layout.queries().flat_map(|(first, segment)| Tile::of(self.layout, segment, first, self.options.window))
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
                if let Some(bias) = &self.bias {
                    add_to(&mut row[visible.clone()], &bias.values[bias.range(&tile, i, &visible)]);
                }
                log_sum_exp[tile.rows.start + i] = softmax(row, visible, self.options.softcap.map(|cap| cap as f32));
            }
            let out = &mut out[tile.rows.start * width..tile.rows.end * width];
            self.weighted_keys(out, 1.0, &scores, self.v, &tile);
        }
        (out, log_sum_exp)
    }

    fn backward(&self, out: &[f32], grad: &[f32], log_sum_exp: &[f32]) -> HeadGradients {
        let width = self.options.head_dim;
        let [queries, keys] = [self.layout.tokens(), self.layout.keys()].map(|rows| rows * width);
        let mut gradients = HeadGradients {
            q: vec![0.0; queries],
            k: vec![0.0; keys],
            v: vec![0.0; keys],
            bias: vec![0.0; self.bias.as_ref().map_or(0, |bias| bias.values.len())],
        };
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
                let visible = tile.visible(i, self.options.window);
                if let Some(bias) = &self.bias {
                    add_to(&mut probabilities[visible.clone()], &bias.values[bias.range(&tile, i, &visible)]);
                }
                softmax_backward(
                    probabilities,
                    score_grads,
                    visible.clone(),
                    log_sum_exp[row],
                    dot(&out[columns.clone()], &grad[columns]),
                    self.options.softcap.map(|cap| cap as f32),
                );
                if let Some(bias) = &self.bias {
                    add_to(&mut gradients.bias[bias.range(&tile, i, &visible)], &score_grads[visible]);
                }
            }
            self.back_to_keys(&mut gradients.v, 1.0, &probabilities, grad_rows, &tile);
            self.back_to_keys(&mut gradients.k, scale, &score_grads, q, &tile);
            let q_grad = &mut gradients.q[tile.rows.start * width..tile.rows.end * width];
            self.weighted_keys(q_grad, scale, &score_grads, self.k, &tile);
        }
        gradients
    }
}

/// `sums[i] += values[i]`
fn add_to(sums: &mut [f32], values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
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
