//! `mpo-train compare`: what a comparison may be asked for.

use std::path::PathBuf;

use clap::Args;
use mpo_eval::compare::Dimension;

use crate::arguments::answer_length;
use crate::flags::Flags;

const EXAMPLES: &str = "\
Examples:
  mpo-train compare --all                     every method and ablation, on the miniature
  mpo-train compare --methods mpo,dpo,mpo-no-retain --seeds 1,2,3
  mpo-train compare --methods mpo,dpo --grid beta=0.05,0.1 --grid lr=1e-4,3e-4
  mpo-train compare --methods mpo,simpo --search --model models/qwen --data rows.json --output runs/compare
  mpo-train compare --methods dpo,dpo-nll,mpo --grid data=runs/mapo/rows.jsonl,runs/lidr/rows.jsonl \
    --model models/qwen --eval-data held-out.json --output runs/rows
  mpo-train compare --all --resume            go on, or add methods; name earlier seeds and grid points again";

/// Train the same model with several methods, and measure each on rows that none was trained on
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_args(|arg| match arg.get_id().as_str() {
    // Said by --methods and --seeds.
    "method" | "seed" => arg.hide(true),
    _ => arg,
}))]
pub(crate) struct CompareArguments {
    /// Methods, and ablations such as mpo-no-retain [default: mpo, dpo]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) methods: Vec<String>,
    /// Every method and every ablation
    #[arg(long, conflicts_with = "methods")]
    pub(crate) all: bool,
    /// Try each of these values of a hyper-parameter or setting of training with every method that has it; may be given
    /// several times. Methods on several files of rows, `data=A,B`, stand beside each other, and need --eval-data
    #[arg(long, value_name = "KEY=X,…")]
    pub(crate) grid: Vec<Dimension>,
    /// Try the values that the paper searches for each method's hyper-parameters
    #[arg(long)]
    pub(crate) search: bool,
    /// Seeds; each is a run of its own [default: 42]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) seeds: Vec<u64>,
    /// Benign prompts that should be answered: JSONL of {language, prompt}, or builtin for 40 in each of seven languages
    #[arg(long, value_name = "FILE")]
    pub(crate) benign: Option<PathBuf>,
    /// Longest answer to a held-out prompt, in tokens: a refusal opens as one [default: 32]
    #[arg(long, value_name = "N", value_parser = answer_length)]
    pub(crate) max_new_tokens: Option<usize>,
    /// Keep every run's model, not only its numbers
    #[arg(long)]
    pub(crate) save_models: bool,
    /// Configuration file (YAML) of every run; flags override it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Continue the comparison in the output folder, with its settings and what it was asked for: runs that are finished are
    /// kept. Methods that are named now are run instead, and the others stay in the results
    #[arg(long)]
    pub(crate) resume: bool,
    /// Print the results as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) options: Flags,
}
