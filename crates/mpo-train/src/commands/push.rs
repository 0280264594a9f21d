//! `mpo-train push`: a model on the hub.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::DecimalBytes;
use mpo_models::{Destination, Hub, ModelFiles};
use mpo_progress::{Counted, Progress as _};
use mpo_trainer::DeviceChoice;

use crate::failure::Failure;
use crate::output;
use crate::session::Session;
use crate::table;

const EXAMPLES: &str = "\
Examples:
  mpo-train push runs/qwen my-name/qwen-aligned --dry-run
  mpo-train push runs/qwen my-name/qwen-aligned --private
  mpo-train push models/merged my-name/qwen-aligned --revision merged --yes

The token is that of HF_TOKEN or of `hf auth login`. HF_ENDPOINT names another hub.";

/// Upload a model to the Hugging Face Hub
///
/// Weights, configuration, tokenizer, model card and licence go there, or an adapter with its own. Rows, logs, checkpoints and
/// whatever else lies in the folder do not.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PushArguments {
    /// Run that is finished, or the folder of a model or an adapter
    #[arg(value_name = "RUN|MODEL_DIR")]
    from: PathBuf,
    /// Repository, as owner/name; it is made if it is not there
    #[arg(value_name = "REPO")]
    repository: String,
    /// Make the repository private; one that is public is refused
    #[arg(long)]
    private: bool,
    /// Branch, which is made if it is not there [default: the main one]
    #[arg(long, value_name = "BRANCH")]
    revision: Option<String>,
    /// Print what would be uploaded, and upload nothing
    #[arg(long)]
    dry_run: bool,
    /// Upload without asking
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(arguments: &PushArguments, quiet: bool) -> Result<(), Failure> {
    let PushArguments { from, repository, private, revision, dry_run, yes } = arguments;
    let mut to = Destination::new(repository)?;
    (to.private, to.revision) = (*private, revision.as_deref());
    let session = Session::new(DeviceChoice::Flex, quiet)?;
    let stage = session.begin("checking the model", None);
    let files = ModelFiles::of(&model_dir(from))?;
    drop(stage);
    if let Some(base) = files.base_on_this_machine() {
        session.note(&format_args!(
            "warning: adapter_config.json names its base by a folder of this machine, {base}: put the base's name on the hub \
             there, for others to use the adapter"
        ));
    }
    if *dry_run {
        return output::line(listing(&files));
    }
    session.note(&listing(&files));
    let hub = Hub::from_environment()?;
    if !*yes {
        let count = Counted(files.files().len() as u64, "file");
        let whom = if *private { "" } else { ", which everyone may read unless it is private" };
        let question = format!("upload {count} to {}/{repository}{whom}?", Hub::endpoint());
        ask(&question)?;
    }
    output::line(hub.push(&files, &to, &session)?)
}

/// The model's folder: that of the run, where it is one.
fn model_dir(from: &Path) -> PathBuf {
    let is_model = ["config.json", "adapter_config.json"].iter().any(|name| from.join(name).exists());
    let of_run = from.join("model");
    if !is_model && of_run.is_dir() { of_run } else { from.to_owned() }
}

/// What goes, and what stays.
fn listing(files: &ModelFiles) -> String {
    let size = |bytes| DecimalBytes(bytes).to_string();
    let rows = files.files().iter().map(|file| [file.name.clone(), size(file.bytes)]);
    let rows = rows.chain([["together".into(), size(files.bytes())]]);
    let table = table::render(["file", "size"], rows, 1);
    match files.others() {
        [] => table,
        others => format!("{table}\nnot uploaded: {}", others.join(", ")),
    }
}

/// Asks the user, who may be nobody.
fn ask(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            "expected --yes, as standard input is no terminal and nobody can be asked; nothing was uploaded",
            "look at what --dry-run prints, and then add --yes",
        ));
    }
    // A closed stderr leaves nobody to ask, and then nobody agrees.
    _ = write!(io::stderr(), "{question} [y/N] ");
    if agrees(&mut io::stdin().lock())? { Ok(()) } else { Err(Failure::Stopped) }
}

/// Whether the next line is a yes.
fn agrees(input: &mut impl BufRead) -> Result<bool, Failure> {
    let mut line = vec![];
    input.read_until(b'\n', &mut line).map_err(Failure::io(Path::new("standard input")))?;
    let line = String::from_utf8_lossy(&line).trim().to_lowercase();
    Ok(["y", "yes"].contains(&&*line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (line, agreed) in
            [("y\n", true), ("Yes\r\n", true), ("", false), ("\n", false), ("no\n", false), ("yesterday", false)]
        {
            assert_eq!(agrees(&mut line.as_bytes()).unwrap(), agreed, "{line:?}");
        }
        assert!(!agrees(&mut &b"\xFF\n"[..]).unwrap());
    }
}
