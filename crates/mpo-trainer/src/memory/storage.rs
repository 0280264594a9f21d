//! How what is trained is stored: what decides how many bytes a parameter or an activation has.

use mpo_models::{DecoderConfig, Precision};

use crate::settings::{OptimizerState, TrainConfig};

/// How a run stores what it trains and computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storage {
    /// Whether layers are run again in the backward instead of being kept.
    pub recompute: bool,
    /// Bytes of logits that the head keeps from forward to backward, at most.
    pub head_memory: u64,
    /// What layers compute in.
    pub precision: Precision,
    /// Which parameters change.
    pub tuning: Tuning,
    /// Where the optimizer's numbers are, and in what type. In bf16 layers that are run again are so once more, so that no
    /// gradients are kept; the host keeps a copy of the weights and the gradients of a step.
    pub optimizer_state: OptimizerState,
    /// Whether gradients are clipped by the norm of all of them, before which none can be used.
    pub clips: bool,
    /// How many train one model together. Each has its part of the moments, and of gradients once they are summed.
    pub ranks: u64,
}

/// Which parameters change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tuning {
    /// All of them.
    Full,
    /// Those of an adapter, over frozen weights.
    Adapter {
        /// How many there are.
        numbers: u64,
        /// How the frozen weights are stored.
        base: Base,
    },
}

/// How frozen weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// 32 bits.
    F32,
    /// 16 bits.
    Bf16,
    /// Projections in 4 bits with a scale for each 64.
    Nf4 {
        /// Whether embedding and head are 16 bits, and not 32.
        rest_is_bf16: bool,
    },
}

impl Tuning {
    /// How many parameters change.
    pub(super) fn numbers(self, model: &DecoderConfig) -> u64 {
        match self {
            Self::Full => model.num_parameters(),
            Self::Adapter { numbers, .. } => numbers,
        }
    }
}

impl Storage {
    /// As a run with these settings stores it, with layers run again or not.
    pub fn of(config: &TrainConfig, tuning: Tuning, recompute: bool) -> Self {
        Self {
            recompute,
            head_memory: config.head_memory(recompute) as u64,
            precision: config.precision(),
            tuning,
            optimizer_state: config.optimizer_state,
            clips: config.max_grad_norm > 0.0,
            ranks: 1,
        }
    }

    /// The same on each of so many ranks.
    pub(super) fn among(self, ranks: usize) -> Self {
        Self { ranks: ranks as u64, ..self }
    }

    /// Numbers of all that are trained of which a rank has what belongs to them.
    pub(super) fn own(self, model: &DecoderConfig) -> u64 {
        self.tuning.numbers(model).div_ceil(self.ranks)
    }

    /// Whether layers are run again for the norm of all gradients, and once more to use them.
    pub(super) fn walks_twice(self) -> bool {
        // Ranks keep their parts of gradients instead.
        self.defers_head() && self.clips && self.ranks == 1
    }

    /// Whether the head's gradient is made when its turn comes, as gradients of layers that are run again are. An adapter's
    /// gradients are small, and kept.
    pub(super) fn defers_head(self) -> bool {
        self.recompute && self.tuning == Tuning::Full && self.optimizer_state == OptimizerState::Bf16
    }

    /// Bytes of a number that layers compute.
    pub(super) fn computed(self) -> u64 {
        self.precision.dtype().size() as u64
    }
}
