//! The text of tokens that come one by one.

use std::mem;

/// A text that grows by tokens. Each is decoded with a few before it and not with all, so that a long text costs no more a
/// token than a short one.
#[derive(Debug, Default)]
pub struct GrowingText {
    /// The last tokens: some that were handed over, which say how those behind them begin, and some that were not.
    ids: Vec<u32>,
    /// How many of them were handed over.
    shown: usize,
    /// Bytes of the text of those.
    shown_bytes: usize,
}

impl GrowingText {
    /// What a further token adds to the text and no later one will change; nothing while a character lacks bytes.
    ///
    /// # Errors
    /// Those of `decode`.
    pub fn push<E>(&mut self, id: u32, decode: impl Fn(&[u32]) -> Result<String, E>) -> Result<String, E> {
        self.ids.push(id);
        let text = decode(&self.ids)?;
        // What decodes writes U+FFFD where bytes of a character are missing.
        if text.len() <= self.shown_bytes || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        let new = text.get(self.shown_bytes..).unwrap_or_default().to_owned();
        self.ids.drain(..self.shown);
        self.shown = self.ids.len();
        self.shown_bytes = decode(&self.ids)?.len();
        Ok(new)
    }

    /// What is left at the end, whole or not.
    ///
    /// # Errors
    /// Those of `decode`.
    pub fn finish<E>(&mut self, decode: impl Fn(&[u32]) -> Result<String, E>) -> Result<String, E> {
        let Self { ids, shown_bytes, .. } = mem::take(self);
        Ok(decode(&ids)?.get(shown_bytes..).unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::path::Path;

    use mpo_data::{TemplateOptions, TextTokenizer};

    use super::*;

    /// Tokens that are bytes, in a text whose first space is dropped.
    fn bytes(ids: &[u32]) -> Result<String, Infallible> {
        let bytes: Vec<u8> = ids.iter().map(|&id| id as u8).collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(text.strip_prefix(' ').map(str::to_owned).unwrap_or(text))
    }

    fn pieces(text: &[u8]) -> Vec<String> {
        let mut growing = GrowingText::default();
        let mut pieces: Vec<String> = text.iter().map(|&byte| growing.push(u32::from(byte), bytes).unwrap()).collect();
        pieces.push(growing.finish(bytes).unwrap());
        pieces
    }

    #[test]
    fn a_character_is_shown_when_it_is_whole() {
        assert_eq!(pieces("K あ!".as_bytes()), ["K", " ", "", "", "あ", "!", ""]);
        assert_eq!(pieces(b" a b"), ["", "a", " ", "b", ""]);
    }

    #[test]
    fn bytes_that_never_become_a_character_are_shown_at_the_end() {
        assert_eq!(pieces(b"a\xE3\x81"), ["a", "", "", "\u{FFFD}"]);
        assert_eq!(pieces(b"\xFFa"), ["", "\u{FFFD}a", ""]);
    }

    #[test]
    fn the_pieces_of_a_real_tokenizers_text_are_the_text() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mpo-train/miniature/model");
        let tokenizer = TextTokenizer::from_dir(&folder, &TemplateOptions::default()).unwrap();
        let ids = tokenizer.encode_text("How do I bake bread? 빵은 어떻게 굽나요?  চা  كيف؟ 🍞\n\n- a\n").unwrap();
        let mut growing = GrowingText::default();
        let mut text = String::new();
        for &id in &ids {
            text += &growing.push(id, |ids| tokenizer.decode(ids)).unwrap();
        }
        text += &growing.finish(|ids| tokenizer.decode(ids)).unwrap();
        assert_eq!(text, tokenizer.decode(&ids).unwrap());
        assert!(ids.len() > 30 && text.contains("빵은"), "{text}");
    }
}
