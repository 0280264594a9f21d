//! Tests of the whole: parity with Transformers, the command line, a run from end to end. Here is what several of them share.

pub mod golden;
mod numbers;
pub mod steps;

use burn::tensor::{Device, DeviceKind};

pub use numbers::{apart, assert_close, floats};

/// Software Vulkan, which is the same on every machine; with the feature `cuda` and `MPO_TEST_CUDA` set the first NVIDIA GPU
/// in its place.
pub fn gpu() -> Device {
    #[cfg(feature = "cuda")]
    if std::env::var_os("MPO_TEST_CUDA").is_some() {
        return Device::cuda(0);
    }
    Device::wgpu(DeviceKind::Cpu)
}

/// What Transformers computed with a small model of each architecture: folders of `fixtures/goldens`.
pub const FIXTURES: [&str; 13] = [
    "llama3rope",
    "qwen2_untied",
    "qwen3",
    "gemma2",
    "gemma3",
    "mistral",
    "smollm3",
    "olmo2",
    "olmo3",
    "phi3",
    "phi3_long",
    "cohere",
    "cohere2",
];

/// Makes a test of each of the [`FIXTURES`]: `check` of its name.
#[macro_export]
macro_rules! test_fixtures {
    ($check:ident) => {
        $crate::test_fixtures! {
            $check: llama = 0, qwen2 = 1, qwen3 = 2, gemma2 = 3, gemma3 = 4, mistral = 5, smollm3 = 6, olmo2 = 7,
            olmo3 = 8, phi3 = 9, phi3_long = 10, cohere = 11, cohere2 = 12
        }
    };
    ($check:ident: $($name:ident = $index:literal),+) => {
        $(
            #[test]
            fn $name() {
                $check($crate::FIXTURES[$index]);
            }
        )+
    };
}
