//! Where results go, and what stands there already.

use std::path::{Path, PathBuf};

use mpo_eval::{EVALUATION_FILE, Evaluation};

use super::arguments::EvalArguments;
use crate::failure::Failure;

/// What the folder says of the same model already: measures that are not made anew are kept.
pub(super) fn earlier(output: &Path, hash: &str, template: &str) -> Result<Evaluation, Failure> {
    let path = output.join(EVALUATION_FILE);
    match Evaluation::read(&path)? {
        None => Ok(Evaluation::default()),
        Some(earlier) if earlier.model_hash == hash => match earlier.template.as_deref().filter(|of| *of != template) {
            None => Ok(earlier),
            Some(other) => Err(Failure::new(
                format!(
                    "{}: expected results made with the chat template that is asked for ({template}), got those of another \
                         ({other})",
                    path.display()
                ),
                "name another folder with --output, or give the same --template",
            )),
        },
        Some(earlier) => Err(Failure::new(
            format!(
                "{}: expected results of the model that is evaluated, got those of another ({})",
                path.display(),
                earlier.model
            ),
            "name another folder with --output, or remove this one",
        )),
    }
}

/// Where results go: what was asked for, or beside the run that the model is of.
pub(super) fn output_folder(arguments: &EvalArguments) -> Result<PathBuf, Failure> {
    if let Some(output) = &arguments.output {
        return Ok(output.clone());
    }
    let run = Path::new(&arguments.model.model).parent();
    match run.filter(|run| run.join("config.yaml").exists()) {
        Some(run) => Ok(run.join("eval")),
        None => Err(Failure::new(
            format!("{}: expected a model inside a run folder, or --output", arguments.model.model),
            "name a folder for the results with --output",
        )),
    }
}
