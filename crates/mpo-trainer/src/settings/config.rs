//! A resolved configuration: what it says to those who use it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Device;
use mpo_data::{DataError, TemplateOptions, TokenizeOptions, Truncation};
use mpo_models::{AdapterFolder, LoraOptions, ModelConfig, ModelError, Precision, Quantization};
use mpo_objectives::{GapSource, Objective, Settings};
use serde_json::Value;

use super::choices::{AdapterKind, Choice, OptimizerState, QuantizationChoice};
use super::declare::Decides;
use super::list::{HARM_NOTE_RATE, LORA_RANK, SETTINGS, TrainConfig};
use super::measure::Measure;
use super::options::to_yaml;
use crate::batches::Batches;
use crate::error::TrainError;
use crate::folder;
use crate::optimizer::OptimizerOptions;

impl TrainConfig {
    /// The file that the run folder keeps.
    ///
    /// # Errors
    /// If a path is not valid Unicode.
    pub fn to_yaml(&self) -> Result<String, TrainError> {
        to_yaml(self.by_key(), &self.output.join("config.yaml"))
    }

    /// The settings that decide what a run comes to, without those that are as if they had been left open.
    ///
    /// # Errors
    /// If a path is not valid Unicode.
    pub fn deciding(&self) -> Result<Settings, TrainError> {
        let settings = self.by_key();
        let mut settings = settings.map_err(|error| TrainError::setting("settings", "text", error.to_string()))?;
        settings.retain(|key, value| {
            let says_nothing = match key.as_str() {
                // Wherever the optimizer works, it comes to the same but for roundings.
                "optimizer_state" => self.optimizer_state != OptimizerState::Bf16,
                // Measuring alone changes nothing.
                "eval_every" => self.best_by().is_none(),
                key if key.starts_with("consistency") && self.consistency_weight.is_none() => true,
                "lora_alpha" => self.lora_alpha == Some(self.implied_lora_alpha()),
                key => SETTINGS.iter().any(|setting| {
                    let is_implied = || (setting.implied)().as_ref() == Some(&*value);
                    setting.key == key && (setting.decides == Decides::Nothing || is_implied())
                }),
            };
            !value.is_null() && !says_nothing
        });
        Ok(settings)
    }

    /// The same as text, whatever the order in which settings are declared. One that is off says nothing, so that settings
    /// that are added later change no earlier run.
    pub(crate) fn fingerprint(&self) -> Result<String, TrainError> {
        let on = self.deciding()?.into_iter().filter(|(_, value)| !folder::is_off(Some(value)));
        let sorted: BTreeMap<String, Value> = on.collect();
        serde_json::to_string(&sorted).map_err(|error| TrainError::setting("settings", "text", error.to_string()))
    }

    /// The same with another end, as settings say it.
    pub(crate) fn with_end(&self, end: &Settings) -> Self {
        let epochs = end.get("epochs").and_then(Value::as_f64).unwrap_or(self.epochs);
        let max_steps = end.get("max_steps").and_then(Value::as_u64);
        Self { epochs, max_steps, ..self.clone() }
    }

    /// Steps that a run on so many rows takes.
    pub fn steps(&self, rows: usize) -> u64 {
        Batches::new(self, rows, self.method.definition().min_batch).total()
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

    /// The share of the unsafe prompts that have a note, where there is one.
    pub(crate) fn harm_note_rate(&self) -> f64 {
        self.harm_note_rate.unwrap_or(HARM_NOTE_RATE)
    }

    /// The share of the prompts that is held out, where `eval_split` asks for it.
    ///
    /// # Errors
    /// If rows to measure on are named too.
    pub fn held_out_share(&self) -> Result<Option<f64>, TrainError> {
        let Some(share) = self.eval_split else {
            return Ok(None);
        };
        if self.eval_data.is_some() {
            return Err(TrainError::setting("eval_split", "none, as eval_data is given", share.to_string()));
        }
        if self.eval_rows == 0 {
            return Err(TrainError::setting("eval_split", "none, as eval_rows measures none", share.to_string()));
        }
        Ok(Some(share))
    }

    /// What says which step was best, where the run ends with its weights.
    pub(crate) fn best_by(&self) -> Option<Measure> {
        self.save_best.or(self.early_stop.map(|_| Measure::default()))
    }

    /// The setting that asks for the best step's weights, if one does.
    pub fn asks_for_best(&self) -> Option<&'static str> {
        let key = if self.save_best.is_some() { "save_best" } else { "early_stop" };
        self.best_by().map(|_| key)
    }

