//! The command line: what can be typed, and what help says about it.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use mpo_data::{
    Columns, DataError, Language, ReadOptions, SystemMessage, TemplateArgument, TemplateChoice, TemplateOptions,
    Truncation,
};
use mpo_eval::{BENCHMARKS, Benchmark, Usage, benchmark};
use mpo_models::{Sampling, SamplingError};
use mpo_trainer::{DeviceChoice, TrainOptions};
use serde::{Deserialize, Serialize};

const EXAMPLES: &str = "\
Examples:
  mpo-train                                  the paper in miniature, in under two minutes
  mpo-train --output runs/first --json       the same, elsewhere, its results as JSON
  mpo-train score --model Qwen/Qwen2.5-0.5B-Instruct --data rows.json
  mpo-train train --model Qwen/Qwen2.5-0.5B-Instruct --data rows.json --output runs/qwen";

const TRAIN_EXAMPLES: &str = "\
Examples:
  mpo-train train --model Qwen/Qwen2.5-7B-Instruct --preset qwen2.5-7b --data rows.json --output runs/qwen
  mpo-train train --config run.yaml --lr 1e-6
  mpo-train train --model models/llama --data rows.json --output runs/llama --print-config > run.yaml
  mpo-train train --resume --output runs/qwen";

const COMPARE_EXAMPLES: &str = "\
Examples:
  mpo-train compare --all                     every method and ablation, on the miniature
  mpo-train compare --methods mpo,dpo,mpo-no-retain --seeds 1,2,3
  mpo-train compare --methods mpo,dpo --grid beta=0.05,0.1 --grid lr=1e-4,3e-4
  mpo-train compare --methods mpo,simpo --search --model models/qwen --data rows.json --output runs/compare
  mpo-train compare --all --resume            go on, or add methods; name earlier seeds and grid points again";

const SCORE_EXAMPLES: &str = "\
Examples:
  mpo-train score --model runs/qwen/model --data rows.json
  mpo-train score --model Qwen/Qwen2.5-0.5B-Instruct --data pairs.jsonl --rows 70 --json
  mpo-train score --model runs/qwen/model --data pairs.parquet --columns prompt=question,chosen=good,rejected=bad --language sw";

const GENERATE_EXAMPLES: &str = "\
Examples:
  mpo-train generate --model runs/qwen/model 'How do I bake bread?' 'Je, mkate huokwaje?'
  mpo-train generate --model runs/qwen/model --max-new-tokens 32 --json < prompts.txt > answers.jsonl
  mpo-train generate --model runs/qwen/model --temperature 0.7 --top-p 0.9 --seed 1 'Tell me a story.'";

const CHAT_EXAMPLES: &str = "\
Examples:
  mpo-train chat --model runs/qwen/model
  mpo-train chat --model Qwen/Qwen2.5-0.5B-Instruct --max-new-tokens 64";

const EVAL_EXAMPLES: &str = "\
Examples:
  mpo-train eval --model runs/qwen/model --benchmark multijail=MultiJail.csv --benchmark xstest=xstest_prompts.csv
  mpo-train eval --model runs/qwen/model --data held-out.json --base Qwen/Qwen2.5-0.5B-Instruct
  mpo-train eval --model Qwen/Qwen2.5-0.5B-Instruct --benchmark mmlu=mmlu --benchmark mgsm=mgsm --raw --output evals/base
  mpo-train eval --model runs/qwen/model --benchmark multijail=MultiJail.csv --languages en,sw --limit 50 \\
    --judge https://api.openai.com/v1 --judge-model gpt-4o --judge-price 2.5,10";

const REPORT_EXAMPLES: &str = "\
Examples:
  mpo-train report runs/qwen
  mpo-train report evals/base runs/mpo runs/dpo --output comparison.html";

const DEVICES_EXAMPLES: &str = "\
Examples:
  mpo-train devices
  mpo-train devices --json";

const MINIATURE_MODEL_EXAMPLES: &str = "\
Examples:
  mpo-train miniature-model --output miniature";

/// Align LLaMA, Gemma and Qwen models across languages with MPO, reward gap optimization.
///
/// Without a subcommand it runs the paper in miniature: a tiny model and harmless rows that the program carries.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Only errors and results: no progress, no notes
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) miniature: MiniatureOptions,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The miniature's options: those of the command without a subcommand.
#[derive(Debug, Args)]
pub(crate) struct MiniatureOptions {
    /// Run folder [default: runs/miniature]
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Where to compute
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: DeviceChoice,
}

