//! Numbers with what they may be off by.

use serde::{Deserialize, Serialize};

/// The quantile of the normal distribution that leaves 2.5 % above it.
pub(crate) const Z: f64 = 1.96;

/// A rate or a mean with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The rate or mean itself.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
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
            low: ((centre - half) / scale).clamp(0.0, value),
            high: ((centre + half) / scale).clamp(value, 1.0),
            count,
        })
    }

    /// A mean with the normal interval, which one value has none of; none over nothing.
    pub fn mean(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let n = values.len() as f64;
        let value = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|x| (x - value).powi(2)).sum();
        let half = match values.len() {
            1 => 0.0,
            _ => Z * (squares / (n - 1.0) / n).sqrt(),
        };
        Some(Self {
            value,
            low: value - half,
            high: value + half,
            count: values.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_by_hand() {
        // Wilson for 8 of 10: (0.8 + 0.19208) / 1.38416 ± 1.96 · √(0.016 + 0.0096040) / 1.38416
        let estimate = Estimate::rate(8, 10).unwrap();
        assert!((estimate.value - 0.8).abs() < 1e-12);
        assert!((estimate.low - 0.490_16).abs() < 1e-4, "{estimate:?}");
        assert!((estimate.high - 0.943_32).abs() < 1e-4, "{estimate:?}");
        let none = Estimate::rate(0, 20).unwrap();
        assert!(
            none.low == 0.0 && (none.high - 0.161_13).abs() < 1e-4,
            "{none:?}"
        );
        let all = Estimate::rate(20, 20).unwrap();
        assert!(
            all.high == 1.0 && (all.low - 0.838_87).abs() < 1e-4,
            "{all:?}"
        );
        assert_eq!(Estimate::rate(0, 0), None);
    }

    #[test]
    fn means_by_hand() {
        // Deviations −1, 1: variance 2, standard error 1.
        let estimate = Estimate::mean(&[3.0, 5.0]).unwrap();
        assert_eq!((estimate.value, estimate.count), (4.0, 2));
        assert!((estimate.high - 5.96).abs() < 1e-12 && (estimate.low - 2.04).abs() < 1e-12);
        assert_eq!(Estimate::mean(&[7.0]).unwrap().low, 7.0);
        assert_eq!(Estimate::mean(&[]), None);
    }
}
