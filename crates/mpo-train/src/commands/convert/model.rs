//! A model as one file for llama.cpp, with what Ollama wants beside it.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use clap::ValueEnum;
use mpo_chat::ModelFolder;
use mpo_data::TemplateOptions;
use mpo_models::{GgufDtype, GgufOptions, write_gguf};
use mpo_progress::Progress as _;
use mpo_trainer::DeviceChoice;

use super::check_new;
use super::modelfile::modelfile;
use crate::failure::Failure;
use crate::session::Session;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Dtype {
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

/// Writes the model of this name as GGUF, and its Modelfile.
pub(super) fn convert(model: &str, dtype: Dtype, output: &Path, quiet: bool) -> Result<(), Failure> {
    let beside = output.with_extension("Modelfile");
    check_new(output)?;
    check_new(&beside)?;
    let session = Session::new(DeviceChoice::Flex, quiet)?;
    session.catch_interrupts()?;
    let folder = ModelFolder::open(model, &TemplateOptions::default(), &session)?;
    let name = output.file_stem().unwrap_or_default().to_string_lossy();
    let options = GgufOptions { dtype: dtype.into(), name: &name };
    write_gguf(&folder.path, output, &options, &session)?.ok_or(Failure::Stopped)?;
    session.note(&format_args!("model in {}", output.display()));
    let file = output.file_name().unwrap_or_default().to_string_lossy();
    let text = modelfile(&file, &folder.tokenizer);
    if !text.contains("TEMPLATE") {
        session
            .note(&"the chat template is more than Ollama can say: it is in the GGUF file, and not in the Modelfile");
    }
    write(&beside, &text).map_err(Failure::io(&beside))?;
    session.note(&format_args!("for Ollama: ollama create NAME -f {}", beside.display()));
    Ok(())
}

/// Writes a new file.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    File::create_new(path)?.write_all(text.as_bytes())
}
