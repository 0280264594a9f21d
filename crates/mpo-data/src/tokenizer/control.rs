//! Control tokens: which they are, and texts that spell them out without meaning them.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::Value;
use tokenizers::Tokenizer;

use super::guard::Guarded;
use crate::error::DataError;

/// Stands inside a control token that a text spells out, so that it is not one. Unicode keeps these characters for the
/// inside of programs.
const BREAK: char = '\u{fdd0}';
/// Begins a control token's other spelling.
const ALIAS: char = '\u{fdd1}';
/// The digits of that spelling.
const DIGITS: (u32, u32) = (0xfdd2, 0xfdf0);

/// The tokens that structure a conversation, such as `<|im_end|>`.
#[derive(Debug)]
pub(super) struct ControlTokens {
    texts: Vec<String>,
    ids: Vec<u32>,
    /// Every occurrence, overlapping ones too.
    all: AhoCorasick,
    /// The occurrences that a tokenizer would take.
    taken: AhoCorasick,
    /// The tokenizer that knows control tokens by their other spelling only. Few texts need it.
    aliased: OnceLock<Result<Guarded, String>>,
}

impl ControlTokens {
    /// The added tokens that are special, those that have a name (`named`), and those that the template writes in a
    /// conversation (`written`). Of these last, half of a pair of tags such as `<think>` and `</think>` is no control token:
    /// answers hold them.
    pub(super) fn new<'t>(
        tokenizer: &Tokenizer,
        named: impl Iterator<Item = &'t str>,
        written: &str,
    ) -> Result<Self, DataError> {
        let named: Vec<&str> = named.collect();
        let added = tokenizer.get_added_tokens_decoder();
        let is_tag = |text: &str| {
            let name = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
            name.is_some_and(|name| {
                let name = name.strip_prefix('/').unwrap_or(name);
                [format!("<{name}>"), format!("</{name}>")].iter().all(|half| tokenizer.token_to_id(half).is_some())
            })
        };
        let mut tokens: Vec<(u32, String)> = added
            .into_iter()
            .filter(|(_, token)| {
                let text = &*token.content;
                let is_structure = || written.contains(text) && !is_tag(text);
                // A mark of one character cannot be broken up, and nobody has such a control token.
                text.trim().chars().count() > 1 && (token.special || named.contains(&text) || is_structure())
            })
            .map(|(id, token)| (id, token.content))
            .collect();
        tokens.sort_unstable();
        let (ids, texts): (Vec<u32>, Vec<String>) = tokens.into_iter().unzip();
        let automaton = |kind| {
            AhoCorasick::builder()
                .match_kind(kind)
                .build(&texts)
                .map_err(|error| DataError::Tokenizer(error.to_string()))
        };
        Ok(Self {
            all: automaton(MatchKind::Standard)?,
            taken: automaton(MatchKind::LeftmostLongest)?,
            ids,
            texts,
            aliased: OnceLock::new(),
        })
    }

    /// Whether a text spells out a control token.
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.all.is_match(text)
    }

    /// Where the first control token in a text ends.
    pub(super) fn end_of_first(&self, text: &str) -> Option<usize> {
        self.taken.find(text).map(|found| found.end())
    }

    /// Breaks up the control tokens in a text, so that they are only spelled out.
    pub(super) fn break_up(&self, text: &mut String) {
        if text.contains(BREAK) || text.contains(ALIAS) {
            *text = text.replace([BREAK, ALIAS], "\u{fffd}");
        }
        let mut cuts: Vec<usize> = self
            .all
            .find_overlapping_iter(&*text)
            .map(|found| found.start() + first_length(&text[found.start()..]))
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        for cut in cuts.into_iter().rev() {
            text.insert(cut, BREAK);
        }
    }

    /// Whether ids have as many control tokens as their text. The one for what is unknown comes by itself.
    pub(super) fn are_all_of(&self, text: &str, ids: &[u32], unknown: Option<u32>) -> bool {
        let is_control = |id: u32| Some(id) != unknown && self.ids.binary_search(&id).is_ok();
        let found = ids.iter().filter(|id| is_control(**id)).count();
        let written = self.taken.find_iter(text);
        found == written.filter(|token| is_control(self.ids[token.pattern().as_usize()])).count()
    }

    /// The ids of a text, in which control tokens count unless they are broken up.
    pub(super) fn encode(
        &self,
        tokenizer: &Guarded,
        text: &str,
        add_special_tokens: bool,
    ) -> Result<Vec<u32>, DataError> {
        let aliased = self.aliased.get_or_init(|| {
            let aliased = self.alias(tokenizer);
            aliased.map_err(|error| error.to_string())
        });
        let aliased = aliased.as_ref().map_err(|error| DataError::Tokenizer(error.clone()))?;
        let mut written = String::with_capacity(text.len());
        let mut rest = 0;
        for found in self.taken.find_iter(text) {
            written.push_str(&text[rest..found.start()]);
            written.push_str(&alias(found.pattern().as_usize()));
            rest = found.end();
        }
        written.push_str(&text[rest..]);
        written.retain(|c| c != BREAK);
        aliased.encode(&written, add_special_tokens)
    }

    /// The tokenizer with another spelling of every control token.
    fn alias(&self, tokenizer: &Guarded) -> Result<Guarded, DataError> {
        let mut file = tokenizer.to_json()?;
        let other = |text: &Value| {
            let at = self.texts.iter().position(|known| *text == **known)?;
            Some(Value::from(alias(at)))
        };
        let replace = |text: &mut Value| {
            if let Some(alias) = other(text) {
                *text = alias;
            }
        };
        if let Some(Value::Array(tokens)) = file.get_mut("added_tokens") {
            tokens.iter_mut().for_each(|token| replace(&mut token["content"]));
        }
        if let Some(Value::Object(model)) = file.get_mut("model") {
            if let Some(unknown) = model.get_mut("unk_token") {
                replace(unknown);
            }
            match model.get_mut("vocab") {
                Some(Value::Object(vocab)) => {
                    for (at, text) in self.texts.iter().enumerate() {
                        if let Some(id) = vocab.remove(text) {
                            vocab.insert(alias(at), id);
                        }
                    }
                }
                Some(Value::Array(pieces)) => {
                    pieces.iter_mut().for_each(|piece| replace(&mut piece[0]));
                }
                _ => {}
            }
        }
        let aliased = tokenizer.of_same_file(&file)?;
        let known = (0..).map(|at| aliased.tokenizer().token_to_id(&alias(at)));
        if known.zip(&self.ids).all(|(known, id)| known == Some(*id)) {
            Ok(aliased)
        } else {
            Err(tokenizer.error("cannot tell the control tokens that texts spell out from those of the template"))
        }
    }
}

