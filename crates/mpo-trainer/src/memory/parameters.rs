//! How many numbers the parts of a model have.

use mpo_models::{DecoderConfig, LoraOptions};

/// The embedding, and a head of its own as well.
pub(super) fn embedding(model: &DecoderConfig) -> u64 {
    product([model.vocab_size, model.hidden_size])
}

/// Embedding, and the head if it is another matrix.
pub(super) fn embeddings(model: &DecoderConfig) -> u64 {
    embedding(model) * if model.tie_word_embeddings { 1 } else { 2 }
}

/// A layer; with an encoder, the decoder's, which is the larger one.
pub(super) fn layer(model: &DecoderConfig) -> u64 {
    if model.encoder.is_some() {
        let matrices = model.projections().into_iter().map(|(_, shape)| product(shape)).sum::<u64>();
        return matrices + 3 * model.hidden_size as u64;
    }
    let layers = model.num_parameters().saturating_sub(embeddings(model)).saturating_sub(model.hidden_size as u64);
    layers.checked_div(model.num_layers as u64).unwrap_or(0)
}

/// The matrices of all layers.
pub(super) fn matrices(model: &DecoderConfig) -> u64 {
    model.projection_shapes().map(|(_, shape)| product(shape)).sum()
}

/// A new adapter.
pub(super) fn adapter(model: &DecoderConfig, options: &LoraOptions) -> u64 {
    let adapted = model.projection_shapes().filter(|(path, _)| options.names(path));
    adapted.map(|(_, [outputs, inputs])| options.rank as u64 * (outputs + inputs) as u64).sum()
}

/// The largest of all tensors.
pub(super) fn largest(model: &DecoderConfig) -> u64 {
    model.projections().into_iter().map(|(_, shape)| product(shape)).chain([embedding(model)]).max().unwrap_or(0)
}

fn product([outputs, inputs]: [usize; 2]) -> u64 {
    outputs as u64 * inputs as u64
}

#[cfg(test)]
mod tests {
    use super::super::testing::{llama_8b, lora, tiny};
    use super::*;

    #[test]
    fn a_tiny_model_by_hand() {
        // Vocabulary 32, hidden 16, inner 32, 4 query heads and 2 key heads of 4, two layers, an untied head.
        let model = tiny();
        assert_eq!((embedding(&model), embeddings(&model)), (32 * 16, 2 * 32 * 16));
        // q 16·16, k and v 8·16, o 16·16, three of 32·16; two norms of 16.
        let matrices_of_layer = 256 + 2 * 128 + 256 + 3 * 512;
        assert_eq!(layer(&model), matrices_of_layer + 2 * 16);
        assert_eq!(matrices(&model), 2 * matrices_of_layer);
        // Rank 2: (16 + 16) + 2·(8 + 16) + (16 + 16) + 3·(32 + 16) ends.
        assert_eq!(adapter(&model, &lora(2, "all-linear")), 2 * 2 * (32 + 48 + 32 + 144));
        assert_eq!(adapter(&model, &lora(2, "v_proj")), 2 * 2 * (8 + 16));
        assert_eq!(adapter(&model, &lora(2, "layers.1.mlp.up_proj")), 2 * (32 + 16));
        assert_eq!(largest(&model), 512);
    }

    #[test]
    fn llama_8b_by_hand() {
        let model = llama_8b();
        assert_eq!(model.num_parameters(), 8_030_261_248);
        assert_eq!(layer(&model), 218_112_000);
        assert_eq!(embedding(&model), 525_336_576);
        assert_eq!(adapter(&model, &lora(16, "all-linear")), 41_943_040);
    }
}
