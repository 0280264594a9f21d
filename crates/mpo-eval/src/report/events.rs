//! What the log of a run tells of.

use std::path::Path;

use mpo_trainer::{Event, LoggedEvent, MeasuredEvent, StepEvent, read_file};

use crate::error::EvalError;

/// What a file of events tells of.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The steps of training.
    pub(super) steps: Vec<StepEvent>,
    /// What was measured meanwhile.
    pub(super) measured: Vec<MeasuredEvent>,
    /// How many rows it is trained on.
    pub(super) rows: Option<usize>,
    /// How many steps it is to take.
    pub(super) total_steps: Option<u64>,
    /// How long it took, if one process took all steps.
    pub(super) seconds: Option<f64>,
    /// What is damaged in it, in words.
    pub(super) damaged: Vec<String>,
}

impl Told {
    /// By a file of events, if it is there.
    pub(super) fn read(path: &Path) -> Result<Self, EvalError> {
        let mut told = Self::default();
        let mut is_of_one_start = true;
        let bytes = read_file(path)?.unwrap_or_default();
        for (line, number) in bytes.split_inclusive(|&byte| byte == b'\n').zip(1..) {
            let is_whole = line.ends_with(b"\n");
            let line = String::from_utf8_lossy(line);
            // A run that is going on may be in the middle of a line, and a disk may have damaged one. Logs of earlier versions
            // have no checksums.
            let is_checked = line.contains(",\"check\":\"");
            let object = if is_checked { mpo_models::unchecked_line(&line) } else { Some(line.into_owned()) };
            if object.is_none() && is_whole {
                let problem = "was damaged since it was written, and is not shown";
                told.damaged.push(format!("events.jsonl: line {number} {problem}"));
            }
            let Ok(logged) = serde_json::from_str::<LoggedEvent>(object.as_deref().unwrap_or_default()) else {
                if number == 1 && object.is_some() {
                    let problem = "expected events, a line of JSON each";
                    return Err(EvalError::broken(path, problem.into()));
                }
                continue;
            };
            match logged.event {
                Event::Step(event) => told.steps.push(event),
                Event::Measured(event) => told.measured.push(event),
                Event::Started(event) => {
                    (told.rows, told.total_steps) = (Some(event.rows), Some(event.total_steps));
                    is_of_one_start &= event.step == 0;
                }
                Event::Finished { seconds, .. } => told.seconds = is_of_one_start.then_some(seconds),
                Event::Checkpoint { .. } | Event::Best { .. } => {}
            }
        }
        Ok(told)
    }
}
