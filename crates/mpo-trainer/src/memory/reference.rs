//! The reference's numbers, held for the whole run.

use mpo_models::DecoderConfig;

use super::{Passes, Storage, Tuning, parameters};

/// Bytes on the device: the reference's head, where distributions are compared, which is a copy once the policy's changes.
pub(super) fn head(model: &DecoderConfig, passes: &Passes, storage: Storage) -> u64 {
    let is_copy = storage.tuning == Tuning::Full && passes.largest.compared > 0;
    if is_copy { 4 * parameters::embedding(model) } else { 0 }
}

/// Bytes in the machine's memory: hidden states of every row.
pub(super) fn states(model: &DecoderConfig, passes: &Passes) -> u64 {
    4 * passes.held * model.hidden_size as u64
}
