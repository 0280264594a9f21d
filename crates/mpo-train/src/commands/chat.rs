//! `mpo-train chat`: a conversation with a model.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::slice;

use clap::Args;
use mpo_chat::{Answering, ModelFolder, SHORTER};
use mpo_data::{Message, Role};
use mpo_models::GenerateOptions;
use mpo_progress::Progress as _;

use crate::arguments::{HarmArguments, ModelArguments, SamplingArguments, answer_length};
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  mpo-train chat --model runs/qwen/model
  mpo-train chat --model Qwen/Qwen2.5-0.5B-Instruct --max-new-tokens 64
  mpo-train chat --model runs/qwen/model --system 'Answer in Swahili.'";

/// What can be typed instead of a question.
const COMMANDS: &str = "/reset begins anew, /exit ends the conversation, /help says this; all else is for the model";

/// Talk with a model
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ChatArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// System message that the conversation begins with
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Longest answer, in tokens
    #[arg(long, value_name = "N", default_value = "512", value_parser = answer_length)]
    max_new_tokens: usize,
    #[command(flatten)]
    sampling: SamplingArguments,
    #[command(flatten)]
    harm: HarmArguments,
}

pub(crate) fn run(arguments: &ChatArguments, quiet: bool) -> Result<(), Failure> {
    let session = Session::new(arguments.model.device, quiet)?;
    let sampling = arguments.sampling.sampling()?;
    let model = &arguments.model;
    let folder = ModelFolder::open_to_ask(&model.model, &model.template_options(), &session)?;
    let guard = arguments.harm.guard(&folder, None, &session)?;
    let model = model.load(&folder, &session)?;
    // Ctrl-C ends an answer, and the conversation only where no answer is being given.
    session.idle();
    session.catch_interrupts()?;
    session.note(&COMMANDS);
    // Lines that another program writes need no prompt.
    let asks = io::stdin().is_terminal() && !quiet;
    let mut input = io::stdin().lock();
    let beginning = || -> Vec<Message> {
        let system = arguments.system.iter();
        system.map(|text| Message { role: Role::System, content: text.clone() }).collect()
    };
    let mut messages = beginning();
    let mut fits = true;
    let mut turn = 0;
    while let Some(text) = next_line(&mut input, asks)? {
        match &*text {
            "" => continue,
            "/exit" | "/quit" => break,
            "/help" => {
                session.note(&COMMANDS);
                continue;
            }
            "/reset" => {
                messages = beginning();
                session.note(&"the conversation begins anew");
                continue;
            }
            text => messages.push(Message::user(text)),
        }
        let mut prompt = folder.encode_prompt(&messages)?;
        if let Some(guard) = &guard
            && guard.note(&model, slice::from_mut(&mut prompt), &|| false)? > 0
        {
            session.note(&"harm found");
        }
        // Said once: conversations only grow.
        if fits {
            let length = prompt.len() + arguments.max_new_tokens;
            fits = folder.check_positions([length], SHORTER, &session)?;
        }
        let options = GenerateOptions {
            sampling: sampling.map(|sampling| sampling.at_turn(turn)),
            ..folder.generate_options(arguments.max_new_tokens)
        };
        session.busy();
        let answering = Answering { folder: &folder, model: &model, options, progress: &session };
        let answer = output::growing(&answering, &prompt)?;
        let stopped = session.is_stopped();
        session.idle();
        if !answer.complete && !stopped {
            let tokens = arguments.max_new_tokens;
            session.note(&format_args!("cut at {tokens} tokens; --max-new-tokens allows more"));
        }
        messages.push(Message { role: Role::Assistant, content: answer.text });
        turn += 1;
    }
    Ok(())
}

/// What the user says next, without the white space around it; none at the end of the input. Bytes that are not text are
/// read as U+FFFD: a typo does not end the conversation.
fn next_line(input: &mut impl BufRead, asks: bool) -> Result<Option<String>, Failure> {
    if asks {
        // The prompt is no result; a closed stderr leaves nobody to ask.
        _ = write!(io::stderr(), "> ");
    }
    let mut bytes = vec![];
    let read = input.read_until(b'\n', &mut bytes).map_err(Failure::io(Path::new("standard input")))?;
    if read == 0 {
        if asks {
            // What the shell writes next begins on a line of its own.
            _ = writeln!(io::stderr());
        }
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_to_the_end_whatever_is_in_them() {
        let mut input: &[u8] = b" Habari?\r\n\xFF ndiyo\n\nlast";
        for expected in ["Habari?", "\u{FFFD} ndiyo", "", "last"] {
            let line = next_line(&mut input, false).unwrap();
            assert_eq!(line.as_deref(), Some(expected));
        }
        assert_eq!(next_line(&mut input, false).unwrap(), None);
    }
}
