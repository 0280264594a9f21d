//! Logistic regression with a ridge, by Newton's method, in f64.
//!
//! What is lowered is `Σᵢ log(1 + exp(−yᵢfᵢ)) + ρ/2·‖w‖²` with `f = Xw + b` and `y = ±1`; `b` is free.
//!
//! Ours, because linfa-logistic 0.8.1 and smartcore 0.7.0 have L-BFGS alone: at the rows of the tests below they stop at gradients of up
//! to 1.6e-7 and 1.6e-8, far from where this one does, and each brings matrices of another kind beside nalgebra's.

use nalgebra::{Cholesky, DMatrix, DVector};

/// A fitted line between two classes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Logistic {
    pub(crate) weight: DVector<f64>,
    pub(crate) bias: f64,
}

/// Newton's steps at most; a dozen are usual.
const STEPS: usize = 100;
/// A row that is certain still has a little weight, so that a step can be solved for.
const LEAST: f64 = 1e-12;
/// Of the sum of all squares: a ridge below this share is lost in the rounding of what it is added to.
const ROUNDING: f64 = 1e-13;

/// Fits a line above zero for the rows that `are` of the class. Numbers are finite, and `ridge` is above zero.
pub(crate) fn fit(rows: &DMatrix<f64>, are: &[bool], ridge: f64) -> Logistic {
    // The best weight is made of rows: where these are fewer than columns, it is looked for among as many directions.
    if rows.nrows() < rows.ncols() {
        let (directions, along) = rows.transpose().qr().unpack();
        let Logistic { weight, bias } = fit(&along.transpose(), are, ridge);
        return Logistic { weight: directions * weight, bias };
    }
    let of = Problem {
        rows: rows.clone().insert_column(rows.ncols(), 1.0),
        are,
        ridge: ridge.max(ROUNDING * rows.norm_squared()),
    };
    let mut at = of.place(DVector::zeros(rows.ncols() + 1));
    for _ in 0..STEPS {
        let Some(step) = of.step(&at) else { break };
        // Half the way, and half of that, where the whole of it leads up.
        let mut on_the_way = (0..30).map(|halvings| of.place(&at.line + &step * 0.5f64.powi(halvings)));
        match on_the_way.find(|next| next.is_better_than(&at)) {
            Some(next) => at = next,
            None => break,
        }
    }
    let bias = at.line[rows.ncols()];
    Logistic { weight: at.line.remove_row(rows.ncols()), bias }
}

/// Somewhere on the way.
struct Place {
    /// The weight, and the bias behind it.
    line: DVector<f64>,
    /// Of each row, above zero for the class.
    scores: DVector<f64>,
    cost: f64,
    gradient: DVector<f64>,
}

impl Place {
    /// Whether it is lower; or, where the cost is the same but for its rounding, flatter.
    fn is_better_than(&self, other: &Self) -> bool {
        let rounding = 1e-13 * other.cost;
        let is_flatter = self.gradient.norm_squared() < other.gradient.norm_squared();
        self.cost < other.cost - rounding || (self.cost <= other.cost + rounding && is_flatter)
    }
}

struct Problem<'a> {
    /// With a column of ones behind the others, for the bias.
    rows: DMatrix<f64>,
    are: &'a [bool],
    ridge: f64,
}

impl Problem<'_> {
    fn place(&self, line: DVector<f64>) -> Place {
        let scores = &self.rows * &line;
        let losses = scores.iter().zip(self.are).map(|(&score, &is)| softplus(if is { -score } else { score }));
        let over = scores.iter().zip(self.are).map(|(&score, &is)| if is { -sigmoid(-score) } else { sigmoid(score) });
        let over = DVector::from_iterator(scores.len(), over);
        let mut held = &line * self.ridge;
        held[line.len() - 1] = 0.0;
        Place {
            cost: losses.sum::<f64>() + held.dot(&line) / 2.0,
            gradient: self.rows.tr_mul(&over) + held,
            line,
            scores,
        }
    }

    /// To where the quadratic that touches the cost has its least value.
    fn step(&self, at: &Place) -> Option<DVector<f64>> {
        let mut weighted = self.rows.clone();
        for (mut row, &score) in weighted.row_iter_mut().zip(&at.scores) {
            row *= (sigmoid(score) * sigmoid(-score)).max(LEAST);
        }
        let mut curvature = self.rows.tr_mul(&weighted);
        for i in 0..at.line.len() - 1 {
            curvature[(i, i)] += self.ridge;
        }
        Some(-Cholesky::new(curvature)?.solve(&at.gradient))
    }
}

fn sigmoid(x: f64) -> f64 {
    // Of what is far below zero as exactly as of what is far above.
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gradient at a fitted line: of the weight, and of the bias behind it.
    fn gradient(rows: &DMatrix<f64>, are: &[bool], ridge: f64, of: &Logistic) -> DVector<f64> {
        let scores = (rows * &of.weight).add_scalar(of.bias);
        let over = DVector::from_fn(are.len(), |row, _| sigmoid(scores[row]) - f64::from(u8::from(are[row])));
        let weight = rows.tr_mul(&over) + &of.weight * ridge;
        weight.push(over.sum())
    }

    #[test]
    fn two_rows_by_hand() {
        // Rows at ±1: b = 0, and ρw = 2·sigmoid(−w). For w = 1 that is ρ = 2/(1 + e).
        let rows = DMatrix::from_row_slice(2, 1, &[1.0, -1.0]);
        let found = fit(&rows, &[true, false], 2.0 / (1.0 + 1f64.exp()));
        assert!((found.weight[0] - 1.0).abs() < 1e-10 && found.bias.abs() < 1e-10, "{found:?}");
        // Two against one in one place: no weight, and log-odds of two to one.
        let found = fit(&DMatrix::zeros(3, 1), &[true, true, false], 1.0);
        assert!((found.bias - 2f64.ln()).abs() < 1e-10 && found.weight[0] == 0.0, "{found:?}");
    }

    #[test]
    fn the_gradient_is_zero_at_the_optimum_whatever_the_shape() {
        for (count, width, scale, ridge) in
            [(12, 3, 1.0, 1.0), (6, 20, 1.0, 1e-3), (9, 4, 100.0, 0.1), (8, 8, 5.0, 50.0)]
        {
            let rows =
                DMatrix::from_fn(count, width, |i, j| (((i * 7 + j * 5 + i * j * j) % 11) as f64 - 5.0) / 5.0 * scale);
            let are: Vec<bool> = (0..count).map(|i| i % 3 == 0).collect();
            let found = fit(&rows, &are, ridge);
            let left = gradient(&rows, &are, ridge, &found).amax();
            assert!(left < 1e-9 * scale, "{count} × {width}: {left}");
            assert!(found.weight.amax() > 1e-6);
        }
    }

    #[test]
    fn what_is_far_apart_ends_with_finite_numbers() {
        let rows = DMatrix::from_row_slice(4, 1, &[1e6, 2e6, -1e6, -3e6]);
        let found = fit(&rows, &[true, true, false, false], 1e-9);
        assert!(found.weight[0] > 0.0 && found.weight[0].is_finite() && found.bias.is_finite(), "{found:?}");
    }
}
