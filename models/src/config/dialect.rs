//! How architectures write their configurations.

use mpo_kernels::Activation;

use super::fields::{COMPARE, Fields};
use super::{
    Architecture, AttentionBias, AttentionConfig, ConfigError, DecoderConfig, MlpConfig, NormConfig, NormPlace, QkNorm,
    cohere, cohere2, gemma2, gemma3, llama, m2m, mistral, olmo2, olmo3, phi3, qwen2, qwen3, smollm3, t5,
};

pub(super) static DIALECTS: [Dialect; 14] = [
    llama::DIALECT,
    mistral::DIALECT,
    smollm3::DIALECT,
    qwen2::DIALECT,
    qwen3::DIALECT,
    gemma2::DIALECT,
    gemma3::DIALECT,
    olmo2::DIALECT,
    olmo3::DIALECT,
    phi3::DIALECT,
    cohere::DIALECT,
    cohere2::DIALECT,
    t5::T5,
    t5::MT5,
];

/// Layers are built one by one, so a file must not ask for more than memory holds.
pub(super) const MAX_LAYERS: usize = 1 << 12;

/// How one architecture writes its configuration.
pub(super) struct Dialect {
    pub(super) model_type: &'static str,
    pub(super) class: &'static str,
    pub(super) read: fn(&Fields<'_>) -> Result<DecoderConfig, ConfigError>,
}

impl Dialect {
    pub(super) fn of(fields: &Fields<'_>) -> Result<&'static Self, ConfigError> {
        let model_type = fields.text("model_type")?;
        let Some(dialect) = DIALECTS.iter().find(|d| Some(d.model_type) == model_type) else {
            let known: Vec<_> = DIALECTS.iter().map(|d| d.model_type).collect();
            let hint = if fields.has("text_config") {
                "this is a multimodal model of a kind that is not known; save its text decoder as a model of its own and \
                 pass that"
            } else if model_type == Some(m2m::MODEL_TYPE) {
                "M2M-100 and NLLB are not trained here; they translate for prepare: --translator nllb=FOLDER"
            } else {
                "choose a model of one of these architectures"
            };
            let expected = format!("one of {}", known.join(", "));
            return Err(fields.error("model_type", expected, hint));
        };
        // The same trunk under another head, such as a classifier's, is not a language model.
        match fields.texts("architectures")? {
            Some(classes) if !classes.contains(&dialect.class) => Err(fields.error(
                "architectures",
                format!("[\"{}\"]", dialect.class),
                "choose a model that generates text",
            )),
            _ => Ok(dialect),
        }
    }
}

/// What an architecture takes for keys its file leaves out, and what it calls the activation and the norms' epsilon.
pub(super) struct Defaults {
    pub(super) architecture: Architecture,
    pub(super) head_dim: Option<usize>,
    pub(super) activation_key: &'static str,
    pub(super) activation: &'static str,
    pub(super) tie_word_embeddings: bool,
    pub(super) norm_eps_key: &'static str,
    pub(super) norm_eps: f64,
    pub(super) pad_token_id: Option<u32>,
}

impl Defaults {
    /// Those of LLaMA, which most architectures took over.
    pub(super) fn of_llama(architecture: Architecture) -> Self {
        Self {
            architecture,
            head_dim: None,
            activation_key: "hidden_act",
            activation: "silu",
            tie_word_embeddings: false,
            norm_eps_key: "rms_norm_eps",
            norm_eps: 1e-6,
            pad_token_id: None,
        }
    }
}

impl DecoderConfig {
    /// What every architecture says in the same words; `layers` is left empty.
    pub(super) fn trunk(fields: &Fields<'_>, defaults: Defaults) -> Result<Self, ConfigError> {
        let hidden_size = fields.size("hidden_size")?;
        let num_heads = fields.size("num_attention_heads")?;
        let head_dim = match fields.optional_size("head_dim")?.or(defaults.head_dim) {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
            None => {
                let expected = format!("a multiple of num_attention_heads = {num_heads}");
                return Err(fields.error("hidden_size", expected, COMPARE));
            }
        };
        if !head_dim.is_multiple_of(2) {
            let expected = format!("an even size, as rotary embeddings need, not {head_dim}");
            return Err(fields.error("head_dim", expected, COMPARE));
        }
        // A wrong guess cannot pass: the shapes of the weights would not match it.
        let num_kv_heads = fields.optional_size("num_key_value_heads")?.unwrap_or(num_heads);
        if !num_heads.is_multiple_of(num_kv_heads) {
            let expected = format!("a divisor of num_attention_heads = {num_heads}");
            return Err(fields.error("num_key_value_heads", expected, COMPARE));
        }
        let num_layers = fields.size("num_hidden_layers")?;
        if num_layers > MAX_LAYERS {
            let expected = format!("at most {MAX_LAYERS} layers");
            return Err(fields.error("num_hidden_layers", expected, COMPARE));
        }
        let activation = match fields.text(defaults.activation_key)?.unwrap_or(defaults.activation) {
            "silu" | "swish" => Activation::Silu,
            "gelu_pytorch_tanh" => Activation::GeluTanh,
            _ => {
                let expected = "silu or gelu_pytorch_tanh";
                let hint = "choose a model with one of these activations";
                return Err(fields.error(defaults.activation_key, expected, hint));
            }
        };
        Ok(Self {
            architecture: defaults.architecture,
            vocab_size: fields.size("vocab_size")?,
            hidden_size,
            embedding_scale: None,
            tie_word_embeddings: fields.flag("tie_word_embeddings", defaults.tie_word_embeddings)?,
            logit_scale: None,
            final_softcap: None,
            attention: AttentionConfig {
                num_heads,
                num_kv_heads,
                head_dim,
                fused: false,
                bias: AttentionBias::all(false),
                qk_norm: QkNorm::None,
                scale: (head_dim as f64).powf(-0.5),
                softcap: None,
            },
            mlp: MlpConfig {
                intermediate_size: fields.size("intermediate_size")?,
                fused: false,
                activation,
                bias: false,
            },
            norm: NormConfig {
                eps: fields.positive(defaults.norm_eps_key)?.unwrap_or(defaults.norm_eps),
                offset: 0.0,
                centred: false,
                place: NormPlace::Before,
            },
            num_layers,
            layers: Vec::new(),
            encoder: None,
            bos_token_id: fields.token_id("bos_token_id")?,
            eos_token_ids: fields.token_ids("eos_token_id")?,
            pad_token_id: if fields.has("pad_token_id") {
                fields.token_id("pad_token_id")?
            } else {
                defaults.pad_token_id
            },
            max_positions: fields.count("max_position_embeddings")?,
        })
    }
}
