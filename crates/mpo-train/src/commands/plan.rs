//! `mpo-train plan`: memory and time of a run, before anything is loaded.

use std::env;
use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use mpo_chat::ModelFolder;
use mpo_models::memory::resident;
use mpo_models::{AdapterFolder, ModelConfig, ModelError, resolve_description};
use mpo_progress::{Counted, Progress as _};
use mpo_trainer::memory::{BaseModel, Hardware, Machine, Phase, Planner, Remedy, Room, RowSize};
use mpo_trainer::{
    Choice, DeviceChoice, TrainConfig, TrainOptions, assumed_row_size, check_consistency, check_rows, consistency_rows,
    prompt_sizes, read_data, row_sizes, with_harm_notes,
};
use serde::Serialize;

use crate::arguments::{bytes, positive};
use crate::device;
use crate::failure::Failure;
use crate::flags::Flags;
use crate::output;
use crate::planning::{Plan, duration, gigabytes, product_rate};
use crate::session::Session;
use crate::table;

const EXAMPLES: &str = "\
Examples:
  mpo-train plan --model Qwen/Qwen2.5-0.5B-Instruct --data rows.json
  mpo-train plan --config run.yaml --memory 8GB
  mpo-train plan --model models/llama --row-tokens 800 --device cuda --memory 80GB --json";

/// Say how much memory and time a run takes, before anything is loaded
///
/// The model needs no weights: a folder with config.json, and the tokenizer if rows are read, is enough.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlanArguments {
    /// Configuration file (YAML); flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tokens that a row passes through the model, in place of --data
    #[arg(long, value_name = "N", value_parser = positive)]
    row_tokens: Option<usize>,
    /// Processes that train one model together, each on a device of its own
    #[arg(long, value_name = "N", value_parser = positive, default_value = "1")]
    ranks: usize,
    /// Memory to plan for, such as 24GB [default: the device's]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory: Option<u64>,
    /// Rate of matrix products to plan with, in TFLOP/s [default: measured, where the device is here]
    #[arg(long, value_name = "X", value_parser = rate)]
    teraflops: Option<f64>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: Flags,
}

/// Rows that stand for those of a run of which only the length is known.
const ROWS: usize = 64;

pub(crate) fn run(arguments: PlanArguments, quiet: bool) -> Result<(), Failure> {
    let PlanArguments { config: file, row_tokens, ranks, memory, teraflops, json, options } = arguments;
    let mut options = options.0;
    if let Some(file) = &file {
        options = options.or(TrainOptions::from_file(file)?);
    }
    // Nothing is read or written that is not given; the command to train asks for it.
    let mut missing = vec![];
    if options.output.is_none() {
        missing.push(("output", "runs/NAME".to_owned()));
        options.output = Some("runs/NAME".into());
    }
    if row_tokens.is_some() && options.data.is_none() {
        missing.push(("data", "ROWS".to_owned()));
        options.data = Some("ROWS".into());
    }
    let config = options.resolve()?;
    let (session, here) = surroundings(config.device, quiet)?;
    if here {
        config.check_device(&session.device)?;
    }
    session.catch_interrupts()?;
    let described = match row_tokens {
        Some(tokens) => Described::model(&config)?.with_rows_of(tokens, &config)?,
        None => Described::model_and_rows(&config, &session)?,
    };
    let mut machine = match &here {
        true => Machine::of(&session.device),
        false => Machine::elsewhere(hardware(config.device)),
    };
    machine.ranks = ranks;
    if let Some(memory) = memory {
        machine.room = Room::of(memory);
    }
    let model = described.base_model(here.then_some(&session.device))?;
    let Described { rows, prompts, .. } = &described;
    let planner = Planner { model, rows, prompts, machine, program: resident().unwrap_or(0) };
    let plan = Plan::new(planner, &config);
    let rate =
        teraflops.map(|rate| rate * 1e12).or_else(|| here.then(|| product_rate(&session.device, plan.planned.storage)));
    let shown = Shown::new(&plan, rate, missing);
    if json { output::json(&shown) } else { output::line(shown.text(&plan)) }
}

