//! Attention over packed rows: the plain composition of Burn operations beside our kernel.
//!
//! `cargo bench --workspace --bench attention -- --device flex --threads 2`
//!
//! Prompts stand once, before the answers to them. Times are medians; `forward` records gradients, `backward` asks for
//! those of queries, keys and values. GFLOP/s counts the operations on pairs of rows that see each other, two products
//! forward and five backward, whatever an implementation does, so a share of the ceiling is a share of the ideal.

mod harness;

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::str::FromStr;

use burn::tensor::{DType, Device, Distribution, Tensor};
use clap::Parser;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use harness::{Counting, Guard, Precision};
use mpo_kernels::allocator::keep_freed_memory;
use mpo_kernels::{AttentionOptions, PackedLayout, Segment, attention, use_reference};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Parser)]
struct Arguments {
    /// flex, wgpu, wgpu-cpu, or vulkan and cuda if built in.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Type of queries, keys and values.
    #[arg(long, default_value = "f32")]
    dtype: Precision,
    /// Query heads x key heads x their width, and a window if there is one; may be given several times. The defaults are
    /// a layer of LLaMA 3 8B and of Gemma 3 4B.
    #[arg(long = "heads", value_name = "HxKxD[wW]", default_values = ["32x8x128", "8x4x256w256"])]
    heads: Vec<Heads>,
    /// prompt x answer: their tokens; may be given several times.
    #[arg(long = "row", value_name = "PxA", default_values = ["100x200", "500x1500"])]
    rows: Vec<Row>,
    /// Answers to every prompt.
    #[arg(long, default_value_t = 2)]
    answers: usize,
    /// The most tokens of all rows; 512 on the CPU and 4096 elsewhere by default.
    #[arg(long)]
    tokens: Option<usize>,
    /// Leave out the composition.
    #[arg(long)]
    ours: bool,
    /// Timed runs of each, after one to warm up.
    #[arg(long, default_value_t = 5)]
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

#[derive(Debug, Clone, Copy)]
struct Heads {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    window: Option<usize>,
}

impl FromStr for Heads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let failed = || format!("expected HxKxD such as 32x8x128, or 8x4x256w256 with a window, got {text}");
        let (shape, window) = match text.split_once('w') {
            Some((shape, window)) => (shape, Some(window.parse().map_err(|_| failed())?)),
            None => (text, None),
        };
        match numbers(shape)[..] {
            [heads, kv_heads, head_dim] if heads % kv_heads == 0 && window != Some(0) => {
                Ok(Self { heads, kv_heads, head_dim, window })
            }
            _ => Err(failed()),
        }
    }
}

impl fmt::Display for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.heads, self.kv_heads, self.head_dim)?;
        self.window.map_or(Ok(()), |window| write!(f, "w{window}"))
    }
}

