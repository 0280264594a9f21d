//! Training as its user sees it where no bar can be shown: lines, one for every tenth of the way.

use std::time::{Duration, Instant};

use mpo_progress::{Counted, Progress as _};
use mpo_trainer::{Event, Measure, StartedEvent, StepEvent};

use crate::duration::{of_seconds, short};
use crate::session::Session;

/// Tells the user of a run in lines.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    session: &'a Session,
    total_steps: u64,
    began: Instant,
}

impl<'a> Lines<'a> {
    /// Before the first event.
    pub(crate) fn new(session: &'a Session) -> Self {
        Self { session, total_steps: 0, began: Instant::now() }
    }

    /// Something happened.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Started(StartedEvent { step, total_steps, rows, .. }) => {
                (self.total_steps, self.began) = (*total_steps, Instant::now());
                let begin = match step {
                    0 => "training".to_owned(),
                    step => format!("continuing after step {step}"),
                };
                self.session.note(&format_args!(
                    "{begin}: {}, {}",
                    Counted(*rows as u64, "row"),
                    Counted(*total_steps, "step")
                ));
            }
            Event::Measured(event) => {
                self.session.note(&format_args!("step {}/{}  {event}", event.step, self.total_steps));
                for warning in &event.warnings {
                    self.session.note(&format_args!("warning: {warning}"));
                }
            }
            Event::Best { step, best, measure } => {
                let what = match measure {
                    Measure::Loss => "the held-out loss was lowest".to_owned(),
                    gap => format!("{gap} was highest"),
                };
                self.session.note(&format_args!("{what} after step {best} of {step}: its weights are the result"));
            }
            Event::Step(event) if !self.session.shows_bars() && is_due(event.step, self.total_steps) => {
                self.session.note(&line(event, self.total_steps, self.began.elapsed()));
            }
            Event::Step(_) | Event::Checkpoint { .. } | Event::Finished { .. } => {}
        }
    }
}

/// Whether `step` is the first to reach another tenth of `total`.
fn is_due(step: u64, total: u64) -> bool {
    let tenths = |step: u64| step.saturating_mul(10) / total.max(1);
    tenths(step) > tenths(step.saturating_sub(1))
}

fn line(event: &StepEvent, total_steps: u64, elapsed: Duration) -> String {
    let left = event.seconds_left.map_or(String::new(), |left| format!(", {} left", of_seconds(left)));
    format!("step {}/{total_steps}  {event}  {}{left}", event.step, short(elapsed))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn ten_lines_per_run_or_one_per_step() {
        let due = |total| (1..=total).filter(|&step| is_due(step, total)).collect::<Vec<_>>();
        assert_eq!(due(3), [1, 2, 3]);
        assert_eq!(due(40), [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]);
    }

    #[test]
    fn a_line_says_how_far_a_run_is() {
        let metrics = BTreeMap::from([("loss".into(), 0.5)]);
        let first = StepEvent { step: 1, epoch: 0.5, tokens_per_second: 1234.4, seconds_left: None, metrics };
        let second = StepEvent { step: 2, seconds_left: Some(90.0), ..first.clone() };
        let elapsed = Duration::from_secs(61);
        assert_eq!(line(&first, 4, elapsed), "step 1/4  loss 0.500  1234 tokens/s  1m 01s");
        assert_eq!(line(&second, 4, elapsed), "step 2/4  loss 0.500  1234 tokens/s  1m 01s, 1m 30s left");
    }
}
