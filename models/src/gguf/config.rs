//! The `config.json` that the metadata of a file stands for.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::architecture::{Family, KNOWN};
use super::header::Header;
use super::metadata::Metadata;
use super::types::TensorType;
use super::value::Value;
use crate::checkpoint::CheckpointError;
use crate::config::{RopeConfig, RopeScaling};
use crate::{Architecture, ModelConfig};

/// What LLaMA 3.1 divides each frequency by.
pub(super) const ROPE_FREQS: &str = "rope_freqs.weight";

/// What we write beside that tensor: the parameters that it was made from, as in a `config.json`.
pub(super) const ROPE_PARAMETERS: &str = "mpo_train.rope_parameters";

/// The name of the embedding.
const EMBEDDING: &str = "token_embd.weight";

/// Access to the keys of one architecture, with errors that name file, key, expectation and finding.
pub(super) struct Keys<'a> {
    file: &'a Path,
    metadata: &'a Metadata,
    family: Family,
}

impl<'a> Keys<'a> {
    pub(super) fn new(file: &'a Path, metadata: &'a Metadata) -> Result<Self, CheckpointError> {
        let name = metadata.get("general.architecture").and_then(Value::text).unwrap_or("none");
        let family = Family::named(name).ok_or_else(|| CheckpointError::Unread {
            file: file.to_owned(),
            expected: format!("a model of the architecture {KNOWN}"),
            got: format!("{name:.100}"),
            hint: "choose a model of one of these architectures",
        })?;
        Ok(Self { file, metadata, family })
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.family.names().0)
    }

    /// A value, of those that stand for all layers the one that they share.
    fn value<T: PartialEq>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, CheckpointError> {
        let key = self.full(key);
        let Some(value) = self.metadata.get(&key) else {
            return Ok(None);
        };
        let one = match value {
            Value::Array(values) => {
                let mut values = values.iter().map(&read);
                let first = values.next().flatten();
                first.filter(|first| values.all(|value| value.as_ref() == Some(first)))
            }
            value => read(value),
        };
        let shown = || format!("{value:?}").chars().take(60).collect();
        one.map(Some).ok_or_else(|| self.unread(&format!("{expected} of all layers as {key}"), shown()))
    }

    pub(super) fn whole(&self, key: &str) -> Result<Option<u64>, CheckpointError> {
        self.value(key, "one whole number", Value::whole)
    }

    fn number(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        self.value(key, "one number", Value::number)
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.metadata.get(&self.full(key)).and_then(Value::text)
    }

    /// A number that must be there.
    fn needed(&self, key: &str) -> Result<u64, CheckpointError> {
        self.whole(key)?.ok_or_else(|| {
            CheckpointError::malformed(self.file, format!("expected the key {}, got none", self.full(key)))
        })
    }

    /// The heads of queries, and those of keys.
    pub(super) fn heads(&self) -> Result<[usize; 2], CheckpointError> {
        let heads = self.needed("attention.head_count")?;
        let of_keys = self.whole("attention.head_count_kv")?.unwrap_or(heads);
        let sane = |heads: u64| usize::try_from(heads).ok().filter(|heads| (1..1 << 24).contains(heads));
        sane(heads).zip(sane(of_keys)).map(|(heads, of_keys)| [heads, of_keys]).ok_or_else(|| {
            CheckpointError::malformed(self.file, format!("expected numbers of heads, got {heads} and {of_keys}"))
        })
    }

    /// The sliding window, if there is one.
    fn window(&self) -> Result<Option<u64>, CheckpointError> {
        Ok(self.whole("attention.sliding_window")?.filter(|&window| window > 0))
    }

    fn unread(&self, expected: &str, got: String) -> CheckpointError {
        CheckpointError::Unread {
            file: self.file.to_owned(),
            expected: expected.to_owned(),
            got,
            hint: "choose another model of this architecture, or its folder with safetensors",
        }
    }
}

