//! Settings of a run: the same keys in a YAML file and as flags, resolved against a preset.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use mpo_data::{
    Columns, DataError, Language, SystemMessage, TemplateArgument, TemplateArguments, TemplateChoice, TemplateOptions,
    TokenizeOptions, Truncation,
};
use mpo_objectives::{Objective, Settings};
use serde::{Deserialize, Serialize};

use crate::config_file;
use crate::error::TrainError;
use crate::method::{HyperParameters, Method};
use crate::optimizer::OptimizerOptions;

/// Settings by name, each given or not: what a file or a command line says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, clap::Args)]
#[serde(default)]
pub struct TrainOptions {
    /// Model: a folder in Hugging Face layout, or owner/name on the hub
    #[arg(long, value_name = "DIR|NAME", help_heading = "What")]
    pub model: Option<String>,
    /// Preference rows: a file, a folder of files, or owner/name of a data set on the hub
    #[arg(long, value_name = "PATH|NAME", help_heading = "What")]
    pub data: Option<PathBuf>,
    /// Run folder
    #[arg(long, short, value_name = "DIR", help_heading = "What")]
    pub output: Option<PathBuf>,
    /// Use at most this many rows of the data
    #[arg(long, value_name = "N", help_heading = "What")]
    pub rows: Option<usize>,
    /// Dominant language: a code or an English name [default: most frequent on the source side]
    #[arg(long, value_name = "LANG", help_heading = "What")]
    pub dominant: Option<Language>,
    /// Language of the rows that name none [default: detected row by row]
    #[arg(long, value_name = "LANG", help_heading = "What")]
    pub language: Option<Language>,
    /// Columns of the rows by other names, such as prompt=question,chosen=good
    #[arg(long, value_name = "OURS=THEIRS,…", help_heading = "What")]
    pub columns: Option<Columns>,
    /// Split of a folder, of a data set on the hub, or of a file with several lists [default: train]
    #[arg(long, value_name = "NAME", help_heading = "What")]
    pub split: Option<String>,
    /// Make this the dominant language, by prompts that rows share
    #[arg(long, value_name = "LANG", help_heading = "What")]
    pub pivot: Option<Language>,
    /// Drop rows that cannot be read, and report them, instead of stopping
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "What")]
    pub skip_bad_rows: Option<bool>,
    /// Chat template: auto (the model's own), llama3, gemma, qwen, plain, or a Jinja file
    #[arg(long, value_name = "NAME|FILE", help_heading = "What")]
    pub template: Option<TemplateChoice>,
    /// Argument of the chat template, such as enable_thinking=false: JSON, else text; may be given several times
    #[arg(long = "template-arg", value_name = "NAME=VALUE", help_heading = "What")]
    #[serde(with = "template_args")]
    pub template_args: Option<Vec<TemplateArgument>>,
    /// A system message that the chat template refuses or leaves out: keep (the row is an error) or merge (into the first user turn)
    /// [default: keep]
    #[arg(long, value_name = "CHOICE", help_heading = "What")]
    pub system_message: Option<SystemMessage>,
    /// Let control tokens that texts spell out, such as </s>, be control tokens [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "What")]
    pub special_tokens_in_text: Option<bool>,
    /// Longest prompt and answer together, in tokens [default: 1024]
    #[arg(long, value_name = "N", help_heading = "What")]
    pub max_tokens: Option<usize>,
    /// Longest answer, in tokens, cut before prompt and answer are [default: no limit of its own]
    #[arg(long, value_name = "N", help_heading = "What")]
    pub max_response_tokens: Option<usize>,

    /// What is minimized [default: mpo]
    #[arg(long, value_name = "NAME", value_parser = Method::parser(), help_heading = "Objective")]
    pub method: Option<Method>,
    /// The paper's settings of MPO for a model family (Table 8); other keys override it
    #[arg(long, value_name = "NAME", help_heading = "Objective")]
    pub preset: Option<Preset>,
    /// Its hyper-parameters.
    #[command(flatten)]
    #[serde(flatten)]
    pub hyper_parameters: HyperParameters,

    /// Peak learning rate [default: 6e-7]
    #[arg(long, value_name = "X", help_heading = "Optimization")]
    pub lr: Option<f64>,
    /// Learning rate over the run [default: cosine]
    #[arg(long, value_name = "SHAPE", help_heading = "Optimization")]
    pub schedule: Option<Schedule>,
    /// Fraction of the steps that warm up [default: 0.1]
    #[arg(long, value_name = "X", help_heading = "Optimization")]
    pub warmup_ratio: Option<f64>,
    /// Passes over the rows [default: 2]
    #[arg(long, value_name = "N", help_heading = "Optimization")]
    pub epochs: Option<u64>,
    /// Stop after at most this many steps
    #[arg(long, value_name = "N", help_heading = "Optimization")]
    pub max_steps: Option<u64>,
    /// Rows a step [default: 8]
    #[arg(long, value_name = "N", help_heading = "Optimization")]
    pub batch_size: Option<usize>,
    /// Tokens that pass through the model at once; batches are accumulated from such parts [default: 1024]
    #[arg(long, value_name = "N", help_heading = "Optimization")]
    pub micro_batch_tokens: Option<usize>,
    /// Norm that the gradient is clipped to; 0 leaves it [default: 1]
    #[arg(long, value_name = "X", help_heading = "Optimization")]
    pub max_grad_norm: Option<f64>,
    /// Decoupled weight decay [default: 0]
    #[arg(long, value_name = "X", help_heading = "Optimization")]
    pub weight_decay: Option<f64>,
    /// AdamW's first decay [default: 0.9]
    #[arg(long, value_name = "X", help_heading = "Optimization")]
    pub adam_beta1: Option<f64>,
    /// AdamW's second decay [default: 0.999]
    #[arg(long, value_name = "X", help_heading = "Optimization")]
    pub adam_beta2: Option<f64>,
    /// AdamW's epsilon [default: 1e-8]
    #[arg(long, value_name = "X", help_heading = "Optimization")]
    pub adam_eps: Option<f64>,
    /// Seed of the order of rows [default: 42]
    #[arg(long, value_name = "N", help_heading = "Optimization")]
    pub seed: Option<u64>,
    /// Shuffle rows each epoch [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Optimization")]
    pub shuffle: Option<bool>,

    /// Steps between checkpoints [default: 50]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub checkpoint_every: Option<u64>,
    /// Rows measured before and after, spread over the data; 0 measures none [default: 48]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub eval_rows: Option<usize>,
    /// Measure on the rows of this file instead of on training rows
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub eval_data: Option<PathBuf>,
    /// Folder for the reference's numbers, which runs can share [default: reference/ in the run folder]
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    pub reference_cache: Option<PathBuf>,
    /// Type of the saved weights [default: f32]
    #[arg(long, value_name = "TYPE", help_heading = "Run")]
    pub save_dtype: Option<SaveDtype>,
    /// Where to compute [default: auto]
    #[arg(long, value_name = "DEVICE", help_heading = "Run")]
    pub device: Option<DeviceChoice>,
}

