//! Tiles of the vocabulary in parallel, each met by all rows while it is in the cache; logits never reach memory.
//!
//! Forward: one product and one online softmax. Backward: the same product again, then two. The vocabulary is cut into
//! a fixed number of runs, summed in order.

use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use multiversion::multiversion;
use rayon::prelude::*;

use super::chunked;
use super::kernel::LogProbKernel;
use crate::cpu::{
    Matrix, MatrixMut, Threads, contiguous, exp, exp_and_sum, floats, integers, max, tanh, tensor,
};

/// Runs of tiles that go to threads of their own. A fixed number, so that sums come out the same on any machine; each
/// costs one more gradient of `hidden` while the backward lasts.
const RUNS: usize = 16;
/// Rows of the head, and of `hidden`, in a tile.
const TILE: usize = 1_024;
const ROWS: usize = 256;

impl LogProbKernel for Flex {
    fn linear_token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if hidden.dtype() != DType::F32 {
            return chunked::forward::<Self>(hidden, head, targets, softcap);
        }
        let [vocabulary, width]: [usize; 2] = head.layout().shape().dims();
        let (hidden, head) = (contiguous(hidden), contiguous(head));
        let targets = checked(&targets, vocabulary);
        let head = Head {
            weights: floats(&head),
            width,
            softcap: softcap.map(|cap| cap as f32),
        };
        let run = run_length(vocabulary);
        let runs: Vec<Vec<Online>> = (0..vocabulary.div_ceil(run))
            .into_par_iter()
            .map(|i| {
                head.forward(
                    floats(&hidden),
                    &targets,
                    i * run..((i + 1) * run).min(vocabulary),
                )
            })
            .collect();
        let merged = |row: usize| {
            let mut online = runs[0][row];
            runs[1..].iter().for_each(|run| online.merge(&run[row]));
            online
        };
        let n = targets.len();
        let rows: Vec<Online> = (0..n).map(merged).collect();
        let log_sum_exp: Vec<f32> = rows.iter().map(|row| row.max + row.sum.ln()).collect();
        let log_probs = rows
            .iter()
            .zip(&log_sum_exp)
            .map(|(row, log_sum_exp)| row.target - log_sum_exp)
            .collect();
        (tensor(log_probs, [n]), tensor(log_sum_exp, [n]))
    }

    fn linear_token_log_probs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if hidden.dtype() != DType::F32 {
            return chunked::backward::<Self>(hidden, head, targets, log_sum_exp, grad, softcap);
        }
        let [vocabulary, width]: [usize; 2] = head.layout().shape().dims();
        let (hidden, head, grad) = (contiguous(hidden), contiguous(head), contiguous(grad));
        let targets = checked(&targets, vocabulary);
        let (hidden, log_sum_exp, grad) = (floats(&hidden), floats(&log_sum_exp), floats(&grad));
        let head = Head {
            weights: floats(&head),
            width,
            softcap: softcap.map(|cap| cap as f32),
        };
        let run = run_length(vocabulary);
        let mut head_grad = vec![0.0; vocabulary * width];
        let parts: Vec<Vec<f32>> = head_grad
            .par_chunks_mut(run * width)
            .enumerate()
            .map(|(i, head_grad)| {
                head.backward(hidden, &targets, log_sum_exp, grad, i * run, head_grad)
            })
            .collect();
        let mut parts = parts.into_iter();
        let mut hidden_grad = parts.next().expect("there is at least one run");
        for part in parts {
            hidden_grad
                .iter_mut()
                .zip(part)
                .for_each(|(sum, value)| *sum += value);
        }
        (
            tensor(hidden_grad, [targets.len(), width]),
            tensor(head_grad, [vocabulary, width]),
        )
    }
}

/// Targets as indices.
fn checked(targets: &IntTensor<Flex>, vocabulary: usize) -> Vec<usize> {
    let index = |target: i64| {
        assert!(
            (0..vocabulary as i64).contains(&target),
            "linear_token_log_probs: target {target} is outside the vocabulary 0..{vocabulary}"
        );
        target as usize
    };
    integers(targets).into_iter().map(index).collect()
}

/// Columns of the vocabulary one task takes: whole tiles, unless there are too few to go round.
fn run_length(vocabulary: usize) -> usize {
    let share = vocabulary.div_ceil(RUNS);
    if share > TILE {
        share.next_multiple_of(TILE)
    } else {
        share
    }
}

/// A row's softmax as far as it has been seen.
#[derive(Clone, Copy)]
struct Online {
    max: f32,
    /// Σ e^(logit − max)
    sum: f32,
    /// The target's logit; 0 until it is met.
    target: f32,
}

impl Online {
    fn merge(&mut self, other: &Self) {
        if other.max > self.max || other.max.is_nan() {
            self.sum = self.sum * exp(self.max - other.max) + other.sum;
            self.max = other.max;
        } else {
            self.sum += other.sum * exp(other.max - self.max);
        }
        self.target += other.target;
    }
}

/// The rows of a block of tokens against one tile of the vocabulary.
struct Head<'a> {
    weights: &'a [f32],
    width: usize,
    softcap: Option<f32>,
}

