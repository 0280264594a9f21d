//! What a decoder is: the sizes, norms, windows and positions that a Hugging Face `config.json` states in one
//! dialect per architecture, brought to one form.
//!
//! Adding an architecture takes a file beside this one, a variant of [`Architecture`] and a line in the list of
//! dialects.

mod error;
mod fields;
mod gemma2;
mod gemma3;
mod llama;
mod multimodal;
mod quantized;
mod qwen2;
mod qwen3;
mod rope;
mod yarn;

use std::{borrow::Cow, fs, io, path::Path};

use mpo_kernels::Activation;
use serde_json::{Map, Value};

pub use error::ConfigError;
use fields::{COMPARE, Fields, abridged};
pub use rope::{RopeConfig, RopeScaling};
pub use yarn::Yarn;

use crate::error::open_files_hint;
use crate::kind::FileKind;

static DIALECTS: [Dialect; 5] = [llama::DIALECT, qwen2::DIALECT, qwen3::DIALECT, gemma2::DIALECT, gemma3::DIALECT];

/// The file name of a configuration in a model's folder.
pub(crate) const CONFIG_FILE: &str = "config.json";

/// The file beside it that says how the model generates; many models name the end of a turn only there.
pub(crate) const GENERATION_FILE: &str = "generation_config.json";

/// Layers are built one by one, so a file must not ask for more than memory holds.
const MAX_LAYERS: usize = 1 << 12;

/// No published configuration comes near.
const MAX_BYTES: u64 = 1 << 24;

/// Ten times the largest open model.
const MAX_PARAMETERS: u128 = 10_000_000_000_000;

/// A family of models with one layout of configuration and weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// LLaMA 1 to 3.
    Llama,
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Qwen3, dense.
    Qwen3,
    /// Gemma 2.
    Gemma2,
    /// Gemma 3, text.
    Gemma3,
}

/// Which attention projections add a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionBias {
    /// Query, key and value.
    pub qkv: bool,
    /// Output.
    pub output: bool,
}

impl AttentionBias {
    const fn all(bias: bool) -> Self {
        Self { qkv: bias, output: bias }
    }
}

/// What may differ from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerConfig {
    /// How many positions a token attends to, its own and those just before; `None` for all.
    pub window: Option<usize>,
    /// The rotary embedding.
    pub rope: RopeConfig,
}

/// One description for every architecture.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// The family, which decides how weights are named.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads, each shared by `num_heads / num_kv_heads` query heads.
    pub num_kv_heads: usize,
    /// Width of a head; `num_heads · head_dim` need not be `hidden_size`.
    pub head_dim: usize,
    /// Added to the mean square under the root of each RMS norm.
    pub norm_eps: f64,
    /// Added to each norm's weight: Gemma stores `w` and multiplies by `1 + w`.
    pub norm_offset: f32,
    /// The feed-forward non-linearity.
    pub activation: Activation,
    /// What embeddings are multiplied by on the way in.
    pub embedding_scale: Option<f64>,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// Biases of the attention projections.
    pub attention_bias: AttentionBias,
    /// Whether the feed-forward projections have biases.
    pub mlp_bias: bool,
    /// Whether queries and keys are normalized per head.
    pub qk_norm: bool,
    /// Whether each block's output is normalized before it joins the residual stream.
    pub post_norms: bool,
    /// What attention scores are multiplied by.
    pub attention_scale: f64,
    /// `c · tanh(s / c)` on attention scores.
    pub attention_softcap: Option<f64>,
    /// `c · tanh(s / c)` on logits.
    pub final_softcap: Option<f64>,
    /// The layers, first to last.
    pub layers: Vec<LayerConfig>,
    /// The token that begins a sequence.
    pub bos_token_id: Option<u32>,
    /// The tokens that end one, or a turn in it.
    pub eos_token_ids: Vec<u32>,
    /// The token that fills a batch.
    pub pad_token_id: Option<u32>,
    /// The longest sequence the model was made for, where its file says so.
    pub max_positions: Option<usize>,
}

