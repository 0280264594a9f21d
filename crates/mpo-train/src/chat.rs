//! `mpo-train chat`: a conversation with a model.

use std::io::{self, BufRead, Write};
use std::path::Path;

use mpo_data::{Message, Role};
use mpo_models::GenerateOptions;

use crate::answer;
use crate::cli::ChatArguments;
use crate::failure::Failure;
use crate::model_folder::ModelFolder;
use crate::session::Session;

pub(crate) fn run(arguments: &ChatArguments, quiet: bool) -> Result<(), Failure> {
    let session = Session::new(arguments.model.device, quiet)?;
    let folder = ModelFolder::open(&arguments.model.model, &arguments.model.template, &session)?;
    let options = GenerateOptions {
        sampling: arguments.sampling.sampling()?,
        ..folder.generate_options(arguments.max_new_tokens)
    };
    let model = folder.load_frozen(&session)?;
    session.note("/quit ends the conversation");
    let mut messages = vec![];
    let mut lines = io::stdin().lock().lines();
    loop {
        // The prompt is no result; a closed stderr leaves nobody to ask.
        _ = write!(io::stderr(), "> ");
        let Some(line) = lines.next() else {
            return Ok(());
        };
        let line = line.map_err(Failure::io(Path::new("standard input")))?;
        match line.trim() {
            "" => continue,
            "/quit" => return Ok(()),
            text => messages.push(Message::user(text)),
        }
        let content = answer::print(&folder, &model, &messages, &options)?;
        messages.push(Message {
            role: Role::Assistant,
            content,
        });
    }
}
