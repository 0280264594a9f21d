//! Options: read from a file, and resolved into a configuration.

use std::path::Path;

use mpo_objectives::Settings;

use super::list::{SETTINGS, TrainConfig, TrainOptions};
use super::method::HyperParameters;
use super::places::Places;
use super::recipe::Recipe;
use super::unknown;
use super::yaml;
use crate::error::TrainError;

impl TrainOptions {
    /// Reads a YAML file.
    ///
    /// # Errors
    /// If it cannot be read, or has a key or value that is not one of ours.
    pub fn from_file(path: &Path) -> Result<Self, TrainError> {
        let bytes = std::fs::read(path).map_err(|error| TrainError::io(path, error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let lines = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n');
            let problem = format!("line {}: expected text in UTF-8, got a byte of another encoding", lines.count() + 1);
            TrainError::Config { path: path.to_owned(), problem }
        })?;
        Self::from_yaml(&text, path)
    }

    /// Reads the text of a YAML file.
    ///
    /// # Errors
    /// If it is none, or has other keys than the configuration; `path` is where messages say that it is.
    pub fn from_yaml(text: &str, path: &Path) -> Result<Self, TrainError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let error = |problem: String| TrainError::Config { path: path.to_owned(), problem };
        // Before values are read, which mean something else in another program's file.
        if let Some(problem) = unknown::problem(text) {
            return Err(error(problem));
        }
        let mut options = yaml::read::<Self>(text).map_err(error)?.settled();
        options.hyper_parameters.0.retain(|_, value| !value.is_null());
        options.places = Places::of(text, path);
        // Whoever writes a file means what lies beside it, wherever it is read from.
        if let (Some(Recipe::File(recipe)), Some(folder)) = (&mut options.recipe, path.parent()) {
            *recipe = folder.join(&recipe);
        }
        Ok(options)
    }

    /// Settings by key, as a file would have them.
    ///
    /// # Errors
    /// If a key or value is not one of ours.
    pub fn from_settings(settings: Settings) -> Result<Self, TrainError> {
        let mut options = Self::default();
        for (key, value) in settings {
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                setting.set(&mut options, &text).map_err(|problem| {
                    let expected = problem.strip_prefix("expected ").unwrap_or(&problem);
                    let expected = expected.split_once(", got ").map_or(expected, |(expected, _)| expected);
                    TrainError::setting(setting.key, expected, &*text)
                })?;
            } else if HyperParameters::is_known(&key) {
                options.hyper_parameters.0.insert(key, value);
            } else {
                return Err(TrainError::setting("settings", "keys of the configuration", key));
            }
        }
        Ok(options)
    }

    /// What was given, as a file that means the same wherever it lies.
    ///
    /// # Errors
    /// If a path is not valid Unicode.
    pub fn to_yaml(&self) -> Result<String, TrainError> {
        let recipe = self.recipe.clone().map(Recipe::absolute);
        to_yaml(Self { recipe, ..self.clone() }.by_key(), Path::new("config.yaml"))
    }

    /// Every setting, those of the recipe and defaults filled in, and checked.
    ///
    /// # Errors
    /// If one that has no default is missing, or a value makes no sense; its place is said if it came from a file.
    pub fn resolve(self) -> Result<TrainConfig, TrainError> {
        let options = self.with_recipe()?;
        let places = options.places.clone();
        options.resolved().map_err(|error| places.locate(error))
    }

    /// The error with the place of the setting that it is about, if that came from a file.
    #[must_use]
    pub fn locate(&self, error: TrainError) -> TrainError {
        self.places.locate(error)
    }

    /// Of what no recipe is left in.
    fn resolved(self) -> Result<TrainConfig, TrainError> {
        let method = self.method.unwrap_or_default().definition();
        let hyper_parameters = method.resolve(&self.hyper_parameters.0)?;
        let config = self.with_defaults(hyper_parameters)?;
        if let (Some(dominant), Some(pivot)) = (config.dominant, config.pivot) {
            let expected =
                format!("none beside dominant, as it makes another language the dominant one than {dominant}");
            return Err(TrainError::setting("pivot", expected, pivot.code()));
        }
        let sources = config.data.paths().len();
        if let Some(shares) = config.data_weights.as_ref().filter(|shares| shares.of_sources().len() != sources) {
            let expected = format!("one for each of data: {sources}");
            return Err(TrainError::setting("data_weights", expected, shares.of_sources().len().to_string()));
        }
        if config.batch_size < method.min_batch {
            let expected = format!("at least {} for {}", method.min_batch, method.name);
            return Err(TrainError::setting("batch_size", expected, config.batch_size.to_string()));
        }
        let own = [
            ("lora_rank", config.lora_rank.is_some()),
            ("lora_alpha", config.lora_alpha.is_some()),
            ("lora_targets", config.lora_targets.is_some()),
            ("use_rslora", config.use_rslora),
            ("quantization", config.quantization.is_some()),
        ];
        if let (None, Some((key, _))) = (config.adapter, own.iter().find(|(_, given)| *given)) {
            return Err(TrainError::setting("adapter", format!("lora, as {key} is given"), "nothing"));
        }
        if config.double_quantization && config.quantization.is_none() {
            return Err(TrainError::setting("quantization", "nf4, as double_quantization is given", "nothing"));
        }
        if config.merge && config.quantization.is_some() {
            let expected = "false beside quantization, as an adapter is merged into weights as they are stored: by `mpo-train merge`";
            return Err(TrainError::setting("merge", expected, "true"));
        }
        if config.harm_note_rate.is_some() && config.harm_note.is_none() {
            return Err(TrainError::setting("harm_note", "a sentence, as harm_note_rate is given", "none"));
        }
        if config.harm_note.as_ref().is_some_and(|note| note.trim().is_empty()) {
            return Err(TrainError::setting("harm_note", "a sentence", "nothing but spaces"));
        }
        if config.eval_benign.is_some() && !config.samples() {
            let expected = "a number of steps, and eval_samples above 0, as eval_benign is given";
            return Err(TrainError::setting("eval_every", expected, "none"));
        }
        if let (Some(key), None) = (config.asks_for_best(), config.eval_every) {
            return Err(TrainError::setting("eval_every", format!("a number of steps, as {key} is given"), "none"));
        }
        if config.eval_every.is_some() && config.eval_rows == 0 {
            return Err(TrainError::setting("eval_rows", "at least 1, as eval_every is given", "0"));
        }
        Ok(config)
    }

    /// What the recipe says, where these settings say nothing, in place of its name.
    ///
    /// # Errors
    /// If its file cannot be read, or is not one of settings alone.
    pub fn with_recipe(mut self) -> Result<Self, TrainError> {
        let Some(recipe) = self.recipe.take() else {
            return Ok(self);
        };
        let mut said = recipe.settings()?;
        // Its hyper-parameters are those of its method, if it names one.
        if self.method.is_some() && said.method.is_some() && self.method != said.method {
            said.hyper_parameters = HyperParameters::default();
        }
        Ok(self.or(said))
    }

    /// The same for runs of several methods: the hyper-parameters of a recipe that names a method stay with its name until
    /// a run has a method.
    ///
    /// # Errors
    /// As [`with_recipe`](Self::with_recipe).
    pub fn with_shared_recipe(mut self) -> Result<Self, TrainError> {
        let Some(recipe) = &self.recipe else {
            return Ok(self);
        };
        let mut said = recipe.settings()?;
        if said.method.take().is_some() {
            said.hyper_parameters = HyperParameters::default();
        } else {
            self.recipe = None;
        }
        Ok(self.or(said))
    }
}

