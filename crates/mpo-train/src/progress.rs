//! A training run as the terminal shows it: a bar, or a line for every tenth of the way.

use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar};
use mpo_trainer::{Event, Progress, StepEvent};

use crate::session::Session;

/// Shows a run, and stops it when the user asks to.
#[derive(Debug)]
pub(crate) struct TrainProgress<'a> {
    session: &'a Session,
    bar: ProgressBar,
    total_steps: u64,
    /// Whether a run tells of itself in lines too.
    lines: bool,
}

impl<'a> TrainProgress<'a> {
    /// Before the first event; without `lines` the bar is all that is shown.
    pub(crate) fn new(session: &'a Session, lines: bool) -> Self {
        Self { session, lines, bar: session.bar_with_message("training"), total_steps: 0 }
    }
}

impl Progress for TrainProgress<'_> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { step, total_steps, rows } => {
                self.total_steps = *total_steps;
                let begin = match step {
                    0 => "training".to_owned(),
                    step => format!("continuing after step {step}"),
                };
                if self.lines {
                    let text = format!("{begin}: {rows} rows, {total_steps} steps");
                    // The bar is on the terminal already, and would share its line.
                    self.bar.suspend(|| self.session.note(text));
                }
                self.bar.set_length(*total_steps);
                self.bar.set_position(*step);
            }
            Event::Step(event) => {
                let message = message(event);
                if self.lines && self.session.notes_only(&self.bar) && is_due(event.step, self.total_steps) {
                    let (step, total) = (event.step, self.total_steps);
                    self.session.note(format_args!("step {step}/{total}  {message}"));
                }
                self.bar.set_message(message);
                self.bar.set_position(event.step);
            }
            Event::Checkpoint { .. } | Event::Finished { .. } => {}
        }
    }

    fn note(&mut self, text: &str) {
        self.bar.suspend(|| self.session.note(text));
    }

    fn stop(&self) -> bool {
        self.session.stopped()
    }
}

/// Whether `step` is the first to reach another tenth of `total`.
fn is_due(step: u64, total: u64) -> bool {
    let tenths = |step: u64| step.saturating_mul(10) / total.max(1);
    tenths(step) > tenths(step.saturating_sub(1))
}

fn message(event: &StepEvent) -> String {
    let metrics = [("loss", "loss"), ("rg/target", "gap"), ("rg/dominant", "dominant")];
    let mut parts: Vec<String> =
        metrics.into_iter().filter_map(|(key, name)| Some(format!("{name} {:.3}", event.metrics.get(key)?))).collect();
    parts.push(format!("{:.0} tokens/s", event.tokens_per_second));
    let left = Duration::try_from_secs_f64(event.seconds_left).unwrap_or_default();
    parts.push(format!("{:#} left", HumanDuration(left)));
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn ten_lines_a_run_or_one_a_step() {
        let due = |total| (1..=total).filter(|&step| is_due(step, total)).collect::<Vec<_>>();
        assert_eq!(due(3), [1, 2, 3]);
        assert_eq!(due(40), [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]);
    }

    #[test]
    fn a_step_in_a_line() {
        let event = StepEvent {
            step: 1,
            epoch: 0.5,
            tokens_per_second: 1234.4,
            seconds_left: 90.0,
            metrics: BTreeMap::from([("loss".into(), 0.5), ("rg/target".into(), -0.25)]),
        };
        let line = message(&event);
        assert!(line.starts_with("loss 0.500  gap -0.250  1234 tokens/s  "), "{line}");
        assert!(line.ends_with(" left"), "{line}");
    }
}
