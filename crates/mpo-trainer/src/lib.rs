//! The run: configuration, reference cache, step, optimizer, schedule, checkpoints, events.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod checkpoint;
mod config;
mod error;
mod events;
mod optimizer;
mod pack;
mod reference;
mod run_folder;
mod schedule;
mod score;
mod tasks;
mod train;

pub use config::{
    DeviceChoice, Preset, Retain, RetainScale, SaveDtype, Schedule, TrainConfig, TrainOptions,
};
pub use error::TrainError;
pub use events::{Event, EventLog, RowValues, StepEvent};
pub use optimizer::{Optimizer, OptimizerOptions};
pub use pack::{Packer, PairRows};
pub use reference::{Reference, ReferenceCache};
pub use run_folder::{RunFolder, write_atomically};
pub use score::{ScoredRow, score_rows};
pub use tasks::{Demonstration, MicroBatch, MpoOptions, MpoTask, Padding, SftTask, Task};
pub use train::{Outcome, Progress, Trainer};