/// Settings as the text of a file.
pub(super) fn to_yaml(settings: Result<Settings, serde_json::Error>, path: &Path) -> Result<String, TrainError> {
    let error = |problem: String| TrainError::Config { path: path.to_owned(), problem };
    let settings = settings.map_err(|problem| error(problem.to_string()))?;
    serde_saphyr::to_string(&settings).map_err(|problem| error(problem.to_string()))
}

#[cfg(test)]
impl TrainOptions {
    /// What a run must be told, and nothing else.
    pub(crate) fn minimal() -> Self {
        Self { model: Some("m".into()), data: Some("d".into()), output: Some("o".into()), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use mpo_data::{SystemMessage, TemplateArgument, TemplateArguments};

    use super::*;
    use crate::settings::Method;

    fn recipe(name: &str) -> Recipe {
        name.parse().unwrap()
    }

    fn hyper_parameters(key: &str, value: f64) -> HyperParameters {
        HyperParameters(Settings::from_iter([(key.into(), value.into())]))
    }

    #[test]
    fn a_resolved_configuration_reads_back_as_itself() {
        for method in Method::all() {
            let config = TrainOptions {
                recipe: Some(recipe("gemma-2-9b")),
                method: Some(method),
                columns: "prompt=question,target.chosen=good".parse().ok(),
                ..TrainOptions::minimal()
            };
            let config = config.resolve().unwrap();
            let read: TrainOptions = serde_saphyr::from_str(&config.to_yaml().unwrap()).unwrap();
            assert_eq!(read.resolve().unwrap(), config);
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

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_is_named() {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::OsStr::from_bytes(b"r\xff").into();
        let options = TrainOptions { output: Some(path), ..TrainOptions::minimal() };
        let error = options.resolve().unwrap_err().to_string();
        assert!(error.contains("output: expected a path in Unicode"), "{error}");
    }

    #[test]
    fn hyper_parameters_of_a_recipe_are_those_of_its_method() {
        let dpo =
            TrainOptions { recipe: Some(recipe("gemma-2-9b")), method: "dpo".parse().ok(), ..TrainOptions::minimal() };
        let dpo = dpo.resolve().unwrap();
        assert_eq!((dpo.lr, &dpo.hyper_parameters["beta"]), (4e-7, &0.1.into()));
    }

    #[test]
    fn flags_beat_files_beat_recipes_beat_defaults() {
        let flags = TrainOptions { lr: Some(1e-5), ..TrainOptions::default() };
        let file = TrainOptions {
            lr: Some(1e-4),
            recipe: Some(recipe("qwen2.5-7b")),
            seed: Some(7),
            ..TrainOptions::minimal()
        };
        let config = flags.or(file).resolve().unwrap();
        assert_eq!((config.lr, config.seed, config.epochs), (1e-5, 7, 2.0));
        assert_eq!(config.hyper_parameters["beta"], 1.5);
    }

    #[test]
    fn senseless_values_are_named() {
        let bad = [
            ("beta", TrainOptions { hyper_parameters: hyper_parameters("beta", -1.0), ..TrainOptions::minimal() }),
            ("tau", TrainOptions { hyper_parameters: hyper_parameters("tau", 0.1), ..TrainOptions::minimal() }),
            ("batch_size", TrainOptions { method: "kto".parse().ok(), batch_size: Some(1), ..TrainOptions::minimal() }),
            ("lr", TrainOptions { lr: Some(0.0), ..TrainOptions::minimal() }),
            ("batch_size", TrainOptions { batch_size: Some(0), ..TrainOptions::minimal() }),
            ("data", TrainOptions { data: None, ..TrainOptions::minimal() }),
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
        let flags: [TemplateArgument; 2] = ["enable_thinking=false", "style=short"].map(|flag| flag.parse().unwrap());
        assert_eq!(file.template_args, Some(flags.into_iter().collect()));
        let config = TrainOptions::minimal().or(file).resolve().unwrap();
        assert_eq!(config.system_message, SystemMessage::Merge);
        assert!(config.template_options().arguments.contains("style"));
        let read: TrainOptions = serde_saphyr::from_str(&config.to_yaml().unwrap()).unwrap();
        let read = read.resolve().unwrap();
        assert_eq!(read, config);
        let other = TrainConfig { template_args: TemplateArguments::default(), ..read };
        assert_ne!(other.deciding().unwrap(), config.deciding().unwrap());
    }

    fn read(name: &str, text: &str) -> Result<TrainOptions, TrainError> {
        TrainOptions::from_yaml(text, Path::new(name))
    }

    #[test]
    fn a_path_in_the_users_home_is_known_as_soon_as_it_is_read() {
        let text = "model: ~/m\ndata: [~/a, ~/b]\noutput: ~/o\ntemplate: ~/t.jinja\nrecipe: ~/r.yaml\neval_data: ~/e\n";
        let options = TrainOptions { places: Places::default(), ..read("run.yaml", text).unwrap() };
        let shown = format!("{options:?}");
        let home = std::env::home_dir().unwrap();
        assert_eq!(shown.matches(&*home.to_string_lossy()).count(), 7, "{shown}");
        assert!(!shown.contains('~'), "{shown}");
    }

    #[test]
    fn a_null_lifts_what_a_recipe_says() {
        let file = "recipe: gemma-2-9b\nlr: null\nbeta: ~\nepochs:\nmethod: mpo";
        let of = |flags: TrainOptions| {
            let options = flags.or(read("run.yaml", file).unwrap()).or(TrainOptions::minimal());
            options.resolve().unwrap()
        };
        let (lifted, default) = (of(TrainOptions::default()), TrainOptions::minimal().resolve().unwrap());
        assert_eq!((lifted.lr, lifted.epochs), (default.lr, default.epochs));
        assert_eq!(lifted.hyper_parameters["beta"], default.hyper_parameters["beta"]);
        let recipe = TrainOptions { recipe: Some(recipe("gemma-2-9b")), ..TrainOptions::minimal() }.resolve().unwrap();
        assert_ne!((lifted.lr, &lifted.hyper_parameters["beta"]), (recipe.lr, &recipe.hyper_parameters["beta"]));
        // A flag beats it.
        assert_eq!(of(TrainOptions { lr: Some(1e-5), ..TrainOptions::default() }).lr, 1e-5);
        // What is written down and read again says the same.
        let again = read("again.yaml", &read("run.yaml", file).unwrap().to_yaml().unwrap()).unwrap();
        assert_eq!(again.or(TrainOptions::minimal()).resolve().unwrap(), lifted);
    }

    #[test]
    fn a_value_that_makes_no_sense_is_told_with_its_file_and_line() {
        let refused = |flags: TrainOptions, file: &str| {
            let options = flags.or(read("run.yaml", file).unwrap()).or(TrainOptions::minimal());
            options.resolve().unwrap_err().to_string()
        };
        let none = TrainOptions::default;
        for (file, expected) in [
            ("seed: 1\nbeta: -1", "run.yaml: line 2: beta: expected a number above 0, got -1"),
            ("lr: 5", "run.yaml: line 1: lr: expected a number above 0 and up to 1, got 5"),
            ("beta: \"2\"", "run.yaml: line 1: beta: expected a number above 0, got the text \"2\", in quotes"),
            ("{seed: 1, beta: -1}", "run.yaml: beta: expected a number above 0, got -1"),
            ("lora_rank: 4\nadapter: null", "run.yaml: line 2: adapter: expected lora, as lora_rank is given"),
            ("dominant: en\npivot: sw", "run.yaml: line 2: pivot: expected none beside dominant"),
        ] {
            let said = refused(none(), file);
            assert!(said.starts_with(expected), "{said}");
        }
        // What a flag says stands in no file.
        let flags = TrainOptions { hyper_parameters: hyper_parameters("beta", -2.0), ..none() };
        assert_eq!(refused(flags, "beta: -1"), "beta: expected a number above 0, got -2.0");
    }

    #[test]
    fn a_recipe_lies_where_the_file_that_names_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("mine.yaml", "lr: 1e-5");
        write("run.yaml", "recipe: mine.yaml");
        let options = TrainOptions::from_file(&dir.path().join("run.yaml")).unwrap();
        assert_eq!(options.clone().or(TrainOptions::minimal()).resolve().unwrap().lr, 1e-5);
        // Where it is written down elsewhere, it is still that one.
        let elsewhere = read("other/config.yaml", &options.to_yaml().unwrap()).unwrap();
        assert_eq!(elsewhere.recipe, options.recipe);
    }

    #[test]
    fn a_file_in_another_encoding_is_told_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yaml");
        std::fs::write(&path, b"lr: 1e-5\nmodel: \xe9t\xe9").unwrap();
        let said = TrainOptions::from_file(&path).unwrap_err().to_string();
        assert!(said.ends_with("c.yaml: line 2: expected text in UTF-8, got a byte of another encoding"), "{said}");
    }

    #[test]
    fn unknown_keys_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yaml");
        std::fs::write(&path, "lr: 1\nlearning_rate: 1").unwrap();
        let error = TrainOptions::from_file(&path).unwrap_err().to_string();
        let expected = "line 2: expected a key of the configuration, got learning_rate; did you mean lr?";
        assert!(error.contains(expected), "{error}");
    }
}