/// A session on the device, and whether it is here; one that is not can be planned for.
fn surroundings(choice: DeviceChoice, quiet: bool) -> Result<(Session, bool), Failure> {
    let is_here = choice == DeviceChoice::Auto || !device::find(choice).is_empty();
    let session = Session::new(if is_here { choice } else { DeviceChoice::Flex }, quiet)?;
    if !is_here {
        session.note(&format_args!("there is no {} here: nothing is measured", choice.name()));
    }
    Ok((session, is_here))
}

fn hardware(choice: DeviceChoice) -> Hardware {
    match choice {
        DeviceChoice::Flex | DeviceChoice::Cpu => Hardware::cpu(),
        _ => Hardware::Gpu,
    }
}

/// What a run begins with, as far as it is known without weights.
struct Described {
    /// The folder of the weights that an adapter stands beside, or would.
    base: PathBuf,
    config: ModelConfig,
    adapter: Option<AdapterFolder>,
    rows: Vec<RowSize>,
    /// Tokens of each prompt that is held consistent beside them.
    prompts: Vec<usize>,
}

impl Described {
    /// A model by its configuration alone.
    fn model(config: &TrainConfig) -> Result<Self, Failure> {
        let path = resolve_description(&config.model, None)?;
        let adapter = AdapterFolder::find_description(&path)?;
        let base = adapter.as_ref().map_or(path, |adapter| adapter.base().to_owned());
        let model = ModelConfig::from_dir(&base).map_err(ModelError::from)?;
        config.check_adapter(&model, adapter.as_ref())?;
        Ok(Self { base, config: model, adapter, rows: vec![], prompts: vec![] })
    }

    /// The same with so many tokens in each of its rows.
    fn with_rows_of(self, tokens: usize, config: &TrainConfig) -> Result<Self, Failure> {
        let row = assumed_row_size(tokens, &*config.objective()?);
        let rows = config.rows.unwrap_or(ROWS);
        // As many prompts, each as long as a row.
        let prompts = vec![tokens; config.consistency_weight.map_or(0, |_| rows)];
        Ok(Self { rows: vec![row; rows], prompts, ..self })
    }

    /// A model with its tokenizer, and how much of each row passes through it.
    fn model_and_rows(config: &TrainConfig, session: &Session) -> Result<Self, Failure> {
        let path = resolve_description(&config.model, None)?;
        let folder = ModelFolder::without_weights(path, &config.template_options())?;
        config.check_adapter(&folder.config, folder.adapter.as_ref())?;
        let data = read_data(config, config.pivot, session)?;
        let (rows, _) = folder.tokenize(&data.rows, config.tokenize_options()?, session)?;
        let rows = with_harm_notes(rows, &folder.tokenizer, config, session)?;
        let objective = config.objective()?;
        check_rows(&rows, &*objective, config)?;
        let consistent = match consistency_rows(config, &[], session)? {
            Some(texts) => Some(folder.tokenize(&texts, config.tokenize_options()?, session)?.0),
            None => None,
        };
        let consistent = consistent.as_ref().unwrap_or(&rows);
        check_consistency(config, consistent, folder.config.decoder.prompt_layers())?;
        let (prompts, rows) = (prompt_sizes(consistent, config), row_sizes(&rows, &*objective));
        let base = folder.base_dir().to_owned();
        Ok(Self { base, config: folder.config, adapter: folder.adapter, rows, prompts })
    }

    /// What the model takes on a device, or on one that is not here.
    fn base_model(&self, device: Option<&Device>) -> Result<BaseModel<'_>, Failure> {
        Ok(BaseModel::of(&self.base, &self.config, self.adapter.as_ref(), device)?)
    }
}

