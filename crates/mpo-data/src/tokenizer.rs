//! Text to token ids and back, as a model's folder says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use tokenizers::Tokenizer;

use crate::error::DataError;
use crate::pair::Message;
use crate::template::{ChatTemplate, EndOfTurn, SpecialTokens, TemplateChoice};

/// A tokenizer with its chat template and the ids that begin, end and pad a sequence.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    /// The token that the tokenizer itself begins a sequence with.
    bos: Option<u32>,
    eos: u32,
    pad: u32,
    end_of_turn: Vec<u32>,
    /// Ends a turn too, and is not written after a response.
    also_ends: Option<u32>,
    vocab_size: usize,
}

/// The part of `tokenizer_config.json` that matters here.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    bos_token: Option<TokenField>,
    eos_token: Option<TokenField>,
    pad_token: Option<TokenField>,
    chat_template: Option<TemplateField>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a token as a string or as {content}")]
enum TokenField {
    Text(String),
    Object { content: String },
}

impl TokenField {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) | Self::Object { content: text } => text,
        }
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a chat template as a string or as a list of {name, template}"
)]
enum TemplateField {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl TemplateField {
    fn into_default(self) -> Option<String> {
        match self {
            Self::One(source) => Some(source),
            Self::Named(named) => named
                .into_iter()
                .find(|one| one.name == "default")
                .map(|one| one.template),
        }
    }
}

impl TextTokenizer {
    /// Reads `tokenizer.json`, `tokenizer_config.json` and, if `choice` is automatic, the chat template of a folder.
    pub fn from_dir(dir: &Path, choice: &TemplateChoice) -> Result<Self, DataError> {
        let path = dir.join("tokenizer.json");
        let invalid = |problem: String| DataError::TokenizerFile {
            path: path.clone(),
            problem,
        };
        let mut tokenizer = Tokenizer::from_bytes(read_bytes(&path)?)
            .map_err(|error| invalid(error.to_string()))?;
        // Cutting and padding are ours: what the file asks for is for another program.
        tokenizer
            .with_truncation(None)
            .map_err(|error| invalid(error.to_string()))?;
        tokenizer.with_padding(None);

        let path = dir.join("tokenizer_config.json");
        let config: TokenizerConfig =
            serde_json::from_slice(&read_bytes(&path)?).map_err(|error| {
                DataError::TokenizerFile {
                    path,
                    problem: error.to_string(),
                }
            })?;
        let text = |field: Option<TokenField>| field.map(TokenField::into_text).unwrap_or_default();
        let tokens = SpecialTokens {
            bos: text(config.bos_token),
            eos: text(config.eos_token),
        };
        let pad = text(config.pad_token);
        let template = match choice {
            TemplateChoice::Builtin(builtin) => ChatTemplate::builtin(*builtin, tokens.clone())?,
            TemplateChoice::File(path) => ChatTemplate::new(read_text(path)?, tokens.clone())?,
            TemplateChoice::Auto => {
                let file = dir.join("chat_template.jinja");
                let source = match config.chat_template.and_then(TemplateField::into_default) {
                    _ if file.is_file() => read_text(&file)?,
                    Some(source) => source,
                    None => return Err(DataError::NoTemplate(dir.into())),
                };
                ChatTemplate::new(source, tokens.clone())?
            }
        };
        Self::new(tokenizer, template, &tokens, &pad)
    }

