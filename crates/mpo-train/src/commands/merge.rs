//! `mpo-train merge`: an adapter and its base as one model.

use std::path::{Path, PathBuf};

use clap::Args;
use mpo_chat::ModelFolder;
use mpo_data::TemplateOptions;
use mpo_eval::{CardBase, merged_card};
use mpo_models::{ModelError, SaveOptions};
use mpo_progress::Progress as _;
use mpo_trainer::{DeviceChoice, SaveDtype, saved_dtype};

use crate::apart::{OUTPUT, check_apart};
use crate::arguments::model;
use crate::failure::Failure;
use crate::flags::{choices, devices};
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  mpo-train merge runs/qwen/model --output models/qwen-aligned
  mpo-train merge owner/adapter --output models/merged --save-dtype bf16";

/// Merge an adapter into its base, and save the whole model
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MergeArguments {
    /// Adapter: a folder as PEFT saves it, or owner/name on the hub
    #[arg(value_name = "DIR|NAME", value_parser = model)]
    adapter: String,
    /// Folder for the model
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Type of the saved weights; a warning says so where rounding to the one that is named undoes the training
    #[arg(long, value_name = "TYPE", default_value = "auto", value_parser = choices::<SaveDtype>())]
    save_dtype: SaveDtype,
    /// Where to compute
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = devices())]
    device: DeviceChoice,
}

pub(crate) fn run(arguments: &MergeArguments, quiet: bool) -> Result<(), Failure> {
    let MergeArguments { adapter: name, output, save_dtype, device } = arguments;
    check_apart((OUTPUT, output), ("the adapter", Path::new(name)))?;
    let session = Session::new(*device, quiet)?;
    session.catch_interrupts()?;
    let folder = ModelFolder::open(name, &TemplateOptions::default(), &session)?;
    let Some(adapter) = &folder.adapter else {
        return Err(ModelError::Folder {
            path: folder.path,
            expected: "an adapter",
            found: "a whole model, which there is nothing to merge into".into(),
            remedy: "pass the folder with adapter_config.json".into(),
        }
        .into());
    };
    check_apart((OUTPUT, output), ("the base", adapter.base()))?;
    let model = folder.load_dense(&session.device, &session)?;
    let dtype = saved_dtype(*save_dtype, &model, adapter.base(), &session)?;
    let tokenizer = adapter.tokenizer_dir();
    // The base's own card would say that this is the base.
    let card = merged_card(CardBase::of(&folder), name)?;
    let options = SaveOptions {
        dtype,
        card: Some(&card),
        copy_from: Some(adapter.base()),
        tokenizer_from: (tokenizer != adapter.base()).then_some(tokenizer),
        ..SaveOptions::default()
    };
    let stage = session.begin("saving the model", None);
    model.save(output, &folder.config, &options)?;
    drop(stage);
    session.note(&format_args!("model in {}", output.display()));
    Ok(())
}
