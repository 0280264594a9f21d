//! An answer's text, from its tokens: pieces of it as soon as they will not change, up to a text that ends it.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use mpo_chat::GrowingText;
use mpo_models::Token;

use crate::generator::Voice;
use crate::openai::{LogProb, Piece};

/// An answer that grows.
pub(super) struct Answer {
    voice: Arc<dyn Voice>,
    stops: Vec<String>,
    growing: GrowingText,
    /// Text that may be the beginning of one that ends the answer.
    held: String,
    /// Bytes of all text so far, that which is held among it.
    length: usize,
    /// Log-probabilities of tokens whose text is held, and where each one's begins.
    scored: VecDeque<(usize, LogProb)>,
    /// Tokens so far.
    pub(super) tokens: usize,
}

/// What a token brings.
pub(super) enum Grown {
    /// Text, perhaps none, and there may be more.
    On(Piece),
    /// The last text: one that ends the answer has come.
    Stopped(Piece),
}

impl Answer {
    pub(super) fn new(voice: Arc<dyn Voice>, stops: Vec<String>) -> Self {
        let (growing, held, scored) = (GrowingText::default(), String::new(), VecDeque::new());
        Self { voice, stops, growing, held, length: 0, scored, tokens: 0 }
    }

    pub(super) fn push(&mut self, token: &Token) -> Result<Grown, String> {
        self.tokens += 1;
        if let Some(scored) = self.scored(token)? {
            self.scored.push_back((self.length, scored));
        }
        let text = self.growing.push(token.id, |ids| self.voice.text(ids))?;
        Ok(self.grow(&text))
    }

    /// What is left when no more tokens come.
    pub(super) fn finish(&mut self) -> Result<Piece, String> {
        let text = self.growing.finish(|ids| self.voice.text(ids))?;
        Ok(match self.grow(&text) {
            Grown::Stopped(piece) => piece,
            Grown::On(mut piece) => {
                piece.text += &mem::take(&mut self.held);
                piece.log_probs.extend(self.scored.drain(..).map(|(_, scored)| scored));
                piece
            }
        })
    }

    fn grow(&mut self, text: &str) -> Grown {
        self.held += text;
        self.length += text.len();
        let found = self.stops.iter().filter_map(|stop| self.held.find(&**stop)).min();
        let end = found.unwrap_or_else(|| self.held.len() - self.longest_beginning());
        let rest = self.held.split_off(end);
        let text = mem::replace(&mut self.held, rest);
        let shown = self.length - self.held.len();
        let count = self.scored.iter().take_while(|(start, _)| *start < shown).count();
        let piece = Piece { text, log_probs: self.scored.drain(..count).map(|(_, scored)| scored).collect() };
        if found.is_some() { Grown::Stopped(piece) } else { Grown::On(piece) }
    }

    /// Bytes at the end of what is held that a text which ends the answer may begin with.
    fn longest_beginning(&self) -> usize {
        let begins = |stop: &String| {
            let longest = self.held.len().min(stop.len() - 1);
            let lengths = (1..=longest).rev().filter(|&length| stop.is_char_boundary(length));
            lengths.into_iter().find(|&length| self.held.ends_with(&stop[..length])).unwrap_or(0)
        };
        self.stops.iter().map(begins).max().unwrap_or(0)
    }

    fn scored(&self, token: &Token) -> Result<Option<LogProb>, String> {
        let Some(log_probs) = &token.log_probs else {
            return Ok(None);
        };
        let top: Result<Vec<LogProb>, String> =
            log_probs.top.iter().map(|&(id, log_prob)| self.log_prob(id, log_prob)).collect();
        let chosen = self.log_prob(token.id, log_probs.chosen)?;
        Ok(Some(LogProb { top_logprobs: Some(top?), ..chosen }))
    }

    fn log_prob(&self, id: u32, logprob: f32) -> Result<LogProb, String> {
        let token = self.voice.token_text(id)?;
        let bytes = (!token.contains(char::REPLACEMENT_CHARACTER)).then(|| token.as_bytes().to_vec());
        // JSON has no infinity; OpenAI's servers write this number for it.
        Ok(LogProb { token, logprob: logprob.max(-9999.0), bytes, top_logprobs: None })
    }
}

#[cfg(test)]
mod tests {
    use mpo_models::LogProbs;

    use super::*;
    use crate::testing::Echo;

    /// The text that letters make with these stops, piece by piece, and whether one of them has ended it.
    fn grown(letters: &str, stops: &[&str]) -> (Vec<String>, bool) {
        let stops = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut answer = Answer::new(Arc::new(Echo), stops);
        let mut pieces = vec![];
        for letter in letters.chars() {
            match answer.push(&Token { id: letter as u32, log_probs: None }).unwrap() {
                Grown::On(piece) => pieces.push(piece.text),
                Grown::Stopped(piece) => {
                    pieces.push(piece.text);
                    return (pieces, true);
                }
            }
        }
        pieces.push(answer.finish().unwrap().text);
        (pieces, false)
    }

    #[test]
    fn an_answer_ends_where_a_stop_begins() {
        assert_eq!(grown("abc", &[]), (["a", "b", "c", ""].map(String::from).into(), false));
        assert_eq!(grown("abcd", &["bc"]), (["a", "", ""].map(String::from).into(), true));
        // What might have been one is shown as soon as it is none.
        assert_eq!(grown("abxd", &["bc"]), (["a", "", "bx", "d", ""].map(String::from).into(), false));
        // And at the end.
        assert_eq!(grown("ab", &["bc"]), (["a", "", "b"].map(String::from).into(), false));
        assert_eq!(grown("aab", &["aab"]), (["", "", ""].map(String::from).into(), true));
        assert_eq!(grown("aaab", &["aab"]), (["", "", "a", ""].map(String::from).into(), true));
        assert_eq!(grown("xあい", &["い", "ああ"]), (["x", "", "あ"].map(String::from).into(), true));
    }

    #[test]
    fn log_probabilities_come_with_their_text() {
        let mut answer = Answer::new(Arc::new(Echo), vec!["bcd".into()]);
        let mut push = |letter: char| {
            let log_probs = Some(LogProbs { chosen: -1.0, top: vec![(letter as u32, f32::NEG_INFINITY)] });
            let (Grown::On(piece) | Grown::Stopped(piece)) =
                answer.push(&Token { id: letter as u32, log_probs }).unwrap();
            let tokens: String = piece.log_probs.iter().map(|one| &*one.token).collect();
            assert_eq!(tokens, piece.text);
            tokens
        };
        assert_eq!(["a", "b", "c", "x"].map(|text| push(text.chars().next().unwrap())), ["a", "", "", "bcx"]);
        assert_eq!(["b", "c", "d"].map(|text| push(text.chars().next().unwrap())), ["", "", ""]);
        assert_eq!(answer.tokens, 7);
    }
}
