//! What files of a run are called, for those who write them and those who read them.

/// The settings, as resolved.
pub const CONFIG_FILE: &str = "config.yaml";
/// What happened, one event per line.
pub const EVENTS_FILE: &str = "events.jsonl";
/// What was found; written when the run is finished, and not before.
pub const RESULTS_FILE: &str = "results.json";
/// The page about the run.
pub const REPORT_FILE: &str = "report.html";
/// The folder of checkpoints, each called `step-` and its number.
pub const CHECKPOINTS: &str = "checkpoints";