/// The configuration of the model in a file, by the header of the file.
pub(super) fn config(file: &Path, bytes: &[u8], header: &Header) -> Result<Map<String, Json>, CheckpointError> {
    let keys = Keys::new(file, &header.metadata)?;
    let family = keys.family();
    let (_, model_type, class) = family.names();
    if header.metadata.get("split.count").and_then(Value::whole).is_some_and(|files| files > 1) {
        return Err(CheckpointError::Unread {
            file: file.to_owned(),
            expected: "a model in one file".into(),
            got: "a part of one".into(),
            hint: "put the parts together: llama-gguf-split --merge FIRST-PART WHOLE",
        });
    }
    if keys.whole("expert_count")?.is_some_and(|experts| experts > 0) {
        return Err(keys.unread("a dense model", "a mixture of experts".into()));
    }
    let [heads, of_keys] = keys.heads()?;
    let hidden = keys.needed("embedding_length")?;
    let (rotated, is_phi) = (keys.whole("rope.dimension_count")?, family.architecture() == Architecture::Phi3);
    let head_dim = match (keys.whole("attention.key_length")?, rotated) {
        (Some(width), _) => width,
        (None, Some(rotated)) if !is_phi => rotated,
        _ => hidden / heads as u64,
    };
    let of_values = keys.whole("attention.value_length")?;
    let whole = if is_phi { None } else { rotated };
    for (key, other) in [("attention.value_length", of_values), ("rope.dimension_count", whole)] {
        if let Some(other) = other.filter(|&other| other != head_dim) {
            let got = format!("{head_dim} and, as {key}, {other}");
            return Err(keys.unread("heads of one width, rotated whole", got));
        }
    }
    let embedding = header.tensors.iter().find(|tensor| tensor.name == EMBEDDING);
    let embedding = embedding
        .ok_or_else(|| CheckpointError::malformed(file, format!("expected a tensor named {EMBEDDING}, got none")))?;
    let has = |name: &str| header.tensors.iter().any(|tensor| tensor.name == name);
    let activation = if family.is_gemma() { "hidden_activation" } else { "hidden_act" };
    let norm_eps = if family.is_cohere() { "layer_norm_eps" } else { "rms_norm_eps" };
    let mut config = json!({
        "architectures": [class],
        "model_type": model_type,
        "vocab_size": embedding.shape.first().copied().unwrap_or(0),
        "hidden_size": hidden,
        "intermediate_size": keys.needed("feed_forward_length")?,
        "num_hidden_layers": keys.needed("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": of_keys,
        "head_dim": head_dim,
        activation: if family.is_gemma() { "gelu_pytorch_tanh" } else { "silu" },
        norm_eps: keys.number(&format!("attention.{}", norm_eps_key(family)))?.unwrap_or(1e-6),
        "max_position_embeddings": keys.whole("context_length")?,
        "rope_theta": keys.number("rope.freq_base")?.unwrap_or(10_000.0),
        "tie_word_embeddings": !has("output.weight"),
        "torch_dtype": match embedding.of {
            TensorType::BF16 => "bfloat16",
            TensorType::F16 => "float16",
            _ => "float32",
        },
    });
    let Json::Object(config) = &mut config else { unreachable!("an object was written") };
    if let Some(scaling) = rope_scaling(&keys)? {
        config.insert("rope_scaling".into(), scaling);
    }
    match family.architecture() {
        Architecture::Llama => {
            config.insert("attention_bias".into(), has("blk.0.attn_q.bias").into());
            config.insert("mlp_bias".into(), has("blk.0.ffn_up.bias").into());
        }
        Architecture::Qwen2 | Architecture::SmolLm3 | Architecture::T5 => {}
        Architecture::Qwen3 => _ = config.insert("attention_bias".into(), has("blk.0.attn_q.bias").into()),
        Architecture::Gemma2 | Architecture::Gemma3 => gemma(&keys, config, hidden, heads as u64, head_dim)?,
        // That is OLMo 3.
        Architecture::Olmo2 => {
            if let Some(window) = keys.window()? {
                return Err(keys.unread("attention to all tokens", format!("a sliding window of {window}")));
            }
        }
        Architecture::Phi3 => phi(&keys, config, &has, rotated, head_dim)?,
        Architecture::Cohere | Architecture::Cohere2 => {
            config.insert("logit_scale".into(), keys.number("logit_scale")?.unwrap_or(1.0).into());
            config.insert("attention_bias".into(), has("blk.0.attn_q.bias").into());
            if family.architecture() == Architecture::Cohere2 {
                config.insert("sliding_window".into(), keys.window()?.into());
                let period = keys.whole("attention.sliding_window_pattern")?.unwrap_or(default_period(family));
                config.insert("sliding_window_pattern".into(), period.into());
            }
        }
    }
    if has(ROPE_FREQS) {
        let scaling = of_frequencies(&keys, bytes, header, config)?;
        config.insert("rope_scaling".into(), scaling);
    }
    for (key, names) in
        [("bos_token_id", &["bos"][..]), ("eos_token_id", &["eos", "eot", "eom"]), ("pad_token_id", &["padding"])]
    {
        let id = |name: &&str| header.metadata.get(&format!("tokenizer.ggml.{name}_token_id")).and_then(Value::whole);
        let mut ids: Vec<u64> = vec![];
        for id in names.iter().filter_map(id) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let ids = match ids[..] {
            [] => Json::Null,
            [id] => id.into(),
            _ => ids.into(),
        };
        config.insert(key.into(), ids);
    }
    Ok(config.clone())
}

/// What Gemma's files say beside the rest.
fn gemma(
    keys: &Keys<'_>,
    config: &mut Map<String, Json>,
    hidden: u64,
    heads: u64,
    head_dim: u64,
) -> Result<(), CheckpointError> {
    let layers = keys.needed("block_count")?;
    let is_2 = keys.family().architecture() == Architecture::Gemma2;
    let scalar = query_scalar(keys.family(), layers, hidden, heads, head_dim);
    config.insert("query_pre_attn_scalar".into(), scalar.into());
    let window = keys.whole("attention.sliding_window")?.or(is_2.then_some(4096)).filter(|&window| window > 0);
    let pattern = keys.metadata.get(&keys.full("attention.sliding_window_pattern"));
    let slides: Box<dyn Fn(u64) -> bool> = match pattern {
        Some(Value::Array(slides)) => {
            let slides: Vec<bool> =
                slides.iter().map(|value| value.flag().unwrap_or(value.whole().is_some_and(|one| one > 0))).collect();
            Box::new(move |layer| usize::try_from(layer).is_ok_and(|layer| slides.get(layer) == Some(&true)))
        }
        pattern => {
            let period = pattern.and_then(Value::whole).unwrap_or(default_period(keys.family())).max(1);
            Box::new(move |layer| layer % period < period - 1)
        }
    };
    let slides = |layer| window.is_some() && slides(layer);
    if layers > 1 << 12 {
        return Err(CheckpointError::malformed(keys.file, format!("expected at most 4096 layers, got {layers}")));
    }
    let types: Vec<&str> =
        (0..layers).map(|layer| if slides(layer) { "sliding_attention" } else { "full_attention" }).collect();
    config.insert("layer_types".into(), types.into());
    config.insert("sliding_window".into(), window.into());
    let cap = |key, default: Option<f64>| -> Result<_, CheckpointError> {
        Ok(keys.number(key)?.or(default).filter(|&cap| cap != 0.0))
    };
    config.insert("attn_logit_softcapping".into(), cap("attn_logit_softcapping", is_2.then_some(50.0))?.into());
    config.insert("final_logit_softcapping".into(), cap("final_logit_softcapping", is_2.then_some(30.0))?.into());
    if !is_2 {
        let theta = keys.number("rope.freq_base_swa")?.unwrap_or(10_000.0);
        config.insert("rope_local_base_freq".into(), theta.into());
    }
    Ok(())
}

/// What Phi's files say beside the rest.
fn phi(
    keys: &Keys<'_>,
    config: &mut Map<String, Json>,
    has: &dyn Fn(&str) -> bool,
    rotated: Option<u64>,
    head_dim: u64,
) -> Result<(), CheckpointError> {
    if has("rope_factors_short.weight") || has("rope_factors_long.weight") {
        // llama.cpp takes one set of factors or the other by the room for tokens that it is started with.
        return Err(keys.unread("rotary embeddings without LongRoPE", "factors of it".into()));
    }
    if let Some(rotated) = rotated.filter(|&rotated| rotated != head_dim) {
        config.insert("partial_rotary_factor".into(), (rotated as f64 / head_dim.max(1) as f64).into());
    }
    config.insert("sliding_window".into(), keys.window()?.into());
    Ok(())
}

/// What the epsilon of the norms is called.
pub(super) fn norm_eps_key(family: Family) -> &'static str {
    if family.is_cohere() { "layer_norm_epsilon" } else { "layer_norm_rms_epsilon" }
}