/// The paper's hyper-parameters (Table 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
pub enum Preset {
    /// LLaMA-3.1-8B-Instruct: lr 6e-7, β 1.0
    #[serde(rename = "llama-3.1-8b")]
    #[value(name = "llama-3.1-8b")]
    Llama31,
    /// Gemma-2-9B-it: lr 4e-7, β 1.5
    #[serde(rename = "gemma-2-9b")]
    #[value(name = "gemma-2-9b")]
    Gemma2,
    /// Qwen2.5-7B-Instruct: lr 6e-7, β 1.5
    #[serde(rename = "qwen2.5-7b")]
    #[value(name = "qwen2.5-7b")]
    Qwen25,
}

impl Preset {
    /// Learning rate and β; epochs 2 and batch 8 are every model's, and the defaults.
    fn lr_and_beta(self) -> (f64, f64) {
        match self {
            Self::Llama31 => (6e-7, 1.0),
            Self::Gemma2 => (4e-7, 1.5),
            Self::Qwen25 => (6e-7, 1.5),
        }
    }
}

/// The learning rate over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Falls to zero along a half cosine
    Cosine,
    /// Stays
    Constant,
}

/// The type of saved weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SaveDtype {
    /// 32 bits, as trained
    F32,
    /// 16 bits, range up to 65,504
    F16,
    /// 16 bits, range of f32; rounds away changes smaller than 1/256 of a weight
    Bf16,
}

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// CUDA if built in and present, else a GPU through wgpu, else the CPU
    Auto,
    /// The CPU, with native kernels
    Flex,
    /// A GPU through WebGPU shaders
    Wgpu,
    /// A software GPU through WebGPU shaders, for testing
    WgpuCpu,
    /// A GPU through Vulkan
    Vulkan,
    /// A GPU through Metal
    Metal,
    /// An NVIDIA GPU
    Cuda,
    /// An AMD GPU
    Rocm,
    /// The CPU through CubeCL
    Cpu,
}

