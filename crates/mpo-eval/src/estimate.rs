//! Numbers with what they may be off by.

use serde::{Deserialize, Serialize};

/// The quantile of the normal distribution that leaves 2.5 % above it.
const Z: f64 = 1.96;

/// A rate or a mean with its 95 % confidence interval, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The rate or mean itself.
    pub value: f64,
    /// The interval's lower end; a mean of one value has none.
    pub low: Option<f64>,
    /// The interval's upper end.
    pub high: Option<f64>,
    /// What it is over.
    pub count: usize,
}

impl Estimate {
    /// A rate with Wilson's interval, which is right for few and for extreme ones too; none over nothing.
    pub fn rate(hits: usize, count: usize) -> Option<Self> {
        if count == 0 {
            return None;
        }
        let n = count as f64;
        let value = hits as f64 / n;
        let centre = value + Z * Z / (2.0 * n);
        let half = Z * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        Some(Self {
            value,
            // Rounding must not put a certain rate outside its own interval.
            low: Some(((centre - half) / scale).clamp(0.0, value)),
            high: Some(((centre + half) / scale).clamp(value, 1.0)),
            count,
        })
    }

    /// A mean with the normal interval, which one value has none of; none over nothing.
    pub fn mean(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let value = values.iter().sum::<f64>() / values.len() as f64;
        let half = half_width(values, value);
        Some(Self {
            value,
            low: half.map(|half| value - half),
            high: half.map(|half| value + half),
            count: values.len(),
        })
    }
}

/// Half the width of the 95 % confidence interval (normal) of the mean of `values`. One value does not say how far others
/// would be from it.
pub(crate) fn half_width(values: &[f64], mean: f64) -> Option<f64> {
    let n = values.len() as f64;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (values.len() > 1).then(|| Z * (squares / (n - 1.0) / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(estimate: Option<Estimate>) -> (f64, f64) {
        let estimate = estimate.unwrap();
        (estimate.low.unwrap(), estimate.high.unwrap())
    }

    #[test]
    fn rates_by_hand() {
        // Wilson for 8 of 10: (0.8 + 0.19208) / 1.38416 ± 1.96 · √(0.016 + 0.0096040) / 1.38416
        assert!((Estimate::rate(8, 10).unwrap().value - 0.8).abs() < 1e-12);
        let (low, high) = interval(Estimate::rate(8, 10));
        assert!((low - 0.490_16).abs() < 1e-4, "{low}");
        assert!((high - 0.943_32).abs() < 1e-4, "{high}");
        let (low, high) = interval(Estimate::rate(0, 20));
        assert!(low == 0.0 && (high - 0.161_13).abs() < 1e-4, "{high}");
        let (low, high) = interval(Estimate::rate(20, 20));
        assert!(high == 1.0 && (low - 0.838_87).abs() < 1e-4, "{low}");
        // One of one is no certainty.
        let (low, high) = interval(Estimate::rate(1, 1));
        assert!(high == 1.0 && low < 0.3, "{low}");
        assert_eq!(Estimate::rate(0, 0), None);
    }

    #[test]
    fn means_by_hand() {
        // Deviations −1, 1: variance 2, standard error 1.
        let estimate = Estimate::mean(&[3.0, 5.0]).unwrap();
        assert_eq!((estimate.value, estimate.count), (4.0, 2));
        let (low, high) = interval(Some(estimate));
        assert!((high - 5.96).abs() < 1e-12 && (low - 2.04).abs() < 1e-12);
        assert_eq!(Estimate::mean(&[]), None);
    }

    #[test]
    fn a_mean_of_one_value_has_no_interval() {
        let estimate = Estimate::mean(&[7.0]).unwrap();
        assert_eq!((estimate.value, estimate.count), (7.0, 1));
        assert_eq!((estimate.low, estimate.high), (None, None));
    }
}
