//! The training step of MPO on exact token ids: losses, time per row, tokens per second, peak memory, as one line of JSON.
//!
//! `cargo bench --workspace --bench step -- --model DIR --rows FILE --mode released --steps 10 --threads 2`
//!
//! Without `--model` the miniature's is taken, without `--rows` rows of random tokens. With `--config` weights are random: a
//! model's cost without the model.
//!
//! `FILE` holds `{"pad_id": …, "rows": [{source_prompt_ids, …, target_rejected_ids}]}`. The reference is computed before
//! the clock starts, as a run does; the first step is a warm-up. `benches/peers/compare_step.py` runs PyTorch beside it.

mod harness;

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::{DType, Device, Tensor};
use clap::{Parser, ValueEnum};
use mpo_data::{Origin, Position, TokenizedPair, TokenizedRow, TokenizedRows};
use mpo_kernels::allocator::{Allocator, give_back_freed_memory, keep_freed_memory};
use mpo_models::{CausalLm, Checkpoint, Initializer, ModelConfig, WeightSource};
use mpo_progress::Silent;
use mpo_trainer::{
    AdapterKind, Event, HyperParameters, Identity, Kind, OptimizerState, PrecisionChoice, Reference, RunFolder,
    Schedule, StepEvent, TrainOptions, Trainer, build_task,
};
use serde::Deserialize;
use serde_json::json;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

