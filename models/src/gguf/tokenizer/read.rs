//! From the keys of a file to the files of a folder.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::kinds::{KNOWN, Kind};
use super::pieces::{Piece, merges};
use super::special::ROLES;
use super::{SPACE, token_type, unused};
use crate::checkpoint::CheckpointError;
use crate::gguf::metadata::Metadata;
use crate::gguf::value::Value;

/// Files by name.
pub(in crate::gguf) type Files = Vec<(&'static str, String)>;

/// The tokens of a file.
struct Tokens<'a> {
    /// As the vocabulary has them: what is looked for in the text itself has spaces in a file.
    texts: Vec<Cow<'a, str>>,
    types: Vec<i32>,
}

/// The files of the tokenizer: none where the file has none.
///
/// # Errors
/// If it is of a kind that is not known, or the keys do not fit each other.
pub(in crate::gguf) fn files(file: &Path, metadata: &Metadata) -> Result<Files, CheckpointError> {
    let unread = |expected: String, got: String| CheckpointError::Unread {
        file: file.to_owned(),
        expected,
        got,
        hint: "pass the folder with safetensors that the file was made from, or another model",
    };
    let model = text(metadata, "tokenizer.ggml.model").unwrap_or("none");
    let tokens = match model {
        "none" | "no_vocab" => return Ok(vec![]),
        "gpt2" | "llama" => Tokens::read(file, metadata, model == "llama")?,
        other => return Err(unread("a tokenizer of the kind gpt2 or llama".into(), format!("{other:.100}"))),
    };
    let tokenizer = if model == "llama" {
        of_pieces(file, metadata, &tokens)?
    } else {
        let name = text(metadata, "tokenizer.ggml.pre").unwrap_or("none");
        let kind = Kind::named(name).ok_or_else(|| {
            unread(format!("a way to cut words that is known, {KNOWN}, as tokenizer.ggml.pre"), format!("{name:.100}"))
        })?;
        of_bytes(file, metadata, &tokens, kind)?
    };
    let mut files = vec![
        ("tokenizer.json", Json::Object(tokenizer).to_string()),
        ("tokenizer_config.json", format!("{:#}\n", tokenizer_config(metadata, &tokens))),
    ];
    if let Some(template) = text(metadata, "tokenizer.chat_template") {
        files.push(("chat_template.jinja", template.to_owned()));
    }
    Ok(files)
}

fn text<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a str> {
    metadata.get(key).and_then(Value::text)
}

fn array<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a [Value]> {
    match metadata.get(key) {
        Some(Value::Array(values)) => Some(values),
        _ => None,
    }
}

/// The token of a role, if it is one of the tokens.
fn role<'a>(metadata: &Metadata, tokens: &'a Tokens<'_>, role: &str) -> Option<(&'a str, usize)> {
    let id = metadata.get(&format!("tokenizer.ggml.{role}_token_id"))?.whole()?;
    let id = usize::try_from(id).ok()?;
    Some((tokens.texts.get(id)?, id))
}

impl<'a> Tokens<'a> {
    fn read(file: &Path, metadata: &'a Metadata, of_pieces: bool) -> Result<Self, CheckpointError> {
        let malformed = |problem: &str| CheckpointError::malformed(file, problem);
        let texts = array(metadata, "tokenizer.ggml.tokens");
        let texts: Option<Vec<&str>> = texts.and_then(|texts| texts.iter().map(Value::text).collect());
        let texts = texts.ok_or_else(|| malformed("expected texts as tokenizer.ggml.tokens, got none"))?;
        let types = match array(metadata, "tokenizer.ggml.token_type") {
            None => vec![token_type::NORMAL; texts.len()],
            Some(types) => {
                let number = |value: &Value| value.whole().and_then(|number| i32::try_from(number).ok());
                let types: Option<Vec<i32>> = types.iter().map(number).collect();
                let types = types.filter(|types| types.len() == texts.len());
                types.ok_or_else(|| {
                    malformed("expected a type of each token as tokenizer.ggml.token_type, got others")
                })?
            }
        };
        let piece = |(text, kind): (&'a str, &i32)| match *kind {
            token_type::USER_DEFINED if of_pieces && text.contains(' ') => Cow::Owned(text.replace(' ', SPACE)),
            _ => Cow::Borrowed(text),
        };
        let texts = texts.into_iter().zip(&types).map(piece).collect();
        let tokens = Self { texts, types };
        let mut seen = HashSet::new();
        let twice = tokens.named().find(|(_, text, _)| !seen.insert(*text)).map(|(_, text, _)| format!("{text:?}"));
        match twice {
            None => Ok(tokens),
            Some(text) => Err(malformed(&format!("expected each token once, got {text:.100} twice"))),
        }
    }

    /// Ids, texts and types of all but those that stand for no token.
    fn named(&self) -> impl Iterator<Item = (usize, &str, i32)> {
        let all = self.texts.iter().zip(&self.types).enumerate().map(|(id, (text, kind))| (id, &**text, *kind));
        all.filter(|(id, text, kind)| *kind != token_type::UNUSED || *text != unused(*id))
    }

    fn vocab(&self) -> Map<String, Json> {
        self.named().map(|(id, text, _)| (text.to_owned(), id.into())).collect()
    }

    /// The tokens that are looked for before a text is cut.
    fn added(&self) -> Json {
        let added = |kind| matches!(kind, token_type::CONTROL | token_type::USER_DEFINED | token_type::UNKNOWN);
        let tokens = self.named().filter(|(.., kind)| added(*kind));
        let token = |(id, text, kind): (usize, &str, i32)| {
            json!({
                "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": kind != token_type::USER_DEFINED,
            })
        };
        tokens.map(token).collect()
    }
}

