//! Names of tensors as a plain decoder's checkpoint has them, whatever was wrapped around the model that was saved.

/// Wrappers that put their name between the parts of a path: torch.compile, FSDP, activation checkpointing.
const SEGMENTS: [&str; 3] = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// Wrappers that stand before the whole model, and what they stand for: data parallelism, PEFT, TRL's value head, and
/// the text half of a multimodal model, in older and newer releases of Transformers. Taken off from the first to the last.
const PREFIXES: [(&str, &str); 7] = [
    ("module.", ""),
    ("base_model.model.", ""),
    ("pretrained_model.", ""),
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
    ("model.model.", "model."),
];

/// What a decoder that was saved without its head begins its names with.
const BARE: [&str; 3] = ["embed_tokens.", "layers.", "norm."];

/// The name of a tensor that is stored as `stored`.
pub(super) fn plain(stored: &str) -> String {
    let parts: Vec<&str> = stored.split('.').filter(|part| !SEGMENTS.contains(part)).collect();
    let mut name = parts.join(".");
    for (prefix, replacement) in PREFIXES {
        if let Some(rest) = name.strip_prefix(prefix) {
            name = format!("{replacement}{rest}");
        }
    }
    if BARE.iter().any(|bare| name.starts_with(bare)) {
        name.insert_str(0, "model.");
    }
    name
}

/// A tensor that states what the configuration does: rotary tables that old checkpoints carry.
pub(super) fn is_redundant(name: &str) -> bool {
    ["inv_freq", "cos_cached", "sin_cached"].iter().any(|table| name.ends_with(&format!("rotary_emb.{table}")))
}

/// A part that does not enter what the decoder says of a text: the half of a multimodal model that sees or hears, a value
/// head of reinforcement learning.
pub(super) fn is_other_half(name: &str) -> bool {
    const PARTS: [&str; 9] = [
        "vision_tower.",
        "vision_model.",
        "visual.",
        "multi_modal_projector.",
        "mm_projector.",
        "image_newline",
        "audio_tower.",
        "v_head.",
        "value_head.",
    ];
    let name = name.strip_prefix("model.").unwrap_or(name);
    PARTS.iter().any(|part| name.starts_with(part))
}

/// A tensor that only quantized checkpoints have.
pub(super) fn is_quantized(name: &str) -> bool {
    const ENDINGS: [&str; 14] = [
        ".qweight",
        ".qzeros",
        ".g_idx",
        ".scales",
        ".SCB",
        ".weight_format",
        ".weight.absmax",
        ".weight.quant_map",
        ".weight_scale",
        ".weight_scale_inv",
        ".weight_packed",
        ".weight_zero_point",
        ".weight_shape",
        ".weight_blocks",
    ];
    ENDINGS.iter().any(|ending| name.ends_with(ending)) || name.contains(".weight.quant_state.")
}

/// What the name of a matrix in NF4 is followed by in that of the numbers that say how it is stored.
pub(super) const NF4_STATE: &str = ".quant_state.bitsandbytes__nf4";

/// The matrix that a tensor belongs to, if it is in NF4.
pub(super) fn nf4_matrix(name: &str) -> Option<&str> {
    const PARTS: [&str; 5] = [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", NF4_STATE];
    PARTS.iter().find_map(|part| name.strip_suffix(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_are_taken_off() {
        let layer = "model.layers.0.mlp.up_proj.weight";
        for stored in [
            layer,
            "_orig_mod.model.layers.0.mlp.up_proj.weight",
            "module.model.layers.0.mlp.up_proj.weight",
            "module._orig_mod.model.layers.0.mlp.up_proj.weight",
            "_orig_mod.module.model.layers.0.mlp.up_proj.weight",
            "model.layers.0._orig_mod.mlp.up_proj.weight",
            "_fsdp_wrapped_module.model.layers.0._fsdp_wrapped_module.mlp.up_proj.weight",
            "base_model.model.model.layers.0.mlp.up_proj.weight",
            "pretrained_model.model.layers.0.mlp.up_proj.weight",
            "language_model.model.layers.0.mlp.up_proj.weight",
            "model.language_model.layers.0.mlp.up_proj.weight",
            "layers.0.mlp.up_proj.weight",
        ] {
            assert_eq!(plain(stored), layer, "{stored}");
        }
        assert_eq!(plain("language_model.lm_head.weight"), "lm_head.weight");
        assert_eq!(plain("embed_tokens.weight"), "model.embed_tokens.weight");
        for other in ["lm_head.weight", "transformer.h.0.weight", "vision_tower.norm.weight", ""] {
            assert_eq!(plain(other), other);
        }
    }

    #[test]
    fn redundant_quantized_and_multimodal_names_are_recognized() {
        assert!(is_redundant("model.layers.0.self_attn.rotary_emb.inv_freq"));
        assert!(is_other_half("model.vision_tower.encoder.weight"));
        assert!(!is_other_half("model.layers.0.mlp.up_proj.weight"));
        assert!(is_quantized("model.layers.0.mlp.up_proj.qweight"));
        assert!(is_quantized("m.weight.quant_state.bitsandbytes__nf4"));
        assert_eq!(nf4_matrix("m.weight.quant_state.bitsandbytes__nf4"), Some("m.weight"));
        assert_eq!(nf4_matrix("m.weight.nested_absmax"), Some("m.weight"));
        assert_eq!(nf4_matrix("m.weight.quant_state.bitsandbytes__fp4"), None);
        assert!(!is_quantized("model.layers.0.mlp.up_proj.weight"));
    }
}
