//! The key that somebody meant who wrote one that is none.

use super::list::SETTINGS;
use super::method::hyper_parameters;

/// What Transformers, TRL and LLaMA-Factory call our settings. [`CONVERTED`] says how the values of some become ours.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    ("model_name_or_path", "model"),
    ("dataset", "data"),
    ("dataset_name", "data"),
    ("interleave_probs", "data_weights"),
    ("output_dir", "output"),
    ("learning_rate", "lr"),
    ("lr_scheduler_type", "schedule"),
    ("warmup_steps", "warmup_ratio"),
    ("num_train_epochs", "epochs"),
    ("per_device_train_batch_size", "batch_size"),
    ("train_batch_size", "batch_size"),
    ("gradient_accumulation_steps", "micro_batch_tokens"),
    ("gradient_checkpointing", "recompute"),
    ("bf16", "precision"),
    ("cutoff_len", "max_tokens"),
    ("max_length", "max_tokens"),
    ("max_seq_length", "max_tokens"),
    ("save_steps", "checkpoint_every"),
    ("eval_steps", "eval_every"),
    ("report_to", "log_to"),
    ("val_size", "eval_split"),
    ("early_stopping_patience", "early_stop"),
    ("metric_for_best_model", "save_best"),
    ("load_best_model_at_end", "save_best"),
    ("finetuning_type", "adapter"),
    ("r", "lora_rank"),
    ("lora_r", "lora_rank"),
    ("lora_target", "lora_targets"),
    ("target_modules", "lora_targets"),
    ("quantization_bit", "quantization"),
    ("load_in_4bit", "quantization"),
    ("pref_loss", "method"),
    ("loss_type", "method"),
    ("pref_beta", "beta"),
    ("pref_ftx", "sft_weight"),
    ("rpo_alpha", "sft_weight"),
    ("simpo_gamma", "gamma"),
    ("gamma_beta_ratio", "gamma"),
    ("cpo_alpha", "lambda"),
    ("dpo_label_smoothing", "epsilon"),
    ("label_smoothing", "epsilon"),
    ("desirable_weight", "chosen_weight"),
    ("undesirable_weight", "rejected_weight"),
    ("kto_chosen_weight", "chosen_weight"),
    ("kto_rejected_weight", "rejected_weight"),
    ("max_completion_length", "max_response_tokens"),
    ("max_samples", "rows"),
    ("eval_dataset", "eval_data"),
];

/// Those whose value is another number here, and how it is converted.
const CONVERTED: &[(&str, &str)] = &[
    (
        "interleave_probs",
        "a share of each source's rows, not a probability of drawing from it; of a source with probability p and n rows it is p/n, \
         over the largest p/n of all",
    ),
    ("warmup_steps", "a fraction, those steps over all steps"),
    (
        "per_device_train_batch_size",
        "rows of a step in all, theirs times gradient_accumulation_steps and the number of devices",
    ),
    (
        "gradient_accumulation_steps",
        "tokens that pass at once; a step has batch_size rows, however many parts they make",
    ),
];

/// How alike two names are at least, of which one is meant by the other.
const ALIKE: f64 = 0.85;

/// What somebody who wrote `key` may have meant, in words; empty where nobody knows.
pub(super) fn suggestion(key: &str) -> String {
    let Some(ours) = meant(key) else {
        return String::new();
    };
    let converted = converted(key).map_or(String::new(), |how| format!(" It is {how}"));
    format!("; did you mean {ours}?{converted}")
}

/// How the value of a setting that is called so elsewhere becomes that of ours, where it does not stay as it is.
pub(super) fn converted(key: &str) -> Option<&'static str> {
    let key = written(key);
    CONVERTED.iter().find(|(theirs, _)| *theirs == key).map(|(_, how)| *how)
}

/// The key of a setting that is called so elsewhere, or that is written nearly so; if there is one.
fn meant(key: &str) -> Option<&'static str> {
    let key = written(key);
    if let Some((_, ours)) = ELSEWHERE.iter().find(|(theirs, _)| *theirs == key) {
        return Some(ours);
    }
    let alike = keys().map(|ours| (strsim::jaro_winkler(&key, ours), ours));
    let most = alike.max_by(|one, other| one.0.total_cmp(&other.0));
    most.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, ours)| ours)
}

/// A key as files write it.
fn written(key: &str) -> String {
    key.trim_start_matches('-').replace('-', "_").to_lowercase()
}

/// Every key of ours.
fn keys() -> impl Iterator<Item = &'static str> {
    let of_objectives = hyper_parameters().into_iter().map(|(name, _)| name);
    SETTINGS.iter().map(|setting| setting.key).chain(of_objectives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant() {
        for (written, ours) in [
            ("batchsize", Some("batch_size")),
            ("batch-size", Some("batch_size")),
            ("learning_rate", Some("lr")),
            ("num_train_epochs", Some("epochs")),
            ("lora_rnak", Some("lora_rank")),
            ("retain_wieght", Some("retain_weight")),
            ("colour", None),
        ] {
            assert_eq!(meant(written), ours, "{written}");
        }
    }

    #[test]
    fn a_value_that_is_another_number_here_is_told_with_how_to_convert_it() {
        assert_eq!(suggestion("learning-rate"), "; did you mean lr?");
        assert_eq!(suggestion("colour"), "");
        let probabilities = suggestion("interleave_probs");
        assert!(probabilities.starts_with("; did you mean data_weights? It is a share"), "{probabilities}");
        assert!(probabilities.contains("it is p/n, over the largest p/n of all"), "{probabilities}");
        for (theirs, _) in CONVERTED {
            assert!(ELSEWHERE.iter().any(|(known, _)| known == theirs), "{theirs}");
        }
    }

    #[test]
    fn what_is_called_otherwise_elsewhere_is_a_setting_here() {
        let keys: Vec<&str> = keys().collect();
        for (theirs, ours) in ELSEWHERE {
            assert!(keys.contains(ours), "{ours}");
            assert!(!keys.contains(theirs), "{theirs} is a setting of ours");
        }
    }
}
