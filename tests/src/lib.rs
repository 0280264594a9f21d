//! Tests of the whole: parity with Transformers, the command line, a run from end to end. Here is what several of them share.

use burn::tensor::{Device, DeviceKind, Tensor};

/// Software Vulkan, which is the same on every machine; with the feature `cuda` and `MPO_TEST_CUDA` set the first NVIDIA GPU
/// in its place.
pub fn gpu() -> Device {
    #[cfg(feature = "cuda")]
    if std::env::var_os("MPO_TEST_CUDA").is_some() {
        return Device::cuda(0);
    }
    Device::wgpu(DeviceKind::Cpu)
}

/// The numbers of a tensor in f32.
///
/// # Panics
/// If they are of another type.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("a tensor in f32")
}

/// ‖ours − theirs‖ / ‖theirs‖
///
/// # Panics
/// If there are not as many of the one as of the other.
pub fn apart(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let difference = squares(&mut ours.iter().zip(theirs).map(|(a, b)| f64::from(a - b)));
    (difference / squares(&mut theirs.iter().map(|&x| f64::from(x)))).sqrt()
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
