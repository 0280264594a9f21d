//! What the log of a run tells of.

use std::path::Path;

use mpo_trainer::{Event, LoggedEvent, MeasuredEvent, StartedEvent, StepEvent, read_file};

use crate::error::EvalError;

/// What a file of events tells of.
#[derive(Debug, Default)]
pub struct RunLog {
    /// What the last process set out to do.
    pub started: Option<StartedEvent>,
    /// The steps of training.
    pub steps: Vec<StepEvent>,
    /// What was measured meanwhile.
    pub measured: Vec<MeasuredEvent>,
    /// Whether the last step was taken.
    pub is_finished: bool,
    /// How long it took, if one process took all steps.
    pub seconds: Option<f64>,
    /// Seconds at work so far, without the time between two processes.
    pub elapsed: Option<f64>,
    /// When something was last told, in seconds since 1970 (UTC).
    pub latest: Option<f64>,
    /// What is damaged in it, in words.
    pub damaged: Vec<String>,
}

impl RunLog {
    /// By a file of events, if it is there.
    ///
    /// # Errors
    /// If it cannot be read, or has something else in it.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let mut log = Self::default();
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
                log.damaged.push(format!("events.jsonl: line {number} {problem}"));
            }
            let Ok(logged) = serde_json::from_str::<LoggedEvent>(object.as_deref().unwrap_or_default()) else {
                if number == 1 && object.is_some() && is_whole {
                    let problem = "expected events, a line of JSON each";
                    return Err(EvalError::broken(path, problem.into()));
                }
                continue;
            };
            log.pass_time(&logged);
            match logged.event {
                Event::Step(event) => log.steps.push(event),
                Event::Measured(event) => log.measured.push(event),
                Event::Started(event) => {
                    is_of_one_start &= event.step == 0;
                    log.is_finished = false;
                    log.started = Some(event);
                }
                Event::Finished { seconds, .. } => {
                    log.is_finished = true;
                    log.seconds = is_of_one_start.then_some(seconds);
                }
                Event::Checkpoint { .. } | Event::Best { .. } => {}
            }
        }
        Ok(log)
    }

    fn pass_time(&mut self, LoggedEvent { event, wall_time }: &LoggedEvent) {
        let Some(now) = *wall_time else {
            return;
        };
        let since = match (event, self.latest) {
            (Event::Started(_), _) | (_, None) => 0.0,
            // A clock may be put back.
            (_, Some(latest)) => f64::max(now - latest, 0.0),
        };
        self.elapsed = Some(self.elapsed.unwrap_or(0.0) + since);
        self.latest = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RunLog, EvalError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, text).unwrap();
        RunLog::read(&path)
    }

    const STARTED: &str = r#"{"event":"started","step":0,"total_steps":4,"rows":8,"wall_time":100.0}"#;
    const STEP: &str = r#"{"event":"step","step":1,"epoch":0.5,"tokens_per_second":9.0,"seconds_left":1.0,"loss":0.5,"wall_time":107.5}"#;

    #[test]
    fn a_pause_between_two_processes_is_no_time_at_work() {
        let again = STARTED.replace("100.0", "1000.0").replace("\"step\":0", "\"step\":1");
        let finished = r#"{"event":"finished","step":4,"seconds":2.5,"wall_time":1002.5}"#;
        let log = read(&[STARTED, STEP, &again, finished].join("\n")).unwrap();
        assert_eq!((log.elapsed, log.latest, log.seconds), (Some(10.0), Some(1002.5), None));
        assert!(log.is_finished && log.started.unwrap().step == 1);
        assert_eq!(log.steps[0].metrics.keys().collect::<Vec<_>>(), ["loss"]);
        // Of an earlier version, which told no times.
        let log = read(r#"{"event":"checkpoint","step":1}"#).unwrap();
        assert_eq!((log.elapsed, log.latest), (None, None));
    }

    #[test]
    fn half_a_line_is_a_run_that_goes_on_and_other_text_is_an_error() {
        for cut in 0..STARTED.len() {
            assert!(read(&STARTED[..cut]).unwrap().started.is_none(), "{cut}");
        }
        let log = read(&format!("{STARTED}\n{}", &STEP[..20])).unwrap();
        assert!(log.started.is_some() && log.steps.is_empty() && log.damaged.is_empty());
        assert!(read("model: x\n").is_err());
    }
}
