//! How long a run has still to go, so that the number does not swing.
//!
//! A step's time follows its tokens. The first one of a process compiles kernels and touches new memory, so it counts only while
//! there is no other, and others may stand out for the same reasons: the median of the last ones is what counts.

use std::collections::VecDeque;
use std::time::Duration;

use crate::batches::Batches;
use crate::settings::TrainConfig;

/// How many pieces of work say how fast it goes.
const PIECES: usize = 32;

/// What a run has still to do, and how long each kind of it takes.
#[derive(Debug)]
pub(crate) struct TimeLeft {
    /// Tokens of each step of the run.
    tokens: Vec<usize>,
    eval_every: Option<u64>,
    checkpoint_every: u64,
    steps: Pace,
    measuring: Pace,
    saving: Pace,
}

impl TimeLeft {
    /// Of the run over `batches` of rows, which are `tokens` long.
    pub(crate) fn new(
        config: &TrainConfig,
        batches: &Batches,
        measures: bool,
        tokens: impl Fn(usize) -> usize,
    ) -> Self {
        let of_steps = (0..batches.epochs()).flat_map(|epoch| batches.of_epoch(epoch));
        Self {
            tokens: of_steps.map(|rows| rows.into_iter().map(&tokens).sum()).collect(),
            eval_every: config.eval_every.filter(|_| measures),
            checkpoint_every: config.checkpoint_every,
            steps: Pace::default(),
            measuring: Pace::default(),
            saving: Pace::default(),
        }
    }

    /// Tokens of a step, from 0.
    pub(crate) fn tokens(&self, step: u64) -> usize {
        self.tokens.get(step as usize).copied().unwrap_or(0)
    }

    /// A step, from 0, took so long.
    pub(crate) fn step_took(&mut self, step: u64, time: Duration) {
        let tokens = self.tokens(step);
        self.steps.add(tokens, time);
    }

    /// So did a measurement.
    pub(crate) fn measuring_took(&mut self, time: Duration) {
        self.measuring.add(1, time);
    }

    /// So did a checkpoint.
    pub(crate) fn saving_took(&mut self, time: Duration) {
        self.saving.add(1, time);
    }

    /// After so many steps, of which the last was not measured or saved yet; none while nothing can be said.
    pub(crate) fn after(&self, steps: u64) -> Option<Duration> {
        let total = self.tokens.len() as u64;
        let tokens: usize = self.tokens.iter().skip(steps as usize).sum();
        if tokens > 0 && !self.steps.has_more {
            return None;
        }
        let measurements = self.eval_every.map_or(0, |every| due(every, steps, total));
        let checkpoints = due(self.checkpoint_every, steps, total);
        let pauses = self.measuring.of(measurements as usize) + self.saving.of(checkpoints as usize);
        Some(self.steps.of(tokens) + pauses)
    }
}

/// How often something is done that is done every so many steps and at the end, from `step` on.
fn due(every: u64, step: u64, total: u64) -> u64 {
    let before = step.saturating_sub(1);
    total / every - before / every + u64::from(!total.is_multiple_of(every))
}

/// How fast one kind of work goes.
#[derive(Debug, Default)]
struct Pace {
    /// Seconds for a unit of each piece, the latest last.
    pieces: VecDeque<f64>,
    /// Whether there was more than the first piece.
    has_more: bool,
}

impl Pace {
    /// So much was done in this time.
    fn add(&mut self, units: usize, time: Duration) {
        if !self.has_more && !self.pieces.is_empty() {
            self.pieces.clear();
            self.has_more = true;
        }
        if self.pieces.len() == PIECES {
            self.pieces.pop_front();
        }
        self.pieces.push_back(time.as_secs_f64() / units.max(1) as f64);
    }

    /// How long so much more will take; no time where nothing is known.
    fn of(&self, units: usize) -> Duration {
        let mut sorted: Vec<f64> = self.pieces.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0.0);
        Duration::try_from_secs_f64(median * units as f64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TrainOptions;

    /// Ten steps of four rows each, `tokens` long.
    fn time_left(tokens: impl Fn(usize) -> usize, options: TrainOptions) -> TimeLeft {
        let options = TrainOptions { batch_size: Some(4), epochs: Some(1.0), shuffle: Some(false), ..options };
        let config = options.or(TrainOptions::minimal()).resolve().unwrap();
        let batches = Batches::new(&config, 40, 1);
        TimeLeft::new(&config, &batches, true, tokens)
    }

    fn seconds(left: Option<Duration>) -> f64 {
        left.unwrap().as_secs_f64()
    }

    #[test]
    fn what_takes_long_at_first_is_not_taken_for_the_pace() {
        let mut left = time_left(|_| 25, TrainOptions { checkpoint_every: Some(100), ..TrainOptions::default() });
        assert_eq!(left.after(0), None, "nothing is known");
        // A minute to compile, and half of one for the last shapes.
        left.step_took(0, Duration::from_secs(60));
        assert_eq!(left.after(1), None);
        left.step_took(1, Duration::from_secs(2));
        assert_eq!(seconds(left.after(2)), 16.0);
        left.step_took(2, Duration::from_secs(30));
        assert_eq!(seconds(left.after(3)), 14.0);
        for step in 3..10 {
            left.step_took(step, Duration::from_secs(2));
            assert_eq!(seconds(left.after(step + 1)), 2.0 * (9 - step) as f64, "{step}");
        }
    }

    #[test]
    fn time_follows_tokens_and_not_steps() {
        // Every other step is ten times as long.
        let mut left = time_left(|row| if row / 4 % 2 == 0 { 10 } else { 100 }, TrainOptions::default());
        for step in 0..10 {
            let tokens = left.tokens(step);
            left.step_took(step, Duration::from_millis(10 * tokens as u64));
            let rest: usize = (step + 1..10).map(|step| left.tokens(step)).sum();
            if step > 0 {
                assert!((seconds(left.after(step + 1)) - rest as f64 / 100.0).abs() < 1e-9, "{step}");
            }
        }
    }

    #[test]
    fn measurements_and_checkpoints_take_their_time() {
        let options = TrainOptions { eval_every: Some(3), checkpoint_every: Some(4), ..TrainOptions::default() };
        let mut left = time_left(|_| 25, options);
        left.measuring_took(Duration::from_secs(7));
        for step in 0..6 {
            left.step_took(step, Duration::from_secs(1));
        }
        // Measured after 6, 9 and 10, which is the last; saved after 8 and 10.
        assert_eq!(seconds(left.after(6)), 4.0 + 3.0 * 7.0);
        left.saving_took(Duration::from_secs(2));
        assert_eq!(seconds(left.after(6)), 4.0 + 3.0 * 7.0 + 2.0 * 2.0);
        assert_eq!(seconds(left.after(7)), 3.0 + 2.0 * 7.0 + 2.0 * 2.0);
        let due = |every| (0..=10).map(|step| due(every, step, 10)).collect::<Vec<_>>();
        assert_eq!(due(5), [2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1]);
        assert_eq!(due(4), [3, 3, 3, 3, 3, 2, 2, 2, 2, 1, 1]);
    }

    #[test]
    fn a_machine_that_gets_slower_is_noticed() {
        let mut pace = Pace::default();
        for seconds in std::iter::repeat_n(1, 40).chain(std::iter::repeat_n(3, 20)) {
            pace.add(10, Duration::from_secs(seconds));
        }
        assert_eq!(pace.of(100), Duration::from_secs(30));
    }
}
