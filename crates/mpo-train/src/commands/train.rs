//! `mpo-train train`: from a configuration to an aligned model, and what training changed.

use std::collections::{BTreeMap, HashSet};
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use indicatif::HumanDuration;
use mpo_chat::ModelFolder;
use mpo_data::{Language, LanguagePair, Origin, Rows, TokenizeOptions, TokenizedRows, Truncation};
use mpo_eval::{Approaches, EvalSet, Goal, ModelCard, RewardGaps, Sampling, TrainResults, base, by_language};
use mpo_models::CausalLm;
use mpo_models::memory::resident;
use mpo_progress::{Counted, Progress as _};
use mpo_trainer::memory::{BaseModel, Hardware, Machine, Planner, Room};
use mpo_trainer::{
    Extension, Identity, Kind, Recompute, Run, RunFolder, Sampler, TrainConfig, TrainError, TrainOptions, Watch,
    check_alike, check_held_out, check_ours, check_pairs, check_rows, check_writable, digest_rows, is_marked,
    read_data, read_options, read_rows, row_sizes, share, told_by_first, warn_of_lowered_gaps, warn_of_one_class,
};

use super::report;
use crate::apart::{check_cache, check_run};
use crate::arguments::bytes;
use crate::failure::Failure;
use crate::flags::Flags;
use crate::output;
use crate::paint::Paint;
use crate::planning::{Plan, gigabytes, product_rate};
use crate::progress::Lines;
use crate::ranks::Ranks;
use crate::session::Session;
use crate::table;

const EXAMPLES: &str = "\
Examples:
  mpo-train train --model Qwen/Qwen2.5-7B-Instruct --recipe qwen2.5-7b --data rows.json --output runs/qwen
  mpo-train train --config run.yaml --lr 1e-6
  mpo-train train --config run.yaml --eval-data held-out.json --eval-every 20 --early-stop 3
  mpo-train train --config run.yaml --eval-split 0.1 --dry-run
  mpo-train train --model models/llama --data rows.json --output runs/llama --print-config > run.yaml
  mpo-train train --resume --output runs/qwen
  mpo-train train --resume --output runs/qwen --epochs 4";

/// Train a model with MPO, and measure its reward gaps before and after
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TrainArguments {
    /// Configuration file (YAML); flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Continue the run in the output folder, with its settings
    #[arg(long)]
    resume: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Print the complete configuration as YAML and do nothing else
    #[arg(long)]
    print_config: bool,
    /// Read and check everything, say what the run would take, and train and write nothing
    #[arg(long, conflicts_with_all = ["json", "print_config"])]
    dry_run: bool,
    /// Memory that the run may take, such as 24GB [default: the device's]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory: Option<u64>,
    #[command(flatten)]
    options: Flags,
}

pub(crate) fn run(arguments: TrainArguments, quiet: bool) -> Result<(), Failure> {
    let ranks = Ranks::join()?;
    let done = if ranks.all().is_first() { lead(arguments, quiet, &ranks) } else { follow(&ranks) };
    ranks.end(done)
}

/// The part of the first rank, or of the only one: what is asked for, the folder, and what is said of it all.
fn lead(arguments: TrainArguments, quiet: bool, ranks: &Ranks) -> Result<(), Failure> {
    let TrainArguments { config: file, resume, json, print_config, dry_run, memory, options } = arguments;
    let mut options = options.0;
    if let Some(file) = &file {
        options = options.or(TrainOptions::from_file(file)?);
    }
    // Before what an earlier start was given, so that another recipe than then is noticed.
    options = options.with_recipe()?;
    let resumed = if resume {
        let run = RunFolder::open(&output_folder(&options)?, Kind::Train)?;
        if run.config_file().exists() {
            options = options.or(TrainOptions::from_file(&run.config_file())?);
        }
        Some(run)
    } else {
        None
    };
    let config = options.resolve().map_err(|error| match &resumed {
        Some(run) => unsettled(run, error),
        None => error.into(),
    })?;
    if print_config {
        return output::line(config.to_yaml()?.trim_end());
    }
    let output = config.output.clone();
    let ask = Ask { memory, dry_run, json, quiet };
    let trained = run_with(config, resumed, &ask, ranks);
    // A start that failed left nothing to resume.
    trained.map_err(|failure| if is_marked(&output, Kind::Train) { failure } else { failure.without_resume() })
}

