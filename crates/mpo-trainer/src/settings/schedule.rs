//! The learning rate over a run.

use super::choices::Schedule;

impl Schedule {
    /// The factor on the peak learning rate at `step` (0 at the first) of `total`, after `warmup` steps of linear rise:
    /// what Transformers' schedulers of the same names give.
    pub(crate) fn factor(self, step: u64, total: u64, warmup: u64) -> f64 {
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        let progress = ((step - warmup) as f64 / (total - warmup).max(1) as f64).min(1.0);
        match self {
            Self::Constant => 1.0,
            Self::Linear => 1.0 - progress,
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_with_warmup_by_hand() {
        // 2 of 10 steps rise (0, 1/2), then (1 + cos(π k/8)) / 2
        let factor = |step| Schedule::Cosine.factor(step, 10, 2);
        for (step, want) in [(0, 0.0), (1, 0.5), (2, 1.0), (6, 0.5), (10, 0.0)] {
            assert!((factor(step) - want).abs() < 1e-12, "{step}: {}", factor(step));
        }
    }

    #[test]
    fn linear_with_warmup_by_hand() {
        for (step, want) in [(0, 0.0), (1, 0.5), (2, 1.0), (4, 0.75), (9, 0.125), (10, 0.0)] {
            assert_eq!(Schedule::Linear.factor(step, 10, 2), want, "{step}");
        }
    }

    #[test]
    fn constant_after_the_warmup() {
        let factors = [0, 1, 2, 3].map(|step| Schedule::Constant.factor(step, 4, 2));
        assert_eq!(factors, [0.0, 0.5, 1.0, 1.0]);
        assert_eq!(Schedule::Constant.factor(0, 3, 0), 1.0);
    }
}