#[derive(Parser)]
struct Arguments {
    /// Model folder.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/mpo-train/miniature/model"))]
    model: PathBuf,
    /// A model's `config.json`: random weights of that shape in place of a model.
    #[arg(long)]
    config: Option<PathBuf>,
    /// flex, wgpu, wgpu-cpu, or vulkan and cuda if built in.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Rows as token ids.
    #[arg(long)]
    rows: Option<PathBuf>,
    /// Tokens of each random prompt.
    #[arg(long, default_value_t = 64)]
    prompt_tokens: usize,
    /// Tokens of each random answer.
    #[arg(long, default_value_t = 48)]
    answer_tokens: usize,
    /// Rows of a step.
    #[arg(long, default_value_t = 1)]
    batch_size: usize,
    /// Tokens that pass through the model at once, at most.
    #[arg(long, default_value_t = 1_024)]
    micro_batch_tokens: usize,
    /// Where AdamW's moments are kept: device, host or bf16.
    #[arg(long, default_value = "device")]
    optimizer_state: OptimizerState,
    /// What matrix products are made in: f32 or bf16.
    #[arg(long, default_value = "f32")]
    precision: PrecisionChoice,
    /// What is held in place, and how.
    #[arg(long, default_value = "released")]
    mode: Mode,
    /// Optimizer steps; rows repeat if there are fewer.
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Threads of the CPU.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Peak learning rate, constant.
    #[arg(long, default_value_t = 1e-5)]
    lr: f64,
    /// Train an adapter of this rank on all linear maps of the layers, with `alpha` twice the rank, instead of the weights.
    #[arg(long)]
    lora_rank: Option<usize>,
    /// Run layers again in the backward.
    #[arg(long)]
    recompute: bool,
    /// Memory for logits that the head keeps from forward to backward, MiB [default: as in a run].
    #[arg(long)]
    head_memory: Option<usize>,
    /// Our kernels, or the plain compositions of Burn operations that they replace.
    #[arg(long, default_value = "ours")]
    kernels: Kernels,
    /// Print every step's numbers to stderr.
    #[arg(long)]
    verbose: bool,
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// The mean over both padded sequences, as in the authors' code.
    Released,
    /// The squared norm at the prompt's last token, as the paper writes it.
    Paper,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kernels {
    Ours,
    Plain,
}

#[derive(Deserialize)]
struct Rows {
    #[serde(default)]
    pad_id: u32,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    source_prompt_ids: Vec<u32>,
    source_chosen_ids: Vec<u32>,
    source_rejected_ids: Vec<u32>,
    target_prompt_ids: Vec<u32>,
    target_chosen_ids: Vec<u32>,
    target_rejected_ids: Vec<u32>,
}

fn main() -> ExitCode {
    harness::run(bench)
}

fn bench() -> Result<(), Box<dyn std::error::Error>> {
    keep_freed_memory();
    #[cfg(feature = "cuda")]
    mpo_kernels::keep_compiled();
    let arguments = Arguments::parse();
    harness::limit_threads(arguments.threads);
    mpo_kernels::use_reference(arguments.kernels == Kernels::Plain);
    let file: Rows = match &arguments.rows {
        Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
        None => random_rows(&arguments),
    };
    let rows: Vec<TokenizedRow> =
        file.rows.into_iter().enumerate().map(|(i, row)| tokenized(i + 1, row)).collect::<Result<_, _>>()?;
    let rows: Vec<TokenizedRow> = rows.iter().cycle().take(arguments.steps * arguments.batch_size).cloned().collect();
    let (retain, retain_scale) = match arguments.mode {
        Mode::Released => ("mean-pool", "mean"),
        Mode::Paper => ("last-token", "squared"),
    };
    let settings = [("retain", json!(retain)), ("retain_scale", json!(retain_scale)), ("pad_multiple", json!(1))];
    let settings = settings.map(|(key, value)| (key.to_owned(), value));
    let folder = tempfile::tempdir()?;
    let config = TrainOptions {
        model: Some(arguments.model.display().to_string()),
        data: Some("rows".into()),
        output: Some(folder.path().to_owned()),
        hyper_parameters: HyperParameters(settings.into_iter().collect()),
        lr: Some(arguments.lr),
        schedule: Some(Schedule::Constant),
        warmup_ratio: Some(0.0),
        batch_size: Some(arguments.batch_size),
        precision: Some(arguments.precision),
        optimizer_state: Some(arguments.optimizer_state),
        micro_batch_tokens: Some(arguments.micro_batch_tokens),
        head_memory: arguments.head_memory,
        epochs: Some(1.0),
        shuffle: Some(false),
        adapter: arguments.lora_rank.map(|_| AdapterKind::Lora),
        lora_rank: arguments.lora_rank,
        // Writing gigabytes is not part of a step.
        checkpoint_every: Some(u64::MAX),
        ..TrainOptions::default()
    }
    .resolve()?;
    let device = harness::device(&arguments.device)?.autodiff();
    let (model, model_config) = arguments.load(config.lora().is_some(), &device)?;
    let model = match config.lora() {
        None => model,
        Some(adapter) => model.with_adapter(&adapter, &config.model)?,
    };
    let model = model.with_precision(config.precision());
    let model_hash = &match &arguments.config {
        Some(path) => path.display().to_string(),
        None => Checkpoint::open(&arguments.model)?.content_hash()?,
    };
    let cache = folder.path().join("reference");
    let mut reference = Reference::new(&model, model_hash, cache, arguments.micro_batch_tokens, &Silent);
    let objective = config.objective()?;
    let training = TokenizedRows::Bilingual(rows.clone());
    let task = build_task(&*objective, training, &config, file.pad_id, &mut reference)?;
    let run = RunFolder::create(&folder.path().join("run"), Kind::Train, Identity::default())?;
    let trainer = Trainer {
        task: &*task,
        consistency: None,
        config: &config,
        run: &run,
        model_config: &model_config,
        model_hash,
        dominant: None,
        recompute: arguments.recompute,
        held_out: None,
    };
    // It holds the weights as they were: every one would be copied when it changes.
    drop(reference);
    // As the program does where a phase begins.
    give_back_freed_memory();
    let mut watch = Watch { steps: vec![], verbose: arguments.verbose, clock: Instant::now() };
    trainer.run(model, &Silent, &mut |event| watch.event(event))?;
    let timed = &watch.steps[1.min(watch.steps.len() - 1)..];
    let seconds: f64 = timed.iter().map(|(seconds, _)| seconds).sum();
    let row_count = (timed.len() * arguments.batch_size) as f64;
    let first = watch.steps.len() - timed.len();
    // An encoder's states are those of prompts.
    let holds_prompt = matches!(arguments.mode, Mode::Paper) || model_config.decoder.encoder.is_some();
    let tokens: usize = rows[first * arguments.batch_size..].iter().map(|row| policy_tokens(row, holds_prompt)).sum();
    let losses: Vec<f64> = watch.steps.iter().map(|(_, step)| step.metrics["loss"]).collect();
    println!(
        "{}",
        serde_json::json!({
            "program": "mpo-train",
            "kernels": match arguments.kernels { Kernels::Ours => "ours", Kernels::Plain => "plain" },
            "precision": arguments.precision,
            "mode": match arguments.mode { Mode::Released => "released", Mode::Paper => "paper" },
            "steps": watch.steps.len(),
            "seconds_per_row": seconds / row_count,
            "policy_tokens_per_second": tokens as f64 / seconds,
            "first_step_seconds": watch.steps[0].0,
            "peak_rss_bytes": harness::peak_rss(),
            "device_bytes_reserved": device.memory_pool_usage().map(|pool| pool.bytes_reserved),
            "retain_losses": watch.steps.iter().map(|(_, step)| step.metrics.get("loss/retain")).collect::<Vec<_>>(),
            "losses": losses,
        })
    );
    Ok(())
}

impl Arguments {
    fn load(&self, frozen: bool, device: &Device) -> Result<(CausalLm, ModelConfig), Box<dyn std::error::Error>> {
        let Some(path) = &self.config else {
            let load = if frozen { CausalLm::load_frozen } else { CausalLm::load };
            return Ok(load(&self.model, device)?);
        };
        let config = ModelConfig::from_json(serde_json::from_slice(&std::fs::read(path)?)?)?;
        device.seed(0);
        let mut weights = Fresh { source: Initializer::new(config.decoder.norm.offset), frozen };
        let Ok(model) = CausalLm::new(config.decoder.clone(), &mut weights, device);
        Ok((model, config))
    }
}

/// Fresh weights; frozen ones are bf16, as most models are published.
struct Fresh {
    source: Initializer,
    frozen: bool,
}

impl WeightSource for Fresh {
    type Error = Infallible;

    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, Infallible> {
        let tensor = self.source.tensor(name, shape, device)?;
        Ok(if self.frozen && D == 2 { tensor.cast(DType::BF16) } else { tensor })
    }
}

/// The same rows each time.
fn random_rows(arguments: &Arguments) -> Rows {
    let mut state = 1u32;
    let mut ids = |length: usize| -> Vec<u32> {
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            4 + (state >> 16) % 1_024
        };
        (0..length).map(next).collect()
    };
    let (prompt, answer) = (arguments.prompt_tokens, arguments.answer_tokens);
    let row = |_| Row {
        source_prompt_ids: ids(prompt),
        source_chosen_ids: ids(answer),
        source_rejected_ids: ids(answer),
        target_prompt_ids: ids(prompt),
        target_chosen_ids: ids(answer),
        target_rejected_ids: ids(answer),
    };
    let count = arguments.steps * arguments.batch_size;
    Rows { pad_id: 0, rows: (0..count).map(row).collect() }
}

