//! From the files of a folder to the keys of a file, as `convert_hf_to_gguf.py` writes them.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value as Json;

use super::kinds::{KNOWN, Kind};
use super::special::{ROLES, Special, json};
use super::{SPACE, pieces, token_type, unused};
use crate::checkpoint::CheckpointError;
use crate::gguf::metadata::Metadata;
use crate::gguf::value::Value;
use crate::{ModelConfig, ModelError};

/// A token: its text and its type.
type Token = (String, i32);

/// Puts the tokenizer in `dir`, of a model with `config`. Without a `tokenizer.json` the file has none, and takes token ids only.
///
/// # Errors
/// If it is of a kind that llama.cpp does not know, or its files cannot be read.
pub(in crate::gguf) fn put(dir: &Path, config: &ModelConfig, metadata: &mut Metadata) -> Result<(), ModelError> {
    let path = dir.join("tokenizer.json");
    let Some(tokenizer) = json(&path)? else {
        metadata.put("tokenizer.ggml.model", "none");
        put_roles(config, |_| None, metadata);
        return Ok(());
    };
    let refuse = |expected: &'static str, found: String| ModelError::Folder {
        path: path.clone(),
        expected,
        found,
        remedy: "llama.cpp cannot cut texts as this tokenizer does: convert a model with another".into(),
    };
    let model = &tokenizer["model"];
    if model["type"] != "BPE" {
        return Err(refuse("a tokenizer that merges pairs (BPE)", model["type"].to_string()));
    }
    let merges = merges(model).ok_or_else(|| refuse("merges of two tokens each", "others".into()))?;
    let of_pieces = model["byte_fallback"] == true;
    let special = Special::read(dir)?;
    let rows = config.decoder.vocab_size;
    let tokens = tokens(&path, &tokenizer, rows, of_pieces)?;
    let ids: HashMap<&str, usize> = tokens.iter().enumerate().map(|(id, (text, _))| (text.as_str(), id)).collect();
    if of_pieces {
        let prefix = adds_space(&tokenizer).map_err(|found| refuse("a tokenizer of SentencePiece", found))?;
        let scores = pieces::scores(merges.iter().map(|(left, right)| (&**left, &**right)));
        let last = -(scores.len() as f32);
        let score = |(text, kind): &Token| match *kind {
            token_type::NORMAL => scores.get(text).copied().unwrap_or(last),
            token_type::BYTE => 0.0,
            token_type::UNUSED => -10_000.0,
            _ => -1000.0,
        };
        metadata.put("tokenizer.ggml.model", "llama");
        metadata.put("tokenizer.ggml.pre", "default");
        metadata.put("tokenizer.ggml.scores", tokens.iter().map(score).collect::<Value>());
        metadata.put("tokenizer.ggml.add_space_prefix", prefix);
    } else {
        let kind = Kind::of(&tokenizer).ok_or_else(|| {
            let step = tokenizer["pre_tokenizer"].to_string();
            refuse("words cut in a way that llama.cpp has a name for", format!("{step:.200} ({KNOWN} are known)"))
        })?;
        // A space within a token would end it.
        let written = |text: &str| text.replace(' ', "Ġ");
        metadata.put("tokenizer.ggml.model", "gpt2");
        metadata.put("tokenizer.ggml.pre", kind.name);
        let merges = merges.iter().map(|(left, right)| format!("{} {}", written(left), written(right)));
        metadata.put("tokenizer.ggml.merges", merges.collect::<Value>());
    }
    metadata.put("tokenizer.ggml.tokens", tokens.iter().map(|(text, _)| text.as_str()).collect::<Value>());
    metadata.put("tokenizer.ggml.token_type", tokens.iter().map(|(_, kind)| *kind).collect::<Value>());
    let roles = put_roles(config, |key| special.token(key).and_then(|text| ids.get(text)).copied(), metadata);
    let (first, last) = ends(&tokenizer["post_processor"]);
    let is = |text: Option<String>, role: &str| {
        text.and_then(|text| ids.get(&*text).copied()).is_some_and(|id| roles.get(role) == Some(&(id as u32)))
    };
    metadata.put("tokenizer.ggml.add_bos_token", is(first, "bos"));
    metadata.put("tokenizer.ggml.add_eos_token", is(last, "eos"));
    if let Some(template) = special.template(dir)? {
        metadata.put("tokenizer.chat_template", template);
    }
    Ok(())
}

