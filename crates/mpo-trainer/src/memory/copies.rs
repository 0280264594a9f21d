//! What lies in memory for a moment: tensors while they are written.

use mpo_models::DecoderConfig;

use super::{Tuning, parameters};

/// Bytes while a checkpoint is written: a tensor as it is read from the device, as numbers, and as bytes. Those of an adapter
/// are small.
pub(super) fn checkpoint(model: &DecoderConfig, tuning: Tuning) -> u64 {
    match tuning {
        Tuning::Full => 3 * 4 * parameters::largest(model),
        Tuning::Adapter { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{adapter, tiny};
    use super::*;

    #[test]
    fn by_hand() {
        // The embedding is the largest.
        assert_eq!(checkpoint(&tiny(), Tuning::Full), 12 * 512);
        assert_eq!(checkpoint(&tiny(), adapter(700)), 0);
    }
}
