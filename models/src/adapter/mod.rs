//! Low-rank adapters: a small update beside frozen weights, in the folder that PEFT reads and writes.
//!
//! Here is what an adapter is and how it lies on disk; how it is computed is in the decoder.

mod config;
mod folder;
mod options;

pub(crate) use config::ADAPTER_FILE;
pub use config::AdapterConfig;
pub use folder::AdapterFolder;
pub(crate) use folder::{adapter_weights, save_adapter};
pub use options::{LoraOptions, LoraTarget};
