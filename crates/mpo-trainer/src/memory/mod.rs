//! How much memory a run takes, part by part, known before anything is loaded.
//!
//! A run is a few points in time, and what lies in memory at each follows from the model's configuration, the lengths of
//! the rows and the settings: no weight is read. The most of them is the peak. One file says what each part takes;
//! [`Estimate`] puts them together.

mod activations;
mod attention;
mod base_model;
mod behind;
mod copies;
mod estimate;
mod gradients;
mod head;
mod machine;
mod optimizer_state;
mod parameters;
mod passes;
mod planner;
mod reference;
mod remedies;
mod storage;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod testing;
mod weights;
mod wire;
mod work;

pub use base_model::BaseModel;
pub use estimate::{Estimate, Part, Phase, PhaseName, Share};
pub use machine::{Hardware, Machine, Room};
pub use passes::{Passes, RowSize};
pub use planner::{Planned, Planner};
pub use remedies::Remedy;
pub use storage::{Base, Storage, Tuning};
pub use wire::step_bytes;
pub use work::step_flops;
