//! `mpo-train generate`: answers to prompts, in the order of the prompts.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::path::Path;

use clap::Args;
use mpo_chat::{Answering, HarmGuard, ModelFolder, SHORTER, TextAnswer};
use mpo_data::{BuiltinTemplate, Message, TemplateChoice};
use mpo_models::GenerateOptions;
use mpo_progress::{Counted, Progress as _};
use serde::Serialize;

use crate::arguments::{HarmArguments, ModelArguments, SamplingArguments, answer_length, positive};
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  mpo-train generate --model runs/qwen/model 'How do I bake bread?' 'Je, mkate huokwaje?'
  mpo-train generate --model runs/qwen/model --max-new-tokens 32 --json < prompts.txt > answers.jsonl
  mpo-train generate --model runs/qwen/model --temperature 0.7 --top-p 0.9 --seed 1 'Tell me a story.'";

/// Answer prompts
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GenerateArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Longest answer, in tokens
    #[arg(long, value_name = "N", default_value = "128", value_parser = answer_length)]
    max_new_tokens: usize,
    /// Give the model the bare prompt and a line break, without its chat template
    #[arg(long, conflicts_with = "template")]
    raw: bool,
    #[command(flatten)]
    sampling: SamplingArguments,
    #[command(flatten)]
    harm: HarmArguments,
    /// Prompts answered at once; a single prompt's answer is shown while it grows
    #[arg(long, value_name = "N", default_value = "8", value_parser = positive)]
    batch_size: usize,
    /// Print a line of JSON for each prompt: {prompt, text, complete}
    #[arg(long)]
    json: bool,
    /// Prompts; none: one from each line of standard input
    #[arg(value_name = "PROMPT")]
    prompts: Vec<String>,
}

/// A line of JSON.
#[derive(Serialize)]
struct Answered<'a> {
    prompt: &'a str,
    #[serde(flatten)]
    answer: &'a TextAnswer,
}

pub(crate) fn run(arguments: &GenerateArguments, quiet: bool) -> Result<(), Failure> {
    let session = Session::new(arguments.model.device, quiet)?;
    let mut template = arguments.model.template_options();
    if arguments.raw {
        template.template = TemplateChoice::Builtin(BuiltinTemplate::Plain);
    }
    let sampling = arguments.sampling.sampling()?;
    let folder = ModelFolder::open_to_ask(&arguments.model.model, &template, &session)?;
    let guard = arguments.harm.guard(&folder, None, &session)?;
    let options = GenerateOptions {
        sampling,
        batch_size: arguments.batch_size,
        ..folder.generate_options(arguments.max_new_tokens)
    };
    let prompts = prompts(arguments)?;
    let mut ids: Vec<Vec<u32>> =
        prompts.iter().map(|prompt| folder.encode_prompt(&[Message::user(prompt)])).collect::<Result<_, _>>()?;
    let note = guard.as_ref().map_or(0, HarmGuard::note_tokens);
    let lengths = ids.iter().map(|ids| ids.len() + note + arguments.max_new_tokens);
    folder.check_positions(lengths, SHORTER, &session)?;
    let model = arguments.model.load(&folder, &session)?;
    if let Some(guard) = &guard {
        let found = guard.note(&model, &mut ids, &|| session.is_stopped())?;
        session.note(&format_args!("harm found in {found} of {}", Counted(ids.len() as u64, "prompt")));
    }
    let answering = Answering { folder: &folder, model: &model, options, progress: &session };
    if let ([prompt], false) = (&ids[..], arguments.json) {
        return output::growing(&answering, prompt).map(drop);
    }
    let stage = session.begin("generating", Some(prompts.len()));
    // Shorter answers are finished first; they wait for those of earlier prompts.
    let mut ready = BTreeMap::new();
    let mut printed = 0;
    answering.each(&ids, |prompt, answer| {
        stage.advance(1);
        ready.insert(prompt, answer);
        while let Some(answer) = ready.remove(&printed) {
            session.without_bars(|| print(&prompts[printed], &answer, arguments.json))?;
            printed += 1;
        }
        Ok(())
    })
}

fn print(prompt: &str, answer: &TextAnswer, json: bool) -> Result<(), Failure> {
    if json { output::json_line(&Answered { prompt, answer }) } else { output::line(&answer.text) }
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
