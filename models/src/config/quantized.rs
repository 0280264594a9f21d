//! Weights that are stored in a few bits: which method packed them, and what to pass instead.

use super::ConfigError;
use super::fields::Fields;

/// The keys under which one release or another says so.
const KEYS: [&str; 2] = ["quantization_config", "compression_config"];

/// Refuses the configuration of a quantized model.
pub(super) fn refuse(fields: &Fields<'_>) -> Result<(), ConfigError> {
    let Some(key) = KEYS.into_iter().find(|key| fields.value(key).is_some()) else {
        return Ok(());
    };
    let settings = fields.value(key);
    let method = settings.and_then(|settings| settings["quant_method"].as_str());
    let hint = match method {
        Some("bitsandbytes") => {
            "quantized weights cannot be trained: pass the model that this one was made from (without -bnb-4bit), or undo it \
             with dequantize() and save_pretrained() of Transformers; if the weights are not quantized, delete the key"
        }
        Some("fp8" | "fbgemm_fp8") => {
            "weights in FP8 cannot be trained: pass the model in bf16 (without -FP8); if the weights are not quantized, \
             delete the key"
        }
        _ => {
            "quantized weights cannot be trained: pass the model that this one was made from (without -GPTQ, -AWQ or the \
             like); if the weights are not quantized, delete the key"
        }
    };
    Err(fields.error(key, "nothing, as of weights in f32, f16 or bf16", hint))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::ModelConfig;

    #[test]
    fn every_method_is_refused_by_name() {
        for method in ["gptq", "awq", "bitsandbytes", "fp8", "compressed-tensors"] {
            let config = json!({"model_type": "llama", "quantization_config": {"quant_method": method}});
            let error = ModelConfig::from_json(config).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("quantization_config: expected nothing"), "{text}");
            assert!(text.contains(method), "{text}");
            assert!(error.hint().contains("pass the model"), "{}", error.hint());
        }
        let none = json!({"model_type": "llama", "quantization_config": null});
        let error = ModelConfig::from_json(none).unwrap_err().to_string();
        assert!(error.contains("hidden_size"), "{error}");
    }
}