/// What is asked for beside the settings of the run.
struct Ask {
    memory: Option<u64>,
    dry_run: bool,
    json: bool,
    quiet: bool,
}

/// Trains as configured, in the folder of a run that was started earlier or a new one.
fn run_with(config: TrainConfig, resumed: Option<RunFolder>, ask: &Ask, ranks: &Ranks) -> Result<(), Failure> {
    let began = Instant::now();
    // What is already known is said before minutes of reading.
    let deciding = config.deciding()?;
    let is_extended = match &resumed {
        Some(run) if run.ends_otherwise(&deciding) => true,
        Some(run) => run.check_settings(&deciding).map(|()| false)?,
        None => RunFolder::check_new(&config.output, Kind::Train).map(|()| false)?,
    };
    if let Some(cache) = &config.reference_cache {
        check_cache(cache, &config.output)?;
        check_ours(cache, Kind::Reference)?;
    }
    check_run(&config)?;
    if ask.dry_run {
        // What a run would do first.
        [Some(&config.output), config.reference_cache.as_ref()]
            .into_iter()
            .flatten()
            .try_for_each(|dir| check_writable(dir))?;
    }
    if let Some(key) = config.asks_for_best().filter(|_| !config.holds_out()) {
        let expected = format!("a file of rows that are not trained on, or eval_split, as {key} is given");
        return Err(TrainError::setting("eval_data", expected, "none").into());
    }
    let session = Session::on_card(config.device, ranks.card(), ask.quiet)?;
    config.check_device(&session.device)?;
    session.catch_interrupts()?;
    let mut taken = None;
    if let Some(run) = &resumed {
        if !ask.dry_run {
            run.mend_reference(&session)?;
        }
        let results = run.read_value::<TrainResults>(&run.results_file(), &session)?;
        // Those of an earlier end are of another model.
        let is_earlier = |steps| run.earlier_ends().last().is_some_and(|end| steps <= *end);
        let results = results.filter(|results| !is_earlier(results.steps));
        taken = results.as_ref().map(|results| results.steps);
        if is_extended && taken.is_none() {
            return Err(Extension::unfinished(run, &deciding).into());
        }
        if let Some(results) = results.filter(|_| !is_extended && !ask.dry_run) {
            if run.has_model(&session)? {
                // Killed when its results were written.
                if !run.report_file().exists() {
                    report::write(run)?;
                }
                let (path, steps) = (run.path().display(), Counted(results.steps, "step"));
                session.note(&format_args!("{path}: finished already, after {steps}"));
                return print(&results, ask.json);
            }
            session.note(&format_args!(
                "{}: the trained model is gone; it is made again, from the last checkpoint if there is one",
                run.model_dir().display()
            ));
        }
        run.check_model()?;
    }
    if !ask.dry_run {
        ranks.tell(&config)?;
    }
    let inputs = Inputs::read(&config, &session)?;
    refuse_own_model(&inputs.folder.path, &config.output)?;
    refuse_own_model(inputs.folder.base_dir(), &config.output)?;
    let sampling = sampling(&config, &inputs.folder, &inputs.prompts, &session)?;
    let settled = settled(&config, &inputs, ask.memory, &session, ranks.all().size())?;
    let extension = match (&resumed, taken.filter(|_| is_extended)) {
        (Some(run), Some(taken)) => {
            let rows = row_sizes(&inputs.rows, &*config.objective()?).len();
            Some(Extension::new(run, &config, rows, taken)?)
        }
        _ => None,
    };
    if let Some(extension) = &extension {
        extension.tell(&session);
    }
    if ask.dry_run {
        return inputs.tell();
    }
    let model =
        inputs.folder.load_to_train(config.lora().as_ref(), config.quantization(), &session.device, &session)?;
    let model = model.with_precision(config.precision());
    let model_hash = inputs.folder.content_hash(&session)?;
    told_by_first(ranks.all(), || Ok(settled.recompute == Recompute::On))?;
    inputs.check_alike(&model_hash, ranks)?;
    let identity = Identity::new(deciding)
        .with("model", &*model_hash)
        .with("rows", digest_rows(&inputs.rows))
        .with("rows to measure on", inputs.eval.digest());
    if let Some(extension) = extension {
        extension.begin(identity.clone())?;
    }
    // New folders only now: input that cannot be used leaves none behind.
    let run = match resumed {
        Some(run) => run,
        None => RunFolder::create(&config.output, Kind::Train, identity.clone())?,
    };
    if let Some(cache) = &config.reference_cache {
        share(cache, Kind::Reference)?;
    }
    run.check(&identity)?;
    if !run.config_file().exists() {
        run.start(&run.config_file(), config.to_yaml()?.as_bytes())?;
    }
    let base = base(&inputs.folder, &model_hash);
    let sampler = sampling.as_ref().map(|sampling| sampling as &dyn Sampler);
    let watch = Some(Watch { rows: &inputs.held_out, trained_on: !config.holds_out(), sampler });
    let work = Run { config: &settled, folder: &run, base, watch };
    let results = align(&work, model, inputs.rows, &inputs.eval, &inputs.folder, &session, ranks);
    if let Err(Failure::Train(TrainError::Interrupted)) = results {
        run.keep();
    }
    let results = results?;
    report::write(&run)?;
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

/// The part of any other rank: a share of the work, with rows and weights of its own reading, and a folder that nothing stays in.
fn follow(ranks: &Ranks) -> Result<(), Failure> {
    let Some(config) = ranks.listen()? else {
        return Ok(());
    };
    let session = Session::on_card(config.device, ranks.card(), true)?;
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
    let work = Run { config: &config, folder: &run, base: base(&inputs.folder, &model_hash), watch };
    align(&work, model, inputs.rows, &inputs.eval, &inputs.folder, &session, ranks).map(drop)
}

/// Tells what the run will take, refuses one that can never fit, and settles whether layers are run again.
fn settled(
    config: &TrainConfig,
    inputs: &Inputs,
    memory: Option<u64>,
    session: &Session,
    ranks: usize,
) -> Result<TrainConfig, Failure> {
    let mut machine = Machine { ranks, ..Machine::of(&session.device) };
    if let Some(memory) = memory {
        machine.room = Room::of(memory);
    }
    let rows = row_sizes(&inputs.rows, &*config.objective()?);
    let folder = &inputs.folder;
    let model = BaseModel::of(folder.base_dir(), &folder.config, folder.adapter.as_ref(), Some(&session.device))?;
    let program = resident().unwrap_or(0);
    let plan = Plan::new(Planner { model, rows: &rows, machine, program }, config);
    session.note(&plan.memory_line());
    plan.check()?;
    if let Some(warning) = plan.warning() {
        session.note(&warning);
    }
    // A GPU would compile a product first.
    if machine.hardware != Hardware::Gpu && !session.quiet {
        session.note(&plan.time_line(product_rate(&session.device, plan.planned.storage)));
    }
    Ok(TrainConfig { recompute: plan.planned.storage.recompute.into(), ..config.clone() })
}

fn output_folder(options: &TrainOptions) -> Result<PathBuf, TrainError> {
    let missing = || TrainError::setting("output", "the folder of the run to resume", "nothing");
    options.output.clone().ok_or_else(missing)
}

/// Why a run cannot be resumed with settings that lack something: killed early, it has not written them down.
fn unsettled(run: &RunFolder, error: TrainError) -> Failure {
    let file = run.config_file();
    if file.exists() {
        error.into()
    } else {
        Failure::new(
            format!(
                "{}: expected the settings of the run, got no such file: the run was stopped before it was written; {error}",
                file.display()
            ),
            "give --model, --data and the other settings again beside --resume",
        )
    }
}

/// The trained model is written to `model/` in the run folder, so the one that training begins with may not be there.
fn refuse_own_model(model: &Path, output: &Path) -> Result<(), Failure> {
    let canonical = |path: &Path| fs::canonicalize(path).ok();
    match (canonical(model), canonical(&output.join("model"))) {
        (Some(model), Some(result)) if model.starts_with(&result) => Err(TrainError::OwnModel { path: model }.into()),
        _ => Ok(()),
    }
}

fn print(results: &TrainResults, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(results);
    }
    output::line(table::before_and_after(results))?;
    match (Approaches::new(results), Goal::new(results)) {
        (Some(approaches), _) => {
            let verdicts = table::approaches(&approaches, Paint::on(&io::stdout()));
            output::own(format!("\n{verdicts}\n").as_bytes())
        }
        (None, Some(Goal { name, height })) => output::line(format_args!(
            "\nno goal: {name} is {height:+.2}, not above zero, so there is nothing to come up to"
        )),
        (None, None) => Ok(()),
    }
}

