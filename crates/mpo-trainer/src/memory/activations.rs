//! What layers compute and the backward needs again.

use mpo_models::{DecoderConfig, NormPlace};

use super::{Hardware, Passes, Storage, Tuning, attention, behind, parameters};

/// Bytes of a number of the residual stream, which is f32 whatever is computed in.
pub(super) const F32: u64 = 4;

/// Bytes that a layer keeps for each token: what the projections of attention and of the feed-forward block are given, which may
/// be the same, attention's, and gate, up and their product, in the type that is computed in; and in f32 the inputs of the norms.
pub(super) fn kept(model: &DecoderConfig, storage: Storage) -> u64 {
    let (hidden, inner) = (model.hidden_size as u64, model.mlp.intermediate_size as u64);
    let of_norms = model.norm.place.names().len() as u64 * hidden;
    let given = if model.norm.place == NormPlace::Shared { hidden } else { 2 * hidden };
    let computed = given + attention::kept(model) + 3 * inner;
    storage.computed() * computed + F32 * (of_norms + attention::kept_in_f32(model))
}

/// Numbers alive for each token while a layer's backward runs, beside those: the gradients of attention or of the
/// feed-forward block, which are those of gate, up and their product, and once more of the output of one linear map for gate and
/// up; and those that flow past.
fn at_work(model: &DecoderConfig) -> u64 {
    let (hidden, inner) = (model.hidden_size as u64, model.mlp.intermediate_size as u64);
    let of_block = if model.mlp.fused { 5 * inner } else { 3 * inner };
    attention::at_work(model).max(of_block) + 2 * hidden
}

/// Bytes when a backward begins: everything that the largest micro-batch computed, or the inputs of all layers.
pub(super) fn before(model: &DecoderConfig, passes: &Passes, storage: Storage) -> u64 {
    if let Some(encoder) = &model.encoder {
        return behind::before(model, encoder, passes, storage);
    }
    let (layers, hidden) = (model.num_layers as u64, model.hidden_size as u64);
    if storage.recompute {
        // What is given to each layer and to the final norm.
        kept_tokens(passes, storage) * (layers + 1) * hidden * F32
    } else {
        passes.largest.tokens as u64 * (layers * kept(model, storage) + hidden * F32)
    }
}

/// Bytes when a backward ends: the gradients at the embeddings of all tokens that went through it.
pub(super) fn after(model: &DecoderConfig, passes: &Passes, storage: Storage) -> u64 {
    kept_tokens(passes, storage) * model.hidden_size as u64 * F32
}

/// Tokens whose layers are run again together: those of a step, but for an adapter, whose gradients are small, those of a
/// micro-batch.
pub(super) fn kept_tokens(passes: &Passes, storage: Storage) -> u64 {
    match storage.tuning {
        Tuning::Full => passes.per_step as u64,
        Tuning::Adapter { .. } => passes.largest.tokens as u64,
    }
}

/// Bytes of the gradients of one layer whose backward runs.
pub(super) fn at_work_of(model: &DecoderConfig, passes: &Passes, storage: Storage) -> u64 {
    passes.largest.tokens as u64 * at_work(model) * storage.computed()
}

/// Bytes of one layer whose backward runs: what it keeps, its gradients, and its weights cast to what is computed in.
pub(super) fn layer(model: &DecoderConfig, passes: &Passes, storage: Storage, hardware: Hardware) -> u64 {
    let cast = if storage.casts_layers(hardware) { parameters::layer(model) * storage.computed() } else { 0 };
    let kept = match &model.encoder {
        Some(_) => behind::layer(model, passes, storage),
        None => passes.largest.tokens as u64 * kept(model, storage),
    };
    kept + at_work_of(model, passes, storage) + cast
}

#[cfg(test)]
mod tests {
    use mpo_models::{MlpConfig, NormConfig, Precision};

    use super::super::Base;
    use super::super::testing::{PLAIN, gemma_9b, llama_8b, passes, qwen_7b, tiny};
    use super::*;

    #[test]
    fn a_tiny_model_by_hand() {
        let model = tiny();
        // Twice 16 of norms and twice 16 before them, 52 of attention, 3·32 of the feed-forward block.
        assert_eq!(kept(&model, PLAIN), 4 * (64 + 52 + 96));
        let bf16 = Storage { precision: Precision::Bf16, ..PLAIN };
        assert_eq!(kept(&model, bf16), 2 * (32 + 48 + 96) + 4 * (32 + 4));
        // Norms that stand elsewhere: four, and one that both blocks are given the output of.
        let placed = |place| DecoderConfig { norm: NormConfig { place, ..model.norm }, ..model.clone() };
        assert_eq!(kept(&placed(NormPlace::After), bf16), kept(&model, bf16));
        assert_eq!(kept(&placed(NormPlace::Around), bf16), 2 * (32 + 48 + 96) + 4 * (64 + 4));
        assert_eq!(kept(&placed(NormPlace::Shared), bf16), 2 * (16 + 48 + 96) + 4 * (16 + 4));
        // The feed-forward block's 3·32 are more than attention's 80.
        assert_eq!(at_work(&model), 96 + 32);
        let fused = DecoderConfig { mlp: MlpConfig { fused: true, ..model.mlp }, ..model.clone() };
        assert_eq!(at_work(&fused), 160 + 32);
        let ten = passes(10, 5);
        assert_eq!(before(&model, &ten, PLAIN), 4 * 10 * (2 * 212 + 16));
        let again = Storage { recompute: true, ..PLAIN };
        assert_eq!(before(&model, &ten, again), 4 * 10 * 3 * 16);
        let several = Passes { per_step: 30, ..ten };
        assert_eq!(before(&model, &several, again), 4 * 30 * 3 * 16);
        let tuning = Tuning::Adapter { numbers: 1, base: Base::F32 };
        assert_eq!(before(&model, &several, Storage { tuning, ..again }), 4 * 10 * 3 * 16);
        assert_eq!(layer(&model, &ten, PLAIN, Hardware::Gpu), 4 * 10 * (212 + 128));
    }

    /// `4H + 2q + 2kv + 3I` numbers a token and layer, two more `H` in Gemma, of which `2H` and those of Gemma are f32.
    #[test]
    fn megabytes_a_token_of_the_papers_models() {
        let bf16 = Storage { precision: Precision::Bf16, ..PLAIN };
        let megabytes = |model: &DecoderConfig, storage| before(model, &passes(1, 1), storage) as f64 / 1e6;
        for (model, kept, inputs) in [(llama_8b(), 5.0, 0.54), (qwen_7b(), 4.9, 0.42), (gemma_9b(), 7.7, 0.62)] {
            assert!((megabytes(&model, bf16) - kept).abs() < 0.1, "{}", megabytes(&model, bf16));
            let again = Storage { recompute: true, ..bf16 };
            assert!((megabytes(&model, again) - inputs).abs() < 0.01, "{}", megabytes(&model, again));
        }
    }
}