impl MiniatureOptions {
    /// Whether anything was asked of the miniature.
    pub(crate) fn any_given(&self) -> bool {
        self.output.is_some() || self.json || self.device != DeviceChoice::Auto
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model with MPO, and measure its reward gaps before and after
    #[command(after_help = TRAIN_EXAMPLES)]
    Train(Box<TrainArguments>),
    /// Train the same model with several methods, and measure each on rows that none was trained on
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(Box<CompareArguments>),
    /// Measure a model's reward gap in each language of a preference file
    #[command(after_help = SCORE_EXAMPLES)]
    Score(ScoreArguments),
    /// Evaluate a model: safety by language, over-refusal, knowledge, reward gaps
    #[command(after_help = EVAL_EXAMPLES)]
    Eval(Box<EvalArguments>),
    /// Write one HTML page about a run, or several beside each other
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArguments),
    /// Answer prompts
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(GenerateArguments),
    /// Talk with a model
    #[command(after_help = CHAT_EXAMPLES)]
    Chat(ChatArguments),
    /// List the backends built in and the devices they find
    #[command(after_help = DEVICES_EXAMPLES)]
    Devices(DevicesArguments),
    /// Make the miniature's model again, by supervised fine-tuning
    #[command(hide = true, alias = "build-miniature", after_help = MINIATURE_MODEL_EXAMPLES)]
    MiniatureModel(MiniatureModelArguments),
}

#[derive(Debug, Args)]
pub(crate) struct TrainArguments {
    /// Configuration file (YAML); flags override it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Continue the run in the output folder, with its settings
    #[arg(long)]
    pub(crate) resume: bool,
    /// Print the results as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the complete configuration as YAML and do nothing else
    #[arg(long)]
    pub(crate) print_config: bool,
    #[command(flatten)]
    pub(crate) options: TrainOptions,
}

/// The comparison's own arguments; those of every run follow them.
#[derive(Debug, Args)]
#[command(mut_args(|arg| match arg.get_id().as_str() {
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
    /// several times
    #[arg(long, value_name = "KEY=X,…")]
    pub(crate) grid: Vec<Dimension>,
    /// Try the values that the paper searches for each method's hyper-parameters
    #[arg(long)]
    pub(crate) search: bool,
    /// Seeds; each is a run of its own [default: 42]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) seeds: Vec<u64>,
    /// Benign prompts that should be answered: JSONL of {language, prompt}
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
    pub(crate) options: TrainOptions,
}

/// A setting and the values to try.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dimension {
    pub(crate) key: String,
    pub(crate) values: Vec<String>,
}

impl FromStr for Dimension {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, values) = text.split_once('=').ok_or_else(|| format!("expected KEY=X,X, got {text}"))?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        if key.is_empty() || values.iter().any(String::is_empty) {
            return Err(format!("expected KEY=X,X, got {text}"));
        }
        Ok(Self { key: key.trim().replace('-', "_"), values })
    }
}

/// A model, and where and how it reads text.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    /// Model: a folder in Hugging Face layout, or owner/name on the hub
    #[arg(long, value_name = "DIR|NAME")]
    pub(crate) model: String,
    /// Chat template: auto (the model's own), llama3, gemma, qwen, plain, or a Jinja file
    #[arg(long, value_name = "NAME|FILE", default_value = "auto")]
    pub(crate) template: TemplateChoice,
    /// Argument of the chat template, such as enable_thinking=false: JSON, else text; may be given several times
    #[arg(long = "template-arg", value_name = "NAME=VALUE")]
    pub(crate) template_args: Vec<TemplateArgument>,
    /// A system message that the chat template refuses or leaves out: keep (an error) or merge (into the first user turn)
    #[arg(long, value_name = "CHOICE", default_value = "keep")]
    pub(crate) system_message: SystemMessage,
    /// Let control tokens that texts spell out, such as </s>, be control tokens
    #[arg(long)]
    pub(crate) special_tokens_in_text: bool,
    /// Where to compute
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: DeviceChoice,
}

