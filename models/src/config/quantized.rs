//! Weights that are stored in a few bits: which of them are read, and what to pass instead of the others.

use super::ConfigError;
use super::fields::Fields;

/// The keys under which one release or another says so.
pub(super) const KEYS: [&str; 2] = ["quantization_config", "compression_config"];

/// Whether linear maps are stored in NF4, as bitsandbytes writes it.
///
/// # Errors
/// If weights are quantized in another way.
pub(super) fn is_nf4(fields: &Fields<'_>) -> Result<bool, ConfigError> {
    let Some(key) = KEYS.into_iter().find(|key| fields.value(key).is_some()) else {
        return Ok(false);
    };
    let settings = fields.value(key);
    let method = settings.and_then(|settings| settings["quant_method"].as_str());
    match (method, fields.section(key)) {
        (Some("bitsandbytes"), Ok(Some(settings))) => check_nf4(&settings).map(|()| true),
        _ => Err(fields.error(
            key,
            "nothing, as of weights in f32, f16 or bf16, or NF4 of bitsandbytes",
            instead(method),
        )),
    }
}

/// That the settings of bitsandbytes are those of NF4 in bytes.
fn check_nf4(settings: &Fields<'_>) -> Result<(), ConfigError> {
    const HINT: &str = "pass the model that this one was made from (without -bnb-4bit or -bnb-8bit), or undo it with dequantize() and \
                        save_pretrained() of Transformers";
    if settings.flag("load_in_8bit", false)? || !settings.flag("load_in_4bit", false)? {
        return Err(settings.error("load_in_4bit", "true, as only NF4 of bitsandbytes is read", HINT));
    }
    for (key, default, expected) in
        [("bnb_4bit_quant_type", "fp4", "nf4"), ("bnb_4bit_quant_storage", "uint8", "uint8")]
    {
        if settings.text(key)?.unwrap_or(default) != expected {
            return Err(settings.error(key, expected, HINT));
        }
    }
    Ok(())
}

fn instead(method: Option<&str>) -> &'static str {
    match method {
        Some("fp8" | "fbgemm_fp8") => {
            "weights in FP8 are not read: pass the model in bf16 (without -FP8); if the weights are not quantized, delete the \
             key"
        }
        _ => {
            "weights that are quantized so are not read: pass the model that this one was made from (without -GPTQ, -AWQ or the \
             like); if the weights are not quantized, delete the key"
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::ModelConfig;

    fn config(quantization: Value) -> Value {
        json!({
            "model_type": "llama", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
            "num_attention_heads": 1, "quantization_config": quantization,
        })
    }

    #[test]
    fn every_method_is_refused_by_name() {
        for method in ["gptq", "awq", "fp8", "compressed-tensors"] {
            let error = ModelConfig::from_json(config(json!({"quant_method": method}))).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("quantization_config: expected nothing"), "{text}");
            assert!(text.contains(method), "{text}");
            assert!(error.hint().contains("pass the model"), "{}", error.hint());
        }
        for odd in [json!(4), json!([]), json!("nf4"), json!({})] {
            let error = ModelConfig::from_json(config(odd)).unwrap_err().to_string();
            assert!(error.contains("quantization_config: expected nothing"), "{error}");
        }
        let none = ModelConfig::from_json(config(Value::Null)).unwrap();
        assert!(!none.nf4);
    }

    #[test]
    fn of_bitsandbytes_nf4_alone_is_read() {
        // As Transformers writes it.
        let nf4 = json!({
            "_load_in_4bit": true, "_load_in_8bit": false, "bnb_4bit_compute_dtype": "bfloat16",
            "bnb_4bit_quant_storage": "uint8", "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": true,
            "llm_int8_enable_fp32_cpu_offload": false, "llm_int8_has_fp16_weight": false,
            "llm_int8_skip_modules": ["lm_head"], "llm_int8_threshold": 6.0, "load_in_4bit": true, "load_in_8bit": false,
            "quant_method": "bitsandbytes",
        });
        let read = ModelConfig::from_json(config(nf4.clone())).unwrap();
        assert!(read.nf4 && !read.raw.contains_key("quantization_config"), "saved weights are dense");
        for (key, value, expected) in [
            ("bnb_4bit_quant_type", json!("fp4"), "quantization_config.bnb_4bit_quant_type: expected nf4, got \"fp4\""),
            ("bnb_4bit_quant_type", json!(null), "expected nf4"),
            ("bnb_4bit_quant_storage", json!("bfloat16"), "bnb_4bit_quant_storage: expected uint8"),
            ("load_in_8bit", json!(true), "load_in_4bit: expected true"),
            ("load_in_4bit", json!(false), "load_in_4bit: expected true"),
            ("load_in_4bit", json!(4), "load_in_4bit: expected true or false"),
        ] {
            let mut changed = nf4.clone();
            changed[key] = value;
            let error = ModelConfig::from_json(config(changed)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
