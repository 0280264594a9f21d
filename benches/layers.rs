//! What a decoder layer and the optimizer are made of: our kernels beside the plain compositions that they replace.
//!
//! `cargo bench --workspace --bench layers -- --device flex --threads 2 --tokens 512`
//!
//! Times are of forward with gradients recorded and backward; the optimizer has one pass.

mod harness;

use std::collections::BTreeMap;
use std::process::ExitCode;

use burn::tensor::{DType, Device, Distribution, Tensor};
use clap::{Parser, ValueEnum};
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use harness::{Counting, Guard, Precision};
use mpo_kernels::allocator::keep_freed_memory;
use mpo_kernels::{
    Activation, AdamWStep, AttentionOptions, PackedLayout, RotaryTables, adamw_step, attention, gated_linear_unit,
    linear, rms_norm, rotary_embedding, use_reference,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Elements the optimizer updates: SmolLM2's embedding.
const PARAMETERS: usize = 49_152 * 576;

/// Whose layer it is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Model {
    #[value(name = "smollm2-135m")]
    SmolLm2,
    #[value(name = "llama-3.1-8b")]
    Llama8b,
}

struct Shape {
    hidden: usize,
    intermediate: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Model {
    fn shape(self) -> Shape {
        match self {
            Self::SmolLm2 => Shape { hidden: 576, intermediate: 1_536, heads: 9, kv_heads: 3, head_dim: 64 },
            Self::Llama8b => Shape { hidden: 4_096, intermediate: 14_336, heads: 32, kv_heads: 8, head_dim: 128 },
        }
    }
}

#[derive(Parser)]
struct Arguments {
    /// flex, wgpu, wgpu-cpu, or vulkan and cuda if built in.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Whose shapes to take.
    #[arg(long, default_value = "smollm2-135m")]
    shapes: Model,
    /// Type of what is computed with; the optimizer is always f32.
    #[arg(long, default_value = "f32")]
    dtype: Precision,
    /// Tokens, in sequences of `--length`.
    #[arg(long, default_value_t = 512)]
    tokens: usize,
    /// Tokens of a sequence.
    #[arg(long, default_value_t = 128)]
    length: usize,
    /// Timed runs of each, after one to warm up.
    #[arg(long, default_value_t = 10)]
    repetitions: usize,
    /// Threads of the CPU; all of them by default.
    #[arg(long)]
    threads: Option<usize>,
    #[command(flatten)]
    guard: Guard,
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

type Run = Box<dyn Fn(&[Tensor<2>]) -> Tensor<2>>;

/// An operation and the shapes of what it takes gradients of.
struct Operation {
    name: &'static str,
    inputs: Vec<[usize; 2]>,
    run: Run,
}

fn operations(arguments: &Arguments, device: &Device) -> Vec<Operation> {
    let tokens = arguments.tokens;
    let Shape { hidden, intermediate, heads, kv_heads, head_dim } = arguments.shapes.shape();
    let lengths: Vec<usize> =
        (0..tokens).step_by(arguments.length).map(|at| arguments.length.min(tokens - at)).collect();
    let layout = PackedLayout::sequences(&lengths);
    let frequencies: Vec<f32> = (0..head_dim / 2).map(|i| 10_000f32.powf(-2.0 * i as f32 / head_dim as f32)).collect();
    let tables = RotaryTables::new(&layout.positions(), &frequencies, device);
    let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
    let scale = (head_dim as f64).powf(-0.5);
    let heads = AttentionOptions { heads, kv_heads, head_dim, scale, softcap: None, window: None };
    let operation = |name, inputs: &[[usize; 2]], run: Run| Operation { name, inputs: inputs.to_vec(), run };
    vec![
        operation(
            "rms_norm",
            &[[tokens, hidden], [1, hidden]],
            Box::new(move |t| rms_norm(t[0].clone(), t[1].clone().reshape([hidden]), 1e-5, 0.0)),
        ),
        operation("rotary_embedding", &[[tokens, queries]], Box::new(move |t| rotary_embedding(t[0].clone(), &tables))),
        operation(
            "attention",
            &[[tokens, queries], [tokens, keys], [tokens, keys]],
            Box::new(move |t| attention(t[0].clone(), t[1].clone(), t[2].clone(), &layout, &heads)),
        ),
        operation(
            "gated_linear_unit",
            &[[tokens, intermediate]; 2],
            Box::new(|t| gated_linear_unit(t[0].clone(), t[1].clone(), Activation::Silu)),
        ),
        operation(
            "linear",
            &[[tokens, hidden], [intermediate, hidden]],
            Box::new(|t| linear(t[0].clone(), t[1].clone())),
        ),
    ]
}

fn main() -> ExitCode {
    harness::run(bench)
}

fn bench() -> Result<(), Box<dyn std::error::Error>> {
    keep_freed_memory();
    let arguments = Arguments::parse();
    let threads = arguments.threads.unwrap_or_else(harness::all_threads);
    harness::limit_threads(threads);
    let device = harness::device(&arguments.device)?;
    let repetitions = arguments.repetitions.max(1);
    let mut rows = vec![];
    for operation in operations(&arguments, &device) {
        let [plain, ours] = beside(|| both(&operation, &device, arguments.dtype.dtype(), repetitions));
        rows.push((operation.name, plain, ours));
    }
    let [plain, ours] = beside(|| optimizer(&device, repetitions));
    rows.push(("adamw_step", plain, ours));
    println!(
        "{}, {:?}, {:?}, {threads} threads, {} tokens in sequences of {}",
        arguments.device, arguments.shapes, arguments.dtype, arguments.tokens, arguments.length
    );
    println!("{}", table(&rows).trim_fmt());
    let numbers: BTreeMap<String, f64> =
        rows.iter().map(|(name, _, ours)| (format!("{name}, ours, seconds"), *ours)).collect();
    let grown = harness::compare(&arguments.guard, &numbers)?;
    if grown.is_empty() {
        return Ok(());
    }
    Err(format!("slower than the saved run:\n{}", grown.join("\n")).into())
}

/// A measurement with the plain compositions, and with our kernels.
fn beside(measure: impl Fn() -> f64) -> [f64; 2] {
    [true, false].map(|reference| {
        use_reference(reference);
        measure()
    })
}

/// Median seconds of forward and backward.
fn both(operation: &Operation, device: &Device, dtype: DType, repetitions: usize) -> f64 {
    let device = &device.clone().autodiff();
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), device).cast(dtype);
    let inputs: Vec<Tensor<2>> = operation.inputs.iter().map(|&shape| random(shape).require_grad()).collect();
    let weights = random((operation.run)(&inputs).dims());
    let once = || {
        let out = (operation.run)(&inputs) * weights.clone();
        let mut gradients = out.sum().backward();
        inputs.iter().map(|input| input.grad_remove(&mut gradients)).collect::<Vec<_>>()
    };
    once();
    harness::median((0..repetitions).map(|_| harness::seconds(device, once).0).collect())
}

/// Median seconds of one update.
fn optimizer(device: &Device, repetitions: usize) -> f64 {
    let random = || Tensor::<1>::random([PARAMETERS], Distribution::Default, device);
    let step = AdamWStep { lr: 1e-5, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, step: 1, grad_scale: 1.0 };
    let (mut param, grad, mut momentum, mut variance) = (random(), random(), random(), random());
    let mut times = vec![];
    for _ in 0..=repetitions {
        let (seconds, updated) = harness::seconds(device, || adamw_step(param, grad.clone(), momentum, variance, step));
        (param, momentum, variance) = (updated.param, updated.momentum, updated.variance);
        times.push(seconds);
    }
    harness::median(times.split_off(1))
}

fn table(rows: &[(&str, f64, f64)]) -> Table {
    let mut table = Table::new();
    let underline = LineStyle::none().fill('─').junction('─');
    table
        .load_style(TableStyle::new().header_separator(underline))
        .set_header(["operation", "plain ms", "ours ms", "plain / ours"])
        .add_rows(rows.iter().map(|(name, plain, ours)| {
            [
                (*name).to_owned(),
                format!("{:.2}", plain * 1e3),
                format!("{:.2}", ours * 1e3),
                format!("{:.1}", plain / ours),
            ]
        }));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