/// A tokenizer that merges the bytes of words.
fn of_bytes(
    file: &Path,
    metadata: &Metadata,
    tokens: &Tokens<'_>,
    kind: &Kind,
) -> Result<Map<String, Json>, CheckpointError> {
    let merge = |value: &Value| {
        let (left, right) = value.text()?.split_once(' ')?;
        Some(json!([left, right]))
    };
    let merges = array(metadata, "tokenizer.ggml.merges");
    let merges: Option<Vec<Json>> = merges.and_then(|merges| merges.iter().map(merge).collect());
    let merges = merges.ok_or_else(|| {
        CheckpointError::malformed(file, "expected pairs of tokens as tokenizer.ggml.merges, got others")
    })?;
    let (normalizer, pre_tokenizer) = kind.to_json();
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false });
    Ok(tokenizer(
        json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": kind.ignore_merges, "vocab": tokens.vocab(), "merges": merges,
        }),
        tokens.added(),
        normalizer,
        pre_tokenizer,
        post_processor(metadata, tokens, kind.adds_bos).unwrap_or(bytes),
        json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true }),
    ))
}

/// A tokenizer that merges pieces, and writes as bytes what no piece has.
fn of_pieces(file: &Path, metadata: &Metadata, tokens: &Tokens<'_>) -> Result<Map<String, Json>, CheckpointError> {
    let scores = array(metadata, "tokenizer.ggml.scores");
    let scores: Option<Vec<f32>> = scores.and_then(|scores| {
        let number = |value: &Value| match value {
            Value::F32(number) => Some(*number),
            _ => None,
        };
        scores.iter().map(number).collect()
    });
    let scores = scores.filter(|scores| scores.len() == tokens.texts.len()).ok_or_else(|| {
        CheckpointError::malformed(file, "expected a score of each token as tokenizer.ggml.scores, got others")
    })?;
    let all: HashSet<&str> = tokens.named().map(|(_, text, _)| text).collect();
    let pieces = tokens.named().filter(|(.., kind)| matches!(*kind, token_type::NORMAL | token_type::USER_DEFINED));
    let pieces: Vec<Piece<'_>> = pieces
        .map(|(id, text, kind)| Piece { text, score: scores[id], is_users: kind == token_type::USER_DEFINED })
        .collect();
    let merges: Vec<Json> = merges(&pieces, &all).into_iter().map(|(left, right)| json!([left, right])).collect();
    let prefix = metadata.get("tokenizer.ggml.add_space_prefix").and_then(Value::flag).unwrap_or(true);
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
    let normalizer = if prefix {
        json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": SPACE }, replace] })
    } else {
        replace
    };
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let unknown = tokens.named().find(|(.., kind)| *kind == token_type::UNKNOWN).map(|(_, text, _)| text);
    let unknown = unknown.or(role(metadata, tokens, "unknown").map(|(text, _)| text));
    Ok(tokenizer(
        json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": tokens.vocab(), "merges": merges,
        }),
        tokens.added(),
        normalizer,
        Json::Null,
        post_processor(metadata, tokens, true).unwrap_or(Json::Null),
        json!({ "type": "Sequence", "decoders": decoders }),
    ))
}

/// The parts in the order of Transformers' files.
fn tokenizer(
    model: Json,
    added: Json,
    normalizer: Json,
    pre_tokenizer: Json,
    post_processor: Json,
    decoder: Json,
) -> Map<String, Json> {
    let parts = [
        ("version", "1.0".into()),
        ("truncation", Json::Null),
        ("padding", Json::Null),
        ("added_tokens", added),
        ("normalizer", normalizer),
        ("pre_tokenizer", pre_tokenizer),
        ("post_processor", post_processor),
        ("decoder", decoder),
        ("model", model),
    ];
    parts.into_iter().map(|(name, part)| (name.to_owned(), part)).collect()
}

/// What puts tokens at the ends of a sequence, if any are put there.
fn post_processor(metadata: &Metadata, tokens: &Tokens<'_>, adds_bos: bool) -> Option<Json> {
    let end = |name: &str, default: bool| {
        let adds = metadata.get(&format!("tokenizer.ggml.add_{name}_token")).and_then(Value::flag);
        role(metadata, tokens, name).filter(|_| adds.unwrap_or(default))
    };
    let (bos, eos) = (end("bos", adds_bos), end("eos", false));
    if bos.is_none() && eos.is_none() {
        return None;
    }
    let part =
        |end: Option<(&str, usize)>| end.map(|(text, _)| json!({ "SpecialToken": { "id": text, "type_id": 0 } }));
    let sequence = |id: &str| Some(json!({ "Sequence": { "id": id, "type_id": 0 } }));
    let single: Vec<Json> = [part(bos), sequence("A"), part(eos)].into_iter().flatten().collect();
    let pair: Vec<Json> =
        [part(bos), sequence("A"), part(eos), part(bos), sequence("B"), part(eos)].into_iter().flatten().collect();
    let special = [bos, eos].into_iter().flatten();
    let special = special.map(|(text, id)| (text.to_owned(), json!({ "id": text, "ids": [id], "tokens": [text] })));
    let special: Map<String, Json> = special.collect();
    Some(json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special }))
}

fn tokenizer_config(metadata: &Metadata, tokens: &Tokens<'_>) -> Json {
    let mut config = Map::new();
    for (name, key) in ROLES {
        if let Some((text, _)) = role(metadata, tokens, name) {
            config.insert(key.into(), text.into());
        }
    }
    config.insert("clean_up_tokenization_spaces".into(), false.into());
    config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
    config.into()
}