/// The value of an argument in TFLOP/s.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err(format!("expected a number above 0, got {text}")),
    }
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Shown {
    parameters: u64,
    /// Whether layers are run again.
    recompute: bool,
    /// Processes that train one model together.
    ranks: usize,
    /// Bytes that each gives to the others in a step.
    sent_per_step: f64,
    /// The most bytes in the device's memory.
    peak_bytes: u64,
    /// The most in the machine's memory beside a GPU's.
    host_bytes: u64,
    /// All memory, and what is free of it, where it is known.
    memory: Option<u64>,
    free: Option<u64>,
    fits: Option<bool>,
    phases: Vec<Phase>,
    time: Time,
    remedies: Vec<Offer>,
    command: String,
}

#[derive(Debug, Serialize)]
struct Time {
    steps: u64,
    tokens_per_step: u64,
    /// Operations of all steps' matrix products.
    flops: f64,
    /// In a second; none where nothing was measured.
    flops_per_second: Option<f64>,
    /// Of the products alone.
    product_seconds: Option<f64>,
    /// Of the run, with a guess at what else a step does.
    seconds: Option<f64>,
}

/// A change that takes less memory, and the command with it.
#[derive(Debug, Serialize)]
struct Offer {
    #[serde(flatten)]
    remedy: Remedy,
    command: String,
}

impl Shown {
    /// `missing` are settings that a run needs and a plan does not.
    fn new(plan: &Plan<'_>, rate: Option<f64>, missing: Vec<(&'static str, String)>) -> Self {
        let ranks = plan.planner.machine.ranks;
        let launcher = if ranks > 1 { format!("mpirun -n {ranks} ") } else { String::new() };
        let command = |changed: &[(&'static str, String)]| {
            format!("{launcher}{}", command(&typed(), &[changed, &missing].concat()))
        };
        let estimate = &plan.planned.estimate;
        let room = plan.planner.machine.room;
        let is_known = room.total.or(room.available).is_some();
        let fits = plan.planner.machine.has_room_for(estimate);
        let remedies = if fits { vec![] } else { plan.planner.remedies(plan.config) };
        let passes = plan.planned.passes;
        Self {
            parameters: plan.planner.model.config.num_parameters(),
            recompute: plan.planned.storage.recompute,
            ranks,
            sent_per_step: plan.sent(),
            peak_bytes: estimate.bytes(),
            host_bytes: estimate.host_bytes(),
            memory: room.total,
            free: room.available,
            fits: is_known.then_some(fits),
            phases: estimate.phases.clone(),
            time: Time {
                steps: passes.steps,
                tokens_per_step: passes.tokens.checked_div(passes.steps).unwrap_or(0),
                flops: plan.flops(),
                flops_per_second: rate,
                product_seconds: rate.map(|rate| plan.flops() / (rate * plan.ranks())),
                seconds: rate.map(|rate| plan.seconds(rate)),
            },
            remedies: remedies.into_iter().map(|remedy| Offer { command: command(&remedy.settings), remedy }).collect(),
            command: command(plan.planned.settled(plan.config).as_slice()),
        }
    }

    fn text(&self, plan: &Plan<'_>) -> String {
        let peak = plan.planned.estimate.peak();
        let row = |name: &str, bytes: u64, host: bool| {
            let place = if host { "beside the device" } else { "" };
            [name.to_owned(), gigabytes(bytes), place.to_owned()]
        };
        let mut rows: Vec<[String; 3]> =
            peak.shares.iter().map(|share| row(share.part.name(), share.bytes, share.on_host)).collect();
        rows.push(["together".into(), gigabytes(self.peak_bytes), peak.name.when().into()]);
        let header = [&*format!("{:.2} B parameters", self.parameters as f64 / 1e9), "memory", ""];
        let mut lines = vec![table::render(header, rows, 1), String::new()];
        lines.extend(self.fit(plan.planner.machine.host));
        lines.push(self.time_text(plan));
        if self.ranks > 1 {
            lines.push(format!(
                "So each of {} ranks, which give each other {} each a step; docs/scaling.md says how long that takes.",
                self.ranks,
                gigabytes(self.sent_per_step as u64)
            ));
        }
        lines.join("\n")
    }

    /// Whether it fits, and what would; `host` is the memory beside a GPU's.
    fn fit(&self, host: Room) -> Vec<String> {
        let again = if self.recompute { " with layers that are run again" } else { "" };
        let room = match (self.free, self.memory) {
            (Some(free), _) => format!("{} that are free", gigabytes(free)),
            (None, Some(total)) => gigabytes(total),
            (None, None) => return vec!["How much memory there is, is not known: --memory says it.".into()],
        };
        if self.fits == Some(true) {
            return vec![format!("It fits in {room}{again}:"), format!("  {}", self.command)];
        }
        let beside = match host.available.or(host.total) {
            Some(room) if !host.has(self.host_bytes) => {
                format!(
                    " It takes {} beside the device, where {} are free.",
                    gigabytes(self.host_bytes),
                    gigabytes(room)
                )
            }
            _ => String::new(),
        };
        let mut lines = vec![format!("It does not fit in {room}{again}.{beside}")];
        for Offer { remedy, command } in &self.remedies {
            let verdict = if remedy.fits { "This fits" } else { "This is the least, and does not fit" };
            let beside = match remedy.host_bytes {
                0 => String::new(),
                bytes => format!(" and {} beside the device", gigabytes(bytes)),
            };
            lines.push(format!("{verdict}, {}{beside}:\n  {command}", gigabytes(remedy.bytes)));
        }
        if self.remedies.iter().all(|offer| !offer.remedy.fits) {
            lines.push("Choose a smaller model, or a device with more memory.".into());
        }
        lines
    }

    fn time_text(&self, plan: &Plan<'_>) -> String {
        let Time { steps, tokens_per_step, flops, .. } = &self.time;
        let (steps, verb) = (Counted(*steps, "step"), if *steps == 1 { "is" } else { "are" });
        let work = format!("{steps} of {tokens_per_step} tokens {verb} {:.1} TFLOP of matrix products", flops / 1e12);
        match self.time.flops_per_second {
            None => format!("{work}; --teraflops says how fast they are made."),
            Some(rate) => format!(
                "{work}: {} at {:.0} GFLOP/s; about {} with what else a step does.",
                duration(flops / (rate * plan.ranks())),
                rate / 1e9,
                duration(plan.seconds(rate)),
            ),
        }
    }
}

