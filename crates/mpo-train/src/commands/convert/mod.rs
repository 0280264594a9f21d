//! `mpo-train convert`: a model or rows in the format of another program, or rows in that of this one.

mod model;
mod modelfile;
mod rows;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::arguments::RowArguments;
use crate::failure::Failure;
use model::Dtype;

const EXAMPLES: &str = "\
Examples:
  mpo-train convert runs/qwen/model --to gguf --dtype q8_0 --output qwen.gguf
  mpo-train convert runs/lora/model -o merged.gguf && ollama create mine -f merged.Modelfile
  mpo-train convert Qwen/Qwen2.5-0.5B-Instruct --dtype bf16 -o qwen-bf16.gguf && llama-cli -m qwen-bf16.gguf
  mpo-train convert --data rows.parquet --columns prompt=question,chosen=good,rejected=bad -o rows.jsonl
  mpo-train convert --data rows.jsonl --to trl -o trl.jsonl";

/// Write a model for llama.cpp and Ollama, or preference rows for this program or for TRL
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConvertArguments {
    /// Model: a folder, a GGUF file, an adapter's folder, which is merged into its base, or owner/name on the hub
    #[arg(
        value_name = "DIR|NAME",
        value_parser = crate::arguments::model,
        required_unless_present = "data",
        conflicts_with_all = ["data", "json", "RowArguments"],
    )]
    model: Option<String>,
    /// Format [default: gguf of a model, mpo-train of rows]
    #[arg(long, value_name = "FORMAT")]
    to: Option<Format>,
    /// Type of a model's matrices; all else is f32, as llama.cpp wants it
    #[arg(long, value_name = "TYPE", default_value = "f16", conflicts_with = "data")]
    dtype: Dtype,
    /// File to write: a model's has a Modelfile for Ollama beside it, of its name; that of rows ends in .jsonl
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Print what was written of rows, and the report on them, as JSON
    #[arg(long)]
    json: bool,
    /// Preference rows instead of a model: a file, a folder of files, or owner/name of a data set on the hub
    #[arg(long, value_name = "PATH|NAME", help_heading = "Rows")]
    data: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Rows")]
    rows: RowArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A model: one file for llama.cpp
    Gguf,
    /// Rows: JSON Lines as this program writes them, whatever their kind
    MpoTrain,
    /// Rows: JSON Lines for TRL's trainers, one language a row
    Trl,
}

/// A shape of rows.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Ours,
    Trl,
}

impl Shape {
    /// What it is asked for by.
    fn name(self) -> &'static str {
        match self {
            Self::Ours => "mpo-train",
            Self::Trl => "trl",
        }
    }
}

pub(crate) fn run(arguments: &ConvertArguments, quiet: bool) -> Result<(), Failure> {
    let ConvertArguments { model, to, dtype, output, json, data, rows } = arguments;
    let of_rows = |data: &Path, shape| rows::convert(data, shape, rows, output, (*json, quiet));
    match (data, to) {
        (Some(data), None | Some(Format::MpoTrain)) => of_rows(data, Shape::Ours),
        (Some(data), Some(Format::Trl)) => of_rows(data, Shape::Trl),
        (Some(_), Some(Format::Gguf)) => Err(Failure::new(
            "--to gguf: expected a model, which this is a format of, got rows",
            "use --to mpo-train or --to trl, or name a model instead of --data",
        )),
        (None, None | Some(Format::Gguf)) => {
            model::convert(model.as_deref().unwrap_or_default(), *dtype, output, quiet)
        }
        (None, Some(Format::MpoTrain | Format::Trl)) => Err(Failure::new(
            "--to: expected gguf of a model, got a format of rows",
            "name rows by --data instead of a model, or leave --to out",
        )),
    }
}

/// Refuses a file that is there.
fn check_new(path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Failure::new(
        format!("{}: expected the name of a new file, got one that is there", path.display()),
        "choose another name, or move the file away; nothing was touched",
    ))
}