/// What a run reads and does not change.
struct Inputs {
    folder: ModelFolder,
    rows: TokenizedRows,
    /// To measure on: rows of their own, or some of those above.
    held_out: TokenizedRows,
    /// Their pairs.
    eval: EvalSet,
    /// Their prompts, whole: a model goes on with a request that was cut, which is no refusal.
    prompts: Vec<LanguagePair>,
}

impl Inputs {
    fn read(config: &TrainConfig, session: &Session) -> Result<Self, Failure> {
        let folder = ModelFolder::open(&config.model, &config.template_options(), session)?;
        config.check_adapter(&folder.config, folder.adapter.as_ref())?;
        let read = |path: &Path, limit| read_rows(path, &read_options(config), limit, config.pivot, session);
        let tokenize = |rows: &Rows| -> Result<TokenizedRows, Failure> {
            Ok(folder.tokenize(rows, config.tokenize_options()?, session)?.0)
        };
        let data = read_data(config, config.pivot, session)?;
        let dominant = data.report.dominant;
        let (texts, apart) = match config.held_out_share()? {
            Some(share) => {
                let (rest, apart) = hold_out(data.rows, share, session)?;
                (rest, Some(apart))
            }
            None => (data.rows, None),
        };
        let rows = tokenize(&texts)?;
        check_rows(&rows, &*config.objective()?, config)?;
        warn_of_one_class(&rows, config, session);
        let (held_out, texts) = match (&config.eval_data, apart) {
            (Some(path), _) => {
                let data = read(path, Some(config.eval_rows))?;
                let pairs = tokenize(&data.rows)?;
                // Whoever trains on single answers may have nothing else to measure on.
                if config.eval_rows > 0 && rows.are_pairs() {
                    check_pairs(path, &data.report, &pairs)?;
                }
                (pairs.limit(config.eval_rows), data.rows)
            }
            (None, Some(apart)) => (tokenize(&apart)?.limit(config.eval_rows), apart),
            (None, None) => (rows.some(config.eval_rows), texts),
        };
        check_held_out(&held_out, &*config.objective()?, config)?;
        let eval = EvalSet::new(&held_out, config.eval_rows, dominant);
        let prompts = if config.samples() {
            let uncut = TokenizeOptions { truncation: Truncation::UNLIMITED, skip_bad_rows: config.skip_bad_rows };
            let measured: HashSet<&Origin> = held_out.origins().collect();
            let (whole, _) = folder.tokenize_quietly(&texts.at(&measured), uncut)?;
            whole.into_pairs().unwrap_or_default()
        } else {
            vec![]
        };
        Ok(Self { folder, rows, held_out, eval, prompts })
    }