impl ModelArguments {
    /// How conversations are written.
    pub(crate) fn template_options(&self) -> TemplateOptions {
        TemplateOptions {
            template: self.template.clone(),
            arguments: self.template_args.iter().cloned().collect(),
            system_message: self.system_message,
            special_tokens_in_text: self.special_tokens_in_text,
        }
    }
}

/// Where preference rows are cut.
#[derive(Debug, Args)]
pub(crate) struct TruncationArguments {
    /// Longest prompt and answer of a preference row together, in tokens
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(crate) max_tokens: usize,
    /// Longest answer of a preference row, in tokens, cut before prompt and answer are
    #[arg(long, value_name = "N")]
    pub(crate) max_response_tokens: Option<usize>,
}

impl TruncationArguments {
    pub(crate) fn limits(&self) -> Result<Truncation, DataError> {
        Truncation::new(self.max_tokens, self.max_response_tokens)
    }
}

/// How preference rows are read.
#[derive(Debug, Args)]
pub(crate) struct RowArguments {
    /// Use at most this many preference rows, evenly over languages
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) rows: Option<usize>,
    /// Dominant language: a code or an English name [default: most frequent on the source side]
    #[arg(long, value_name = "LANG")]
    pub(crate) dominant: Option<Language>,
    /// Language of the rows that name none [default: detected row by row]
    #[arg(long, value_name = "LANG")]
    pub(crate) language: Option<Language>,
    /// Columns of the rows by other names, such as prompt=question,chosen=good
    #[arg(long, value_name = "OURS=THEIRS,…")]
    pub(crate) columns: Option<Columns>,
    /// Split of a folder, of a data set on the hub, or of a file with several lists; of a data set with configurations,
    /// CONFIGURATION/SPLIT [default: train]
    #[arg(long, value_name = "NAME")]
    pub(crate) split: Option<String>,
    /// Drop rows that cannot be read, and report them, instead of stopping
    #[arg(long)]
    pub(crate) skip_bad_rows: bool,
}

impl RowArguments {
    pub(crate) fn options(&self) -> ReadOptions {
        ReadOptions {
            dominant: self.dominant,
            language: self.language,
            columns: self.columns.clone().unwrap_or_default(),
            split: self.split.clone(),
            skip_bad_rows: self.skip_bad_rows,
            ..ReadOptions::default()
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ScoreArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// Preference rows: a file, a folder of files, or owner/name of a data set on the hub
    #[arg(long, value_name = "PATH|NAME")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) rows: RowArguments,
    #[command(flatten)]
    pub(crate) truncation: TruncationArguments,
    /// Print the gaps and the report on the data as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// A benchmark and its file or folder; may be given several times
    #[arg(long = "benchmark", value_name = "NAME=PATH", value_parser = named_benchmark, long_help = benchmark_help())]
    pub(crate) benchmarks: Vec<(&'static Benchmark, PathBuf)>,
    /// Preference rows for reward gaps and the projection of answers: a file, a folder, or a name on the hub
    #[arg(long, value_name = "PATH|NAME")]
    pub(crate) data: Option<PathBuf>,
    /// The model that this one was made from, for implicit reward gaps
    #[arg(long, value_name = "DIR|NAME", requires = "data")]
    pub(crate) base: Option<String>,
    #[command(flatten)]
    pub(crate) rows: RowArguments,
    #[command(flatten)]
    pub(crate) truncation: TruncationArguments,
    /// Languages to ask in [default: all of a benchmark's]
    #[arg(long, value_name = "LANG,…", value_delimiter = ',')]
    pub(crate) languages: Vec<Language>,
    /// Ask at most this many questions in each language
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) limit: Option<usize>,
    /// Longest answer, in tokens [default: the benchmark's]
    #[arg(long, value_name = "N", value_parser = answer_length)]
    pub(crate) max_new_tokens: Option<usize>,
    /// Questions answered at once
    #[arg(long, value_name = "N", default_value = "8", value_parser = positive)]
    pub(crate) batch_size: usize,
    /// Ask MGSM without the chat template, as lm-evaluation-harness does
    #[arg(long)]
    pub(crate) raw: bool,
    /// Who judges: refusal (a heuristic by phrases), an endpoint's address, or a model's folder or name
    #[arg(long, value_name = "JUDGE", default_value = "refusal")]
    pub(crate) judge: JudgeChoice,
    /// The judge's name at its endpoint
    #[arg(long, value_name = "NAME")]
    pub(crate) judge_model: Option<String>,
    /// Environment variable with the endpoint's API key [default: OPENAI_API_KEY, if it is set, for https://api.openai.com alone]
    #[arg(long, value_name = "VARIABLE")]
    pub(crate) judge_key: Option<String>,
    /// Requests to the endpoint at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = positive)]
    pub(crate) judge_concurrency: usize,
    /// Requests to the endpoint in a minute at most
    #[arg(long, value_name = "N")]
    pub(crate) judge_requests_per_minute: Option<u32>,
    /// Seconds that a request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) judge_timeout: u64,
    /// Price of a million tokens that the judge reads and writes, to report the cost
    #[arg(long, value_name = "IN,OUT")]
    pub(crate) judge_price: Option<Price>,
    /// Folder for results [default: eval in the model's run folder]
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JudgeChoice {
    Refusal,
    Endpoint(String),
    Model(String),
}

impl JudgeChoice {
    pub(crate) fn is_refusal(&self) -> bool {
        *self == Self::Refusal
    }
}

impl FromStr for JudgeChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "refusal" => Self::Refusal,
            url if url.contains("://") => Self::Endpoint(url.into()),
            model => Self::Model(model.into()),
        })
    }
}