fn tokenized(index: usize, row: Row) -> Result<TokenizedRow, Box<dyn std::error::Error>> {
    let origin = Origin { file: "rows".into(), position: Position::Row(index) };
    let pair = |prompt, chosen, rejected| TokenizedPair::new(&origin, prompt, chosen, rejected);
    Ok(TokenizedRow {
        dominant: pair(row.source_prompt_ids, row.source_chosen_ids, row.source_rejected_ids)?,
        target: pair(row.target_prompt_ids, row.target_chosen_ids, row.target_rejected_ids)?,
        dominant_language: "en".parse()?,
        language: "zh".parse()?,
        origin,
    })
}

/// Tokens of the policy's sequences without padding, as the PyTorch script counts them: a shared prompt counts twice. Of the
/// dominant pair the prompt alone, if no more is held of it.
fn policy_tokens(row: &TokenizedRow, holds_prompt: bool) -> usize {
    let pair = |pair: &TokenizedPair| 2 * pair.prompt().len() + pair.chosen().len() + pair.rejected().len();
    pair(&row.target) + if holds_prompt { row.dominant.prompt().len() } else { pair(&row.dominant) }
}

struct Watch {
    steps: Vec<(f64, StepEvent)>,
    verbose: bool,
    clock: Instant,
}

impl Watch {
    fn event(&mut self, event: &Event) {
        let seconds = std::mem::replace(&mut self.clock, Instant::now()).elapsed().as_secs_f64();
        if let Event::Step(step) = event {
            if self.verbose {
                eprintln!("{seconds:.2} s {:?}", step.metrics);
            }
            self.steps.push((seconds, step.clone()));
        }
    }
}
