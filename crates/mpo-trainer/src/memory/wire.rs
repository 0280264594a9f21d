//! What ranks tell each other in a step.

use mpo_models::DecoderConfig;

use super::{Passes, Storage, Tuning, parameters};

/// Bytes of a number on its way.
const F32: f64 = 4.0;

/// Bytes that a rank gives to others in a step, the mean over ranks and steps: its part of every sum of gradients, the weights
/// that it has updated, and what comes of its tokens in the embedding's gradient. What is said beside that is little.
pub fn step_bytes(model: &DecoderConfig, passes: &Passes, storage: Storage) -> f64 {
    let ranks = storage.ranks as f64;
    let others = ranks - 1.0;
    let trained = storage.tuning.numbers(model) as f64;
    let (summed, of_tokens) = match storage.tuning {
        // Nothing but tokens gives a gradient to an embedding that is no head.
        Tuning::Full => {
            let apart = if model.tie_word_embeddings { 0 } else { parameters::embedding(model) };
            let tokens = passes.tokens as f64 / passes.steps.max(1) as f64;
            (trained - apart as f64, tokens * model.hidden_size as f64)
        }
        Tuning::Adapter { .. } => (trained, 0.0),
    };
    F32 * others * ((summed + trained) / ranks + of_tokens / ranks)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PLAIN, adapter, passes, tiny};
    use super::*;

    #[test]
    fn by_hand() {
        let passes = Passes { tokens: 20, ..passes(10, 4) };
        let sent = |model: &DecoderConfig, storage: Storage| step_bytes(model, &passes, storage);
        // 5,712 parameters, of which 512 are an embedding that is no head; ten tokens a step, of 16 numbers each.
        let (all, embedding, tokens) = (5_712.0, 512.0, 160.0);
        assert_eq!(sent(&tiny(), PLAIN), 0.0);
        assert_eq!(sent(&tiny(), PLAIN.among(2)), 4.0 * (all - embedding + all + tokens) / 2.0);
        assert_eq!(sent(&tiny(), PLAIN.among(4)), 4.0 * 3.0 * (all - embedding + all + tokens) / 4.0);
        let tied = DecoderConfig { tie_word_embeddings: true, ..tiny() };
        assert_eq!(sent(&tied, PLAIN.among(2)), 4.0 * (2.0 * (all - embedding) + tokens) / 2.0);
        let adapter = Storage { tuning: adapter(700), ..PLAIN };
        assert_eq!(sent(&tiny(), adapter.among(2)), 4.0 * 700.0);
    }
}