    /// Whether all ranks have the same.
    fn check_alike(&self, model_hash: &str, ranks: &Ranks) -> Result<(), Failure> {
        let own = [
            ("weights", model_hash.to_owned()),
            ("rows", digest_rows(&self.rows)),
            ("rows to measure on", self.eval.digest()),
        ];
        Ok(check_alike(ranks.all(), &own)?)
    }

    /// Says what a run would go on with.
    fn tell(&self) -> Result<(), Failure> {
        let (rows, measured) = (Counted(self.rows.len() as u64, "row"), self.held_out.len());
        output::line(format_args!("{rows} to train on, {measured} to measure on; nothing was trained or written"))
    }
}

/// The rows to train on, and those of a `share` of the prompts.
fn hold_out(rows: Rows, share: f64, session: &Session) -> Result<(Rows, Rows), Failure> {
    let all = rows.len();
    // The same for every seed of a run, so that runs can be compared.
    let (rest, apart) = rows.hold_out(share, 0);
    if apart.is_empty() {
        let got = format!("{all} rows of fewer");
        return Err(TrainError::setting("eval_split", "rows of at least three prompts", got).into());
    }
    session.note(&format_args!(
        "{:<10} {} of {all} rows, with all translations of their prompts",
        "held out",
        apart.len()
    ));
    Ok((rest, apart))
}