/// Of so many layers one does not slide, where a file says nothing.
pub(super) fn default_period(family: Family) -> u64 {
    match family.architecture() {
        Architecture::Gemma2 => 2,
        Architecture::Cohere2 => 4,
        _ => 6,
    }
}

/// What llama.cpp divides the squares of a Gemma's scores by; it knows no key for it.
pub(super) fn query_scalar(family: Family, layers: u64, hidden: u64, heads: u64, head_dim: u64) -> u64 {
    let layers_of_27b = if family.architecture() == Architecture::Gemma2 { 46 } else { 62 };
    if layers == layers_of_27b { hidden / heads.max(1) } else { head_dim }
}

/// The scaling that the keys speak of.
fn rope_scaling(keys: &Keys<'_>) -> Result<Option<Json>, CheckpointError> {
    let factor = keys.number("rope.scaling.factor")?;
    match (keys.text("rope.scaling.type"), factor) {
        (Some("none"), _) | (None, None) => Ok(None),
        // Where a file names no kind, llama.cpp takes it for this one.
        (Some("linear") | None, Some(factor)) => Ok(Some(json!({ "rope_type": "linear", "factor": factor }))),
        (Some("yarn"), Some(factor)) => {
            for (key, usual) in
                [("yarn_ext_factor", 1.0), ("yarn_attn_factor", 1.0), ("yarn_beta_fast", 32.0), ("yarn_beta_slow", 1.0)]
            {
                let key = format!("rope.scaling.{key}");
                if let Some(other) = keys.number(&key)?.filter(|&other| other != usual) {
                    return Err(keys.unread(&format!("{key} of {usual}"), other.to_string()));
                }
            }
            let original = keys.needed("rope.scaling.original_context_length")?;
            Ok(Some(json!({
                "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original,
            })))
        }
        (kind, factor) => {
            let got = format!("{} by {factor:?}", kind.unwrap_or("none"));
            Err(keys.unread("rotary scaling that is linear or yarn", got))
        }
    }
}

