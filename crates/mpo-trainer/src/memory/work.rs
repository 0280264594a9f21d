//! How much there is to compute.

use mpo_models::DecoderConfig;

use super::{Passes, Storage, Tuning, behind, parameters};

/// Operations of the matrix products of a step, the mean over a run's steps. Scores of attention are left out: they are a
/// small part unless rows are long.
pub fn step_flops(model: &DecoderConfig, passes: &Passes, storage: Storage) -> f64 {
    // A pass takes two operations a weight; the backward makes a product for the input's gradient and one for the weight's.
    let passes_back = match storage.tuning {
        Tuning::Full => 3.0,
        Tuning::Adapter { .. } => 2.0,
    };
    let walks = if storage.walks_twice() { 2.0 } else { 1.0 };
    let layers = if storage.recompute { 1.0 + walks * passes_back } else { passes_back };
    // Logits are made in the forward and again in the backward, or kept for it; and again with a gradient of the head that is
    // made by itself, once in each walk.
    let by_itself = if storage.defers_head() && storage.tuning == Tuning::Full { 2.0 * walks - 1.0 } else { 0.0 };
    let head = passes_back + 1.0 + by_itself;
    let products = match model.encoder {
        Some(_) => behind::products(model, passes),
        None => parameters::matrices(model) as f64 * passes.tokens as f64,
    };
    let of_layers = layers * 2.0 * products;
    let of_head = head * 2.0 * parameters::embedding(model) as f64 * passes.scored as f64;
    (of_layers + of_head) / passes.steps.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PLAIN, passes, tiny};
    use super::*;
    use crate::settings::OptimizerState;

    #[test]
    fn by_hand() {
        let passes = Passes { tokens: 20, scored: 8, ..passes(10, 4) };
        let matrices = f64::from(2 * (256 + 256 + 256 + 1_536));
        // Two steps of ten tokens, four of which are scored.
        let head = 4.0 * 2.0 * 512.0 * 4.0;
        assert_eq!(step_flops(&tiny(), &passes, PLAIN), 3.0 * 2.0 * matrices * 10.0 + head);
        let again = Storage { recompute: true, ..PLAIN };
        assert_eq!(step_flops(&tiny(), &passes, again), 4.0 * 2.0 * matrices * 10.0 + head);
        let twice = Storage { optimizer_state: OptimizerState::Bf16, ..again };
        assert_eq!(step_flops(&tiny(), &passes, twice), 7.0 * 2.0 * matrices * 10.0 + head / 4.0 * 7.0);
    }
}
