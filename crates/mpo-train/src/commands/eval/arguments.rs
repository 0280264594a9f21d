//! What an evaluation may be asked for.

use std::path::PathBuf;

use clap::Args;
use mpo_data::Language;
use mpo_eval::{BENCHMARKS, BUILT_IN, Benchmark, benchmark};

use super::judge::JudgeArguments;
use super::price::Price;
use crate::arguments::{
    HarmArguments, ModelArguments, RowArguments, TruncationArguments, answer_length, model, positive,
};

const EXAMPLES: &str = "\
Examples:
  mpo-train eval --model runs/qwen/model --benchmark multijail=MultiJail.csv --benchmark xstest=xstest_prompts.csv
  mpo-train eval --model runs/qwen/model --data held-out.json --base Qwen/Qwen2.5-0.5B-Instruct
  mpo-train eval --model Qwen/Qwen2.5-0.5B-Instruct --benchmark mmlu=mmlu --benchmark mgsm=mgsm --raw --output evals/base
  mpo-train eval --model runs/qwen/model --benchmark multijail=MultiJail.csv --languages en,sw --limit 50 \\
    --judge https://api.openai.com/v1 --judge-model gpt-4o --judge-price 2.5,10";

/// Evaluate a model: safety by language, over-refusal, knowledge, reward gaps
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EvalArguments {
    #[command(flatten)]
    pub(super) model: ModelArguments,
    /// A benchmark and its file or folder; may be given several times
    #[arg(long = "benchmark", value_name = "NAME=PATH", value_parser = named_benchmark, long_help = benchmark_help())]
    pub(super) benchmarks: Vec<(&'static Benchmark, PathBuf)>,
    /// Preference rows for reward gaps, the projection of answers and what layers tell: a file, a folder, or a name on the hub
    #[arg(long, value_name = "PATH|NAME")]
    pub(super) data: Option<PathBuf>,
    /// The model that this one was made from, for implicit reward gaps
    #[arg(long, value_name = "DIR|NAME", requires = "data", value_parser = model)]
    pub(super) base: Option<String>,
    /// Harmless prompts beside those of --data, to see where each language puts harmful ones: JSONL of {language, prompt}, or
    /// the set that comes with the program
    #[arg(long, value_name = "FILE", default_value = BUILT_IN)]
    pub(super) benign: PathBuf,
    #[command(flatten)]
    pub(super) rows: RowArguments,
    #[command(flatten)]
    pub(super) truncation: TruncationArguments,
    /// Languages to ask in [default: all of a benchmark's]
    #[arg(long, value_name = "LANG,…", value_delimiter = ',')]
    pub(super) languages: Vec<Language>,
    /// Ask at most this many questions in each language
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) limit: Option<usize>,
    /// Longest answer, in tokens [default: the benchmark's]
    #[arg(long, value_name = "N", value_parser = answer_length)]
    pub(super) max_new_tokens: Option<usize>,
    /// Questions answered at once
    #[arg(long, value_name = "N", default_value = "8", value_parser = positive)]
    pub(super) batch_size: usize,
    /// Ask MGSM without the chat template, as lm-evaluation-harness does
    #[arg(long)]
    pub(super) raw: bool,
    #[command(flatten)]
    pub(super) harm: HarmArguments,
    #[command(flatten)]
    pub(super) judge: JudgeArguments,
    /// Price of a million tokens that the judge reads and writes, to report the cost
    #[arg(long, value_name = "IN,OUT")]
    pub(super) judge_price: Option<Price>,
    /// Folder for results [default: eval in the model's run folder]
    #[arg(long, short, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    pub(super) json: bool,
}

fn named_benchmark(text: &str) -> Result<(&'static Benchmark, PathBuf), String> {
    let Some((name, path)) = text.split_once('=').filter(|(_, path)| !path.is_empty()) else {
        return Err(format!("expected NAME=PATH, got {text}"));
    };
    let benchmark = benchmark(name).map_err(|error| error.to_string())?;
    Ok((benchmark, mpo_trainer::at_home(path.into())))
}

fn benchmark_help() -> String {
    let mut help = String::from("A benchmark and its file or folder; may be given several times:\n");
    for of in BENCHMARKS {
        help += &format!("  {:<10} {}\n{:13}{}\n", of.name, of.source, "", of.layout);
    }
    help
}