    /// Whether what is measured is not trained on.
    pub fn holds_out(&self) -> bool {
        self.eval_data.is_some() || self.eval_split.is_some()
    }

    /// A setting of what holds prompts consistent that is given although nothing does.
    pub fn idle_consistency(&self) -> Option<&'static str> {
        let given = [
            ("consistency", self.consistency.is_some()),
            ("consistency_layer", self.consistency_layer.is_some()),
            ("consistency_temperature", self.consistency_temperature.is_some()),
            ("consistency_batch_size", self.consistency_batch_size.is_some()),
            ("consistency_every", self.consistency_every.is_some()),
            ("consistency_data", self.consistency_data.is_some()),
        ];
        let mut given = given.into_iter().filter(|(_, given)| *given);
        given.next().filter(|_| self.consistency_weight.is_none()).map(|(key, _)| key)
    }

    /// What is minimized.
    ///
    /// # Errors
    /// If the hyper-parameters make none; those of a resolved configuration do.
    pub fn objective(&self) -> Result<Box<dyn Objective>, TrainError> {
        let definition = self.method.definition();
        Ok(definition.objective(&self.hyper_parameters)?)
    }

    /// What the method draws gaps towards, where that is not the reference's in the dominant language.
    pub fn drawn_to(&self) -> Option<GapSource> {
        let given = self.hyper_parameters.get("dominant_gap")?;
        serde_json::from_value(given.clone()).ok().filter(|source| *source != GapSource::Reference)
    }

    /// The adapter that is trained, if one is.
    pub fn lora(&self) -> Option<LoraOptions> {
        let AdapterKind::Lora = self.adapter?;
        Some(LoraOptions {
            rank: self.lora_rank.unwrap_or(LORA_RANK),
            alpha: self.lora_alpha.unwrap_or(self.implied_lora_alpha()),
            use_rslora: self.use_rslora,
            targets: self.lora_targets.clone().unwrap_or_default().into(),
            seed: self.seed,
        })
    }

    fn implied_lora_alpha(&self) -> f64 {
        2.0 * self.lora_rank.unwrap_or(LORA_RANK) as f64
    }

    /// Refuses what cannot be asked of a model, before its weights are read; `adapter` is the one that it comes with.
    ///
    /// # Errors
    /// If a new adapter is asked for that is for no linear map of `model`, or would stand on an adapter; if one is to be
    /// merged, and there is none; or if weights that are in four bits are to be trained, merged or packed.
    pub fn check_adapter(&self, model: &ModelConfig, adapter: Option<&AdapterFolder>) -> Result<(), TrainError> {
        if model.nf4 && self.lora().is_none() && adapter.is_none() {
            return Err(ModelError::Packed { dir: PathBuf::from(&self.model) }.into());
        } else if model.nf4 && self.merge {
            return Err(ModelError::PackedWhole { dir: self.output.clone() }.into());
        } else if model.nf4 && self.quantization.is_some() {
            let expected = "none for a model whose weights are in four bits already";
            return Err(TrainError::setting("quantization", expected, "nf4"));
        }
        match self.lora() {
            Some(new) => Ok(new.check(&model.decoder, adapter)?),
            None if self.merge && adapter.is_none() => {
                let expected = "lora, or a model that is an adapter, as merge is given";
                Err(TrainError::setting("adapter", expected, "nothing"))
            }
            None => Ok(()),
        }
    }

    /// What the frozen linear maps beside an adapter are made smaller to, if they are.
    pub fn quantization(&self) -> Option<Quantization> {
        let QuantizationChoice::Nf4 = self.quantization?;
        Some(Quantization::Nf4 { double: self.double_quantization })
    }

    /// What the model's products are made in.
    pub fn precision(&self) -> Precision {
        self.precision.map_or(Precision::F32, Precision::from)
    }

    /// Bytes of logits that are kept for a backward, at most. Whoever runs layers again is short of memory.
    pub(crate) fn head_memory(&self, recompute: bool) -> usize {
        let mib = self.head_memory.unwrap_or(if recompute { 0 } else { 256 });
        mib.saturating_mul(1 << 20)
    }

    /// Refuses a precision that a device lacks.
    ///
    /// # Errors
    /// If `device` does not compute in it.
    pub fn check_device(&self, device: &Device) -> Result<(), TrainError> {
        let precision = self.precision();
        if device.supports_dtype(precision.dtype()) {
            return Ok(());
        }
        let got = self.precision.map_or("", Choice::name);
        Err(TrainError::setting("precision", "f32 on a device that has no bf16", got))
    }

    /// Whether answers are sampled while a run trains.
    pub fn samples(&self) -> bool {
        self.eval_every.is_some() && self.eval_samples > 0
    }

    pub(crate) fn optimizer_options(&self) -> OptimizerOptions {
        OptimizerOptions {
            beta1: self.adam_beta1,
            beta2: self.adam_beta2,
            eps: self.adam_eps,
            weight_decay: self.weight_decay,
            max_grad_norm: (self.max_grad_norm > 0.0).then_some(self.max_grad_norm),
            state: self.optimizer_state,
        }
    }

    /// The learning rate of `step` (0 at the first) of `total`.
    pub(crate) fn learning_rate(&self, step: u64, total: u64) -> f64 {
        // The last step at least has the full rate: a short run that warmed up to its end would learn nothing.
        let warmup = (total as f64 * self.warmup_ratio).ceil() as u64;
        let warmup = warmup.min(total.saturating_sub(1));
        self.lr * self.schedule.factor(step, total, warmup)
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{AdapterKind, OptimizerState, PrecisionChoice, Schedule, TrainOptions};

    #[test]
    fn every_run_has_a_step_at_the_full_rate() {
        for schedule in [Schedule::Cosine, Schedule::Constant] {
            for (total, ratio) in [(1, 0.1), (1, 0.99), (2, 0.1), (2, 0.9), (3, 0.9), (30, 0.1)] {
                let config = TrainOptions {
                    lr: Some(0.5),
                    schedule: Some(schedule),
                    warmup_ratio: Some(ratio),
                    ..TrainOptions::minimal()
                };
                let config = config.resolve().unwrap();
                let rates: Vec<f64> = (0..total).map(|step| config.learning_rate(step, total)).collect();
                assert!(rates.contains(&0.5), "{schedule:?} {total} {ratio}: {rates:?}");
            }
        }
    }

    #[test]
    fn settings_that_are_off_are_in_no_fingerprint() {
        let fingerprint = TrainOptions::minimal().resolve().unwrap().fingerprint().unwrap();
        for off in ["skip_bad_rows", "special_tokens_in_text", "template_args", "columns", "max_steps"] {
            assert!(!fingerprint.contains(off), "{fingerprint}");
        }
        assert!(fingerprint.contains("\"lr\":6e-7") && fingerprint.contains("\"beta\":1.0"), "{fingerprint}");
        let other = TrainOptions { max_steps: Some(3), ..TrainOptions::minimal() }.resolve().unwrap();
        assert_ne!(other.fingerprint().unwrap(), fingerprint);
    }

    #[test]
    fn an_adapters_settings_are_for_runs_with_one() {
        let of = |options: TrainOptions| options.or(TrainOptions::minimal()).resolve();
        assert_eq!(of(TrainOptions::default()).unwrap().lora(), None);
        let adapter = Some(AdapterKind::Lora);
        let plain = of(TrainOptions { adapter, ..TrainOptions::default() }).unwrap().lora().unwrap();
        assert_eq!((plain.rank, plain.alpha, plain.seed), (16, 32.0, 42));
        let small = TrainOptions { adapter, lora_rank: Some(4), ..TrainOptions::default() };
        assert_eq!(of(small).unwrap().lora().unwrap().alpha, 8.0);
        let error = of(TrainOptions { lora_rank: Some(4), ..TrainOptions::default() }).unwrap_err();
        assert!(error.to_string().contains("adapter: expected lora, as lora_rank is given, got nothing"), "{error}");
    }

    #[test]
    fn a_value_that_is_implied_makes_no_other_run() {
        let of = |options: TrainOptions| options.or(TrainOptions::minimal()).resolve().unwrap();
        let adapter = TrainOptions { adapter: Some(AdapterKind::Lora), ..TrainOptions::default() };
        let plain = of(adapter.clone());
        let explicit = TrainOptions {
            lora_rank: Some(16),
            lora_alpha: Some(32.0),
            lora_targets: "all-linear".parse().ok(),
            precision: Some(PrecisionChoice::F32),
            split: Some("train".into()),
            optimizer_state: Some(OptimizerState::Host),
            ..adapter.clone()
        };
        let explicit = of(explicit);
        assert_eq!(explicit.deciding().unwrap(), plain.deciding().unwrap());
        assert_eq!((explicit.fingerprint().unwrap(), explicit.lora()), (plain.fingerprint().unwrap(), plain.lora()));
        for other in [
            TrainOptions { lora_rank: Some(8), lora_alpha: Some(32.0), ..adapter.clone() },
            TrainOptions { lora_alpha: Some(16.0), ..adapter.clone() },
            TrainOptions { lora_targets: "q_proj".parse().ok(), ..adapter.clone() },
            TrainOptions { precision: Some(PrecisionChoice::Bf16), ..adapter.clone() },
            TrainOptions { split: Some("test".into()), ..adapter.clone() },
            TrainOptions { optimizer_state: Some(OptimizerState::Bf16), ..adapter },
        ] {
            let other = of(other);
            assert_ne!(other.deciding().unwrap(), plain.deciding().unwrap(), "{other:?}");
        }
    }

    #[test]
    fn how_often_is_measured_decides_where_it_may_stop_a_run() {
        let of = |options: TrainOptions| options.or(TrainOptions::minimal()).resolve();
        let plain = of(TrainOptions::default()).unwrap();
        let measured = of(TrainOptions { eval_every: Some(2), ..TrainOptions::default() }).unwrap();
        assert_eq!(measured.deciding().unwrap(), plain.deciding().unwrap());
        assert_eq!(measured.fingerprint().unwrap(), plain.fingerprint().unwrap());
        let stopped = |eval_every| TrainOptions { eval_every, early_stop: Some(3), ..TrainOptions::default() };
        let [two, four] = [2, 4].map(|every| of(stopped(Some(every))).unwrap().fingerprint().unwrap());
        assert!(two != four && two.contains("early_stop") && two != plain.fingerprint().unwrap());
        let best =
            |eval_every| TrainOptions { eval_every, save_best: "eval_rg/sw".parse().ok(), ..TrainOptions::default() };
        let [two, four] = [2, 4].map(|every| of(best(Some(every))).unwrap().fingerprint().unwrap());
        assert!(two != four && two.contains("\"save_best\":\"eval_rg/sw\""), "{two}");
        let error = of(stopped(None)).unwrap_err().to_string();
        assert!(error.contains("eval_every: expected a number of steps, as early_stop is given, got none"), "{error}");
    }

    #[test]
    fn what_decides_a_run_is_every_setting_but_a_few() {
        let config = TrainOptions::minimal().resolve().unwrap();
        let deciding = config.deciding().unwrap();
        for key in ["lr", "seed", "max_tokens", "beta", "template", "eval_rows"] {
            assert!(deciding.contains_key(key), "{key}");
        }
        for key in ["model", "data", "output", "device", "eval_data"] {
            assert!(!deciding.contains_key(key), "{key}");
        }
    }
}
