//! The part of every rank but the first.

use std::env;

use mpo_eval::base;
use mpo_trainer::{Identity, Kind, Run, RunFolder, TrainConfig, Watch, told_by_first};

use super::align::align;
use super::inputs::Inputs;
use crate::failure::Failure;
use crate::ranks::Ranks;
use crate::session::Session;

/// A share of the work, with rows and weights of its own reading, and a folder that nothing stays in.
pub(super) fn follow(ranks: &Ranks) -> Result<(), Failure> {
    let Some(config) = ranks.listen()? else {
        return Ok(());
    };
    let session = Session::on_card(config.device, ranks.card(), true)?;
    ranks.join_cards(&session.device)?;
    config.check_device(&session.device)?;
    session.catch_interrupts_quietly()?;
    let inputs = Inputs::read(&config, &session)?;
    let model =
        inputs.folder.load_to_train(config.lora().as_ref(), config.quantization(), &session.device, &session)?;
    let model = model.with_precision(config.precision());
    let model_hash = inputs.folder.content_hash(&session)?;
    let recompute = told_by_first(ranks.all(), || Ok(false))?;
    inputs.check_alike(&model_hash, ranks)?;
    let config = TrainConfig { recompute: recompute.into(), ..config };
    let scratch = tempfile::tempdir().map_err(Failure::io(&env::temp_dir()))?;
    let run = RunFolder::create(&scratch.path().join("run"), Kind::Train, Identity::default())?;
    let watch = Some(Watch { rows: &inputs.held_out, trained_on: !config.holds_out(), sampler: None });
    let prompts = inputs.consistent.as_ref();
    let work = Run { config: &config, folder: &run, base: base(&inputs.folder, &model_hash), prompts, watch };
    align(&work, model, inputs.rows, &inputs.eval, &inputs.folder, &session, ranks).map(drop)
}