impl DecoderConfig {
    /// Reads the contents of a `config.json`, of Transformers 4 or 5.
    pub fn from_json(config: &Value) -> Result<Self, ConfigError> {
        let file = Path::new(CONFIG_FILE);
        match config {
            Value::Object(map) => Self::from_map(file, &multimodal::text_half(map)),
            other => Err(not_an_object(file, other)),
        }
    }

    /// The longest sequence that can be computed: with dynamic rotary scaling, that of pre-training.
    pub fn longest(&self) -> Option<usize> {
        let limit = |layer: &LayerConfig| match layer.rope.scaling {
            RopeScaling::Dynamic { limit } => Some(limit),
            _ => None,
        };
        self.layers.iter().filter_map(limit).min()
    }

    /// How many numbers the weights hold.
    pub fn num_parameters(&self) -> u64 {
        u64::try_from(self.parameters()).unwrap_or(u64::MAX)
    }

    fn from_map(file: &Path, map: &Map<String, Value>) -> Result<Self, ConfigError> {
        let fields = Fields::new(file, map);
        quantized::refuse(&fields)?;
        let config = (Dialect::of(&fields)?.read)(&fields)?;
        if config.parameters() > MAX_PARAMETERS {
            return Err(fields.error(
                "hidden_size",
                format!("sizes of at most {MAX_PARAMETERS} parameters together, not {}", config.parameters()),
                COMPARE,
            ));
        }
        Ok(config)
    }

    /// What every architecture says in the same words; `layers` is left empty.
    fn trunk(fields: &Fields<'_>, defaults: Defaults) -> Result<Self, ConfigError> {
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
            intermediate_size: fields.size("intermediate_size")?,
            num_layers,
            num_heads,
            num_kv_heads,
            head_dim,
            norm_eps: fields.positive("rms_norm_eps")?.unwrap_or(1e-6),
            norm_offset: 0.0,
            activation,
            embedding_scale: None,
            tie_word_embeddings: fields.flag("tie_word_embeddings", defaults.tie_word_embeddings)?,
            attention_bias: AttentionBias::all(false),
            mlp_bias: false,
            qk_norm: false,
            post_norms: false,
            attention_scale: (head_dim as f64).powf(-0.5),
            attention_softcap: None,
            final_softcap: None,
            layers: Vec::new(),
            bos_token_id: fields.token_id("bos_token_id")?,
            eos_token_ids: fields.token_ids("eos_token_id")?,
            pad_token_id: fields.token_id("pad_token_id")?,
            max_positions: fields.count("max_position_embeddings")?,
        })
    }

    fn parameters(&self) -> u128 {
        let [hidden, intermediate, vocab] =
            [self.hidden_size, self.intermediate_size, self.vocab_size].map(|size| size as u128);
        let queries = self.num_heads as u128 * self.head_dim as u128;
        let keys = self.num_kv_heads as u128 * self.head_dim as u128;
        let when = |present: bool, count: u128| if present { count } else { 0 };

        let attention = 2 * hidden * (queries + keys)
            + when(self.attention_bias.qkv, queries + 2 * keys)
            + when(self.attention_bias.output, hidden)
            + when(self.qk_norm, 2 * self.head_dim as u128);
        let mlp = 3 * hidden * intermediate + when(self.mlp_bias, 2 * intermediate + hidden);
        let norms = 2 * hidden + when(self.post_norms, 2 * hidden);
        let embeddings = vocab * hidden * if self.tie_word_embeddings { 1 } else { 2 };
        embeddings + self.num_layers as u128 * (attention + mlp + norms) + hidden
    }
}

/// A decoder's configuration with the file it came from, so that a trained model is saved under the same one.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// What the file means.
    pub decoder: DecoderConfig,
    /// What the file says, every key in its order; of a multimodal model, what it says of the text half.
    pub raw: Map<String, Value>,
    /// Of a multimodal model, the type of the whole.
    pub whole: Option<String>,
}

