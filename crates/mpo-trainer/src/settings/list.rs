//! Every setting of a run. Adding one takes its lines here, and its use.

use std::path::PathBuf;

use mpo_data::{Columns, Language, SystemMessage, TemplateArguments, TemplateChoice};
use mpo_objectives::Settings;
use serde::Deserialize;
use serde_json::Value;

use super::choices::{
    AdapterKind, ConsistencyKind, DeviceChoice, LogTo, OptimizerState, PrecisionChoice, QuantizationChoice, Recompute,
    SaveDtype, Schedule,
};
use super::declare::{Decides, Setting, settings};
use super::lora_targets::LoraTargets;
use super::measure::Measure;
use super::method::{HyperParameters, Method};
use super::places::Places;
use super::range::{FRACTION, NOT_NEGATIVE, PASSES, POSITIVE, Range, SHARE, UP_TO_1, at_least_1};
use super::recipe::Recipe;
use super::sources::{Shares, Sources};
use super::value::SettingValue;
use crate::error::TrainError;

/// Share of the unsafe prompts that have a note where none is given.
pub(super) const HARM_NOTE_RATE: f64 = 0.5;
/// Rank of an adapter that is given none.
pub(super) const LORA_RANK: usize = 16;

/// Prompts that are held consistent in a step.
pub(crate) const CONSISTENCY_BATCH: usize = 4;

