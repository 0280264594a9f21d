//! The steps of a run, as its log tells of them.

use std::path::Path;

use mpo_trainer::{Event, StepEvent, read_file};

use crate::error::EvalError;

/// The steps that a file of events tells of, and what is damaged in it.
pub(super) fn steps(path: &Path) -> Result<(Vec<StepEvent>, Vec<String>), EvalError> {
    let (mut steps, mut damaged) = (vec![], vec![]);
    let bytes = read_file(path)?.unwrap_or_default();
    for (line, number) in bytes.split_inclusive(|&byte| byte == b'\n').zip(1..) {
        let is_whole = line.ends_with(b"\n");
        let line = String::from_utf8_lossy(line);
        // A run that is going on may be in the middle of a line, and a disk may have damaged one. Logs of earlier versions
        // have no checksums.
        let is_checked = line.contains(",\"check\":\"");
        let object = if is_checked { mpo_models::unchecked_line(&line) } else { Some(line.into_owned()) };
        if object.is_none() && is_whole {
            damaged.push(format!("events.jsonl: line {number} was damaged since it was written, and is not shown"));
        }
        let Ok(event) = serde_json::from_str::<Event>(object.as_deref().unwrap_or_default()) else {
            if number == 1 && object.is_some() {
                let problem = "expected events, a line of JSON each";
                return Err(EvalError::broken(path, problem.into()));
            }
            continue;
        };
        if let Event::Step(event) = event {
            steps.push(event);
        }
    }
    Ok((steps, damaged))
}
