//! PEFT's `adapter_config.json`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::options::{LoraOptions, LoraTarget, is_end, last_names};
use crate::DecoderConfig;
use crate::config::ConfigError;
use crate::config::fields::Fields;
use crate::config::file;

pub(crate) const ADAPTER_FILE: &str = "adapter_config.json";

/// What we cannot compute, by its key: each must be absent, null, false or empty.
const REFUSED: [&str; 17] = [
    "alora_invocation_tokens",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "megatron_config",
    "modules_to_save",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
    "num_virtual_tokens",
    "encoder_hidden_size",
];

/// Beginnings of which the base is not the model that it was: what they took from its weights is not written down.
const CHANGE_THE_BASE: [&str; 5] = ["pissa", "olora", "loftq", "corda", "lora_ga"];

/// What works for every adapter that is not computed here.
const MERGE: &str = "merge it into its base with PEFT (`merge_and_unload`), save that, and pass the merged model";

/// What an adapter is, and what its file says.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterConfig {
    rank: usize,
    alpha: f64,
    use_rslora: bool,
    /// Of linear maps named by the last parts of their paths.
    rank_pattern: Vec<(String, usize)>,
    alpha_pattern: Vec<(String, f64)>,
    /// Every key in its order.
    raw: Map<String, Value>,
}

impl AdapterConfig {
    /// A new adapter of a model.
    pub(crate) fn new(options: &LoraOptions, model: &DecoderConfig, base: &str) -> Self {
        let names = last_names(model);
        let task = if model.encoder.is_some() { "SEQ_2_SEQ_LM" } else { "CAUSAL_LM" };
        let LoraOptions { rank, alpha, use_rslora, .. } = options;
        // PEFT writes names, whatever was asked for.
        let targets: Vec<String> = if options.targets.contains(&LoraTarget::All) {
            names.iter().map(|&name| name.to_owned()).collect()
        } else {
            options.targets.iter().map(LoraTarget::to_string).collect()
        };
        // PEFT's type for it is that of whole numbers.
        let shown = if alpha.fract() == 0.0 { json!(*alpha as i64) } else { json!(alpha) };
        let raw = json!({
            "peft_type": "LORA",
            "task_type": task,
            "base_model_name_or_path": base,
            "r": rank,
            "lora_alpha": shown,
            "use_rslora": use_rslora,
            "target_modules": targets,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": false,
            "use_dora": false,
            "modules_to_save": null,
            "rank_pattern": {},
            "alpha_pattern": {},
            "init_lora_weights": true,
            "inference_mode": true,
        });
        let Value::Object(raw) = raw else { unreachable!("an object was written") };
        Self { rank: *rank, alpha: *alpha, use_rslora: *use_rslora, rank_pattern: vec![], alpha_pattern: vec![], raw }
    }

    /// Reads the file in an adapter's folder.
    ///
    /// # Errors
    /// If it does not describe an adapter that is computed here.
    pub(crate) fn from_dir(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join(ADAPTER_FILE);
        let hint = "pass the folder of an adapter as PEFT saves it";
        let bytes = file::read(&path).map_err(|error| file::unread(&path, &error, hint))?;
        match file::parse(&path, &bytes)? {
            Value::Object(raw) => Self::from_map(&path, raw),
            other => Err(file::not_an_object(&path, &other)),
        }
    }