impl ModelConfig {
    /// Reads `config.json` in a model's folder, and `generation_config.json` if there is one: the tokens that it ends at
    /// are the decoder's too.
    pub fn from_dir(dir: &Path) -> Result<Self, ConfigError> {
        let file = dir.join(CONFIG_FILE);
        let hint = "pass the folder of a model in Hugging Face layout";
        let bytes = read(&file).map_err(|error| unread(&file, &error, hint))?;
        let mut config = Self::from_value(&file, parse(&file, &bytes)?)?;
        let eos = &mut config.decoder.eos_token_ids;
        for id in generation_eos(&dir.join(GENERATION_FILE))? {
            if !eos.contains(&id) {
                eos.push(id);
            }
        }
        Ok(config)
    }

    /// Takes the contents of a `config.json`, such as those of a model made from scratch.
    pub fn from_json(config: Value) -> Result<Self, ConfigError> {
        Self::from_value(Path::new(CONFIG_FILE), config)
    }

    fn from_value(file: &Path, value: Value) -> Result<Self, ConfigError> {
        match value {
            Value::Object(map) => {
                let text = multimodal::text_half(&map);
                let whole = match &text {
                    Cow::Borrowed(_) => None,
                    Cow::Owned(_) => map["model_type"].as_str().map(str::to_owned),
                };
                Ok(Self { decoder: DecoderConfig::from_map(file, &text)?, raw: text.into_owned(), whole })
            }
            other => Err(not_an_object(file, &other)),
        }
    }
}

/// The tokens that `generation_config.json` ends at; none where there is no such file.
fn generation_eos(file: &Path) -> Result<Vec<u32>, ConfigError> {
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => {
            let hint = "make the file readable, or download it again";
            return Err(unread(file, &error, hint));
        }
    };
    match parse(file, &bytes)? {
        Value::Object(map) => Fields::new(file, &map).token_ids("eos_token_id"),
        other => Err(not_an_object(file, &other)),
    }
}

/// Reads a configuration: a file, and not an endless one.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    match fs::metadata(file)? {
        meta if !meta.is_file() => Err(io::Error::other("no file")),
        meta if meta.len() > MAX_BYTES => Err(io::Error::other(format!("a file of {} bytes", meta.len()))),
        _ => fs::read(file),
    }
}

fn parse(file: &Path, bytes: &[u8]) -> Result<Value, ConfigError> {
    serde_json::from_slice(bytes).map_err(|error| match FileKind::of(bytes) {
        Some(kind) => unreadable(file, kind.what.to_owned(), kind.remedy),
        None => unreadable(file, error.to_string(), "download or save the file again"),
    })
}

fn not_an_object(file: &Path, value: &Value) -> ConfigError {
    unreadable(file, abridged(value), COMPARE)
}

/// A file that the system does not let us read; `hint` is what most often helps.
fn unread(file: &Path, error: &io::Error, hint: &'static str) -> ConfigError {
    unreadable(file, error.to_string(), open_files_hint(error).unwrap_or(hint))
}

/// A file that is no object of keys and values.
fn unreadable(file: &Path, got: String, hint: &'static str) -> ConfigError {
    ConfigError { file: file.to_path_buf(), key: "the file".into(), expected: "a JSON object".into(), got, hint }
}