/// The parameters of LLaMA 3's scaling, of which the file has what each frequency is divided by: those that we wrote beside
/// it, or those that all published models have.
fn of_frequencies(
    keys: &Keys<'_>,
    bytes: &[u8],
    header: &Header,
    config: &Map<String, Json>,
) -> Result<Json, CheckpointError> {
    let unread = |got: &str| keys.unread("a rotary scaling of LLaMA 3.1 to 3.3", got.into());
    let tensor = header.tensors.iter().find(|tensor| tensor.name == ROPE_FREQS);
    let tensor =
        tensor.filter(|tensor| tensor.of == TensorType::F32).ok_or_else(|| unread("one that is not in F32"))?;
    let stored = &bytes[header.data_start + tensor.from..header.data_start + tensor.to];
    let stored: Vec<f32> = stored.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let largest = stored.iter().copied().fold(1.0, f32::max);
    let written = keys.metadata.get(ROPE_PARAMETERS).and_then(Value::text);
    let written = written.and_then(|text| serde_json::from_str(text).ok());
    let published = json!({
        "rope_type": "llama3", "factor": largest, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    for scaling in written.into_iter().chain([published]) {
        let mut config = config.clone();
        config.insert("rope_scaling".into(), scaling.clone());
        let Ok(config) = ModelConfig::from_json(Json::Object(config)) else {
            continue;
        };
        let Some(layer) = config.decoder.layers.first() else {
            continue;
        };
        let factors = layer.rope.as_ref().map(frequency_factors).unwrap_or_default();
        let near = |(one, other): (&f32, &f32)| (one - other).abs() <= 1e-4 * other.abs();
        if factors.len() == stored.len() && factors.iter().zip(&stored).all(near) {
            return Ok(scaling);
        }
    }
    Err(unread("another, which the file states by its frequencies alone"))
}

/// What a scaling divides each frequency by.
pub(super) fn frequency_factors(rope: &RopeConfig) -> Vec<f32> {
    let plain = RopeConfig { scaling: RopeScaling::None, ..rope.clone() }.inv_freq();
    let scaled = rope.inv_freq();
    plain.iter().zip(scaled).map(|(plain, scaled)| plain / scaled).collect()
}
