//! The run: configuration, reference cache, step, optimizer, schedule, checkpoints, events.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batches;
mod checkpoint;
mod config;
mod config_file;
mod error;
mod events;
mod folder;
mod method;
mod optimizer;
mod pairs;
mod reference;
mod schedule;
mod score;
mod step;
mod tasks;
mod train;

pub use batches::Batches;
pub use config::{DeviceChoice, Preset, SaveDtype, Schedule, TrainConfig, TrainOptions};
pub use error::TrainError;
pub use events::{Event, EventLog, RowValues, StepEvent};
pub use folder::{
    Identity, Kind, RunFolder, check_ours, check_page, is_edited, is_marked, is_written, read_checked, read_file,
    share, write_atomically,
};
pub use method::{HyperParameters, Method, typed_value};
pub use optimizer::{Optimizer, OptimizerOptions};
pub use pairs::{PairParts, PairScores};
pub use reference::{Answer, KnownPairs, Reference};
pub use score::{ScoredRow, score_rows};
pub use tasks::{MicroBatch, Reduction, Shared, Task, TrainingRows, Work, build_task};
pub use train::{Outcome, Progress, Trainer};
