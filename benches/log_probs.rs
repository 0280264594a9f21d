//! log p(target) from logits and from hidden states: the plain composition of Burn operations beside our kernels.
//!
//! `cargo bench --workspace --bench log_probs -- --device flex --threads 2 --shape 576x49152x1024`
//!
//! Times are medians; `forward` records gradients, `backward` asks for those of all float inputs. GB/s counts the least
//! bytes that must move (logits read once forward; read and written once backward), GFLOP/s the least operations (one
//! product forward, two backward), whatever an implementation does, so a share of the ceiling is a share of the ideal.

mod harness;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Distribution, Int, Tensor, TensorData};
use clap::{Parser, ValueEnum};
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use harness::{Ceilings, Counting, Guard, Precision};
use mpo_kernels::allocator::keep_freed_memory;
use mpo_kernels::{linear_token_log_probs, token_log_probs};
use serde::Serialize;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Parser)]
struct Arguments {
    /// flex, wgpu, wgpu-cpu, or vulkan and cuda if built in.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Type of logits, hidden states and head.
    #[arg(long, default_value = "f32")]
    dtype: Precision,
    /// hidden size x vocabulary x tokens; may be given several times.
    #[arg(long = "shape", value_name = "HxVxN", default_values = ["576x49152x1024", "640x262144x512", "4096x128256x256"])]
    shapes: Vec<Shape>,
    /// What to run.
    #[arg(long, value_delimiter = ',', default_values = ["logits-plain", "logits", "plain", "fused"])]
    implementations: Vec<Implementation>,
    /// Timed runs of each, after one to warm up.
    #[arg(long, default_value_t = 3)]
    repetitions: usize,
    /// Threads of the CPU; all of them by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Memory for logits that the head keeps from forward to backward on the CPU, MiB: what a run takes by default.
    #[arg(long, default_value_t = 256)]
    head_memory: usize,
    /// Give freed memory back to the system at once, as most programs do; `mpo-train` keeps it for as long as a phase lasts.
    #[arg(long)]
    return_memory: bool,
    /// Also write the numbers as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    guard: Guard,
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Shape {
    hidden_size: usize,
    vocabulary: usize,
    tokens: usize,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes: Vec<usize> = text.split('x').filter_map(|size| size.parse().ok()).collect();
        match sizes[..] {
            [hidden_size, vocabulary, tokens] if sizes.iter().all(|&size| size > 0) => {
                Ok(Self { hidden_size, vocabulary, tokens })
            }
            _ => Err(format!("expected HxVxN such as 576x49152x1024, got {text}")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Implementation {
    /// log_softmax and gather, from logits.
    LogitsPlain,
    /// Our kernel, from logits.
    Logits,
    /// The product with the head, log_softmax and gather.
    Plain,
    /// Our kernel, from hidden states.
    Fused,
}

impl Implementation {
    fn takes_logits(self) -> bool {
        matches!(self, Self::LogitsPlain | Self::Logits)
    }

    fn name(self) -> &'static str {
        match self {
            Self::LogitsPlain => "from logits, plain",
            Self::Logits => "from logits, ours",
            Self::Plain => "with the head, plain",
            Self::Fused => "with the head, ours",
        }
    }

    /// The float inputs.
    fn inputs(self, shape: Shape, dtype: DType, device: &Device) -> Vec<Tensor<2>> {
        let normal = |rows, columns, deviation| {
            Tensor::<2>::random([rows, columns], Distribution::Normal(0.0, deviation), device).cast(dtype)
        };
        if self.takes_logits() {
            return vec![normal(shape.tokens, shape.vocabulary, 1.0)];
        }
        let deviation = (shape.hidden_size as f64).powf(-0.5);
        vec![normal(shape.tokens, shape.hidden_size, 1.0), normal(shape.vocabulary, shape.hidden_size, deviation)]
    }

    /// `keep`: bytes of logits that the head may keep.
    fn run(self, inputs: &[Tensor<2>], targets: Tensor<1, Int>, keep: usize) -> Tensor<1> {
        let input = |i: usize| inputs[i].clone();
        let plain = |logits: Tensor<2>| {
            let [tokens] = targets.dims();
            log_softmax(logits, 1).gather(1, targets.clone().reshape([tokens, 1])).reshape([tokens])
        };
        match self {
            Self::LogitsPlain => plain(input(0)),
            Self::Plain => plain(input(0).matmul(input(1).transpose())),
            Self::Logits => token_log_probs(input(0), targets, None),
            Self::Fused => linear_token_log_probs(input(0), input(1), targets, None, keep),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Pass {
    Forward,
    Backward,
    Both,
}

#[derive(Debug, Serialize)]
struct Measured {
    shape: Shape,
    implementation: Implementation,
    pass: Pass,
    seconds: f64,
    /// Bytes or operations per second, counted as the ideal would need them.
    rate: f64,
    /// Share of the copy bandwidth or of the matrix products' peak.
    share_of_ceiling: f64,
    /// Beyond inputs and their gradients.
    peak_extra_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Run<'a> {
    program: &'a str,
    version: &'a str,
    device: &'a str,
    dtype: String,
    threads: usize,
    ceilings: Ceilings,
    results: &'a [Measured],
}

fn main() -> ExitCode {
    harness::run(bench)
}

fn bench() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    if !arguments.return_memory {
        keep_freed_memory();
    }
    let threads = arguments.threads.unwrap_or_else(harness::all_threads);
    harness::limit_threads(threads);
    let dtype = arguments.dtype.dtype();
    let device = harness::device(&arguments.device)?;
    let ceilings = harness::measure_ceilings(&device, dtype);
    let device = device.autodiff();
    let mut results = vec![];
    for &shape in &arguments.shapes {
        for &implementation in &arguments.implementations {
            results.extend(measure(implementation, shape, dtype, &device, &ceilings, &arguments));
        }
    }
    println!(
        "{}, {:?}, {threads} threads: copies at {:.1} GB/s, matrix products at {:.0} GFLOP/s",
        arguments.device,
        arguments.dtype,
        ceilings.copy_bytes_per_second / 1e9,
        ceilings.matmul_flops_per_second / 1e9
    );
    println!("{}", table(&results).trim_fmt());
    if let Some(path) = &arguments.json {
        let run = Run {
            program: "mpo-train",
            version: env!("CARGO_PKG_VERSION"),
            device: &arguments.device,
            dtype: format!("{:?}", arguments.dtype).to_lowercase(),
            threads,
            ceilings,
            results: &results,
        };
        std::fs::write(path, serde_json::to_string_pretty(&run)?)?;
    }
    let grown = harness::compare(&arguments.guard, &named(&results))?;
    if grown.is_empty() {
        return Ok(());
    }
    Err(format!("slower or larger than the saved run:\n{}", grown.join("\n")).into())
}

/// Forward, backward and both, each the median of the repetitions, and the peak memory of one run.
fn measure(
    implementation: Implementation,
    shape: Shape,
    dtype: DType,
    device: &Device,
    ceilings: &Ceilings,
    arguments: &Arguments,
) -> [Measured; 3] {
    let inputs: Vec<Tensor<2>> =
        implementation.inputs(shape, dtype, device).into_iter().map(Tensor::require_grad).collect();
    let ids: Vec<i32> = (0..shape.tokens).map(|token| (token * 7_919 % shape.vocabulary) as i32).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(ids, [shape.tokens]), device);
    let forward = || implementation.run(&inputs, targets.clone(), arguments.head_memory << 20);
    // One gradient per token, each different, as those of sequence means are.
    let weights = Tensor::<1>::random([shape.tokens], Distribution::Default, device);
    let backward = |log_probs: Tensor<1>| {
        let mut gradients = (log_probs.clone() * weights.clone().cast(log_probs.dtype())).sum().backward();
        inputs.iter().map(|input| input.grad_remove(&mut gradients).expect("a gradient")).collect::<Vec<_>>()
    };
    let gradient_bytes: usize = inputs.iter().map(|input| input.shape().num_elements() * dtype.size()).sum();
    // Kernels are compiled and tuned in the first run, so it is not measured.
    drop(backward(forward()));
    let peak = harness::peak_while(device, || drop(backward(forward())));
    let (forwards, backwards): (Vec<f64>, Vec<f64>) = (0..arguments.repetitions.max(1))
        .map(|_| {
            let (first, log_probs) = harness::seconds(device, forward);
            (first, harness::seconds(device, || backward(log_probs)).0)
        })
        .unzip();
    let both = forwards.iter().zip(&backwards).map(|(f, b)| f + b).collect();
    let elements = (shape.tokens * shape.vocabulary) as f64;
    let product = 2.0 * elements * shape.hidden_size as f64;
    // Each pass moves all logits or makes a product of their size once forward and twice backward.
    let (work, ceiling) = if implementation.takes_logits() {
        (elements * dtype.size() as f64, ceilings.copy_bytes_per_second)
    } else {
        (product, ceilings.matmul_flops_per_second)
    };
    let measured = |pass, times| {
        let seconds = harness::median(times);
        let passes = match pass {
            Pass::Forward => 1.0,
            Pass::Backward => 2.0,
            Pass::Both => 3.0,
        };
        let rate = passes * work / seconds;
        Measured {
            shape,
            implementation,
            pass,
            seconds,
            rate,
            share_of_ceiling: rate / ceiling,
            peak_extra_bytes: (pass == Pass::Both).then(|| peak.saturating_sub(gradient_bytes as u64)),
        }
    };
    [measured(Pass::Forward, forwards), measured(Pass::Backward, backwards), measured(Pass::Both, both)]
}

fn table(results: &[Measured]) -> Table {
    let mut table = Table::new();
    let underline = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(underline)).set_header([
        "H x V x N",
        "implementation",
        "pass",
        "ms",
        "rate",
        "of ceiling",
        "extra MiB",
    ]);
    for measured in results {
        let Shape { hidden_size, vocabulary, tokens } = measured.shape;
        let unit = if measured.implementation.takes_logits() { "GB/s" } else { "GFLOP/s" };
        let memory = measured.peak_extra_bytes.map(mebibytes);
        table.add_row([
            format!("{hidden_size} x {vocabulary} x {tokens}"),
            measured.implementation.name().into(),
            format!("{:?}", measured.pass).to_lowercase(),
            format!("{:.1}", measured.seconds * 1e3),
            format!("{:.1} {unit}", measured.rate / 1e9),
            format!("{:.0} %", measured.share_of_ceiling * 100.0),
            memory.map_or_else(String::new, |memory| format!("{memory:.0}")),
        ]);
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
    let name = |m: &Measured, what: &str| {
        let Shape { hidden_size, vocabulary, tokens } = m.shape;
        format!("{hidden_size}x{vocabulary}x{tokens}, {}, {:?} {what}", m.implementation.name(), m.pass)
    };
    let times = results.iter().map(|m| (name(m, "seconds"), m.seconds));
    let memory = results.iter().filter_map(|m| Some((name(m, "MiB"), mebibytes(m.peak_extra_bytes?))));
    times.chain(memory).collect()
}