    fn from_map(path: &Path, raw: Map<String, Value>) -> Result<Self, ConfigError> {
        let fields = Fields::new(path, &raw);
        if fields.text("peft_type")? != Some("LORA") {
            return Err(fields.error("peft_type", "LORA", MERGE));
        }
        if !matches!(fields.text("bias")?, None | Some("none")) {
            return Err(fields.error("bias", "none", MERGE));
        }
        let is_off = |value: &Value| match value {
            Value::Bool(on) => !on,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if let Some(key) = REFUSED.into_iter().find(|key| fields.value(key).is_some_and(|value| !is_off(value))) {
            return Err(fields.error(key, "none, as only plain LoRA and rsLoRA are computed", MERGE));
        }
        let start = fields.value("init_lora_weights").and_then(Value::as_str).unwrap_or_default();
        if CHANGE_THE_BASE.iter().any(|name| start.starts_with(name)) {
            return Err(fields.error("init_lora_weights", "a beginning that leaves the base as it is", MERGE));
        }
        let (rank, alpha) = (fields.optional_size("r")?, fields.positive("lora_alpha")?);
        let rank = rank.ok_or_else(|| fields.error("r", "the rank, a positive integer", MERGE))?;
        let alpha = alpha.ok_or_else(|| fields.error("lora_alpha", "a positive number", MERGE))?;
        let use_rslora = fields.flag("use_rslora", false)?;
        let rank_pattern = pattern(&fields, "rank_pattern", |of, key| of.optional_size(key))?;
        let alpha_pattern = pattern(&fields, "alpha_pattern", |of, key| of.positive(key))?;
        Ok(Self { rank, alpha, use_rslora, rank_pattern, alpha_pattern, raw })
    }

    /// What the file says that the base is: a folder's path, or `owner/name`.
    pub fn base(&self) -> Option<&str> {
        self.text("base_model_name_or_path")
    }

    /// Which branch, tag or commit of the base.
    pub(super) fn revision(&self) -> Option<&str> {
        self.text("revision")
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.raw.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    /// Names the base by where it was found.
    pub(super) fn set_base(&mut self, base: &str) {
        self.raw.insert("base_model_name_or_path".into(), base.into());
    }

    /// What the file says.
    pub(crate) fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }

    /// The rank of the update of a linear map.
    pub(crate) fn rank_of(&self, module: &str) -> usize {
        of(&self.rank_pattern, module).unwrap_or(self.rank)
    }

    /// What `B · A` is multiplied by.
    pub(crate) fn scale_of(&self, module: &str) -> f64 {
        let alpha = of(&self.alpha_pattern, module).unwrap_or(self.alpha);
        let rank = self.rank_of(module) as f64;
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// All that decides what the update is, beside its weights.
    pub(super) fn digest(&self) -> String {
        let Self { rank, alpha, use_rslora, rank_pattern, alpha_pattern, raw: _ } = self;
        format!("{rank} {alpha} {use_rslora} {rank_pattern:?} {alpha_pattern:?}")
    }
}

/// The first entry that names the linear map.
fn of<T: Copy>(pattern: &[(String, T)], module: &str) -> Option<T> {
    pattern.iter().find(|(end, _)| is_end(end, module)).map(|(_, value)| *value)
}

/// An object of numbers by the names of linear maps. PEFT takes them for regular expressions; here they are plain names.
fn pattern<T>(
    fields: &Fields<'_>,
    key: &str,
    read: impl Fn(&Fields<'_>, &str) -> Result<Option<T>, ConfigError>,
) -> Result<Vec<(String, T)>, ConfigError> {
    let Some(section) = fields.section(key)? else {
        return Ok(vec![]);
    };
    let mut entries = vec![];
    for name in section.keys() {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        let value = read(&section, name)?.filter(|_| plain);
        let value = value.ok_or_else(|| fields.error(key, "numbers by the names of linear maps", MERGE))?;
        entries.push((name.to_owned(), value));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;

    fn read(changes: Value) -> Result<AdapterConfig, ConfigError> {
        let mut raw = json!({
            "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none",
            "base_model_name_or_path": "some/base", "use_dora": false, "modules_to_save": null, "layer_replication": null,
        });
        for (key, value) in changes.as_object().unwrap() {
            raw[key] = value.clone();
        }
        let Value::Object(raw) = raw else { unreachable!() };
        AdapterConfig::from_map(Path::new(ADAPTER_FILE), raw)
    }

    #[test]
    fn the_update_is_scaled_as_peft_scales_it() {
        let scale = |changes| read(changes).unwrap().scale_of("model.layers.0.self_attn.q_proj");
        assert_eq!(scale(json!({})), 2.0);
        assert_eq!(scale(json!({"use_rslora": true})), 4.0);
        assert_eq!(scale(json!({"alpha_pattern": {"q_proj": 2, "k_proj": 64}})), 0.5);
        assert_eq!(scale(json!({"rank_pattern": {"layers.0.self_attn.q_proj": 16}})), 0.5);
        assert_eq!(scale(json!({"rank_pattern": {"layers.1.self_attn.q_proj": 16}})), 2.0);
        assert_eq!(read(json!({})).unwrap().base(), Some("some/base"));
    }

    #[test]
    fn what_is_not_computed_is_refused_in_words() {
        for (changes, expected) in [
            (json!({"peft_type": "LOHA"}), "peft_type: expected LORA, got \"LOHA\""),
            (json!({"use_dora": true}), "use_dora: expected none"),
            (json!({"modules_to_save": ["lm_head"]}), "modules_to_save: expected none"),
            (json!({"fan_in_fan_out": true}), "fan_in_fan_out: expected none"),
            (json!({"layer_replication": [[0, 2]]}), "layer_replication: expected none"),
            (json!({"bias": "all"}), "bias: expected none, got \"all\""),
            (json!({"init_lora_weights": "pissa_niter_4"}), "init_lora_weights: expected a beginning"),
            (json!({"r": 0}), "r: expected an integer from 1"),
            (json!({"r": null}), "r: expected the rank"),
            (json!({"lora_alpha": 0}), "lora_alpha: expected a positive number"),
            (json!({"rank_pattern": {"layers\\.0.*": 4}}), "rank_pattern: expected numbers by the names"),
            (json!({"alpha_pattern": {"q_proj": "high"}}), "alpha_pattern.q_proj: expected a positive number"),
        ] {
            let error = read(changes).unwrap_err();
            assert!(error.to_string().contains(expected), "no {expected:?} in {error}");
            assert!(!error.hint().is_empty());
        }
        read(json!({"lora_dropout": 0.1, "init_lora_weights": "gaussian", "modules_to_save": []})).unwrap();
    }

    #[test]
    fn a_new_one_reads_back_as_itself() {
        let options = LoraOptions { rank: 4, alpha: 2.5, use_rslora: true, targets: vec![LoraTarget::All], seed: 0 };
        let of = |config: Value| ModelConfig::from_json(config).unwrap().decoder;
        let llama = of(json!({
            "model_type": "llama", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
            "num_attention_heads": 1,
        }));
        let mt5 = of(json!({
            "model_type": "mt5", "vocab_size": 8, "d_model": 4, "d_kv": 4, "d_ff": 4, "num_layers": 1, "num_heads": 1,
        }));
        let of_llama = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
        let of_mt5 = ["q", "k", "v", "o", "wi_0", "wi_1", "wo"];
        for (model, names, task) in [(llama, of_llama, "CAUSAL_LM"), (mt5, of_mt5, "SEQ_2_SEQ_LM")] {
            let new = AdapterConfig::new(&options, &model, "some/base");
            let read = AdapterConfig::from_map(Path::new(ADAPTER_FILE), new.raw.clone()).unwrap();
            assert_eq!(read, new);
            assert_eq!((&new.raw["target_modules"], &new.raw["task_type"]), (&json!(names), &json!(task)));
        }
    }
}
