//! The key that somebody meant who wrote one that is none.

use super::declare::Setting;
use super::list::SETTINGS;
use super::method::hyper_parameters;

/// What Transformers, TRL and LLaMA-Factory call our settings. [`SWITCHES`] and [`CONVERTED`] say how the values of some become
/// ours.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    ("model_name_or_path", "model"),
    ("dataset", "data"),
    ("datasets", "data"),
    ("dataset_name", "data"),
    ("dataset_dir", "data"),
    ("dataset_train_split", "split"),
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
    ("adam_epsilon", "adam_eps"),
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
    ("use_peft", "adapter"),
    ("r", "lora_rank"),
    ("lora_r", "lora_rank"),
    ("lora_target", "lora_targets"),
    ("lora_target_modules", "lora_targets"),
    ("target_modules", "lora_targets"),
    ("quantization_bit", "quantization"),
    ("load_in_4bit", "quantization"),
    ("bnb_4bit_quant_type", "quantization"),
    ("use_bnb_nested_quant", "double_quantization"),
    ("bnb_4bit_use_double_quant", "double_quantization"),
    ("stage", "method"),
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

/// Those that are switches there: what ours is where theirs is on.
const SWITCHES: &[(&str, &str)] =
    &[("bf16", "bf16"), ("gradient_checkpointing", "on"), ("use_peft", "lora"), ("load_in_4bit", "nf4")];

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

/// What they have and we have not, and what is so instead.
pub(super) const NOWHERE: &[(&str, &str)] = &[
    ("attn_implementation", "each device has its own kernels"),
    ("dataloader_num_workers", "rows are read once, before the first step"),
    ("ddp_timeout", "several cards are docs/scaling.md"),
    ("deepspeed", "several cards are docs/scaling.md"),
    ("do_train", "the command says what is done"),
    ("dtype", "weights that are trained are f32"),
    ("eval_strategy", "eval_every says when"),
    ("flash_attn", "each device has its own kernels"),
    ("fp16", "products are made in f32 or bf16"),
    ("fsdp", "several cards are docs/scaling.md"),
    ("logging_steps", "every step is logged"),
    ("lora_dropout", "adapters have no dropout"),
    ("max_prompt_length", "max_tokens and max_response_tokens say where rows are cut"),
    ("optim", "the optimizer is AdamW"),
    ("overwrite_cache", "rows are read anew each time"),
    ("overwrite_output_dir", "no run is overwritten: name another output"),
    ("packing", "rows are packed, never padded"),
    ("plot_loss", "report.html has the curves"),
    ("preprocessing_num_workers", "rows are read once, before the first step"),
    ("push_to_hub", "that is mpo-train push"),
    ("ref_model", "the reference is the model that the run begins with"),
    ("resume_from_checkpoint", "that is --resume"),
    ("run_name", "a run is called as its output"),
    ("save_strategy", "checkpoint_every says when"),
    ("torch_dtype", "weights that are trained are f32"),
    ("trust_remote_code", "no code of a model is run"),
];

/// How alike two names are at least, of which one is meant by the other.
const ALIKE: f64 = 0.85;

/// What somebody meant by a key.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meant {
    /// A setting of ours, by this name of ours or of somebody else's.
    Ours { key: &'static str, by: &'static str },
    /// None, as this is so instead.
    Nothing(&'static str),
}

/// What somebody who wrote `key` may have meant, in words; empty where nobody knows.
pub(super) fn suggestion(key: &str) -> String {
    match meant(key) {
        None => String::new(),
        Some(Meant::Nothing(instead)) => format!("; leave it out: {instead}"),
        Some(Meant::Ours { key: ours, by }) => {
            let value = switch(by).map_or(String::new(), |value| format!(": {value}"));
            let elsewhere = if by == ours || by == written(key) { String::new() } else { format!(", {by} elsewhere") };
            let converted = converted(by).map_or(String::new(), |how| format!(" It is {how}"));
            format!("; did you mean {ours}{value}{elsewhere}?{converted}")
        }
    }
}

/// What stands here for another program's flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurFlag {
    /// Its name, without hyphens in front; none where nothing does.
    pub name: Option<String>,
    /// The same in words.
    pub tip: String,
}

/// What stands here for a flag that Transformers, TRL or LLaMA-Factory have; none where it is none of theirs.
pub fn flag_elsewhere(flag: &str) -> Option<OurFlag> {
    Some(match known(&written(flag))? {
        Meant::Nothing(instead) => OurFlag { name: None, tip: format!("leave it out: {instead}") },
        Meant::Ours { key, by } => {
            let own = SETTINGS.iter().find(|setting| setting.key == key).map(Setting::flag);
            let name = own.unwrap_or_else(|| key.replace('_', "-"));
            let value = switch(by).map_or(String::new(), |value| format!(" {value}"));
            let tip = format!("it is --{name}{value} here");
            OurFlag { name: Some(name), tip }
        }
    })
}