/// The price of a million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Price {
    read: f64,
    written: f64,
}

impl Price {
    pub(crate) fn of(self, usage: Usage) -> f64 {
        let millions = |tokens: u64| tokens as f64 / 1e6;
        millions(usage.prompt_tokens) * self.read + millions(usage.completion_tokens) * self.written
    }
}

impl FromStr for Price {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let price = |text: &str| text.trim().parse().ok().filter(|price: &f64| *price >= 0.0);
        let prices = text.split_once(',').and_then(|(read, written)| Some((price(read)?, price(written)?)));
        let (read, written) = prices.ok_or_else(|| format!("expected two prices, such as 2.5,10, got {text}"))?;
        Ok(Self { read, written })
    }
}

fn named_benchmark(text: &str) -> Result<(&'static Benchmark, PathBuf), String> {
    let Some((name, path)) = text.split_once('=').filter(|(_, path)| !path.is_empty()) else {
        return Err(format!("expected NAME=PATH, got {text}"));
    };
    let benchmark = benchmark(name).map_err(|error| error.to_string())?;
    Ok((benchmark, path.into()))
}

fn benchmark_help() -> String {
    let mut help = String::from("A benchmark and its file or folder; may be given several times:\n");
    for of in BENCHMARKS {
        help += &format!("  {:<10} {}\n{:13}{}\n", of.name, of.source, "", of.layout);
    }
    help
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Run folders, or folders of evaluations
    #[arg(value_name = "DIR", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// The page [default: report.html, in the run folder if there is one run and nothing is at work there]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// Longest answer, in tokens
    #[arg(long, value_name = "N", default_value = "128", value_parser = answer_length)]
    pub(crate) max_new_tokens: usize,
    /// Give the model the bare prompt and a line break, without its chat template
    #[arg(long, conflicts_with = "template")]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) sampling: SamplingArguments,
    /// Prompts answered at once; a single prompt's answer is shown while it grows
    #[arg(long, value_name = "N", default_value = "8", value_parser = positive)]
    pub(crate) batch_size: usize,
    /// Print a line of JSON for each prompt: {prompt, text, complete}
    #[arg(long)]
    pub(crate) json: bool,
    /// Prompts; none: one from each line of standard input
    #[arg(value_name = "PROMPT")]
    pub(crate) prompts: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ChatArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// Longest answer, in tokens
    #[arg(long, value_name = "N", default_value = "512", value_parser = answer_length)]
    pub(crate) max_new_tokens: usize,
    #[command(flatten)]
    pub(crate) sampling: SamplingArguments,
}

/// How tokens are drawn.
#[derive(Debug, Args)]
pub(crate) struct SamplingArguments {
    /// Draw tokens at this temperature; 0 takes the most probable one [default: 1 with --top-p or --top-k, else 0]
    #[arg(long, value_name = "X")]
    pub(crate) temperature: Option<f64>,
    /// Draw from the most probable tokens that together have this probability [default: 1]
    #[arg(long, value_name = "X")]
    pub(crate) top_p: Option<f64>,
    /// Draw from this many most probable tokens [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) top_k: Option<usize>,
    /// Seed of what is drawn
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
}