settings! {
    "What" {
        /// Model: a folder in Hugging Face layout, or `owner/name` on the hub
        model: String = required("a folder or owner/name"), "DIR|NAME", Nothing;
        /// Preference rows: a file, a folder of files, or `owner/name` of a data set on the hub; several as a list, or by the flag
        /// several times (see [data.md](data.md))
        data: Sources = required("a file of preference rows"), "PATH|NAME", Nothing;
        /// Share of its rows that each of several `data` gives to every epoch, in their order, such as `[1, 0.5]`, or `1,0.5` as a
        /// flag: evenly over languages, the same rows in every epoch
        data_weights: Shares = optional("all rows of each"), "X,…", Identity;
        /// Run folder
        output: PathBuf = required("a folder for the run"), "DIR", Nothing;
        /// Use at most this many rows of the data, evenly over languages
        rows: usize = optional("all"), "N", Identity, at_least_1();
        /// Dominant language, by a code or its English name
        dominant: Language = optional("the most frequent on the source side"), "LANG", Identity;
        /// Language of the rows that name none
        language: Language = optional("detected row by row"), "LANG", Identity;
        /// Columns of the rows by other names: a map, such as `prompt=question,chosen=good` as a flag
        columns: Columns = default(Columns::default()), "OURS=THEIRS,…", Identity;
        /// Split of a folder, of a data set on the hub, or of a file with several lists of rows; `CONFIGURATION/SPLIT` of a
        /// data set with configurations
        split: String = implied("train".into()), "NAME", Identity;
        /// Make this the dominant language, by prompts that rows share (see [data.md](data.md))
        pivot: Language = optional("none"), "LANG", Training;
        /// Drop rows that cannot be read, and report them, instead of stopping
        skip_bad_rows: bool = default(false), "BOOL", Identity;
        /// Chat template: `auto` (the model's own), `llama3`, `gemma`, `qwen`, `plain`, or a `.jinja` file
        template: TemplateChoice = default(TemplateChoice::default()), "NAME|FILE", Identity;
        /// Arguments of the chat template, by name, such as `enable_thinking=false`: JSON, else text. The flag may be given
        /// several times
        template_args: TemplateArguments = default(TemplateArguments::default()), "NAME=VALUE", Identity;
        /// What becomes of a system message that the chat template refuses or leaves out: `keep` (the row is an error) or
        /// `merge` (its text is put before the first user turn)
        system_message: SystemMessage = default(SystemMessage::default()), "CHOICE", Identity;
        /// Let control tokens that texts spell out, such as `</s>`, be control tokens
        special_tokens_in_text: bool = default(false), "BOOL", Identity;
        /// Sentence that stands between the prompt and the answer of unsafe prompts while it trains, such as one that says that harm
        /// was detected (LASA): what answers follow, and not scored itself. A line break follows it. With `kto` as in LASA, and
        /// with every other method. What is measured has none
        harm_note: String = optional("none"), "TEXT", Training;
        /// Share of the unsafe prompts that have the `harm_note`; which ones follows from `seed`. Benign ones have none
        harm_note_rate: f64 = implied(HARM_NOTE_RATE), "X", Training, UP_TO_1;
        /// Longest prompt and answer together, in tokens
        max_tokens: usize = default(1024), "N", Training;
        /// Longest answer, in tokens; cut before prompt and answer are, so that long answers do not cost the end of a prompt
        max_response_tokens: usize = optional("no limit of its own"), "N", Training;
    }
    "Optimization" {
        /// Peak learning rate
        lr: f64 = default(6e-7), "X", Training, UP_TO_1;
        /// Learning rate over the run, after the warm-up
        schedule: Schedule = default(Schedule::Cosine), "SHAPE", Training;
        /// Fraction of the steps that warm up, from 0; the last step at least is beyond it
        warmup_ratio: f64 = default(0.1), "X", Training, FRACTION;
        /// Passes over the rows, such as `2` or `0.5`
        epochs: f64 = default(2.0), "X", Training, PASSES;
        /// Stop after at most this many steps, whatever the epochs
        max_steps: u64 = optional("none"), "N", Training, at_least_1();
        /// Rows per step
        batch_size: usize = default(8), "N", Training, at_least_1();
        /// Tokens that pass through the model at once; a batch is accumulated from such parts
        micro_batch_tokens: usize = default(1024), "N", Training, at_least_1();
        /// Run layers again in the backward instead of keeping what they computed: less memory, more time, the same numbers
        recompute: Recompute = default(Recompute::Auto), "CHOICE", Nothing;
        /// Memory for logits that the head keeps from forward to backward, in MiB; it makes the rest again, for the same numbers.
        /// 0 keeps none, and so does a GPU
        head_memory: usize = optional("`256`, or `0` where layers are run again"), "MIB", Nothing;
        /// What matrix products are made in; weights, gradients and sums are f32 in both
        precision: PrecisionChoice = implied(PrecisionChoice::F32), "TYPE", Training;
        /// Norm that the gradient is clipped to; 0 leaves it
        max_grad_norm: f64 = default(1.0), "X", Training, NOT_NEGATIVE;
        /// Decoupled weight decay
        weight_decay: f64 = default(0.0), "X", Training, NOT_NEGATIVE;
        /// AdamW's first decay
        adam_beta1: f64 = default(0.9), "X", Training, FRACTION;
        /// AdamW's second decay
        adam_beta2: f64 = default(0.999), "X", Training, FRACTION;
        /// AdamW's epsilon
        adam_eps: f64 = default(1e-8), "X", Training, POSITIVE;
        /// Where AdamW's moments are kept, and as what. With `bf16` and `recompute` gradients are made twice, for their norm and to
        /// be used, and kept for one layer at a time. A run may go on with `host` in place of `device`, and the other way round
        optimizer_state: OptimizerState = default(OptimizerState::Device), "STATE", Training;
        /// Seed of the order of rows, and of the weights that an adapter begins with
        seed: u64 = default(42), "N", Identity;
        /// Shuffle rows each epoch
        shuffle: bool = default(true), "BOOL", Training;
    }
    "Adapter" {
        /// Train an adapter beside the model's weights, which stay as they are and may be bf16, instead of the weights. It
        /// wants a higher `lr`, about ten times that of full training
        adapter: AdapterKind = optional("none"), "KIND", Training;
        /// Rank of the adapter's update
        lora_rank: usize = implied(LORA_RANK), "N", Training, at_least_1();
        /// The update is multiplied by this, over the rank
        lora_alpha: f64 = optional("twice the rank"), "X", Training, POSITIVE;
        /// Linear maps of the layers that get an update: `all-linear`, or the ends of their paths, such as `q_proj,v_proj` or
        /// `layers.3.mlp.up_proj`
        lora_targets: LoraTargets = implied(LoraTargets::default()), "NAMES", Training;
        /// Divide `lora_alpha` by the root of the rank instead (rsLoRA)
        use_rslora: bool = default(false), "BOOL", Training;
        /// What the linear maps of the layers that the adapter stands beside are made smaller to; embedding, head and norms stay
        /// as they are stored
        quantization: QuantizationChoice = optional("none"), "TYPE", Training;
        /// Quantize the scales of quantized weights too, to eight bits
        double_quantization: bool = default(false), "BOOL", Training;
        /// Save the whole model, the adapter merged into its weights, instead of the adapter alone
        merge: bool = default(false), "BOOL", Nothing;
    }
    "Consistency" {
        /// Weight of a term beside the method's loss that draws the hidden states of one prompt in several languages together
        consistency_weight: f64 = optional("no such term"), "X", Training, POSITIVE;
        /// What that term lowers
        consistency: ConsistencyKind = implied(ConsistencyKind::SingularValue), "KIND", Training;
        /// Layer whose states it is of, at a prompt's last token: 1 is what the first gives; those of the last are taken after the
        /// final norm
        consistency_layer: usize = optional("the middle one"), "N", Training, at_least_1();
        /// What singular values or cosines are divided by before their softmax
        consistency_temperature: f64 = implied(1.0), "X", Training, POSITIVE;
        /// Prompts of it in a step, each in all its languages, or in two with `contrast`
        consistency_batch_size: usize = implied(CONSISTENCY_BATCH), "N", Training, at_least_1();
        /// Steps from one that has it to the next
        consistency_every: u64 = implied(1), "N", Training, at_least_1();
        /// File of prompts in several languages, or of rows in two, for it (see [data.md](data.md))
        consistency_data: PathBuf = optional("the prompts of the rows trained on"), "FILE", Nothing;
    }
    "Run" {
        /// Steps between checkpoints, of which the last `save_total_limit` are kept; there is always one at the end
        checkpoint_every: u64 = default(50), "N", Nothing, at_least_1();
        /// Checkpoints that are kept, the last ones: two, should a disk damage one. With `save_best` or `early_stop` that of the best
        /// step stays beside them
        save_total_limit: usize = default(2), "N", Nothing, at_least_1();
        /// Keep no checkpoints when the run is finished, and so no optimizer state: `model/` is all that is left of its weights. Until
        /// then they are there, for a run that is stopped to go on from; a later end needs one
        save_only_model: bool = default(false), "BOOL", Nothing;
        /// Rows measured before and after, spread over the data; 0 measures none
        eval_rows: usize = default(48), "N", Identity;
        /// Measure on the rows of this file instead of on training rows
        eval_data: PathBuf = optional("none"), "FILE", Nothing;
        /// Measure on this share of the rows instead, such as `0.1`, and do not train on them: every row of this share of the
        /// prompts, so that no translation of a prompt that is measured is trained on; of three prompts or more at least one. `eval_rows` of them are measured
        eval_split: f64 = optional("none"), "X", Identity, SHARE;
        /// Steps between measurements while it trains, on the rows that are measured before and after: the loss that is minimized,
        /// reward gaps and a few answers, by language, in `events.jsonl` and the report. The first is before training, the last at
        /// its end
        eval_every: u64 = optional("none"), "N", Identity, at_least_1();
        /// End with the weights of the step whose measurement was best by this number of `events.jsonl`, which keep their
        /// checkpoint: the lowest `eval_loss`, the highest mean reward gap, `eval_rg`, or that of one language, such as
        /// `eval_rg/sw`. `train` wants `eval_data` or `eval_split` for it
        save_best: Measure = optional("the last step, or `eval_loss` with `early_stop`"), "MEASURE", Training;
        /// Stop when the held-out loss, or what `save_best` names, has been no better for so many measurements, and end with the
        /// weights of the step where it was best. `train` wants `eval_data` or `eval_split` for it
        early_stop: u64 = optional("none"), "N", Training, at_least_1();
        /// Answers that are sampled with each measurement, of each language and kind of prompt, greedily: to unsafe prompts of the
        /// rows measured, and to benign ones if there are some. 0 samples none
        eval_samples: usize = default(2), "N", Nothing;
        /// Longest answer that is sampled, in tokens
        eval_max_new_tokens: usize = optional("48, or what a usual refusal in one of the languages takes, if that is more"), "N", Nothing, at_least_1();
        /// Benign prompts to sample answers to: JSONL of {language, prompt}
        eval_benign: PathBuf = optional("none"), "FILE", Nothing;
        /// Folder for the reference's numbers, which runs of the same model can share: new, empty, or made by an earlier run;
        /// not in the run folder, the model or the data
        reference_cache: PathBuf = optional("`reference/` in the run folder"), "DIR", Nothing;
        /// Type of the saved weights: `auto` is that of the model's own, or `f32` where rounding to it would undo the training, and
        /// `f32` of an adapter; a line says which and why. A warning says so where rounding to another undoes it
        save_dtype: SaveDtype = default(SaveDtype::Auto), "TYPE", Nothing;
        /// Write what happens for another program to show as well: numbers by step, under their names in `events.jsonl`; for
        /// TensorBoard what is sampled, for MLflow the settings that decide what the run comes to
        log_to: LogTo = optional("none"), "PROGRAM", Nothing;
        /// Where to compute
        device: DeviceChoice = default(DeviceChoice::Auto), "DEVICE", Nothing;
    }
    "Objective" {
        /// What is minimized
        method: Method = default(Method::default()), "NAME", Identity;
    }
    resolved before: "Objective" {
        /// Settings to begin with, which other keys override: a recipe's name, or a YAML file
        recipe: Recipe = optional("none"), "NAME|FILE";
    }
}