impl Heads {
    fn options(self) -> AttentionOptions {
        AttentionOptions {
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            scale: (self.head_dim as f64).powf(-0.5),
            softcap: None,
            window: self.window,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Row {
    prompt: usize,
    answer: usize,
}

impl FromStr for Row {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match numbers(text)[..] {
            [prompt, answer] => Ok(Self { prompt, answer }),
            _ => Err(format!("expected PxA such as 100x200, got {text}")),
        }
    }
}

/// Numbers above zero with an x between them.
fn numbers(text: &str) -> Vec<usize> {
    let numbers: Option<Vec<usize>> = text.split('x').map(|n| n.parse().ok().filter(|&n| n > 0)).collect();
    numbers.unwrap_or_default()
}

impl Row {
    /// As many prompts with their answers as `tokens` has room for, at least one.
    fn layout(self, answers: usize, tokens: usize) -> PackedLayout {
        let mut segments = vec![];
        let mut end = 0;
        while end == 0 || end + self.prompt + answers * self.answer <= tokens {
            let prompt = end..end + self.prompt;
            segments.push(Segment { rows: prompt.clone(), context: vec![], attends_itself: true });
            end = prompt.end;
            for _ in 0..answers {
                let rows = end..end + self.answer;
                end = rows.end;
                segments.push(Segment { rows, context: vec![prompt.clone()], attends_itself: true });
            }
        }
        PackedLayout::new(segments)
    }
}

/// Pairs of a query and a key that see each other.
fn pairs(layout: &PackedLayout, window: Option<usize>) -> usize {
    layout.positions().into_iter().map(|position| (position as usize + 1).min(window.unwrap_or(usize::MAX))).sum()
}

struct Measured {
    name: String,
    implementation: &'static str,
    forward: f64,
    backward: f64,
    /// Operations of the forward; the backward has five products for its two.
    work: f64,
    /// Beyond inputs and their gradients.
    peak_extra_bytes: u64,
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
    let dtype = arguments.dtype.dtype();
    let ceiling = harness::measure_ceilings(&device, dtype).matmul_flops_per_second;
    let device = device.autodiff();
    let on_cpu = ["flex", "wgpu-cpu"].contains(&arguments.device.as_str());
    let tokens = arguments.tokens.unwrap_or(if on_cpu { 512 } else { 4_096 });
    let mut results = vec![];
    for &heads in &arguments.heads {
        for row in &arguments.rows {
            let layout = row.layout(arguments.answers, tokens);
            for (implementation, reference) in [("plain", true), ("ours", false)] {
                if reference && arguments.ours {
                    continue;
                }
                use_reference(reference);
                let name = format!("{heads}, {}x{}, {} tokens", row.prompt, row.answer, layout.tokens());
                let options = heads.options();
                let repetitions = arguments.repetitions.max(1);
                results.push(measure(name, implementation, &layout, &options, dtype, &device, repetitions));
            }
        }
    }
    println!(
        "{}, {:?}, {threads} threads: matrix products at {:.0} GFLOP/s",
        arguments.device,
        arguments.dtype,
        ceiling / 1e9
    );
    println!("{}", table(&results, ceiling).trim_fmt());
    let grown = harness::compare(&arguments.guard, &named(&results))?;
    if grown.is_empty() {
        return Ok(());
    }
    Err(format!("slower or larger than the saved run:\n{}", grown.join("\n")).into())
}

/// Forward and backward, each the median of the repetitions, and the peak memory of one run.
fn measure(
    name: String,
    implementation: &'static str,
    layout: &PackedLayout,
    options: &AttentionOptions,
    dtype: DType,
    device: &Device,
    repetitions: usize,
) -> Measured {
    let AttentionOptions { heads, kv_heads, head_dim, window, .. } = *options;
    let random = |heads: usize| {
        Tensor::<2>::random([layout.tokens(), heads * head_dim], Distribution::Normal(0.0, 1.0), device).cast(dtype)
    };
    let inputs = [heads, kv_heads, kv_heads].map(|heads| random(heads).require_grad());
    let weights = random(heads);
    let forward = || {
        let [q, k, v] = inputs.clone();
        attention(q, k, v, layout, options)
    };
    let backward = |out: Tensor<2>| {
        let mut gradients = (out * weights.clone()).sum().backward();
        inputs.each_ref().map(|input| input.grad_remove(&mut gradients).expect("a gradient"))
    };
    let gradient_bytes: usize = inputs.iter().map(|input| input.shape().num_elements() * dtype.size()).sum();
    // Kernels are compiled and tuned in the first run, so it is not measured.
    drop(backward(forward()));
    let peak = harness::peak_while(device, || drop(backward(forward())));
    let (forwards, backwards): (Vec<f64>, Vec<f64>) = (0..repetitions)
        .map(|_| {
            let (first, out) = harness::seconds(device, forward);
            (first, harness::seconds(device, || backward(out)).0)
        })
        .unzip();
    Measured {
        name,
        implementation,
        forward: harness::median(forwards),
        backward: harness::median(backwards),
        work: 4.0 * (pairs(layout, window) * heads * head_dim) as f64,
        peak_extra_bytes: peak.saturating_sub(gradient_bytes as u64),
    }
}

fn table(results: &[Measured], ceiling: f64) -> Table {
    let mut table = Table::new();
    let underline = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(underline)).set_header([
        "heads, prompt x answer",
        "",
        "pass",
        "ms",
        "GFLOP/s",
        "of ceiling",
        "extra MiB",
    ]);
    for measured in results {
        let row = |pass: &str, seconds: f64, work: f64, memory: String| {
            [
                measured.name.clone(),
                measured.implementation.to_owned(),
                pass.to_owned(),
                format!("{:.2}", seconds * 1e3),
                format!("{:.0}", work / seconds / 1e9),
                format!("{:.1} %", work / seconds / ceiling * 100.0),
                memory,
            ]
        };
        table.add_row(row("forward", measured.forward, measured.work, String::new()));
        let memory = format!("{:.0}", mebibytes(measured.peak_extra_bytes));
        table.add_row(row("backward", measured.backward, 2.5 * measured.work, memory));
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Every number under a name of its own, for the comparison with a saved run.
fn named(results: &[Measured]) -> BTreeMap<String, f64> {
    let numbers = |m: &Measured| {
        [("forward seconds", m.forward), ("backward seconds", m.backward), ("MiB", mebibytes(m.peak_extra_bytes))]
    };
    let named =
        |m: &Measured| numbers(m).map(|(what, number)| (format!("{}, {}, {what}", m.name, m.implementation), number));
    results.iter().flat_map(named).collect()
}
