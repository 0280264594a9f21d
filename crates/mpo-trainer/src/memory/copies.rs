//! What lies in memory for a moment: tensors while they are written.

use mpo_models::DecoderConfig;

use super::parameters;

/// Bytes while a checkpoint is written: a tensor as it is read from the device, as numbers, and as bytes.
pub(super) fn checkpoint(model: &DecoderConfig) -> u64 {
    3 * 4 * parameters::largest(model)
}