/// Settings of a run, every one resolved and checked. Written as `config.yaml`, it reads back as [`TrainOptions`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of TrainOptions, which documents them")]
pub struct TrainConfig {
    pub model: String,
    pub data: PathBuf,
    pub output: PathBuf,
    pub rows: Option<usize>,
    pub dominant: Option<Language>,
    pub language: Option<Language>,
    pub columns: Columns,
    pub split: Option<String>,
    pub pivot: Option<Language>,
    pub skip_bad_rows: bool,
    pub template: TemplateChoice,
    pub template_args: TemplateArguments,
    pub system_message: SystemMessage,
    pub special_tokens_in_text: bool,
    pub max_tokens: usize,
    pub max_response_tokens: Option<usize>,
    pub method: Method,
    pub preset: Option<Preset>,
    #[serde(flatten)]
    pub hyper_parameters: Settings,
    pub lr: f64,
    pub schedule: Schedule,
    pub warmup_ratio: f64,
    pub epochs: u64,
    pub max_steps: Option<u64>,
    pub batch_size: usize,
    pub micro_batch_tokens: usize,
    pub max_grad_norm: f64,
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_eps: f64,
    pub seed: u64,
    pub shuffle: bool,
    pub checkpoint_every: u64,
    pub eval_rows: usize,
    pub eval_data: Option<PathBuf>,
    pub reference_cache: Option<PathBuf>,
    pub save_dtype: SaveDtype,
    pub device: DeviceChoice,
}