/// Puts the ids of the tokens in the roles that there are: those that `of_text` finds, else those that the configuration names.
fn put_roles(
    config: &ModelConfig,
    of_text: impl Fn(&str) -> Option<usize>,
    metadata: &mut Metadata,
) -> HashMap<&'static str, u32> {
    let mut roles = HashMap::new();
    for (role, key) in ROLES {
        let of_config =
            || config.raw.get(&format!("{key}_id")).map(|id| id.get(0).unwrap_or(id)).and_then(Json::as_u64);
        let id = of_text(key).map(|id| id as u64).or_else(of_config).and_then(|id| u32::try_from(id).ok());
        if let Some(id) = id.filter(|&id| (id as usize) < config.decoder.vocab_size) {
            metadata.put(format!("tokenizer.ggml.{role}_token_id"), id);
            roles.insert(role, id);
        }
    }
    // A turn may end with another token than a sequence.
    let eos = roles.get("eos");
    if let Some(&eot) = config.decoder.eos_token_ids.iter().find(|id| eos.is_some_and(|eos| eos != *id)) {
        metadata.put("tokenizer.ggml.eot_token_id", eot);
    }
    roles
}

/// The merges, whether each is written as two texts or as one with a space between.
fn merges(model: &Json) -> Option<Vec<(String, String)>> {
    let merge = |merge: &Json| match merge {
        Json::String(text) => text.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned())),
        pair => Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_str()?.to_owned())),
    };
    model["merges"].as_array()?.iter().map(merge).collect()
}

/// The token of each row of the embedding.
fn tokens(path: &Path, tokenizer: &Json, rows: usize, of_pieces: bool) -> Result<Vec<Token>, ModelError> {
    let mut tokens: Vec<Token> = (0..rows).map(|id| (unused(id), token_type::UNUSED)).collect();
    let mut place = |id: Option<u64>, text: &str, kind: i32| {
        let token = id.and_then(|id| usize::try_from(id).ok()).and_then(|id| tokens.get_mut(id));
        token.map(|token| *token = (text.to_owned(), kind))
    };
    let unknown = tokenizer["model"]["unk_token"].as_str();
    for (text, id) in tokenizer["model"]["vocab"].as_object().into_iter().flatten() {
        let kind = if of_pieces && is_byte(text) { token_type::BYTE } else { token_type::NORMAL };
        place(id.as_u64(), text, kind).ok_or_else(|| {
            let problem = format!("expected ids below {rows}, the rows of the embedding, got {id} for {text:?}");
            CheckpointError::malformed(path, problem)
        })?;
    }
    // Those that the embedding has no row for, such as for images, cannot be used: `convert_hf_to_gguf.py` leaves them out too.
    for token in tokenizer["added_tokens"].as_array().into_iter().flatten() {
        let text = token["content"].as_str().unwrap_or_default();
        let id = token["id"].as_u64();
        if of_pieces && Some(text) == unknown {
            place(id, text, token_type::UNKNOWN);
        } else if token["special"] == true || looks_special(text) {
            place(id, text, token_type::CONTROL);
        } else {
            // llama.cpp looks for it in the text itself.
            place(id, &text.replace(SPACE, " "), token_type::USER_DEFINED);
        }
    }
    Ok(tokens)
}

/// `<0x0A>`, a byte that no piece has.
fn is_byte(text: &str) -> bool {
    let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}

/// Tokens that some models have for control and do not call special, as `convert_hf_to_gguf.py` knows them.
fn looks_special(text: &str) -> bool {
    let between = |start: &str, end: &str| text.starts_with(start) && text.ends_with(end);
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&text)
        || between("<|", "|>")
        || between("<｜", "｜>")
        || between("<unused", ">")
}

/// Whether a text begins with a space that is not there.
fn adds_space(tokenizer: &Json) -> Result<bool, String> {
    let (normalizer, before) = (&tokenizer["normalizer"], &tokenizer["pre_tokenizer"]);
    let steps = match normalizer["normalizers"].as_array() {
        Some(steps) => steps.iter().collect(),
        None if normalizer.is_null() => vec![],
        None => vec![normalizer],
    };
    let mut prefix = false;
    for step in steps {
        match step["type"].as_str() {
            Some("Prepend") if step["prepend"] == SPACE => prefix = true,
            Some("Replace") if step["pattern"]["String"] == " " && step["content"] == SPACE => {}
            _ => return Err(format!("the step {step:.100}")),
        }
    }
    match before["type"].as_str() {
        None => Ok(prefix),
        // Spaces have become pieces by then, so nothing is left to cut.
        Some("Split") if before["pattern"]["String"] == " " && !normalizer.is_null() => Ok(prefix),
        Some("Metaspace") => Ok(before["prepend_scheme"] != "never"),
        _ => Err(format!("the step {before:.100}")),
    }
}

/// The tokens that a sequence begins and ends with.
fn ends(step: &Json) -> (Option<String>, Option<String>) {
    let all: Vec<&Json> = step["processors"].as_array().map_or_else(|| vec![step], |steps| steps.iter().collect());
    let template = all.into_iter().find_map(|step| step["single"].as_array());
    let token = |part: Option<&Json>| part?.get("SpecialToken")?.get("id")?.as_str().map(str::to_owned);
    template.map_or((None, None), |parts| (token(parts.first()), token(parts.last())))
}
