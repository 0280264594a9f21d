//! When a run ends before its last step, and which of its weights it ends with.

use serde::{Deserialize, Serialize};

use crate::settings::Measure;

/// How what is measured of held-out rows has gone so far. Checkpoints hold it, so that a run that goes on stops where it would have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EarlyStop {
    /// The last step that was measured.
    step: u64,
    /// The best step so far, and its value.
    best: Option<(u64, f64)>,
    /// Measurements since.
    since: u64,
}

impl EarlyStop {
    /// Takes in a measurement, and says whether it is the best so far. The untouched model, a step that was taken in before,
    /// and a value that is not finite are none.
    pub(crate) fn observe(&mut self, step: u64, measure: Measure, value: Option<f64>) -> bool {
        if step <= self.step {
            return false;
        }
        self.step = step;
        match value {
            Some(value) if self.best.is_none_or(|(_, best)| measure.is_better(value, best)) => {
                (self.best, self.since) = (Some((step, value)), 0);
                true
            }
            _ => {
                self.since += 1;
                false
            }
        }
    }

    /// The run goes on after what was its end: measurements are counted anew.
    pub(crate) fn go_on(&mut self) {
        self.since = 0;
    }

    /// Whether so many measurements in a row were no better.
    pub(crate) fn is_over(&self, patience: u64) -> bool {
        self.since >= patience
    }

    /// The best step.
    pub(crate) fn best(&self) -> Option<u64> {
        self.best.map(|(step, _)| step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_in_measurements_since_the_best() {
        let mut early = EarlyStop::default();
        let observe = |early: &mut EarlyStop, step, loss| early.observe(step, Measure::Loss, loss);
        // Before the first step there are no weights to go back to.
        assert!(!observe(&mut early, 0, Some(0.1)) && early.best().is_none());
        assert!(observe(&mut early, 2, Some(1.0)) && observe(&mut early, 4, Some(0.5)));
        for (step, loss) in [(6, Some(0.5)), (8, None)] {
            assert!(!early.is_over(2));
            assert!(!observe(&mut early, step, loss));
        }
        assert!(early.is_over(2) && !early.is_over(3));
        assert_eq!(early.best(), Some(4));
        // The same measurement again, as after a kill.
        let before = early.clone();
        assert!(!observe(&mut early, 8, Some(0.0)));
        assert_eq!(early, before);
        let text = serde_json::to_string(&early).unwrap();
        assert_eq!(serde_json::from_str::<EarlyStop>(&text).unwrap(), early);
        // A gap is best where it is highest.
        let mut gaps = EarlyStop::default();
        let of = [(2, 1.0), (4, 3.0), (6, 2.0)].map(|(step, gap)| gaps.observe(step, Measure::Gap, Some(gap)));
        assert_eq!((of, gaps.best(), gaps.is_over(1)), ([true, true, false], Some(4), true));
        let mut longer = early.clone();
        longer.go_on();
        assert!(!longer.is_over(1) && longer.best() == Some(4));
        assert!(observe(&mut early, 10, Some(0.25)) && !early.is_over(1));
    }
}
