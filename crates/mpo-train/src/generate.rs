//! `mpo-train generate`: answers to prompts, greedily.

use std::io::{self, BufRead};
use std::path::Path;

use mpo_data::{BuiltinTemplate, Message, TemplateChoice};

use crate::answer;
use crate::cli::GenerateArguments;
use crate::failure::Failure;
use crate::model_folder::ModelFolder;
use crate::session::Session;

pub(crate) fn run(arguments: &GenerateArguments, quiet: bool) -> Result<(), Failure> {
    let session = Session::new(arguments.model.device, quiet)?;
    let template = match arguments.raw {
        true => TemplateChoice::Builtin(BuiltinTemplate::Plain),
        false => arguments.model.template.clone(),
    };
    let folder = ModelFolder::open(&arguments.model.model, &template, &session)?;
    let model = folder.load(&session.device, &session)?;
    let answer = |prompt: &str| {
        let messages = [Message::user(prompt)];
        answer::print(&folder, &model, &messages, arguments.max_new_tokens).map(drop)
    };
    if !arguments.prompts.is_empty() {
        return arguments
            .prompts
            .iter()
            .try_for_each(|prompt| answer(prompt));
    }
    for line in io::stdin().lock().lines() {
        let line = line.map_err(Failure::io(Path::new("standard input")))?;
        if !line.trim().is_empty() {
            answer(&line)?;
        }
    }
    Ok(())
}
