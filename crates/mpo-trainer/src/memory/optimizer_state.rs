//! The optimizer's two moments, and what lies beside them where it works apart from the weights.

use mpo_models::DecoderConfig;

use super::{Hardware, Storage};
use crate::settings::OptimizerState;

/// Bytes on the device and in the machine's memory.
pub(super) fn optimizer_state(model: &DecoderConfig, storage: Storage, hardware: Hardware) -> [u64; 2] {
    let trained = storage.own(model);
    match storage.optimizer_state {
        OptimizerState::Device => [8 * trained, 0],
        OptimizerState::Bf16 => [4 * trained, 0],
        OptimizerState::Host => match hardware {
            // The copy of the weights is the weights.
            Hardware::Cpu { .. } => [8 * trained, 0],
            // A copy of the weights, and the gradients of a step.
            Hardware::Gpu => [0, 16 * trained],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PLAIN, tiny};
    use super::*;

    #[test]
    fn by_hand() {
        let all = tiny().num_parameters();
        let of = |optimizer_state, hardware| {
            super::optimizer_state(&tiny(), Storage { optimizer_state, ..PLAIN }, hardware).map(|bytes| bytes / all)
        };
        let cpu = Hardware::Cpu { threads: 2 };
        assert_eq!(of(OptimizerState::Device, Hardware::Gpu), [8, 0]);
        assert_eq!(of(OptimizerState::Bf16, Hardware::Gpu), [4, 0]);
        assert_eq!(of(OptimizerState::Host, Hardware::Gpu), [0, 16]);
        assert_eq!(of(OptimizerState::Host, cpu), [8, 0]);
        // Of each of four ranks, a quarter.
        let four = PLAIN.among(4);
        assert_eq!(optimizer_state(&tiny(), four, Hardware::Gpu), [2 * all, 0]);
    }
}