/// Who asks the model for answers while it trains, if anybody is to.
fn sampling<'a>(
    config: &TrainConfig,
    folder: &'a ModelFolder,
    prompts: &[LanguagePair],
    session: &Session,
) -> Result<Option<Sampling<'a>>, Failure> {
    if !config.samples() {
        return Ok(None);
    }
    let max_tokens = config.tokenize_options()?.truncation.max_tokens();
    let benign = config.eval_benign.as_deref();
    Ok(Some(Sampling::new(folder, prompts, benign, config.eval_samples, max_tokens, session)?))
}

/// Measures, trains, measures again and saves. Ranks share the work; the first one has the results.
fn align(
    run: &Run<'_>,
    model: CausalLm,
    rows: TokenizedRows,
    eval: &EvalSet,
    folder: &ModelFolder,
    session: &Session,
    ranks: &Ranks,
) -> Result<TrainResults, Failure> {
    let results = aligned(run, model, rows, eval, session, ranks);
    if let Err(Failure::Train(TrainError::Interrupted)) = results {
        // All have come to the same.
        ranks.stop();
    }
    let (model, counts, results) = results?;
    if !ranks.all().is_first() {
        return Ok(results);
    }
    let card = ModelCard {
        config: run.config,
        base: folder.base_name(),
        base_dir: folder.base_dir(),
        is_adapter: !run.saves_whole(&model),
        rows: &counts,
        results: &results,
    };
    run.save(&model, Some(&card.text()?), session)?;
    run.folder.write_value(&run.folder.results_file(), &results)?;
    Ok(results)
}

/// The trained model, how many rows there were of each language, and what came of them.
type Aligned = (CausalLm, BTreeMap<Language, usize>, TrainResults);

/// Measures, trains, and measures again.
fn aligned(
    run: &Run<'_>,
    model: CausalLm,
    rows: TokenizedRows,
    eval: &EvalSet,
    session: &Session,
    ranks: &Ranks,
) -> Result<Aligned, Failure> {
    let (counts, dominant, all) = (rows.by_language(), eval.dominant, ranks.all());
    let max_tokens = run.config.micro_batch_tokens;
    let scores = |model: &CausalLm, what| eval.scores_among(all, model, max_tokens, what, session);
    // The gaps before training are measured once a run.
    let file = run.folder.before_file();
    let known = run.folder.read_value(&file, session)?;
    let is_known = told_by_first(all, || Ok(known.is_some()))?;
    let before = if is_known {
        known.unwrap_or_default()
    } else {
        let scored = scores(&model, "measuring before")?;
        warn_of_lowered_gaps(&scored, eval.dominant, &*run.config.objective()?, session);
        let gaps = by_language(&scored, dominant);
        run.folder.write_value(&file, &gaps)?;
        gaps
    };
    let mut lines = Lines::new(session);
    let trained = run.train_among(all, model, rows, session, &mut |event| lines.event(event))?;
    if all.is_many() {
        let (ranks, sent) = (all.size(), gigabytes(all.sent()));
        session.note(&format_args!("{:<10} {ranks}, of which this one gave {sent} to the others", "ranks"));
    }
    let after = by_language(&scores(&trained.model, "measuring after")?, dominant);
    let reward_gap = RewardGaps { before, after };
    let drawn_to = run.config.drawn_to();
    let results = TrainResults { steps: trained.steps, best: trained.best, dominant, drawn_to, reward_gap };
    Ok((trained.model, counts, results))
}
