//! Settings of a run, each declared once in [`list`]: the keys of a configuration file, the flags, the checks, what makes
//! two runs the same, what a grid can try, and the reference page all follow from there.

mod choices;
mod config;
mod declare;
mod list;
mod lora_targets;
mod meant;
mod measure;
mod method;
mod options;
#[cfg(test)]
mod page;
mod places;
mod range;
mod recipe;
mod schedule;
mod sources;
mod unknown;
mod value;
mod yaml;

pub use choices::{
    AdapterKind, Choice, ConsistencyKind, DeviceChoice, LogTo, OptimizerState, PrecisionChoice, QuantizationChoice,
    Recompute, SaveDtype, Schedule,
};
pub use declare::{Decides, Setting};
pub(crate) use list::CONSISTENCY_BATCH;
pub use list::{SETTINGS, TrainConfig, TrainOptions};
pub use lora_targets::LoraTargets;
pub use meant::{OurFlag, flag_elsewhere};
pub use measure::Measure;
pub use method::{HyperParameter, HyperParameters, Method, hyper_parameters, typed_value};
pub use places::Places;
pub use recipe::Recipe;
pub use sources::{Shares, Sources};
pub use value::{Takes, at_home};
