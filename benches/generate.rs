//! Tokens per second of greedy generation, alone and in batches, and the memory it takes.
//!
//! `cargo bench --workspace --bench generate -- --model DIR --batch-sizes 1,8 --threads 2`
//!
//! Without `--model` the miniature's is taken. Prompts are 24 random tokens each. `--wide` holds weights in f32 whatever type
//! the checkpoint has. The floor is the time to read every weight that a token needs once, at the speed of a copy.

mod harness;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::Device;
use clap::Parser;
use mpo_kernels::allocator::keep_freed_memory;
use mpo_models::{CausalLm, GenerateOptions, generate};

#[global_allocator]
static ALLOCATOR: harness::Counting = harness::Counting;

#[derive(Parser)]
struct Arguments {
    /// Model folder.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/mpo-train/miniature/model"))]
    model: PathBuf,
    /// Prompts answered at once.
    #[arg(long, value_delimiter = ',', default_value = "1,8")]
    batch_sizes: Vec<usize>,
    /// Tokens of an answer.
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// Threads of the CPU.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Hold weights in f32, not as they are stored.
    #[arg(long)]
    wide: bool,
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

const PROMPT: u32 = 24;

fn main() -> ExitCode {
    harness::run(bench)
}

fn bench() -> Result<(), Box<dyn std::error::Error>> {
    keep_freed_memory();
    let arguments = Arguments::parse();
    harness::limit_threads(arguments.threads);
    let device = Device::flex();
    let load = if arguments.wide { CausalLm::load } else { CausalLm::load_frozen };
    let (model, _) = load(&arguments.model, &device)?;
    let mut bytes = 0;
    model.each_parameter(|parameter| {
        let elements: usize = parameter.shape.iter().product();
        bytes += elements * parameter.values.dtype().size();
    });
    println!("{} MiB of weights, {} threads", bytes >> 20, arguments.threads);
    println!(
        "{:>10} {:>12} {:>14} {:>12} {:>14}",
        "batch size", "tokens/s", "GB/s of weights", "ms per step", "peak MiB more"
    );
    for &batch_size in &arguments.batch_sizes {
        let vocab_size = model.config().vocab_size as u32;
        let prompt = |number: u32| (0..PROMPT).map(|i| (i * 7919 + number * 104_729) % vocab_size).collect();
        let prompts: Vec<Vec<u32>> = (0..batch_size as u32).map(prompt).collect();
        let answer = |tokens: usize| {
            let options = GenerateOptions { max_new_tokens: tokens, stop_ids: vec![], sampling: None, batch_size };
            let start = Instant::now();
            generate(&model, &prompts, &options, |_| true).expect("the weights are numbers");
            start.elapsed().as_secs_f64()
        };
        answer(2);
        let mut seconds = 0.0;
        let first = answer(1);
        let peak = harness::peak_while(&device, || seconds = answer(arguments.tokens));
        // The first token is the prompt's.
        let step = (seconds - first) / (arguments.tokens - 1) as f64;
        println!(
            "{batch_size:>10} {:>12.1} {:>14.1} {:>12.1} {:>14}",
            batch_size as f64 / step,
            bytes as f64 / step / 1e9,
            step * 1e3,
            peak >> 20,
        );
    }
    Ok(())
}
