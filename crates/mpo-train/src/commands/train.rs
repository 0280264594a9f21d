//! `mpo-train train`: from a configuration to an aligned model, and what training changed.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use indicatif::HumanDuration;
use mpo_chat::ModelFolder;
use mpo_data::{LanguagePair, Origin, Rows, TokenizeOptions, TokenizedRows, Truncation};
use mpo_eval::{Approaches, EvalSet, Goal, ModelCard, RewardGaps, Sampling, TrainResults, base, by_language};
use mpo_models::CausalLm;
use mpo_models::memory::resident;
use mpo_progress::{Counted, Progress as _};
use mpo_trainer::memory::{BaseModel, Hardware, Machine, Planner, Room};
use mpo_trainer::{
    Extension, Identity, Kind, Run, RunFolder, Sampler, TrainConfig, TrainError, TrainOptions, Watch,
    check_consistency, check_held_out, check_ours, check_pairs, check_rows, check_writable, consistency_rows,
    digest_rows, is_marked, prompt_sizes, read_data, read_options, read_rows, row_sizes, share, warn_of_lowered_gaps,
    warn_of_one_class,
};

use super::report;
use crate::apart::{check_cache, check_run};
use crate::arguments::bytes;
use crate::failure::Failure;
use crate::flags::Flags;
use crate::output;
use crate::paint::Paint;
use crate::planning::{Plan, product_rate};
use crate::progress::Lines;
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
    let trained = run_with(config, resumed, &ask);
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
fn run_with(config: TrainConfig, resumed: Option<RunFolder>, ask: &Ask) -> Result<(), Failure> {
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
    if let Some(key) = config.idle_consistency() {
        let expected = format!("a number, as {key} is given");
        return Err(TrainError::setting("consistency_weight", expected, "none").into());
    }
    if let Some(key) = config.asks_for_best().filter(|_| !config.holds_out()) {
        let expected = format!("a file of rows that are not trained on, or eval_split, as {key} is given");
        return Err(TrainError::setting("eval_data", expected, "none").into());
    }
    let session = Session::new(config.device, ask.quiet)?;
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
    let inputs = Inputs::read(&config, &session)?;
    refuse_own_model(&inputs.folder.path, &config.output)?;
    refuse_own_model(inputs.folder.base_dir(), &config.output)?;
    let sampling = sampling(&config, &inputs.folder, &inputs.prompts, &session)?;
    let settled = settled(&config, &inputs, ask.memory, &session)?;
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
    let identity = Identity::new(deciding)
        .with("model", &*model_hash)
        .with("rows", digest_rows(&inputs.rows))
        .with("rows to measure on", inputs.eval.digest());
    let identity = match &inputs.consistent {
        Some(rows) => identity.with("prompts held consistent", digest_rows(rows)),
        None => identity,
    };
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
    let prompts = inputs.consistent.as_ref();
    let work = Run { config: &settled, folder: &run, base, prompts, watch };
    let results = align(&work, model, inputs.rows, &inputs.eval, &inputs.folder, &session);
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

/// Tells what the run will take, refuses one that can never fit, and settles whether layers are run again.
fn settled(
    config: &TrainConfig,
    inputs: &Inputs,
    memory: Option<u64>,
    session: &Session,
) -> Result<TrainConfig, Failure> {
    let mut machine = Machine::of(&session.device);
    if let Some(memory) = memory {
        machine.room = Room::of(memory);
    }
    let rows = row_sizes(&inputs.rows, &*config.objective()?);
    let prompts = prompt_sizes(inputs.consistent.as_ref().unwrap_or(&inputs.rows), config);
    let folder = &inputs.folder;
    let model = BaseModel::of(folder.base_dir(), &folder.config, folder.adapter.as_ref(), Some(&session.device))?;
    let program = resident().unwrap_or(0);
    let plan = Plan::new(Planner { model, rows: &rows, prompts: &prompts, machine, program }, config);
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
    /// Rows whose prompts are held consistent, where they are others.
    consistent: Option<TokenizedRows>,
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
        let measured: Vec<&Rows> = Some(&texts).filter(|_| config.holds_out()).into_iter().collect();
        let consistent = match consistency_rows(config, &measured, session)? {
            Some(texts) => Some(tokenize(&texts)?),
            None => None,
        };
        let layers = folder.config.decoder.num_layers;
        check_consistency(config, consistent.as_ref().unwrap_or(&rows), layers)?;
        let eval = EvalSet::new(&held_out, config.eval_rows, dominant);
        let prompts = if config.samples() {
            let uncut = TokenizeOptions { truncation: Truncation::UNLIMITED, skip_bad_rows: config.skip_bad_rows };
            let measured: HashSet<&Origin> = held_out.origins().collect();
            let (whole, _) = folder.tokenize_quietly(&texts.at(&measured), uncut)?;
            whole.into_pairs().unwrap_or_default()
        } else {
            vec![]
        };
        Ok(Self { folder, rows, consistent, held_out, eval, prompts })
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

/// Measures, trains, measures again and saves.
fn align(
    run: &Run<'_>,
    model: CausalLm,
    rows: TokenizedRows,
    eval: &EvalSet,
    folder: &ModelFolder,
    session: &Session,
) -> Result<TrainResults, Failure> {
    let (counts, dominant) = (rows.by_language(), eval.dominant);
    let scores = |model: &CausalLm, what| eval.scores(model, run.config.micro_batch_tokens, what, session);
    // The gaps before training are measured once a run.
    let file = run.folder.before_file();
    let before = match run.folder.read_value(&file, session)? {
        Some(gaps) => gaps,
        None => {
            let scored = scores(&model, "measuring before")?;
            warn_of_lowered_gaps(&scored, eval.dominant, &*run.config.objective()?, session);
            let gaps = by_language(&scored, dominant);
            run.folder.write_value(&file, &gaps)?;
            gaps
        }
    };
    let mut lines = Lines::new(session);
    let trained = run.train(model, rows, session, &mut |event| lines.event(event))?;
    let after = by_language(&scores(&trained.model, "measuring after")?, dominant);
    let reward_gap = RewardGaps { before, after };
    let drawn_to = run.config.drawn_to();
    let results = TrainResults { steps: trained.steps, best: trained.best, dominant, drawn_to, reward_gap };
    let card = ModelCard {
        config: run.config,
        base: folder.base_name(),
        base_dir: folder.base_dir(),
        is_adapter: !run.saves_whole(&trained.model),
        rows: &counts,
        results: &results,
    };
    run.save(&trained.model, Some(&card.text()?), session)?;
    run.folder.write_value(&run.folder.results_file(), &results)?;
    Ok(results)
}