/// How the number that a setting is elsewhere becomes that of ours, where it does not stay as it is.
pub(super) fn converted(key: &str) -> Option<&'static str> {
    CONVERTED.iter().find(|(theirs, _)| *theirs == key).map(|(_, how)| *how)
}

/// What ours is where a switch there is on.
pub(super) fn switch(key: &str) -> Option<&'static str> {
    SWITCHES.iter().find(|(theirs, _)| *theirs == key).map(|(_, value)| *value)
}

/// What a key is elsewhere, to the letter.
fn known(key: &str) -> Option<Meant> {
    let ours = ELSEWHERE.iter().find(|(theirs, _)| *theirs == key);
    let nothing = || NOWHERE.iter().find(|(theirs, _)| *theirs == key).map(|(_, instead)| Meant::Nothing(instead));
    ours.map(|&(by, key)| Meant::Ours { key, by }).or_else(nothing)
}

/// What is called so elsewhere, or is written nearly so, here or elsewhere; if there is anything.
fn meant(key: &str) -> Option<Meant> {
    let key = written(key);
    if let Some(known) = known(&key) {
        return Some(known);
    }
    let ours = keys().map(|key| Meant::Ours { key, by: key });
    let theirs = ELSEWHERE.iter().map(|&(by, key)| Meant::Ours { key, by });
    let likeness = |meant: &Meant| match meant {
        Meant::Ours { by, .. } => strsim::jaro_winkler(&key, by),
        Meant::Nothing(_) => 0.0,
    };
    let alike = ours.chain(theirs).map(|meant| (likeness(&meant), meant));
    // Of two that are alike, ours.
    let most = alike.reduce(|most, next| if next.0 > most.0 { next } else { most });
    most.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, meant)| meant)
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
    use crate::settings::TrainOptions;

    #[test]
    fn what_is_meant() {
        for (written, ours) in [
            ("batchsize", Some("batch_size")),
            ("batch-size", Some("batch_size")),
            ("learning_rate", Some("lr")),
            ("num_train_epochs", Some("epochs")),
            ("lora_rnak", Some("lora_rank")),
            ("retain_wieght", Some("retain_weight")),
            // Misspelt, and somebody else's.
            ("learning_rat", Some("lr")),
            ("cutof_len", Some("max_tokens")),
            ("per_device_batch_size", Some("batch_size")),
            ("colour", None),
        ] {
            let key = match meant(written) {
                Some(Meant::Ours { key, .. }) => Some(key),
                _ => None,
            };
            assert_eq!(key, ours, "{written}");
        }
    }

    #[test]
    fn a_value_that_is_another_here_is_told_with_how_to_convert_it() {
        for (written, told) in [
            ("learning-rate", "; did you mean lr?"),
            ("learning_rat", "; did you mean lr, learning_rate elsewhere?"),
            ("batchsize", "; did you mean batch_size?"),
            ("bf16", "; did you mean precision: bf16?"),
            ("logging_steps", "; leave it out: every step is logged"),
            ("colour", ""),
        ] {
            assert_eq!(suggestion(written), told);
        }
        let probabilities = suggestion("interleave_probs");
        assert!(probabilities.starts_with("; did you mean data_weights? It is a share"), "{probabilities}");
        assert!(probabilities.contains("it is p/n, over the largest p/n of all"), "{probabilities}");
    }

    #[test]
    fn a_flag_of_another_program_is_told_as_ours() {
        for (flag, told) in [
            ("--bf16", Some("it is --precision bf16 here")),
            ("--learning-rate", Some("it is --lr here")),
            ("--learning_rate", Some("it is --lr here")),
            ("--cpo-alpha", Some("it is --lambda here")),
            ("--logging-steps", Some("leave it out: every step is logged")),
            ("--lr", None),
            ("--colour", None),
        ] {
            assert_eq!(flag_elsewhere(flag).map(|ours| ours.tip).as_deref(), told, "{flag}");
        }
    }

    #[test]
    fn what_is_called_otherwise_elsewhere_is_a_setting_here() {
        let keys: Vec<&str> = keys().collect();
        for (theirs, ours) in ELSEWHERE {
            assert!(keys.contains(ours), "{ours}");
            assert!(!keys.contains(theirs), "{theirs} is a setting of ours");
        }
        let is_elsewhere = |key: &str| ELSEWHERE.iter().any(|(theirs, _)| *theirs == key);
        for (theirs, _) in NOWHERE {
            assert!(!keys.contains(theirs) && !is_elsewhere(theirs), "{theirs} is a setting of ours");
        }
        for (theirs, _) in CONVERTED {
            assert!(is_elsewhere(theirs), "{theirs}");
        }
        for (theirs, value) in SWITCHES {
            let Some(Meant::Ours { key, .. }) = known(theirs) else { panic!("{theirs}") };
            let setting = SETTINGS.iter().find(|setting| setting.key == key).unwrap();
            setting.set(&mut TrainOptions::default(), value).unwrap();
        }
    }
}
