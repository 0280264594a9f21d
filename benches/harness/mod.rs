//! What the benches share: time, memory, the machine's own limits, and a saved run to compare with.

#![allow(dead_code, unused_imports, unreachable_pub)] // each bench takes what it needs

mod baseline;
mod ceiling;
mod memory;

use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::{DType, Device, DeviceKind};
use clap::ValueEnum;

pub use baseline::{Guard, compare};
pub use ceiling::{Ceilings, measure_ceilings};
pub use memory::{Counting, peak_rss, peak_while};

/// A type of floats, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    F32,
    F16,
    Bf16,
}

impl Precision {
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// A device by name; those of backends that this build lacks are errors.
pub fn device(name: &str) -> Result<Device, String> {
    match name {
        "flex" => Ok(Device::flex()),
        "wgpu" => Ok(Device::wgpu(DeviceKind::DefaultDevice)),
        "wgpu-cpu" => Ok(Device::wgpu(DeviceKind::Cpu)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Ok(Device::vulkan(DeviceKind::DefaultDevice)),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(0)),
        other => Err(format!(
            "expected a device of this build (flex, wgpu, wgpu-cpu, or vulkan and cuda with the features of those names), got {other}"
        )),
    }
}

/// Burn's CPU backend and our kernels share rayon's global pool; call it first thing in `main`.
pub fn limit_threads(threads: usize) {
    // SAFETY: no other thread has been started yet.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.to_string()) };
}

/// Runs a bench; its error is a line for people.
pub fn run(bench: impl FnOnce() -> Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How many threads the machine can run.
pub fn all_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Seconds that `work` takes on `device`, waited for.
pub fn seconds<T>(device: &Device, work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let out = work();
    device.sync().expect("the device answers");
    (start.elapsed().as_secs_f64(), out)
}

/// The middle of `values`.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
