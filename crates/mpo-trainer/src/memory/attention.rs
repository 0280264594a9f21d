//! Attention, which makes scores again in the backward and keeps none.

use mpo_models::{DecoderConfig, QkNorm};

/// Width of all queries, and of all keys.
fn widths(model: &DecoderConfig) -> [u64; 2] {
    model.attention.widths().map(|width| width as u64)
}

/// Numbers that are kept for each token: queries, keys, values and the output. Values that come from one linear map with queries
/// and keys are a part of its output, all of which is kept for them.
pub(super) fn kept(model: &DecoderConfig) -> u64 {
    let [queries, keys] = widths(model);
    let beside_values = if model.attention.fused { queries + keys } else { 0 };
    2 * (queries + keys) + beside_values
}

/// Numbers that are kept for each token in f32: one log-sum-exp a head, and queries and keys before their norms, where there
/// are such.
pub(super) fn kept_in_f32(model: &DecoderConfig) -> u64 {
    let [queries, keys] = widths(model);
    let before_norms = if model.attention.qk_norm != QkNorm::None { queries + keys } else { 0 };
    model.attention.num_heads as u64 + before_norms
}

/// Numbers alive for each token while the backward runs, beside those: every query head's gradients of its queries, keys and
/// values, and these together; where they come from one linear map, once more as the gradient of its output.
pub(super) fn at_work(model: &DecoderConfig) -> u64 {
    let [queries, keys] = widths(model);
    let of_output = if model.attention.fused { queries + 2 * keys } else { 0 };
    4 * queries + 2 * keys + of_output
}

#[cfg(test)]
mod tests {
    use super::super::testing::{llama_8b, tiny};
    use super::*;

    #[test]
    fn by_hand() {
        // Queries and output 16 wide, keys and values 8, four heads.
        assert_eq!((kept(&tiny()), kept_in_f32(&tiny())), (16 + 8 + 8 + 16, 4));
        assert_eq!(at_work(&tiny()), 3 * 16 + 16 + 8 + 8);
        let mut fused = tiny();
        fused.attention.fused = true;
        assert_eq!((kept(&fused), at_work(&fused)), (16 + 8 + (16 + 8 + 8) + 16, 80 + 32));
        assert_eq!((kept(&llama_8b()), kept_in_f32(&llama_8b())), (2 * (4_096 + 1_024), 32));
    }
}
