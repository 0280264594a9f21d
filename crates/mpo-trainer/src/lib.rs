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
mod pack;
mod reference;
mod schedule;
mod score;
mod tasks;
mod train;

pub use batches::Batches;
pub use config::{DeviceChoice, Preset, SaveDtype, Schedule, TrainConfig, TrainOptions};
pub use error::TrainError;
pub use events::{Event, EventLog, RowValues, StepEvent};
pub use folder::{
    Identity, Kind, RunFolder, check_ours, check_page, is_edited, is_marked, read_checked, share,
    write_atomically,
};
pub use method::{HyperParameters, Method, typed_value};
pub use optimizer::{Optimizer, OptimizerOptions};
pub use pack::{Packer, PairRows};
pub use reference::{Answer, Padding, PairSums, Reference};
pub use score::{ScoredRow, score_rows};
pub use tasks::{MicroBatch, Shared, Task, TrainingRows, build_task};
pub use train::{Outcome, Progress, Trainer};
