//! What lies in memory for a moment: tensors while they are written.

use mpo_models::DecoderConfig;

use super::{Tuning, parameters};

/// Numbers of a tensor that are written at a time (`models/src/decoder/folder.rs`).
const PART: u64 = 1 << 22;

/// Bytes while a checkpoint is written: a part of a tensor as it is read from the device, and as numbers. Those of an adapter
/// are small.
pub(super) fn checkpoint(model: &DecoderConfig, tuning: Tuning) -> u64 {
    match tuning {
        Tuning::Full => 2 * 4 * parameters::largest(model).min(PART),
        Tuning::Adapter { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{adapter, llama_8b, tiny};
    use super::*;

    #[test]
    fn by_hand() {
        // The embedding is the largest.
        assert_eq!(checkpoint(&tiny(), Tuning::Full), 8 * 512);
        assert_eq!(checkpoint(&llama_8b(), Tuning::Full), 8 << 22);
        assert_eq!(checkpoint(&tiny(), adapter(700)), 0);
    }
}
