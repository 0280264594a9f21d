//! Settings that are one of a few words.

use std::fmt;
use std::str::FromStr;

use mpo_models::{Precision, WeightDtype};
use serde::{Deserialize, Serialize};

/// One of a few words.
pub trait Choice: Copy + PartialEq + 'static {
    /// Each value, its word, and what it means.
    const ALL: &'static [(Self, &'static str, &'static str)];

    /// Its word.
    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(value, ..)| *value == self).map_or("", |(_, name, _)| name)
    }
}

/// Declares an enum whose values are words, each with a line of help.
macro_rules! choices {
    ($(#[doc = $doc:literal])+ $Enum:ident { $(#[doc = $help:literal] $Value:ident = $name:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
        pub enum $Enum {
            $(#[doc = $help] #[serde(rename = $name)] $Value,)+
        }

        impl Choice for $Enum {
            const ALL: &'static [(Self, &'static str, &'static str)] = &[$((Self::$Value, $name, $help.trim_ascii_start())),+];
        }

        impl FromStr for $Enum {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().find(|(_, name, _)| *name == text);
                found.map(|(value, ..)| *value).ok_or_else(|| {
                    format!("expected one of {}, got {text}", [$($name),+].join(", "))
                })
            }
        }

        impl fmt::Display for $Enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

choices! {
    /// The learning rate over a run.
    Schedule {
        /// Falls to zero along a half cosine
        Cosine = "cosine",
        /// Falls to zero along a line
        Linear = "linear",
        /// Stays
        Constant = "constant",
    }
}

choices! {
    /// Where AdamW's moments are kept, and as what.
    OptimizerState {
        /// Beside the weights, in f32
        Device = "device",
        /// In the host's memory, in f32, with a copy of the weights; AdamW is computed there
        Host = "host",
        /// Beside the weights, in bf16
        Bf16 = "bf16",
    }
}

choices! {
    /// The type of saved weights.
    SaveDtype {
        /// As the model's own weights are stored, or f32 where rounding to that would undo the training
        Auto = "auto",
        /// 32 bits, as trained
        F32 = "f32",
        /// 16 bits, range up to 65,504
        F16 = "f16",
        /// 16 bits, range of f32; rounds away changes smaller than 1/256 of a weight
        Bf16 = "bf16",
    }
}

impl From<bool> for Recompute {
    fn from(recompute: bool) -> Self {
        if recompute { Self::On } else { Self::Off }
    }
}

impl SaveDtype {
    /// The type, where it does not follow from the model.
    pub(crate) fn named(self) -> Option<WeightDtype> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(WeightDtype::F32),
            Self::F16 => Some(WeightDtype::F16),
            Self::Bf16 => Some(WeightDtype::BF16),
        }
    }
}

impl From<WeightDtype> for SaveDtype {
    fn from(dtype: WeightDtype) -> Self {
        match dtype {
            WeightDtype::F32 => Self::F32,
            WeightDtype::F16 => Self::F16,
            WeightDtype::BF16 => Self::Bf16,
        }
    }
}

choices! {
    /// Weights that are trained in place of the model's own.
    AdapterKind {
        /// A low-rank update of linear maps, as PEFT saves it
        Lora = "lora",
    }
}

choices! {
    /// What matrix products are made in.
    PrecisionChoice {
        /// 32 bits, on NVIDIA GPUs too, where tensor cores would round to TF32
        F32 = "f32",
        /// 16 bits: twice the speed and half the memory for activations on a GPU that has it, slower on the CPU
        Bf16 = "bf16",
    }
}

impl From<PrecisionChoice> for Precision {
    fn from(choice: PrecisionChoice) -> Self {
        match choice {
            PrecisionChoice::F32 => Self::F32,
            PrecisionChoice::Bf16 => Self::Bf16,
        }
    }
}

choices! {
    /// What frozen weights are made smaller to.
    QuantizationChoice {
        /// Four bits a number, and a scale for each 64 (QLoRA)
        Nf4 = "nf4",
    }
}

choices! {
    /// Whether layers are run again in the backward.
    Recompute {
        /// Where the run would not fit in memory otherwise
        Auto = "auto",
        /// Always: less memory, up to 1.3 times the time
        On = "on",
        /// Never
        Off = "off",
    }
}

choices! {
    /// How far apart the states of a prompt's languages are taken to be.
    ConsistencyKind {
        /// By how much of them is in one direction, their largest singular value beside the others (MLC)
        SingularValue = "singular-value",
        /// By the mean cosine of each two, a control beside it
        Cosine = "cosine",
        /// By whether a translation lies nearer than those of the other prompts of the step (CLA), of two languages at a time
        Contrast = "contrast",
    }
}

choices! {
    /// Where what happens is written beside the run's own log.
    LogTo {
        /// A file of events in the run folder, for `tensorboard --logdir`
        Tensorboard = "tensorboard",
        /// A store of files in the run folder, `mlruns/`, for `mlflow ui --backend-store-uri`
        Mlflow = "mlflow",
    }
}

choices! {
    /// Where to compute.
    DeviceChoice {
        /// CUDA if built in and present, else a GPU through wgpu, else the CPU
        Auto = "auto",
        /// The CPU, with native kernels
        Flex = "flex",
        /// A GPU through WebGPU shaders
        Wgpu = "wgpu",
        /// A software GPU through WebGPU shaders, for testing
        WgpuCpu = "wgpu-cpu",
        /// A GPU through Vulkan
        Vulkan = "vulkan",
        /// A GPU through Metal
        Metal = "metal",
        /// An NVIDIA GPU
        Cuda = "cuda",
        /// An AMD GPU
        Rocm = "rocm",
        /// The CPU through CubeCL
        Cpu = "cpu",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reads_back_as_its_value() {
        for &(value, name, help) in DeviceChoice::ALL {
            assert_eq!(name.parse(), Ok(value));
            assert_eq!(value.to_string(), name);
            assert_eq!(serde_json::to_value(value).unwrap(), name);
            assert!(!help.is_empty() && !help.starts_with(' '), "{help}");
        }
        let error = "f64".parse::<SaveDtype>().unwrap_err();
        assert_eq!(error, "expected one of auto, f32, f16, bf16, got f64");
    }
}
