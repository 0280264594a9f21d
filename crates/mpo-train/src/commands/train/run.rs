//! A run from its settings to its page: what is checked, in which order, and what is left where.

use std::time::Instant;

use indicatif::HumanDuration;
use mpo_eval::base;
use mpo_progress::Progress as _;
use mpo_trainer::{
    Extension, Identity, Kind, Recompute, Run, RunFolder, Sampler, TrainConfig, TrainError, Watch, check_ours,
    check_writable, row_sizes, share, told_by_first,
};

use super::super::report;
use super::align::align;
use super::fit::settled;
use super::inputs::{Inputs, sampling};
use super::start::{Start, is_whole};
use super::told::print;
use crate::apart::{check_cache, check_run};
use crate::failure::Failure;
use crate::ranks::Ranks;
use crate::session::Session;

/// What is asked for beside the settings of the run.
pub(super) struct Ask {
    pub(super) memory: Option<u64>,
    pub(super) dry_run: bool,
    pub(super) json: bool,
    pub(super) quiet: bool,
}

/// Trains as configured, in the folder of a run that was started earlier or a new one.
pub(super) fn run_with(
    config: TrainConfig,
    resumed: Option<RunFolder>,
    ask: &Ask,
    ranks: &Ranks,
) -> Result<(), Failure> {
    let began = Instant::now();
    // What is already known is said before minutes of reading.
    let deciding = config.deciding()?;
    let start = Start::new(&config, &deciding, resumed)?;
    check_places(&config, ask.dry_run)?;
    if let Some(key) = config.idle_consistency() {
        let expected = format!("a number, as {key} is given");
        return Err(TrainError::setting("consistency_weight", expected, "none").into());
    }
    if let Some(key) = config.asks_for_best().filter(|_| !config.holds_out()) {
        let expected = format!("a file of rows that are not trained on, or eval_split, as {key} is given");
        return Err(TrainError::setting("eval_data", expected, "none").into());
    }
    let session = Session::on_card(config.device, ranks.card(), ask.quiet)?;
    config.check_device(&session.device)?;
    session.catch_interrupts()?;
    if let Some(run) = start.run().filter(|_| !ask.dry_run) {
        run.mend_reference(&session)?;
    }
    let earlier = start.results(&session)?;
    match (&start, &earlier) {
        (Start::Extended(run), None) => return Err(Extension::unfinished(run, &deciding).into()),
        (Start::Again(run), Some(results)) if !ask.dry_run && is_whole(run, results, &config, &session)? => {
            return print(results, ask.json);
        }
        _ => {}
    }
    if let Some(run) = start.run() {
        run.check_model()?;
    }
    if !ask.dry_run {
        ranks.tell(&config)?;
        ranks.join_cards(&session.device)?;
    }
    let inputs = Inputs::read(&config, &session)?;
    inputs.refuse_own_model(&config.output)?;
    let identify = || -> Result<(String, Identity), Failure> {
        let hash = inputs.folder.content_hash(&session)?;
        let identity = inputs.identity(&deciding, &hash);
        Ok((hash, identity))
    };
    // A run that goes on is held against its rows and weights before anything is said of its steps.
    let known = start.run().map(|_| identify()).transpose()?;
    let extension = match (&start, &known, &earlier) {
        (Start::Again(run), Some((_, identity)), _) => run.check(identity).map(|()| None)?,
        (Start::Extended(run), Some((_, identity)), Some(earlier)) => {
            let rows = row_sizes(&inputs.rows, &*config.objective()?).len();
            Some(Extension::new(run, &config, identity, rows, earlier.steps)?)
        }
        _ => None,
    };
    let sampling = sampling(&config, &inputs.folder, &inputs.prompts, &session)?;
    let settled = settled(&config, &inputs, ask.memory, &session, ranks.all().size(), start.run().is_none())?;
    if let Some(extension) = &extension {
        extension.tell(&session);
    }
    if ask.dry_run {
        return inputs.tell();
    }
    let model =
        inputs.folder.load_to_train(config.lora().as_ref(), config.quantization(), &session.device, &session)?;
    let model = model.with_precision(config.precision());
    let (model_hash, identity) = known.map_or_else(identify, Ok)?;
    told_by_first(ranks.all(), || Ok(settled.recompute == Recompute::On))?;
    inputs.check_alike(&model_hash, ranks)?;
    if let Some(extension) = extension {
        extension.begin()?;
    }
    // New folders only now: input that cannot be used leaves none behind.
    let run = start.folder(&config, &identity)?;
    if let Some(cache) = &config.reference_cache {
        share(cache, Kind::Reference)?;
    }
    if !run.config_file().exists() {
        run.start(&run.config_file(), config.to_yaml()?.as_bytes())?;
    }
    let base = base(&inputs.folder, &model_hash);
    let sampler = sampling.as_ref().map(|sampling| sampling as &dyn Sampler);
    let watch = Some(Watch { rows: &inputs.held_out, trained_on: !config.holds_out(), sampler });
    let prompts = inputs.consistent.as_ref();
    let work = Run { config: &settled, folder: &run, base, prompts, watch };
    let results = align(&work, model, inputs.rows, &inputs.eval, &inputs.folder, &session, ranks);
    if let Err(Failure::Train(TrainError::Interrupted)) = results {
        run.keep();
    }
    let results = results?;
    report::write(&run)?;
    if config.save_only_model {
        run.remove_checkpoints()?;
    }
    let (model, report) = (run.model_dir(), run.report_file());
    let took = HumanDuration(began.elapsed());
    session.note(&format_args!("took {took}; model in {}, report in {}", model.display(), report.display()));
    print(&results, ask.json)?;
    if !ask.json {
        let model = model.display();
        session.note(&format_args!(
            "A gap is not a refusal yet: mpo-train eval --model {model} --benchmark multijail=MultiJail.csv --benchmark benign=builtin"
        ));
    }
    Ok(())
}

/// Refuses places where a run may not write. A rehearsal looks whether it could, which a run finds out by itself.
fn check_places(config: &TrainConfig, is_rehearsal: bool) -> Result<(), Failure> {
    if let Some(cache) = &config.reference_cache {
        check_cache(cache, &config.output)?;
        check_ours(cache, Kind::Reference)?;
    }
    check_run(config)?;
    if is_rehearsal {
        let places = [Some(&config.output), config.reference_cache.as_ref()];
        places.into_iter().flatten().try_for_each(|dir| check_writable(dir))?;
    }
    Ok(())
}
