//! Texts that are written in the format of a chat template already, which the template would write around them again.

use super::{Draft, DraftSide};
use crate::pair::Message;

/// What turns begin with in the chat formats of common models.
const MARKERS: [&str; 16] = [
    "<|im_start|>",
    "<|start_header_id|>",
    "<start_of_turn>",
    "[INST]",
    "<|user|>",
    "<|assistant|>",
    "<|START_OF_TURN_TOKEN|>",
    "<｜User｜>",
    "<|start|>user",
    "<extra_id_1>",
    "<|prompter|>",
    "<|start_of_role|>",
    "<|header_start|>",
    "<|end_of_turn|>",
    "### Human:",
    "### Instruction:",
];

impl Draft {
    /// The first of the marks of chat formats that a text of the row has.
    pub(crate) fn chat_marker(&self) -> Option<&'static str> {
        MARKERS.into_iter().find(|marker| self.has(marker))
    }

    fn has(&self, marker: &str) -> bool {
        let of_prompt = |prompt: &[Message]| {
            let mut messages = prompt.iter();
            messages.any(|message| message.content.contains(marker))
        };
        let of_side = |side: &DraftSide| {
            of_prompt(&side.prompt) || side.chosen.contains(marker) || side.rejected.contains(marker)
        };
        match self {
            Self::Pair(pair) => pair.dominant.as_ref().is_some_and(of_side) || of_side(&pair.target),
            Self::Answer(answer) => of_prompt(&answer.prompt) || answer.answer.contains(marker),
            Self::Prompts(draft) => draft.prompts.iter().any(|(_, prompt)| of_prompt(prompt)),
        }
    }
}