    /// Puts a tokenizer and its template together. An empty `pad` means that the end-of-sequence token pads.
    pub fn new(
        tokenizer: Tokenizer,
        template: ChatTemplate,
        tokens: &SpecialTokens,
        pad: &str,
    ) -> Result<Self, DataError> {
        let id = |token: &str, role| {
            let missing = || DataError::MissingToken {
                token: token.into(),
                role,
            };
            tokenizer.token_to_id(token).ok_or_else(missing)
        };
        let eos = id(
            &tokens.eos,
            "end of sequence: `eos_token` of tokenizer_config.json",
        )?;
        let pad = if pad.is_empty() {
            eos
        } else {
            id(pad, "padding: `pad_token` of tokenizer_config.json")?
        };
        let end_of_turn = match template.end_of_turn()? {
            EndOfTurn::Eos => vec![eos],
            EndOfTurn::Token(token) => vec![id(
                token,
                "end of a response: written by the chat template",
            )?],
            EndOfTurn::Text(text) => {
                through_first_special(&tokenizer, &text)?.unwrap_or_else(|| vec![eos])
            }
        };
        let also_ends = template
            .also_ends()
            .and_then(|token| tokenizer.token_to_id(token));
        let first = encode(&tokenizer, "", true)?.first().copied();
        let bos = first.filter(|first| tokenizer.token_to_id(&tokens.bos) == Some(*first));
        let largest = tokenizer.get_vocab(true).into_values().max();
        let vocab_size = largest.map_or(0, |largest| largest as usize + 1);
        Ok(Self {
            tokenizer,
            template,
            bos,
            eos,
            pad,
            end_of_turn,
            also_ends,
            vocab_size,
        })
    }

    /// The prompt as the template writes it, up to where the assistant begins to speak.
    pub fn encode_prompt(&self, messages: &[Message]) -> Result<Vec<u32>, DataError> {
        let text = self.template.render(messages, true)?;
        let mut ids = encode(&self.tokenizer, &text, false)?;
        // A template that writes the first token itself must not get a second, and one that does not must not lose it.
        if let Some(bos) = self.bos
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// A text without any template, as the tokenizer begins a sequence.
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>, DataError> {
        encode(&self.tokenizer, text, true)
    }

    /// A response and what ends it, tokenised apart from its prompt as the released code does.
    pub fn encode_response(&self, response: &str) -> Result<Vec<u32>, DataError> {
        let mut ids = encode(&self.tokenizer, response, false)?;
        ids.extend(&self.end_of_turn);
        Ok(ids)
    }

    /// The text of some ids, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        self.tokenizer
            .decode(ids, true)
            .map_err(|error| DataError::Tokenizer(error.to_string()))
    }

    /// The ids at which generation stops: the end of the sequence and the end of a turn.
    pub fn stop_ids(&self) -> Vec<u32> {
        let ids: BTreeSet<u32> = self
            .end_of_turn
            .last()
            .copied()
            .into_iter()
            .chain(self.also_ends)
            .chain([self.eos])
            .collect();
        ids.into_iter().collect()
    }

    /// The id that ends a sequence.
    pub fn eos_id(&self) -> u32 {
        self.eos
    }