impl TrainOptions {
    /// Reads a YAML file.
    ///
    /// # Errors
    /// If it cannot be read, or has a key or value that is not one of ours.
    pub fn from_file(path: &Path) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(|error| TrainError::io(path, error))?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let error = |problem: String| TrainError::Config { path: path.to_owned(), problem };
        let options: Self = config_file::read(&text).map_err(error)?;
        match options.hyper_parameters.unknown() {
            Some(key) => {
                Err(error(format!("{}expected a key of the configuration, got {key}", config_file::place(&text, key))))
            }
            None => Ok(options),
        }
    }

    /// Settings by key, as a file would have them.
    ///
    /// # Errors
    /// If a key or value is not one of ours.
    pub fn from_settings(settings: Settings) -> Result<Self, TrainError> {
        let text = serde_json::Value::Object(settings);
        let options: Self = serde_json::from_value(text.clone())
            .map_err(|error| TrainError::setting("settings", error.to_string(), text.to_string()))?;
        match options.hyper_parameters.unknown() {
            Some(key) => Err(TrainError::setting("settings", "keys of the configuration", key)),
            None => Ok(options),
        }
    }

    /// What was given, as a file.
    ///
    /// # Errors
    /// If a path is not valid Unicode.
    pub fn to_yaml(&self) -> Result<String, TrainError> {
        to_yaml(self, Path::new("config.yaml"))
    }

    /// These settings, and `weaker` where they say nothing.
    #[must_use]
    pub fn or(self, weaker: Self) -> Self {
        let mut hyper_parameters = weaker.hyper_parameters;
        hyper_parameters.0.extend(self.hyper_parameters.0);
        macro_rules! first {
            ($($key:ident),* $(,)?) => {
                Self { hyper_parameters, $($key: self.$key.or(weaker.$key)),* }
            };
        }
        first!(
            model,
            data,
            output,
            rows,
            dominant,
            language,
            columns,
            split,
            pivot,
            skip_bad_rows,
            template,
            template_args,
            system_message,
            special_tokens_in_text,
            max_tokens,
            max_response_tokens,
            method,
            preset,
            lr,
            schedule,
            warmup_ratio,
            epochs,
            max_steps,
            batch_size,
            micro_batch_tokens,
            max_grad_norm,
            weight_decay,
            adam_beta1,
            adam_beta2,
            adam_eps,
            seed,
            shuffle,
            checkpoint_every,
            eval_rows,
            eval_data,
            reference_cache,
            save_dtype,
            device,
        )
    }

    /// Every setting, defaults filled in and checked.
    ///
    /// # Errors
    /// If one that has no default is missing, or a value makes no sense.
    pub fn resolve(self) -> Result<TrainConfig, TrainError> {
        let missing = |key, expected| TrainError::setting(key, expected, "nothing");
        let method = self.method.unwrap_or_default();
        let mut given = self.hyper_parameters.0;
        let mut lr = 6e-7;
        if let Some(preset) = self.preset {
            let beta;
            (lr, beta) = preset.lr_and_beta();
            if method == Method::default() && !given.contains_key("beta") {
                given.insert("beta".into(), beta.into());
            }
        }
        let config = TrainConfig {
            model: self.model.ok_or(missing("model", "a folder or owner/name"))?,
            data: self.data.ok_or(missing("data", "a file of preference rows"))?,
            output: self.output.ok_or(missing("output", "a folder for the run"))?,
            rows: self.rows,
            dominant: self.dominant,
            language: self.language,
            columns: self.columns.unwrap_or_default(),
            split: self.split,
            pivot: self.pivot,
            skip_bad_rows: self.skip_bad_rows.unwrap_or(false),
            template: self.template.unwrap_or_default(),
            template_args: self.template_args.into_iter().flatten().collect(),
            system_message: self.system_message.unwrap_or_default(),
            special_tokens_in_text: self.special_tokens_in_text.unwrap_or(false),
            max_tokens: self.max_tokens.unwrap_or(1024),
            max_response_tokens: self.max_response_tokens,
            method,
            preset: self.preset,
            hyper_parameters: method.definition().resolve(&given)?,
            lr: self.lr.unwrap_or(lr),
            schedule: self.schedule.unwrap_or(Schedule::Cosine),
            warmup_ratio: self.warmup_ratio.unwrap_or(0.1),
            epochs: self.epochs.unwrap_or(2),
            max_steps: self.max_steps,
            batch_size: self.batch_size.unwrap_or(8),
            micro_batch_tokens: self.micro_batch_tokens.unwrap_or(1024),
            max_grad_norm: self.max_grad_norm.unwrap_or(1.0),
            weight_decay: self.weight_decay.unwrap_or(0.0),
            adam_beta1: self.adam_beta1.unwrap_or(0.9),
            adam_beta2: self.adam_beta2.unwrap_or(0.999),
            adam_eps: self.adam_eps.unwrap_or(1e-8),
            seed: self.seed.unwrap_or(42),
            shuffle: self.shuffle.unwrap_or(true),
            checkpoint_every: self.checkpoint_every.unwrap_or(50),
            eval_rows: self.eval_rows.unwrap_or(48),
            eval_data: self.eval_data,
            reference_cache: self.reference_cache,
            save_dtype: self.save_dtype.unwrap_or(SaveDtype::F32),
            device: self.device.unwrap_or(DeviceChoice::Auto),
        };
        config.check()?;
        Ok(config)
    }
}

/// Arguments by name, in a file.
mod template_args {
    use mpo_data::{TemplateArgument, TemplateArguments};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Given = Option<Vec<TemplateArgument>>;