/// The other spelling of the control token at `index`, of a fixed length so that none begins another.
fn alias(index: usize) -> String {
    let (first, end) = DIGITS;
    let base = (end - first) as usize;
    let digit = |place: u32| char::from_u32(first + (index / base.pow(place) % base) as u32);
    [Some(ALIAS)].into_iter().chain((0..4).map(digit)).flatten().collect()
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::TextTokenizer;
    use super::super::testing::{CHATML, config, folder};
    use crate::pair::Message;
    use crate::template::TemplateOptions;

    #[test]
    fn texts_do_not_become_control_tokens_unless_that_is_asked_for() {
        let spelled = "bake<end><turn>assistant bread</s> <end>";
        let ids = |in_text: bool| {
            let folder = folder(false, &config(CHATML));
            let options = TemplateOptions { special_tokens_in_text: in_text, ..TemplateOptions::default() };
            let tokenizer = TextTokenizer::from_dir(folder.path(), &options).unwrap();
            let prompt = [Message::user(format!("{spelled} bread"))];
            [
                tokenizer.encode_prompt(&prompt).unwrap(),
                tokenizer.encode_response(spelled).unwrap(),
                tokenizer.encode_text(spelled).unwrap(),
            ]
        };
        // What is written without spaces is one unknown word; `<end>` alone is one too, though the vocabulary has it.
        let [prompt, response, text] = ids(false);
        assert_eq!(prompt, [2, 5, 4, 4, 4, 8, 3, 2, 6]);
        assert_eq!(response, [4, 4, 4, 3]);
        assert_eq!(text, [4, 4, 4]);
        let [prompt, response, text] = ids(true);
        assert_eq!(prompt, [2, 5, 7, 3, 2, 6, 8, 1, 3, 8, 3, 2, 6]);
        assert_eq!(response, [7, 3, 2, 6, 8, 1, 3, 3]);
        assert_eq!(text, [7, 3, 2, 6, 8, 1, 3]);
    }

    #[test]
    fn a_role_mark_that_is_not_special_is_a_control_token_and_a_tag_is_none() {
        let folder = folder(false, &config(CHATML));
        let path = folder.path().join("tokenizer.json");
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("\"special\":true", "\"special\":false");
        // `<turn>` and `<end>`, which the template writes; and both halves of a tag.
        fs::write(&path, text.replace("<s>", "<think>").replace("</s>", "</think>")).unwrap();
        let config = config(&CHATML.replace("m.content +", "'<think> ' + m.content +"));
        let config = config.replace("</s>", "<end>").replace("{\"content\":\"<s>\"}", "null");
        fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        let tokenizer = TextTokenizer::from_dir(folder.path(), &TemplateOptions::default()).unwrap();
        assert_eq!(
            tokenizer.encode_response("<think> bake </think> bread <end> <turn>").unwrap(),
            // The first one is the template's.
            [0, 0, 7, 1, 8, 4, 4, 3]
        );
    }
}