    /// The id that fills a batch up.
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    /// One more than the largest id: the rows an embedding must have at least.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }
}

fn encode(
    tokenizer: &Tokenizer,
    text: &str,
    add_special_tokens: bool,
) -> Result<Vec<u32>, DataError> {
    let encoding = tokenizer.encode(text, add_special_tokens);
    Ok(encoding
        .map_err(|error| DataError::Tokenizer(error.to_string()))?
        .get_ids()
        .to_vec())
}

/// The ids of `text` up to its first special token; none if it has no such token.
fn through_first_special(tokenizer: &Tokenizer, text: &str) -> Result<Option<Vec<u32>>, DataError> {
    let added = tokenizer.get_added_tokens_decoder();
    let mut ids = encode(tokenizer, text, false)?;
    let first = ids
        .iter()
        .position(|id| added.get(id).is_some_and(|token| token.special));
    Ok(first.map(|first| {
        ids.truncate(first + 1);
        ids
    }))
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    fs::read(path).map_err(|source| DataError::Io {
        path: path.into(),
        source,
    })
}

fn read_text(path: &Path) -> Result<String, DataError> {
    fs::read_to_string(path).map_err(|source| DataError::Io {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::{BilingualPair, Origin, Position, PreferencePair};
    use crate::tokenized::tokenize_rows;
    use crate::truncation::Truncation;

    const CHATML: &str = "{% for m in messages %}{{ '<turn>' + m.role + ' ' + m.content + ' <end> ' }}{% endfor %}\
                          {% if add_generation_prompt %}{{ '<turn>assistant ' }}{% endif %}";

    /// Words of one token each: ids 0 to 8 as listed; `<s>` begins a sequence if `adds_bos`.
    fn folder(adds_bos: bool, config: &str) -> tempfile::TempDir {
        let words = [
            "<s>",
            "</s>",
            "<turn>",
            "<end>",
            "<unk>",
            "user",
            "assistant",
            "bake",
            "bread",
        ];
        let vocab: serde_json::Map<String, serde_json::Value> = words
            .iter()
            .enumerate()
            .map(|(id, word)| ((*word).to_owned(), id.into()))
            .collect();
        let added: Vec<_> = words[..4]
            .iter()
            .enumerate()
            .map(|(id, word)| {
                serde_json::json!({ "id": id, "content": word, "single_word": false, "lstrip": false,
                                    "rstrip": false, "normalized": false, "special": true })
            })
            .collect();
        let bos = serde_json::json!({ "SpecialToken": { "id": "<s>", "type_id": 0 } });
        let sequence = |id: &str| serde_json::json!({ "Sequence": { "id": id, "type_id": 0 } });
        let processor = adds_bos.then(|| {
            serde_json::json!({
                "type": "TemplateProcessing",
                "single": [bos, sequence("A")],
                "pair": [bos, sequence("A"), sequence("B")],
                "special_tokens": { "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] } },
            })
        });
        let tokenizer = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": processor, "decoder": null,
            "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "<unk>" },
        });
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        folder
    }

    fn config(template: &str) -> String {
        serde_json::json!({ "bos_token": { "content": "<s>" }, "eos_token": "</s>", "chat_template": template }).to_string()
    }

    fn load(
        adds_bos: bool,
        config: &str,
        choice: TemplateChoice,
    ) -> Result<TextTokenizer, DataError> {
        TextTokenizer::from_dir(folder(adds_bos, config).path(), &choice)
    }

    #[test]
    fn prompts_begin_with_one_bos_and_responses_end_the_turn() {
        let with_bos = format!("{{{{ bos_token }}}}{CHATML}");
        let cases: [(bool, &str, &[u32]); 4] = [
            (true, CHATML, &[0]),
            (true, &with_bos, &[0]),
            (false, CHATML, &[]),
            (false, &with_bos, &[0]),
        ];
        for (adds_bos, template, bos) in cases {
            let tokenizer = load(adds_bos, &config(template), TemplateChoice::Auto).unwrap();
            let prompt = tokenizer
                .encode_prompt(&[Message::user("bake bread")])
                .unwrap();
            assert_eq!(prompt, [bos, &[2, 5, 7, 8, 3, 2, 6]].concat());
            assert_eq!(tokenizer.encode_response("bread bread").unwrap(), [8, 8, 3]);
            assert_eq!(
                (
                    tokenizer.stop_ids(),
                    tokenizer.pad_id(),
                    tokenizer.vocab_size()
                ),
                (vec![1, 3], 1, 9)
            );
            assert_eq!(
                tokenizer.decode(&prompt).unwrap(),
                "user bake bread assistant"
            );
        }
    }

    #[test]
    fn the_plain_template_ends_with_eos() {
        let tokenizer = load(true, &config(CHATML), "plain".parse().unwrap()).unwrap();
        assert_eq!(
            tokenizer
                .encode_prompt(&[Message::user("bake bread")])
                .unwrap(),
            [0, 7, 8]
        );
        assert_eq!(tokenizer.encode_response("bread").unwrap(), [8, 1]);
    }

    #[test]
    fn gemma_stops_at_the_end_of_a_turn_too_where_the_tokenizer_has_it() {
        let stops = |end: &str| {
            let folder = folder(false, r#"{"eos_token": "<eos>"}"#);
            let path = folder.path().join("tokenizer.json");
            let text = fs::read_to_string(&path).unwrap();
            let text = text.replace("</s>", "<eos>").replace("<end>", end);
            fs::write(&path, text).unwrap();
            let choice = "gemma".parse().unwrap();
            let tokenizer = TextTokenizer::from_dir(folder.path(), &choice).unwrap();
            // What is trained on is the released code's.
            assert_eq!(tokenizer.encode_response("bread").unwrap(), [8, 1]);
            tokenizer.stop_ids()
        };
        assert_eq!(stops("<end_of_turn>"), [1, 3]);
        assert_eq!(stops("<end>"), [1]);
    }

    #[test]
    fn templates_are_found_where_hugging_face_puts_them() {
        let named = serde_json::json!({
            "eos_token": "</s>",
            "chat_template": [{ "name": "tool_use", "template": "x" }, { "name": "default", "template": CHATML }],
        });
        let folder = folder(false, &named.to_string());
        let load = || TextTokenizer::from_dir(folder.path(), &TemplateChoice::Auto).unwrap();
        assert_eq!(
            load().encode_prompt(&[Message::user("bake")]).unwrap(),
            [2, 5, 7, 3, 2, 6]
        );
        fs::write(
            folder.path().join("chat_template.jinja"),
            "{% for m in messages %}{{ m.content }}{% endfor %}",
        )
        .unwrap();
        assert_eq!(load().encode_prompt(&[Message::user("bake")]).unwrap(), [7]);
    }

    #[test]
    fn what_a_folder_lacks_is_named() {
        let error =
            |config: &str, choice: &str| load(false, config, choice.parse().unwrap()).unwrap_err();
        assert!(matches!(
            error(r#"{"eos_token":"</s>"}"#, "auto"),
            DataError::NoTemplate(_)
        ));
        assert!(matches!(
            error("{}", "plain"),
            DataError::MissingToken { .. }
        ));
        assert!(matches!(
            error("{", "plain"),
            DataError::TokenizerFile { .. }
        ));
        let other = error(&config(CHATML), "llama3");
        assert!(
            matches!(&other, DataError::MissingToken { token, .. } if token == "<|eot_id|>"),
            "{other}"
        );
        let empty = tempfile::tempdir().unwrap();
        let missing = TextTokenizer::from_dir(empty.path(), &TemplateChoice::Auto).unwrap_err();
        assert!(missing.to_string().contains("tokenizer.json"), "{missing}");
    }

    #[test]
    fn rows_are_cut_to_the_limit_and_counted() {
        let tokenizer = load(false, &config(CHATML), TemplateChoice::Auto).unwrap();
        let pair = |language: &str, chosen: &str| {
            let prompt = vec![Message::user("bake bread")];
            PreferencePair::new(
                language.parse().unwrap(),
                prompt,
                chosen.into(),
                "bread".into(),
            )
            .unwrap()
        };
        let row = BilingualPair {
            dominant: pair("en", "bake"),
            target: pair("sw", &"bake ".repeat(20)),
            origin: Origin {
                file: "f".into(),
                position: Position::Line(1),
            },
        };
        // The prompt has 7 tokens; the longer response 21, its end included. 2·7 < 16 leaves it 9.
        let (rows, report) =
            tokenize_rows(&[row], &tokenizer, Truncation::new(16, None).unwrap()).unwrap();
        assert_eq!((report.pairs, report.truncated, report.longest), (2, 1, 28));
        let (dominant, target) = (&rows[0].dominant, &rows[0].target);
        assert_eq!(
            (dominant.chosen(), dominant.rejected()),
            (&[7, 3][..], &[8, 3][..])
        );
        assert_eq!((target.prompt().len(), target.chosen()), (7, &[7; 9][..]));
        assert_eq!(target.rejected(), [8, 3]);
    }
}