    pub(super) fn serialize<S: Serializer>(given: &Given, to: S) -> Result<S::Ok, S::Error> {
        let arguments = given.as_ref().map(|given| given.iter().cloned().collect());
        Option::<TemplateArguments>::serialize(&arguments, to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Given, D::Error> {
        let arguments = Option::<TemplateArguments>::deserialize(from)?;
        Ok(arguments.map(|arguments| arguments.into_iter().collect()))
    }
}

fn to_yaml(settings: &impl Serialize, path: &Path) -> Result<String, TrainError> {
    serde_saphyr::to_string(settings)
        .map_err(|error| TrainError::Config { path: path.to_owned(), problem: error.to_string() })
}

impl TrainConfig {
    fn check(&self) -> Result<(), TrainError> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let fraction = |x: f64| (0.0..1.0).contains(&x);
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        let checks = [
            ("lr", positive(self.lr) && self.lr <= 1.0, "a number above 0 and up to 1", self.lr.to_string()),
            ("warmup_ratio", fraction(self.warmup_ratio), "a number from 0 to below 1", self.warmup_ratio.to_string()),
            (
                "max_grad_norm",
                not_negative(self.max_grad_norm),
                "a number of at least 0",
                self.max_grad_norm.to_string(),
            ),
            ("weight_decay", not_negative(self.weight_decay), "a number of at least 0", self.weight_decay.to_string()),
            ("adam_beta1", fraction(self.adam_beta1), "a number from 0 to below 1", self.adam_beta1.to_string()),
            ("adam_beta2", fraction(self.adam_beta2), "a number from 0 to below 1", self.adam_beta2.to_string()),
            ("adam_eps", positive(self.adam_eps), "a positive number", self.adam_eps.to_string()),
            ("epochs", self.epochs > 0, "at least 1", self.epochs.to_string()),
            ("max_steps", self.max_steps != Some(0), "at least 1", "0".into()),
            ("rows", self.rows != Some(0), "at least 1", "0".into()),
            ("batch_size", self.batch_size > 0, "at least 1", self.batch_size.to_string()),
            ("micro_batch_tokens", self.micro_batch_tokens > 0, "at least 1", self.micro_batch_tokens.to_string()),
            ("checkpoint_every", self.checkpoint_every > 0, "at least 1", self.checkpoint_every.to_string()),
        ];
        for (key, good, expected, got) in checks {
            if !good {
                return Err(TrainError::setting(key, expected, got));
            }
        }
        let paths = [
            ("data", Some(&self.data)),
            ("output", Some(&self.output)),
            ("eval_data", self.eval_data.as_ref()),
            ("reference_cache", self.reference_cache.as_ref()),
        ];
        for (key, path) in paths {
            if let Some(path) = path.filter(|path| path.to_str().is_none()) {
                let got = path.display().to_string();
                return Err(TrainError::setting(key, "a path in Unicode", got));
            }
        }
        let min = self.method.definition().min_batch;
        if self.batch_size < min {
            let expected = format!("at least {min} for {}", self.method);
            return Err(TrainError::setting("batch_size", expected, self.batch_size.to_string()));
        }
        Ok(())
    }

    /// The file that the run folder keeps.
    ///
    /// # Errors
    /// If a path is not valid Unicode.
    pub fn to_yaml(&self) -> Result<String, TrainError> {
        to_yaml(self, &self.output.join("config.yaml"))
    }

    /// The settings that decide what a run comes to. Others say where it lies, where it computes and what it saves; and
    /// of what it reads not the name counts, but the contents.
    ///
    /// # Errors
    /// If a path is not valid Unicode.
    pub fn deciding(&self) -> Result<Settings, TrainError> {
        const OTHERS: [&str; 8] =
            ["model", "data", "output", "checkpoint_every", "eval_data", "reference_cache", "save_dtype", "device"];
        let settings =
            serde_json::to_value(self).map_err(|error| TrainError::setting("settings", "text", error.to_string()))?;
        let mut settings = match settings {
            serde_json::Value::Object(settings) => settings,
            _ => Settings::new(),
        };
        settings.retain(|key, value| !OTHERS.contains(&&**key) && !value.is_null());
        Ok(settings)
    }

    /// How conversations are written.
    pub fn template_options(&self) -> TemplateOptions {
        TemplateOptions {
            template: self.template.clone(),
            arguments: self.template_args.clone(),
            system_message: self.system_message,
            special_tokens_in_text: self.special_tokens_in_text,
        }
    }

    /// Where rows are cut, and which are left out.
    ///
    /// # Errors
    /// If a limit leaves no room.
    pub fn tokenize_options(&self) -> Result<TokenizeOptions, DataError> {
        Ok(TokenizeOptions { truncation: self.truncation()?, skip_bad_rows: self.skip_bad_rows })
    }

    /// Where rows are cut.
    ///
    /// # Errors
    /// If a limit leaves no room.
    pub fn truncation(&self) -> Result<Truncation, DataError> {
        Truncation::new(self.max_tokens, self.max_response_tokens)
    }

    /// What is minimized.
    ///
    /// # Errors
    /// If the hyper-parameters make none; those of a resolved configuration do.
    pub fn objective(&self) -> Result<Box<dyn Objective>, TrainError> {
        let definition = self.method.definition();
        Ok(definition.objective(&self.hyper_parameters)?)
    }

    pub(crate) fn optimizer_options(&self) -> OptimizerOptions {
        OptimizerOptions {
            beta1: self.adam_beta1,
            beta2: self.adam_beta2,
            eps: self.adam_eps,
            weight_decay: self.weight_decay,
            max_grad_norm: (self.max_grad_norm > 0.0).then_some(self.max_grad_norm),
        }
    }

    /// The learning rate of `step` (0 at the first) of `total`.
    pub(crate) fn learning_rate(&self, step: u64, total: u64) -> f64 {
        // The last step at least has the full rate: a short run that warmed up to its end would learn nothing.
        let warmup = (total as f64 * self.warmup_ratio).ceil() as u64;
        let warmup = warmup.min(total.saturating_sub(1));
        self.lr * self.schedule.factor(step, total, warmup)
    }

    /// The settings that decide the weights a run ends with: a run is resumed under the same ones only.
    pub(crate) fn fingerprint(&self) -> String {
        format!(
            "{:?}",
            (
                (self.method, &self.hyper_parameters),
                (self.lr, self.schedule, self.warmup_ratio, self.epochs, self.max_steps),
                (self.batch_size, self.micro_batch_tokens, self.seed, self.shuffle),
                self.optimizer_options(),
            )
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> TrainOptions {
        TrainOptions {
            model: Some("m".into()),
            data: Some("d".into()),
            output: Some("o".into()),
            ..TrainOptions::default()
        }
    }

    fn hyper_parameters(key: &str, value: f64) -> HyperParameters {
        HyperParameters(Settings::from_iter([(key.into(), value.into())]))
    }

    #[test]
    fn a_resolved_configuration_reads_back_as_itself() {
        for method in Method::all() {
            let config = TrainOptions {
                preset: Some(Preset::Gemma2),
                method: Some(method),
                columns: "prompt=question,target.chosen=good".parse().ok(),
                ..minimal()
            };
            let config = config.resolve().unwrap();
            let read: TrainOptions = serde_saphyr::from_str(&config.to_yaml().unwrap()).unwrap();
            assert_eq!(read.resolve().unwrap(), config);
        }
    }

    #[test]
    fn every_run_has_a_step_at_the_full_rate() {
        for schedule in [Schedule::Cosine, Schedule::Constant] {
            for (total, ratio) in [(1, 0.1), (1, 0.99), (2, 0.1), (2, 0.9), (3, 0.9), (30, 0.1)] {
                let config =
                    TrainOptions { lr: Some(0.5), schedule: Some(schedule), warmup_ratio: Some(ratio), ..minimal() };
                let config = config.resolve().unwrap();
                let rates: Vec<f64> = (0..total).map(|step| config.learning_rate(step, total)).collect();
                assert!(rates.contains(&0.5), "{schedule:?} {total} {ratio}: {rates:?}");
            }
        }
    }

    #[test]
    fn words_of_yaml_1_1_are_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yaml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            TrainOptions::from_file(&path)
        };
        let options = read("dominant: no\ndominant_gap: no\nbeta: 1e-1\nlr: 1e-5\nshuffle: false").unwrap();
        assert_eq!(options.dominant, "no".parse().ok());
        assert_eq!(options.hyper_parameters.0["dominant_gap"], "no");
        assert_eq!(options.hyper_parameters.0["beta"], 0.1);
        assert_eq!((options.lr, options.shuffle), (Some(1e-5), Some(false)));
        let error = read("shuffle: no").unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn what_decides_a_run_is_every_setting_but_a_few() {
        let config = minimal().resolve().unwrap();
        let deciding = config.deciding().unwrap();
        for key in ["lr", "seed", "max_tokens", "beta", "template", "eval_rows"] {
            assert!(deciding.contains_key(key), "{key}");
        }
        for key in ["model", "data", "output", "device", "eval_data"] {
            assert!(!deciding.contains_key(key), "{key}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_is_named() {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::OsStr::from_bytes(b"r\xff").into();
        let options = TrainOptions { output: Some(path), ..minimal() };
        let error = options.resolve().unwrap_err().to_string();
        assert!(error.contains("output: expected a path in Unicode"), "{error}");
    }

    #[test]
    fn a_preset_gives_beta_to_mpo_alone() {
        let dpo = TrainOptions { preset: Some(Preset::Gemma2), method: "dpo".parse().ok(), ..minimal() };
        let dpo = dpo.resolve().unwrap();
        assert_eq!((dpo.lr, &dpo.hyper_parameters["beta"]), (4e-7, &0.1.into()));
    }

    #[test]
    fn flags_beat_files_beat_presets_beat_defaults() {
        let flags = TrainOptions { lr: Some(1e-5), ..TrainOptions::default() };
        let file = TrainOptions { lr: Some(1e-4), preset: Some(Preset::Qwen25), seed: Some(7), ..minimal() };
        let config = flags.or(file).resolve().unwrap();
        assert_eq!((config.lr, config.seed, config.epochs), (1e-5, 7, 2));
        assert_eq!(config.hyper_parameters["beta"], 1.5);
    }

    #[test]
    fn senseless_values_are_named() {
        let bad = [
            ("beta", TrainOptions { hyper_parameters: hyper_parameters("beta", -1.0), ..minimal() }),
            ("tau", TrainOptions { hyper_parameters: hyper_parameters("tau", 0.1), ..minimal() }),
            ("batch_size", TrainOptions { method: "kto".parse().ok(), batch_size: Some(1), ..minimal() }),
            ("lr", TrainOptions { lr: Some(0.0), ..minimal() }),
            ("batch_size", TrainOptions { batch_size: Some(0), ..minimal() }),
            ("data", TrainOptions { data: None, ..minimal() }),
        ];
        for (name, options) in bad {
            assert!(matches!(options.resolve(), Err(TrainError::Setting { key, .. }) if key == name), "{name}");
        }
    }

    #[test]
    fn arguments_of_the_template_are_a_map_in_a_file_and_one_by_one_as_flags() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yaml");
        let file = "template_args:\n  enable_thinking: false\n  style: short\nsystem_message: merge";
        std::fs::write(&path, file).unwrap();
        let file = TrainOptions::from_file(&path).unwrap();
        let flags = ["enable_thinking=false", "style=short"].map(|flag| flag.parse().unwrap());
        assert_eq!(file.template_args, Some(flags.to_vec()));
        let config = minimal().or(file).resolve().unwrap();
        assert_eq!(config.system_message, SystemMessage::Merge);
        assert!(config.template_options().arguments.contains("style"));
        let read: TrainOptions = serde_saphyr::from_str(&config.to_yaml().unwrap()).unwrap();
        let read = read.resolve().unwrap();
        assert_eq!(read, config);
        let other = TrainConfig { template_args: TemplateArguments::default(), ..read };
        assert_ne!(other.deciding().unwrap(), config.deciding().unwrap());
    }

    #[test]
    fn unknown_keys_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yaml");
        std::fs::write(&path, "lr: 1\nlearning_rate: 1").unwrap();
        let error = TrainOptions::from_file(&path).unwrap_err().to_string();
        let expected = "line 2: expected a key of the configuration, got learning_rate";
        assert!(error.contains(expected), "{error}");
    }
}
