//! Steps of training, to be held beside those of somebody else.

use mpo_data::{Origin, Position, TokenizedPair, TokenizedRow, TokenizedRows};
use mpo_models::{CausalLm, ModelConfig};
use mpo_progress::Silent;
use mpo_trainer::{
    Event, Identity, Kind, Recompute, Reference, RunFolder, Schedule, StepEvent, TrainOptions, Trainer, build_task,
};
use serde_json::Value;

use crate::assert_close;

/// What is reported of a step: our name and that of the files of `peers`.
pub const METRICS: [(&str, &str); 4] =
    [("loss", "loss"), ("rg/target", "rg_t"), ("rg/dominant", "rg_d"), ("grad_norm", "grad_norm")];

/// Asserts that steps report what others do, but for `tolerance`.
///
/// # Panics
/// If one does not.
#[track_caller]
pub fn assert_same_steps(what: &str, ours: &[StepEvent], theirs: &[Value], tolerance: f64) {
    for (step, theirs) in ours.iter().zip(theirs) {
        for (our, their) in METRICS {
            let their = theirs[their].as_f64().expect("a number");
            assert_close(&format!("{what}, step {}, {our}", step.step), &[step.metrics[our]], &[their], tolerance);
        }
    }
}

/// The rows of a file of `peers`, which names their sides source and target.
///
/// # Panics
/// If they are written in another way.
pub fn golden_rows(rows: &Value) -> Vec<TokenizedRow> {
    let origin = Origin { file: "rows".into(), position: Position::Row(1) };
    let pair = |row: &Value, side: &str| {
        let [prompt, chosen, rejected] = ["prompt", "chosen", "rejected"].map(|part| {
            serde_json::from_value(row[format!("{side}_{part}_ids")].clone()).expect("a list of token ids")
        });
        TokenizedPair::new(&origin, prompt, chosen, rejected).expect("a pair that can be trained on")
    };
    let row = |row: &Value| TokenizedRow {
        dominant: pair(row, "source"),
        target: pair(row, "target"),
        dominant_language: "en".parse().expect("a language"),
        language: "zh".parse().expect("a language"),
        origin: origin.clone(),
    };
    rows.as_array().expect("a list of rows").iter().map(row).collect()
}

/// One row a step, in their order, at a constant rate: as `peers` train.
pub fn row_by_row(lr: f64) -> TrainOptions {
    TrainOptions {
        lr: Some(lr),
        schedule: Some(Schedule::Constant),
        warmup_ratio: Some(0.0),
        batch_size: Some(1),
        epochs: Some(1.0),
        shuffle: Some(false),
        checkpoint_every: Some(u64::MAX),
        ..TrainOptions::default()
    }
}

/// Trains a model on rows, in a folder that goes when it is done. Returns what each step reports, and the model.
///
/// # Panics
/// If it cannot be trained.
pub fn trained(
    (model, model_config): (CausalLm, ModelConfig),
    rows: TokenizedRows,
    pad_token: u32,
    options: TrainOptions,
) -> (CausalLm, Vec<StepEvent>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let named = TrainOptions {
        model: Some("model".into()),
        data: Some("rows".into()),
        output: Some(folder.path().to_owned()),
        ..options
    };
    let config = named.resolve().expect("settings of a run");
    let model = match config.lora() {
        Some(options) => model.with_adapter(&options, "model").expect("a model that takes an adapter"),
        None => model,
    };
    let mut reference = Reference::new(&model, "hash", folder.path().join("reference"), 1024, &Silent);
    let objective = config.objective().expect("an objective");
    let task = build_task(&*objective, rows, &config, pad_token, &mut reference).expect("a task");
    let run = RunFolder::create(&folder.path().join("run"), Kind::Train, Identity::default()).expect("a folder");
    let trainer = Trainer {
        task: &*task,
        consistency: None,
        config: &config,
        run: &run,
        model_config: &model_config,
        model_hash: "hash",
        dominant: None,
        recompute: config.recompute == Recompute::On,
        held_out: None,
    };
    let mut steps = vec![];
    let mut keep = |event: &Event| {
        if let Event::Step(step) = event {
            steps.push(step.clone());
        }
    };
    let trained = trainer.run(model, &Silent, &mut keep).expect("a model that is trained");
    (trained.model, steps)
}