impl Head<'_> {
    fn tile(&self, columns: &std::ops::Range<usize>) -> Matrix<'_> {
        let weights = &self.weights[columns.start * self.width..columns.end * self.width];
        Matrix::new(weights, columns.len(), self.width)
    }

    fn logits(
        &self,
        hidden: Matrix<'_>,
        rows: usize,
        columns: &std::ops::Range<usize>,
        out: &mut [f32],
    ) {
        MatrixMut::new(out, rows, columns.len()).assign(
            1.0,
            hidden,
            self.tile(columns).transposed(),
            Threads::One,
        );
        if let Some(cap) = self.softcap {
            soft_cap(out, cap);
        }
    }

    /// Every row's softmax over these columns.
    fn forward(
        &self,
        hidden: &[f32],
        targets: &[usize],
        run: std::ops::Range<usize>,
    ) -> Vec<Online> {
        let mut rows = vec![
            Online {
                max: f32::NEG_INFINITY,
                sum: 0.0,
                target: 0.0
            };
            targets.len()
        ];
        let mut buffer = vec![0.0; ROWS.min(targets.len()) * TILE.min(run.len())];
        for columns in tiles(run) {
            let blocks = hidden
                .chunks(ROWS * self.width)
                .zip(targets.chunks(ROWS))
                .zip(rows.chunks_mut(ROWS));
            for ((hidden, targets), rows) in blocks {
                let logits = &mut buffer[..targets.len() * columns.len()];
                self.logits(
                    Matrix::new(hidden, targets.len(), self.width),
                    targets.len(),
                    &columns,
                    logits,
                );
                for ((logits, &target), row) in logits
                    .chunks_exact_mut(columns.len())
                    .zip(targets)
                    .zip(rows)
                {
                    let target = if columns.contains(&target) {
                        logits[target - columns.start]
                    } else {
                        0.0
                    };
                    let (max, sum) = max_and_sum(logits);
                    row.merge(&Online { max, sum, target });
                }
            }
        }
        rows
    }

    /// Writes the gradient of these rows of the head, returns their share of the gradient of `hidden`.
    fn backward(
        &self,
        hidden: &[f32],
        targets: &[usize],
        log_sum_exp: &[f32],
        grad: &[f32],
        first: usize,
        head_grad: &mut [f32],
    ) -> Vec<f32> {
        let run = first..first + head_grad.len() / self.width;
        let mut hidden_grad = vec![0.0; hidden.len()];
        let mut buffer = vec![0.0; ROWS.min(targets.len()) * TILE.min(run.len())];
        for columns in tiles(run) {
            let head_grad = &mut head_grad
                [(columns.start - first) * self.width..(columns.end - first) * self.width];
            let blocks = hidden
                .chunks(ROWS * self.width)
                .zip(hidden_grad.chunks_mut(ROWS * self.width))
                .zip(
                    targets
                        .chunks(ROWS)
                        .zip(log_sum_exp.chunks(ROWS))
                        .zip(grad.chunks(ROWS)),
                );
            for ((hidden, hidden_grad), ((targets, log_sum_exp), grad)) in blocks {
                let n = targets.len();
                let hidden = Matrix::new(hidden, n, self.width);
                let logits = &mut buffer[..n * columns.len()];
                self.logits(hidden, n, &columns, logits);
                for (i, logits) in logits.chunks_exact_mut(columns.len()).enumerate() {
                    let target = columns
                        .contains(&targets[i])
                        .then(|| targets[i] - columns.start);
                    logits_grad(logits, log_sum_exp[i], grad[i], target, self.softcap);
                }
                let logits = Matrix::new(logits, n, columns.len());
                MatrixMut::new(hidden_grad, n, self.width).add(
                    1.0,
                    logits,
                    self.tile(&columns),
                    Threads::One,
                );
                MatrixMut::new(head_grad, columns.len(), self.width).add(
                    1.0,
                    logits.transposed(),
                    hidden,
                    Threads::One,
                );
            }
        }
        hidden_grad
    }
}

fn tiles(run: std::ops::Range<usize>) -> impl Iterator<Item = std::ops::Range<usize>> {
    run.clone()
        .step_by(TILE)
        .map(move |start| start..(start + TILE).min(run.end))
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn soft_cap(logits: &mut [f32], cap: f32) {
    logits.iter_mut().for_each(|z| *z = cap * tanh(*z / cap));
}

/// The largest logit and Σ e^(logit − largest); overwrites the logits.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn max_and_sum(logits: &mut [f32]) -> (f32, f32) {
    let largest = max(logits);
    (largest, exp_and_sum(logits, largest))
}

/// Logits → `grad · (onehot − softmax)`, through the soft-cap.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn logits_grad(
    logits: &mut [f32],
    log_sum_exp: f32,
    grad: f32,
    target: Option<usize>,
    softcap: Option<f32>,
) {
    let target = target.map(|target| (target, logits[target]));
    match softcap {
        None => logits
            .iter_mut()
            .for_each(|z| *z = -grad * exp(*z - log_sum_exp)),
        Some(cap) => logits.iter_mut().for_each(|z| {
            let ratio = *z / cap;
            *z = -grad * exp(*z - log_sum_exp) * (1.0 - ratio * ratio);
        }),
    }
    if let Some((target, logit)) = target {
        let ratio = softcap.map_or(0.0, |cap| logit / cap);
        logits[target] += grad * (1.0 - ratio * ratio);
    }
}