/// How one architecture writes its configuration.
struct Dialect {
    model_type: &'static str,
    class: &'static str,
    read: fn(&Fields<'_>) -> Result<DecoderConfig, ConfigError>,
}

impl Dialect {
    fn of(fields: &Fields<'_>) -> Result<&'static Self, ConfigError> {
        let model_type = fields.text("model_type")?;
        let Some(dialect) = DIALECTS.iter().find(|d| Some(d.model_type) == model_type) else {
            let known: Vec<_> = DIALECTS.iter().map(|d| d.model_type).collect();
            let hint = if fields.has("text_config") {
                "this is a multimodal model of a kind that is not known; save its text decoder as a model of its own and \
                 pass that"
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

/// What an architecture takes for keys its file leaves out, and where it looks for the activation.
struct Defaults {
    architecture: Architecture,
    head_dim: Option<usize>,
    activation_key: &'static str,
    activation: &'static str,
    tie_word_embeddings: bool,
}

/// The window of each layer: as `layer_types` says where the file has it, else as the architecture's `slides` does.
fn windows(
    fields: &Fields<'_>,
    num_layers: usize,
    window: Option<usize>,
    slides: impl Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>, ConfigError> {
    let invalid = || {
        let expected = format!("{num_layers} of full_attention or sliding_attention, one per layer");
        fields.error("layer_types", expected, COMPARE)
    };
    let sliding: Vec<bool> = match fields.texts("layer_types")? {
        None => (0..num_layers).map(slides).collect(),
        Some(types) if types.len() == num_layers => types
            .into_iter()
            .map(|layer_type| match layer_type {
                "full_attention" => Ok(false),
                "sliding_attention" => Ok(true),
                _ => Err(invalid()),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(invalid()),
    };
    if window.is_none() && sliding.contains(&true) {
        let expected = "a window in use, as some layers slide";
        return Err(fields.error("sliding_window", expected, COMPARE));
    }
    Ok(sliding.into_iter().map(|slides| window.filter(|_| slides)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A small model of an architecture; `changes` are laid over it, `null` included.
    fn config(model_type: &str, changes: Value) -> Value {
        let mut config = json!({
            "model_type": model_type,
            "vocab_size": 320,
            "hidden_size": 64,
            "intermediate_size": 112,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        });
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    }

    fn read(model_type: &str, changes: Value) -> DecoderConfig {
        DecoderConfig::from_json(&config(model_type, changes)).unwrap()
    }

    fn windows_of(config: &DecoderConfig) -> Vec<Option<usize>> {
        config.layers.iter().map(|layer| layer.window).collect()
    }

    #[track_caller]
    fn assert_rejected(model_type: &str, changes: Value, message: &str) {
        let error = DecoderConfig::from_json(&config(model_type, changes)).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(!error.hint().is_empty());
    }

    #[test]
    fn llama_leaves_out_what_it_derives() {
        let config = read("llama", json!({"num_key_value_heads": null, "eos_token_id": [2, 5]}));
        assert_eq!((config.head_dim, config.num_kv_heads), (16, 4));
        assert_eq!(config.attention_scale, 0.25);
        assert!(!config.tie_word_embeddings && !config.qk_norm && !config.post_norms);
        assert_eq!(config.eos_token_ids, [2, 5]);
        let rope = RopeConfig { theta: 10_000.0, scaling: RopeScaling::None };
        assert_eq!(config.layers, [LayerConfig { window: None, rope }; 4]);
    }

    #[test]
    fn both_forms_of_rotary_parameters_mean_the_same() {
        let scaling = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        });
        let mut nested = scaling.clone();
        nested["rope_theta"] = json!(500_000.0);
        let older = json!({"rope_theta": 500_000.0, "rope_scaling": scaling});
        let newer = json!({"rope_parameters": nested});
        assert_eq!(read("llama", older), read("llama", newer.clone()));
        let expected = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        let rope = read("llama", newer).layers[0].rope;
        assert_eq!((rope.theta, rope.scaling), (500_000.0, expected));
    }

    #[test]
    fn yarn_is_read_in_every_form() {
        let yarn = |changes: Value| match read("llama", changes).layers[0].rope.scaling {
            RopeScaling::Yarn(yarn) => yarn,
            other => panic!("{other:?}"),
        };
        let older = yarn(json!({
            "max_position_embeddings": 2048, "rope_scaling": {"type": "yarn", "factor": 4.0},
        }));
        assert_eq!(older.original_max_position_embeddings, 2048);
        assert_eq!((older.beta_fast, older.beta_slow, older.truncate), (32.0, 1.0, true));
        assert_eq!(older.attention_factor, 0.1 * 4f64.ln() + 1.0);
        let newer = yarn(json!({
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "yarn", "factor": null, "original_max_position_embeddings": 2048},
        }));
        assert_eq!(newer, older);
        let told = yarn(json!({
            "rope_scaling": {
                "rope_type": "yarn", "factor": 2, "original_max_position_embeddings": 64, "attention_factor": 0.5,
                "beta_fast": 16, "beta_slow": 2, "truncate": false,
            },
        }));
        assert_eq!((told.attention_factor, told.beta_fast, told.truncate), (0.5, 16.0, false));
        // Of DeepSeek's files: (0.1 · 2 · ln 4 + 1) / (0.1 · ln 4 + 1).
        let scales = yarn(json!({
            "max_position_embeddings": 64,
            "rope_scaling": {"type": "yarn", "factor": 4, "mscale": 2, "mscale_all_dim": 1},
        }));
        let expected = 0.2f64.mul_add(4f64.ln(), 1.0) / 0.1f64.mul_add(4f64.ln(), 1.0);
        assert!((scales.attention_factor - expected).abs() < 1e-12);
    }

    #[test]
    fn dynamic_scaling_is_none_within_the_original_context() {
        let dynamic = json!({
            "max_position_embeddings": 512, "rope_scaling": {"type": "dynamic", "factor": 2.0},
        });
        let config = read("llama", dynamic);
        assert_eq!(config.longest(), Some(512));
        let plain = read("llama", json!({"max_position_embeddings": 512}));
        assert_eq!(plain.longest(), None);
        let freqs = |config: &DecoderConfig| config.layers[0].rope.inv_freq(16);
        assert_eq!(freqs(&config), freqs(&plain));
    }

    #[test]
    fn one_set_of_rotary_parameters_for_all_layers_may_be_nested() {
        let nested = json!({"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 5e5}}});
        assert_eq!(read("qwen3", nested).layers[0].rope.theta, 5e5);
    }

    #[test]
    fn qwen2_slides_only_when_told_to() {
        let window = json!({"sliding_window": 32, "max_window_layers": 3});
        assert_eq!(windows_of(&read("qwen2", window)), [None; 4]);
        let used = json!({"sliding_window": 32, "max_window_layers": 3, "use_sliding_window": true});
        let config = read("qwen2", used);
        assert_eq!(windows_of(&config), [None, None, None, Some(32)]);
        assert_eq!(config.attention_bias, AttentionBias { qkv: true, output: false });
    }

    #[test]
    fn qwen3_normalizes_queries_and_keys() {
        let config = read("qwen3", json!({"attention_bias": true}));
        assert_eq!((config.head_dim, config.qk_norm), (128, true));
        assert_eq!(config.attention_bias, AttentionBias::all(true));
    }

    #[test]
    fn gemma2_alternates_and_caps() {
        let config = read("gemma2", json!({"query_pre_attn_scalar": 16}));
        let windows = [Some(4096), None, Some(4096), None];
        assert_eq!(windows_of(&config), windows);
        assert_eq!((config.attention_scale, config.head_dim), (0.25, 256));
        assert_eq!(config.attention_softcap, Some(50.0));
        assert_eq!(config.final_softcap, Some(30.0));
        assert_eq!((config.norm_offset, config.embedding_scale), (1.0, Some(8.0)));
        assert_eq!(config.activation, Activation::GeluTanh);
        assert!(config.tie_word_embeddings && config.post_norms && !config.qk_norm);
        let uncapped = read("gemma2", json!({"final_logit_softcapping": null}));
        assert_eq!(uncapped.final_softcap, None);
        assert_eq!(uncapped.attention_softcap, Some(50.0));
    }

    #[test]
    fn gemma3_has_a_rotary_base_for_either_kind_of_layer() {
        let older = json!({
            "sliding_window": 8, "sliding_window_pattern": 3, "rope_theta": 1e6, "rope_local_base_freq": 1e4,
            "rope_scaling": {"type": "linear", "factor": 8.0},
        });
        let newer = json!({
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        });
        let config = read("gemma3_text", older);
        assert_eq!(config, read("gemma3_text", newer));
        assert_eq!(windows_of(&config), [Some(8), Some(8), None, Some(8)]);
        let (sliding, full) = (config.layers[0].rope, config.layers[2].rope);
        assert_eq!((sliding.theta, sliding.scaling), (1e4, RopeScaling::None));
        assert_eq!((full.theta, full.scaling), (1e6, RopeScaling::Linear { factor: 8.0 }));
        assert!(config.qk_norm && config.final_softcap.is_none());
    }

    #[test]
    fn gemma3_makes_every_sixth_layer_full() {
        let config = read("gemma3_text", json!({"num_hidden_layers": 7}));
        let full: Vec<_> = windows_of(&config).iter().map(Option::is_none).collect();
        assert_eq!(full, [false, false, false, false, false, true, false]);
    }

    #[test]
    fn parameters_of_a_published_model_are_counted() {
        let config = json!({
            "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
            "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": true,
        });
        assert_eq!(read("llama", config).num_parameters(), 134_515_008);
    }

    #[test]
    fn every_key_that_does_not_fit_is_named() {
        let cases = [
            ("llama", json!({"hidden_size": 0}), "config.json: hidden_size: expected an integer from 1"),
            ("llama", json!({"vocab_size": null}), "vocab_size: expected a positive integer, got null"),
            ("llama", json!({"vocab_size": 1u64 << 60}), "vocab_size: expected an integer from 1"),
            ("llama", json!({"num_hidden_layers": 100_000}), "at most 4096 layers, got 100000"),
            ("llama", json!({"hidden_size": 1 << 23, "intermediate_size": 1 << 23}), "parameters together"),
            ("llama", json!({"hidden_size": 66}), "a multiple of num_attention_heads = 4, got 66"),
            ("llama", json!({"hidden_size": 60}), "head_dim: expected an even size"),
            ("llama", json!({"num_key_value_heads": 3}), "a divisor of num_attention_heads = 4, got 3"),
            ("llama", json!({"rms_norm_eps": -1e-6}), "rms_norm_eps: expected a positive number"),
            ("llama", json!({"rms_norm_eps": 1e-60}), "rms_norm_eps: expected a positive number"),
            ("llama", json!({"hidden_act": "relu"}), "hidden_act: expected silu or gelu_pytorch_tanh, got \"relu\""),
            ("llama", json!({"eos_token_id": [1, -1]}), "eos_token_id: expected a token id or a list"),
            (
                "llama",
                json!({"rope_scaling": {"type": "longrope", "factor": 4}}),
                "rope_scaling.type: expected default, linear, llama3, yarn or dynamic, got \"longrope\"",
            ),
            (
                "llama",
                json!({"rope_scaling": {"type": "su", "short_factor": [1.0], "long_factor": [2.0]}}),
                "rope_scaling.type: expected default, linear, llama3, yarn or dynamic, got \"su\"",
            ),
            (
                "llama",
                json!({"rope_scaling": {"type": "yarn", "factor": 4}}),
                "rope_scaling.original_max_position_embeddings: expected a positive integer",
            ),
            (
                "llama",
                json!({"rope_scaling": {"type": "dynamic", "factor": 4}}),
                "expected max_position_embeddings beside dynamic scaling",
            ),
            (
                "llama",
                json!({"rope_scaling": {"type": "linear", "factor": 4}, "rope_parameters": {"rope_type": "default"}}),
                "rope_scaling: expected the same as rope_parameters",
            ),
            (
                "llama",
                json!({"rope_parameters": {
                    "full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4},
                }}),
                "sliding_attention: expected the same as full_attention",
            ),
            ("llama", json!({"rope_scaling": {"factor": 4}}), "rope_scaling.rope_type: expected the kind"),
            (
                "llama",
                json!({"rope_parameters": {"rope_type": "linear"}}),
                "rope_parameters.factor: expected a positive number, got nothing",
            ),
            ("llama", json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor: expected 1, got 0.5"),
            ("llama", json!({"architectures": ["LlamaForSequenceClassification"]}), "expected [\"LlamaForCausalLM\"]"),
            (
                "qwen2",
                json!({"use_sliding_window": true, "max_window_layers": 0, "sliding_window": 0}),
                "sliding_window: expected an integer",
            ),
            ("gemma2", json!({"sliding_window": null}), "sliding_window: expected a window in use"),
            ("gemma2", json!({"layer_types": ["full_attention"]}), "layer_types: expected 4 of"),
            ("gemma2", json!({"final_logit_softcapping": 0.0}), "final_logit_softcapping: expected a positive"),
            ("gemma3_text", json!({"use_bidirectional_attention": true}), "expected false or nothing"),
            ("mixtral", json!({}), "expected one of llama, qwen2, qwen3, gemma2, gemma3_text, got \"mixtral\""),
        ];
        for (model_type, changes, message) in cases {
            assert_rejected(model_type, changes, message);
        }
    }

    #[test]
    fn a_folder_without_a_readable_config_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let message = || ModelConfig::from_dir(dir.path()).unwrap_err().to_string();
        assert!(message().contains("config.json"));
        for text in ["", "[1, 2]", "{\"rms_norm_eps\": NaN}"] {
            fs::write(dir.path().join(CONFIG_FILE), text).unwrap();
            assert!(message().contains("expected a JSON object"), "{text}");
        }
    }

    #[test]
    fn generation_ends_where_either_file_says() {
        let dir = tempfile::tempdir().unwrap();
        let model = config("llama", json!({"eos_token_id": 2}));
        fs::write(dir.path().join(CONFIG_FILE), model.to_string()).unwrap();
        let generation = dir.path().join(GENERATION_FILE);
        let read = || ModelConfig::from_dir(dir.path());
        for (text, ids) in [
            ("{}", &[2][..]),
            (r#"{"eos_token_id": null}"#, &[2]),
            (r#"{"eos_token_id": 5, "top_p": 0.9}"#, &[2, 5]),
            (r#"{"eos_token_id": [7, 2, 7]}"#, &[2, 7]),
        ] {
            fs::write(&generation, text).unwrap();
            let config = read().unwrap();
            assert_eq!(config.decoder.eos_token_ids, ids, "{text}");
            // A trained model is saved under the configuration that it came with.
            assert_eq!(Value::Object(config.raw), model, "{text}");
        }
        for text in ["", "[2]", "{\"eos_token_id\": \"</s>\"}"] {
            fs::write(&generation, text).unwrap();
            let error = read().unwrap_err();
            assert!(error.to_string().contains(GENERATION_FILE), "{error}");
            assert!(!error.hint().is_empty());
        }
        fs::remove_file(&generation).unwrap();
        assert_eq!(read().unwrap().decoder.eos_token_ids, [2]);
    }

    #[test]
    fn a_padding_token_of_minus_one_is_none() {
        let config = read("llama", json!({"pad_token_id": -1, "bos_token_id": -1}));
        assert_eq!((config.pad_token_id, config.bos_token_id), (None, None));
        assert_rejected("llama", json!({"pad_token_id": -2}), "expected a token id, got -2");
    }

    #[test]
    fn a_configuration_of_another_kind_is_called_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        for (bytes, message, hint) in [
            (&b"version https://git-lfs.github.com/spec/v1\n"[..], "got a Git LFS pointer", "git lfs pull"),
            (b"<!doctype html>", "got a web page", "HF_TOKEN"),
            (b"", "expected a JSON object, got an empty file", "download"),
        ] {
            fs::write(dir.path().join(CONFIG_FILE), bytes).unwrap();
            let error = ModelConfig::from_dir(dir.path()).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert!(error.hint().contains(hint), "{}", error.hint());
        }
    }

    #[test]
    fn the_longest_sequence_is_the_files() {
        let long = json!({"max_position_embeddings": 131_072});
        assert_eq!(read("qwen2", long).max_positions, Some(131_072));
        assert_eq!(read("gemma2", json!({})).max_positions, None);
    }

    #[test]
    fn the_file_is_kept_as_it_was_written() {
        let value = config("llama", json!({"unknown_to_us": [1, 2]}));
        let model = ModelConfig::from_json(value.clone()).unwrap();
        assert_eq!(Value::Object(model.raw), value);
    }
}
