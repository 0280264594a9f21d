//! `mpo-train convert`: a model in the format of another program.

mod modelfile;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mpo_chat::ModelFolder;
use mpo_data::TemplateOptions;
use mpo_models::{GgufDtype, GgufOptions, write_gguf};
use mpo_progress::Progress as _;
use mpo_trainer::DeviceChoice;

use crate::failure::Failure;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  mpo-train convert runs/qwen/model --to gguf --dtype q8_0 --output qwen.gguf
  mpo-train convert runs/lora/model -o merged.gguf && ollama create mine -f merged.Modelfile
  mpo-train convert Qwen/Qwen2.5-0.5B-Instruct --dtype bf16 -o qwen-bf16.gguf && llama-cli -m qwen-bf16.gguf";

/// Write a model for llama.cpp, Ollama and their relatives
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConvertArguments {
    /// Model: a folder, a GGUF file, an adapter's folder, which is merged into its base, or owner/name on the hub
    #[arg(value_name = "DIR|NAME", value_parser = crate::arguments::model)]
    model: String,
    /// Format
    #[arg(long, value_name = "FORMAT", default_value = "gguf")]
    to: Format,
    /// Type of the matrices; all else is f32, as llama.cpp wants it
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    dtype: Dtype,
    /// File to write; beside it comes a Modelfile for Ollama, of its name
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One file for llama.cpp
    Gguf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Dtype {
    /// 16 bits
    F16,
    /// 16 bits, with the range of f32
    Bf16,
    /// 8 bits and a scale for each 32 numbers
    #[value(name = "q8_0")]
    Q8_0,
}

impl From<Dtype> for GgufDtype {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F16 => Self::F16,
            Dtype::Bf16 => Self::Bf16,
            Dtype::Q8_0 => Self::Q8_0,
        }
    }
}

pub(crate) fn run(arguments: &ConvertArguments, quiet: bool) -> Result<(), Failure> {
    let ConvertArguments { model, to: Format::Gguf, dtype, output } = arguments;
    let modelfile = output.with_extension("Modelfile");
    for path in [output, &modelfile] {
        if path.symlink_metadata().is_ok() {
            return Err(Failure::new(
                format!("{}: expected the name of a new file, got one that is there", path.display()),
                "choose another name, or move the file away; nothing was touched",
            ));
        }
    }
    let session = Session::new(DeviceChoice::Flex, quiet)?;
    session.catch_interrupts()?;
    let folder = ModelFolder::open(model, &TemplateOptions::default(), &session)?;
    let name = output.file_stem().unwrap_or_default().to_string_lossy();
    let options = GgufOptions { dtype: (*dtype).into(), name: &name };
    write_gguf(&folder.path, output, &options, &session)?.ok_or(Failure::Stopped)?;
    session.note(&format_args!("model in {}", output.display()));
    let file = output.file_name().unwrap_or_default().to_string_lossy();
    let text = modelfile::modelfile(&file, &folder.tokenizer);
    if !text.contains("TEMPLATE") {
        session
            .note(&"the chat template is more than Ollama can say: it is in the GGUF file, and not in the Modelfile");
    }
    write(&modelfile, &text).map_err(Failure::io(&modelfile))?;
    session.note(&format_args!("for Ollama: ollama create NAME -f {}", modelfile.display()));
    Ok(())
}

/// Writes a new file.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    File::create_new(path)?.write_all(text.as_bytes())
}