impl SamplingArguments {
    /// None to take the most probable token.
    pub(crate) fn sampling(&self) -> Result<Option<Sampling>, SamplingError> {
        // Whoever says what to draw from wants to draw.
        let draws = self.top_p.is_some() || self.top_k.is_some();
        let temperature = self.temperature.unwrap_or(if draws { 1.0 } else { 0.0 });
        let top_p = self.top_p.unwrap_or(1.0);
        let sampling = |temperature| Sampling::new(temperature, self.top_k, top_p, self.seed);
        match temperature {
            // The other settings are checked all the same.
            0.0 => sampling(1.0).map(|_| None),
            temperature => sampling(temperature).map(Some),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DevicesArguments {
    /// Print the list as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MiniatureModelArguments {
    /// Folder for the model
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Where to compute
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: DeviceChoice,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1, got 0".into()),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("expected a number, got {text}")),
    }
}

/// Room for an answer is taken before it is begun, so that a slip of the keyboard must not ask for more than there is.
fn answer_length(text: &str) -> Result<usize, String> {
    const MOST: usize = 1_000_000;
    match positive(text)? {
        tokens if tokens > MOST => Err(format!("expected at most {MOST} tokens, got {tokens}")),
        tokens => Ok(tokens),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_shows_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().unwrap().to_string();
            let example = format!("mpo-train {}", command.get_name());
            assert!(help.contains(&example), "{}", command.get_name());
        }
    }

    #[test]
    fn the_miniature_is_what_runs_without_a_subcommand() {
        let parse = |arguments: &[&str]| Cli::try_parse_from([&["mpo-train"][..], arguments].concat());
        let plain = parse(&[]).unwrap();
        assert!(plain.command.is_none() && !plain.miniature.any_given());
        assert!(parse(&["--json"]).unwrap().miniature.any_given());
        assert!(parse(&["--quiet", "devices"]).unwrap().quiet);
        assert!(parse(&["devices", "--quiet"]).unwrap().quiet);
        assert!(parse(&["score", "--model", "m", "--data", "d", "--rows", "0"]).is_err());
    }

    /// The sampling that `generate` with these flags asks for.
    fn sampling(flags: &[&str]) -> Result<Option<Sampling>, SamplingError> {
        let arguments = [&["mpo-train", "generate", "--model", "m"][..], flags].concat();
        match Cli::try_parse_from(arguments).unwrap().command {
            Some(Command::Generate(arguments)) => arguments.sampling.sampling(),
            _ => panic!("expected generate"),
        }
    }

    #[test]
    fn whoever_says_what_to_draw_from_draws() {
        assert_eq!(sampling(&[]).unwrap(), None);
        assert_eq!(sampling(&["--temperature", "0"]).unwrap(), None);
        for (flags, temperature, top_k, top_p) in [
            (&["--top-p", "0.9"][..], 1.0, None, 0.9),
            (&["--top-k", "40"], 1.0, Some(40), 1.0),
            (&["--temperature", "0.7"], 0.7, None, 1.0),
            (&["--temperature", "0.7", "--top-p", "0.9"], 0.7, None, 0.9),
        ] {
            let expected = Sampling::new(temperature, top_k, top_p, 42).unwrap();
            assert_eq!(sampling(flags).unwrap(), Some(expected), "{flags:?}");
        }
        assert!(sampling(&["--temperature", "0", "--top-k", "0"]).is_err());
    }

    #[test]
    fn an_answer_has_a_length_that_there_is_room_for() {
        for (length, good) in [("1", true), ("1000000", true), ("1000001", false)] {
            for command in ["generate", "chat"] {
                let flags = ["mpo-train", command, "--model", "m"];
                let flags = [&flags[..], &["--max-new-tokens", length]].concat();
                let parsed = Cli::try_parse_from(flags);
                assert_eq!(parsed.is_ok(), good, "{command} {length}");
            }
        }
        let error = answer_length("18446744073709551615").unwrap_err();
        assert!(error.contains("expected at most 1000000 tokens"), "{error}");
    }
}
