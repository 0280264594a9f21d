//! `mpo-train generate`: answers to prompts, in the order of the prompts.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::path::Path;

use mpo_data::{BuiltinTemplate, Message, TemplateChoice};
use mpo_models::GenerateOptions;
use serde::Serialize;

use crate::answer::{self, Answer};
use crate::cli::GenerateArguments;
use crate::failure::Failure;
use crate::model_folder::ModelFolder;
use crate::output;
use crate::session::Session;

/// A line of JSON.
#[derive(Serialize)]
struct Answered<'a> {
    prompt: &'a str,
    #[serde(flatten)]
    answer: &'a Answer,
}

/// What makes a prompt and its answer fit.
pub(crate) const SHORTER: &str = "shorten the prompt, or lower --max-new-tokens";

pub(crate) fn run(arguments: &GenerateArguments, quiet: bool) -> Result<(), Failure> {
    let session = Session::new(arguments.model.device, quiet)?;
    let mut template = arguments.model.template_options();
    if arguments.raw {
        template.template = TemplateChoice::Builtin(BuiltinTemplate::Plain);
    }
    let sampling = arguments.sampling.sampling()?;
    let folder = ModelFolder::open_to_ask(&arguments.model.model, &template, &session)?;
    let options = GenerateOptions {
        sampling,
        batch_size: arguments.batch_size,
        ..folder.generate_options(arguments.max_new_tokens)
    };
    let prompts = prompts(arguments)?;
    let ids: Vec<Vec<u32>> =
        prompts.iter().map(|prompt| folder.encode_prompt(&[Message::user(prompt)])).collect::<Result<_, _>>()?;
    let lengths = ids.iter().map(|ids| ids.len() + arguments.max_new_tokens);
    folder.check_positions(lengths, SHORTER, &session)?;
    let model = folder.load_frozen(&session)?;
    if let ([prompt], false) = (&ids[..], arguments.json) {
        return answer::print(&folder, &model, prompt, &options, &session).map(drop);
    }
    let bar = session.bar("generating", prompts.len());
    // Shorter answers are finished first; they wait for those of earlier prompts.
    let mut ready = BTreeMap::new();
    let mut printed = 0;
    answer::each(&folder, &model, &ids, &options, &session, |prompt, answer| {
        bar.inc(1);
        ready.insert(prompt, answer);
        while let Some(answer) = ready.remove(&printed) {
            bar.suspend(|| print(&prompts[printed], &answer, arguments.json))?;
            printed += 1;
        }
        Ok(())
    })
}

fn print(prompt: &str, answer: &Answer, json: bool) -> Result<(), Failure> {
    match json {
        true => output::json_line(&Answered { prompt, answer }),
        false => output::line(&answer.text),
    }
}

/// The prompts named, or the lines of standard input that are not blank.
fn prompts(arguments: &GenerateArguments) -> Result<Vec<String>, Failure> {
    if !arguments.prompts.is_empty() {
        return Ok(arguments.prompts.clone());
    }
    let lines: Result<Vec<String>, io::Error> = io::stdin().lock().lines().collect();
    let mut lines = lines.map_err(Failure::io(Path::new("standard input")))?;
    lines.retain(|line| !line.trim().is_empty());
    Ok(lines)
}
