//! What layers of an encoder and a decoder compute and the backward needs again. Prompts go through the one, and answers, which
//! are what is scored, through the other.

use mpo_models::{DecoderConfig, EncoderConfig};

use super::activations::{F32, kept, kept_tokens};
use super::{Passes, Storage};

/// Tokens of the encoder and of the decoder among so many.
fn sides(tokens: u64, passes: &Passes) -> [u64; 2] {
    let (all, scored) = (passes.largest.tokens.max(1) as u64, passes.largest.scored as u64);
    // A step is made up as its largest micro-batch is.
    let decoder = tokens * scored.min(all) / all;
    [tokens - decoder, decoder]
}

/// Bytes that attention across keeps in one layer of the decoder: for each of the encoder's tokens keys and values, for each of
/// the decoder's what the norm gives, queries and the output, and in f32 the norm's input and a log-sum-exp a head.
fn across(model: &DecoderConfig, storage: Storage) -> [u64; 2] {
    let (hidden, heads) = (model.hidden_size as u64, model.attention.num_heads as u64);
    let width = heads * model.attention.head_dim as u64;
    [storage.computed() * 2 * width, storage.computed() * (hidden + 2 * width) + F32 * (hidden + heads)]
}

/// Bytes when a backward begins: everything that the largest micro-batch computed, or the inputs of all layers and norms.
pub(super) fn before(model: &DecoderConfig, encoder: &EncoderConfig, passes: &Passes, storage: Storage) -> u64 {
    let (layers, own, hidden) = (model.num_layers as u64, encoder.num_layers as u64, model.hidden_size as u64);
    if storage.recompute {
        let [prompts, answers] = sides(kept_tokens(passes, storage), passes);
        // What the encoder gives to the decoder too.
        return F32 * hidden * (prompts * (own + 2) + answers * (layers + 1));
    }
    let [prompts, answers] = sides(passes.largest.tokens as u64, passes);
    let [of_prompts, of_answers] = across(model, storage);
    prompts * (own * kept(model, storage) + layers * of_prompts + 2 * hidden * F32)
        + answers * (layers * (kept(model, storage) + of_answers) + hidden * F32)
}

/// Bytes that the layer keeps which keeps most: one of either stack.
pub(super) fn layer(model: &DecoderConfig, passes: &Passes, storage: Storage) -> u64 {
    let [prompts, answers] = sides(passes.largest.tokens as u64, passes);
    let [of_prompts, of_answers] = across(model, storage);
    let decoder = answers * (kept(model, storage) + of_answers) + prompts * of_prompts;
    decoder.max(prompts * kept(model, storage))
}

/// Products of one token with the weights of its stack, summed over the tokens of all passes: numbers that are multiplied.
pub(super) fn products(model: &DecoderConfig, passes: &Passes) -> f64 {
    let scored = passes.scored as f64;
    let prompts = (passes.tokens as f64 - scored).max(0.0);
    let of = |(path, [outputs, inputs]): (String, [usize; 2])| {
        // What the decoder attends to across is made of prompts.
        let is_of_prompts =
            path.starts_with("encoder.") || path.ends_with("EncDecAttention.k") || path.ends_with("EncDecAttention.v");
        outputs as f64 * inputs as f64 * if is_of_prompts { prompts } else { scored }
    };
    model.projection_shapes().map(of).sum()
}

#[cfg(test)]
mod tests {
    use mpo_models::ModelConfig;
    use serde_json::json;

    use super::super::testing::{PLAIN, passes};
    use super::*;

    /// Hidden 8, two heads of 3, inner 10, two layers and three.
    fn tiny() -> DecoderConfig {
        let config = json!({
            "model_type": "mt5", "vocab_size": 32, "d_model": 8, "d_kv": 3, "d_ff": 10, "num_layers": 2,
            "num_decoder_layers": 3, "num_heads": 2,
        });
        ModelConfig::from_json(config).unwrap().decoder
    }

    #[test]
    fn a_tiny_model_by_hand() {
        let (model, ten) = (tiny(), passes(10, 4));
        let encoder = model.encoder.unwrap();
        // q, k, v and o of 6 × 8, and wi_0, wi_1 and wo of 10 × 8.
        let (attention, inner) = (4 * 48, 3 * 80);
        let layers = 2 * (attention + inner + 2 * 8) + 3 * (2 * attention + inner + 3 * 8);
        assert_eq!(model.num_parameters(), (32 * 8 + layers + 2 * 8 + 2 * 32 * 2) as u64);
        // Six tokens of prompts and four of answers; own attention keeps 4 · 6 and two log-sum-exps.
        let kept = 4 * (2 * 8 + 2 * 8 + 24 + 2 + 3 * 10);
        assert_eq!(super::kept(&model, PLAIN), kept);
        let across = [4 * 12, 4 * (8 + 12) + 4 * (8 + 2)];
        assert_eq!(super::across(&model, PLAIN), across);
        let prompts = 6 * (2 * kept + 3 * across[0] + 2 * 8 * 4);
        assert_eq!(before(&model, &encoder, &ten, PLAIN), prompts + 4 * (3 * (kept + across[1]) + 8 * 4));
        let again = Storage { recompute: true, ..PLAIN };
        assert_eq!(before(&model, &encoder, &ten, again), 4 * 8 * (6 * 4 + 4 * 4));
        assert_eq!(layer(&model, &ten, PLAIN), 4 * (kept + across[1]) + 6 * across[0]);
        // The encoder's layers and the keys and values across by six, the decoder's other matrices by four.
        let by_prompts = 2 * (attention + inner) + 3 * 2 * 48;
        let by_answers = 3 * (2 * attention + inner) - 3 * 2 * 48;
        let ten = Passes { tokens: 10, scored: 4, ..ten };
        assert_eq!(products(&model, &ten), f64::from(6 * by_prompts + 4 * by_answers));
    }
}
