//! An answer as it is written: each token's text on the terminal as soon as it is whole.

use mpo_data::Message;
use mpo_models::{CausalLm, generate};

use crate::failure::Failure;
use crate::model_folder::ModelFolder;
use crate::output;

/// Answers a conversation greedily, prints the answer while it grows, and returns it.
pub(crate) fn print(
    folder: &ModelFolder,
    model: &CausalLm,
    messages: &[Message],
    max_new_tokens: usize,
) -> Result<String, Failure> {
    let prompt = folder.encode_prompt(messages)?;
    let options = folder.generate_options(max_new_tokens);
    let mut ids = vec![];
    let mut growing = Growing::default();
    let mut printed = Ok(());
    generate(model, &[prompt], &options, |_, id| {
        ids.push(id);
        let text = folder.tokenizer.decode(&ids).map_err(Failure::from);
        printed = text.and_then(|text| output::piece(growing.completed(&text)));
        printed.is_ok()
    });
    printed?;
    let text = folder.tokenizer.decode(&ids)?;
    output::line(growing.rest(&text))?;
    Ok(text)
}

/// How much of a growing text has been shown.
#[derive(Debug, Default)]
struct Growing {
    shown: usize,
}

impl Growing {
    /// What is new in `text` and will not change: the decoder writes U+FFFD where bytes of a character are missing.
    fn completed<'t>(&mut self, text: &'t str) -> &'t str {
        self.rest(text.trim_end_matches(char::REPLACEMENT_CHARACTER))
    }

    /// All that is new in `text`.
    fn rest<'t>(&mut self, text: &'t str) -> &'t str {
        let new = text.get(self.shown..).unwrap_or_default();
        self.shown += new.len();
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_shown_when_it_is_whole() {
        let mut growing = Growing::default();
        for (text, new) in [
            ("Ku", "Ku"),
            ("Ku \u{FFFD}", " "),
            ("Ku \u{FFFD}\u{FFFD}", ""),
            ("Ku あ", "あ"),
            ("Ku あ", ""),
            ("Ku あ!", "!"),
        ] {
            assert_eq!(growing.completed(text), new, "{text}");
        }
    }

    #[test]
    fn bytes_that_never_become_a_character_are_shown_at_the_end() {
        let mut growing = Growing::default();
        assert_eq!(growing.completed("a\u{FFFD}"), "a");
        assert_eq!(growing.rest("a\u{FFFD}"), "\u{FFFD}");
    }
}