/// What was typed behind the command's name.
fn typed() -> Vec<String> {
    env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// The command that trains as was planned by `typed`, with these settings.
fn command(typed: &[String], settings: &[(&'static str, String)]) -> String {
    // What only a plan takes, and what is replaced; each with its value but for --json.
    let replaced: Vec<String> = settings.iter().map(|(key, _)| format!("--{}", key.replace('_', "-"))).collect();
    let own = ["--memory", "--ranks", "--row-tokens", "--teraflops"];
    let drops = |name: &str| own.contains(&name) || replaced.iter().any(|flag| flag == name);
    let mut words = vec!["mpo-train".to_owned(), "train".to_owned()];
    let mut rest = typed.iter();
    let mut is_named = false;
    while let Some(argument) = rest.next() {
        let (name, value) = argument.split_once('=').map_or((&**argument, None), |(name, value)| (name, Some(value)));
        if argument == "--json" || (argument == "plan" && !is_named) {
            is_named |= argument == "plan";
            continue;
        }
        if drops(name) {
            if value.is_none() {
                rest.next();
            }
            continue;
        }
        words.push(quoted(argument));
    }
    for (key, value) in settings {
        words.extend([format!("--{}", key.replace('_', "-")), value.clone()]);
    }
    words.join(" ")
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_command_trains_what_was_planned() {
        let typed = words("plan --model m --data rows.json --memory 8GB --recompute=off --json --teraflops 2");
        assert_eq!(command(&typed, &[]), "mpo-train train --model m --data rows.json --recompute=off");
        let settings = [("recompute", "on".to_owned()), ("micro_batch_tokens", "700".to_owned())];
        assert_eq!(
            command(&typed, &settings),
            "mpo-train train --model m --data rows.json --recompute on --micro-batch-tokens 700"
        );
    }

    #[test]
    fn arguments_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted("a/b.json"), "a/b.json");
        assert_eq!(quoted("my rows"), "'my rows'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
