//! The logistic function's logarithm and the odds of a probability, right to the last digits at both ends.
//!
//! Written out because the backends' own differ: some lose small slopes, some compute in f32 whatever they are given.

use burn::tensor::{DType, Tensor};

/// `log σ(x)`, elementwise. Its slope is σ(−x), at zero too: where a policy still equals its reference, every margin
/// is zero.
pub(crate) fn log_sigmoid(x: Tensor<1>) -> Tensor<1> {
    let positive = x.clone().greater_equal_elem(0);
    // −|x|, with a slope of −1 at zero where `abs` has none.
    let toward_zero = x.clone().mask_where(positive.clone(), x.clone().neg());
    x.mask_fill(positive, 0) - toward_zero.exp().log1p()
}

/// `σ(x)`, elementwise; neither it nor its slope loses digits at either end.
pub(crate) fn sigmoid(x: Tensor<1>) -> Tensor<1> {
    log_sigmoid(x).exp()
}

/// `log(p / (1 − p))` of `p = exp(log_p)`, for `log_p ≤ 0`. A probability of exactly one counts as the largest below
/// it that can be told from it, so that value and slope stay finite.
pub(crate) fn log_odds(log_p: Tensor<1>) -> Tensor<1> {
    let tiny = match log_p.dtype() {
        DType::F64 => f64::MIN_POSITIVE,
        _ => f64::from(f32::MIN_POSITIVE),
    };
    let log_p = log_p.sub_scalar(tiny);
    log_p.clone() - log1mexp(log_p)
}

/// `log(1 − exp(x))` for `x < 0`. Below −log 2 as log1p(−exp x), above as log(−expm1 x) (Mächler 2012).
fn log1mexp(x: Tensor<1>) -> Tensor<1> {
    let edge = -std::f64::consts::LN_2;
    let near = x.clone().greater_elem(edge);
    // Each branch is computed on numbers of its own side only: what is not chosen must not be infinite either, or its
    // gradient of zero times infinity would be taken.
    let below = x.clone().mask_fill(near.clone(), edge);
    let above = x.mask_fill(near.clone().bool_not(), edge);
    let far = below.exp().neg().log1p();
    // expm1 x = x (1 + x/2 (1 + x/3 (1 + …))): eighteen terms are f64's precision up to log 2.
    // Not `div_scalar`, whose gradient Burn computes in f32.
    let ratio = (2..=18)
        .rev()
        .fold(above.ones_like(), |tail, k| (above.clone().mul_scalar(1.0 / f64::from(k)) * tail).add_scalar(1));
    let close = above.neg().log() + ratio.log();
    far.mask_where(near, close)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_gradients, f64s};

    #[test]
    fn log_sigmoid_at_both_ends_and_at_zero() {
        // log σ(40) = −e⁻⁴⁰ and log σ(−800) = −800, to the last digit
        let (value, slope) = f64s([0.0, 40.0, -800.0, 800.0], log_sigmoid);
        check(&value, &[-2f64.ln(), -(-40f64).exp(), -800.0, 0.0]);
        check(&slope, &[0.5, (-40f64).exp(), 1.0, 0.0]);
    }

    #[test]
    fn sigmoid_keeps_small_slopes() {
        let (value, slope) = f64s([0.0, 50.0, -50.0], sigmoid);
        let small = (-50f64).exp();
        check(&value, &[0.5, 1.0, small]);
        check(&slope, &[0.25, small, small]);
    }

    #[test]
    fn log_odds_of_probabilities_near_zero_and_one() {
        // p = 1/2: odds 1; p = e⁻¹⁰⁰: about p; p = 1 − 10⁻¹²: 10¹² − 1
        let (value, slope) = f64s([-2f64.ln(), -100.0, -1e-12, 0.0], log_odds);
        check(&value[..3], &[0.0, -100.0, 1e12f64.ln() - 0.5e-12]);
        // d log odds / d log p = 1 / (1 − p)
        check(&slope[..3], &[2.0, 1.0, 1e12 + 0.5]);
        assert!(value[3].is_finite() && slope[3].is_finite());
    }

    #[test]
    fn gradients_are_finite_differences() {
        let points = [-3.0, -1.5, -0.7, -0.69, -0.3, -0.01];
        check_gradients(&[&points], |t| log_odds(t[0].clone()));
        check_gradients(&[&[-2.0, -0.3, 0.4, 5.0]], |t| log_sigmoid(t[0].clone()));
    }
}
