//! The tokenizer of a translator: what a text's language is called there, and how a text is written for it.

use std::collections::BTreeMap;
use std::path::Path;

use super::guard::Guarded;
use crate::error::DataError;
use crate::language::Language;

/// A tokenizer whose vocabulary has a token for each language, such as NLLB's `swh_Latn` or M2M-100's `__sw__`.
#[derive(Debug, Clone)]
pub struct TranslationTokenizer {
    tokenizer: Guarded,
    languages: BTreeMap<Language, u32>,
    end: u32,
}

impl TranslationTokenizer {
    /// Reads `tokenizer.json` in a translator's folder.
    ///
    /// # Errors
    /// If it cannot be read, or has no tokens for languages.
    pub fn from_dir(dir: &Path) -> Result<Self, DataError> {
        let tokenizer = Guarded::read(&dir.join("tokenizer.json"))?;
        let mut added: Vec<(u32, String)> =
            tokenizer.tokenizer().get_added_tokens_decoder().into_iter().map(|(id, of)| (id, of.content)).collect();
        added.sort();
        let mut languages = BTreeMap::new();
        for (id, token) in added {
            if let Some(language) = language_of(&token) {
                // The first stands for the language: NLLB has several scripts of some, of Chinese the simplified one first.
                languages.entry(language).or_insert(id);
            }
        }
        if languages.is_empty() {
            return Err(tokenizer.error("expected tokens for languages, such as swh_Latn or __sw__, got none"));
        }
        let end = tokenizer.tokenizer().token_to_id("</s>");
        let end =
            end.ok_or(DataError::MissingToken { token: "</s>".into(), role: "end of a text for a translator" })?;
        Ok(Self { tokenizer, languages, end })
    }

    /// The token of a language; none where the translator does not know it.
    pub fn language_id(&self, language: Language) -> Option<u32> {
        self.languages.get(&language).copied()
    }

    /// The token ids of a text for the encoder: the token of its language, `language`, before it, and what ends a text behind it.
    ///
    /// # Errors
    /// If the tokenizer fails on the text.
    pub fn encode(&self, language: u32, text: &str) -> Result<Vec<u32>, DataError> {
        let is_own = |id: &u32| *id != self.end && !self.languages.values().any(|language| language == id);
        // A text that spells out a language's token, or an end, does not get to say so.
        let text = self.tokenizer.encode(text, false)?.into_iter().filter(is_own);
        Ok([language].into_iter().chain(text).chain([self.end]).collect())
    }

    /// The text of a translation.
    ///
    /// # Errors
    /// If the tokens are no text.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        Ok(self.tokenizer.decode(ids, true)?.trim().to_owned())
    }

    /// The largest token id and one.
    pub fn vocab_size(&self) -> usize {
        let largest = self.tokenizer.tokenizer().get_vocab(true).into_values().max();
        largest.map_or(0, |largest| largest as usize + 1)
    }
}

/// The language that a token stands for: `__sw__`, or a code of three letters and one of a script.
fn language_of(token: &str) -> Option<Language> {
    let is_code = |code: &str| matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_lowercase());
    if let Some(code) = token.strip_prefix("__").and_then(|token| token.strip_suffix("__")) {
        return is_code(code).then(|| code.parse().ok()).flatten();
    }
    let (code, script) = token.split_once('_')?;
    let is_script = script.len() == 4 && script.bytes().all(|byte| byte.is_ascii_alphabetic());
    (is_code(code) && is_script).then(|| code.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A tokenizer of words, with these special tokens behind them.
    fn folder(special: &[&str]) -> tempfile::TempDir {
        let words = ["<s>", "<pad>", "</s>", "<unk>", "bake", "bread"];
        let all: Vec<&str> = words.iter().chain(special).copied().collect();
        let vocab: serde_json::Map<String, serde_json::Value> =
            all.iter().enumerate().map(|(id, word)| ((*word).to_owned(), id.into())).collect();
        let is_special = |word: &&str| special.contains(word) || word.starts_with('<');
        let added: Vec<_> = all
            .iter()
            .enumerate()
            .filter(|(_, word)| is_special(word))
            .map(|(id, word)| {
                serde_json::json!({ "id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false,
                                    "normalized": false, "special": true })
            })
            .collect();
        let tokenizer = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": null, "decoder": null,
            "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "<unk>" },
        });
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        folder
    }

    #[test]
    fn languages_are_found_by_either_kind_of_name() {
        let id = |tokenizer: &TranslationTokenizer, code: &str| tokenizer.language_id(code.parse().unwrap());
        let nllb =
            ["arb_Arab", "ben_Beng", "eng_Latn", "jpn_Jpan", "kor_Hang", "swh_Latn", "zho_Hans", "zho_Hant", "<mask>"];
        let tokenizer = TranslationTokenizer::from_dir(folder(&nllb).path()).unwrap();
        let found = ["ar", "bn", "en", "ja", "ko", "sw", "zh"].map(|code| id(&tokenizer, code));
        assert_eq!(found, [6, 7, 8, 9, 10, 11, 12].map(Some));
        assert_eq!(id(&tokenizer, "fr"), None);
        let m2m = ["__ar__", "__bn__", "__en__", "__ja__", "__ko__", "__sw__", "__zh__"];
        let tokenizer = TranslationTokenizer::from_dir(folder(&m2m).path()).unwrap();
        let found = ["ar", "bn", "en", "ja", "ko", "sw", "zh"].map(|code| id(&tokenizer, code));
        assert_eq!(found, [6, 7, 8, 9, 10, 11, 12].map(Some));
    }

    #[test]
    fn a_text_stands_between_its_language_and_an_end() {
        let tokenizer = TranslationTokenizer::from_dir(folder(&["eng_Latn", "swh_Latn"]).path()).unwrap();
        let english = tokenizer.language_id("en".parse().unwrap()).unwrap();
        assert_eq!(tokenizer.encode(english, "bake bread").unwrap(), [6, 4, 5, 2]);
        // What a text spells out is no language and no end.
        assert_eq!(tokenizer.encode(english, "bake </s> swh_Latn bread").unwrap(), [6, 4, 5, 2]);
        assert_eq!(tokenizer.decode(&[7, 4, 5, 2]).unwrap(), "bake bread");
        assert_eq!(tokenizer.vocab_size(), 8);
    }

    #[test]
    fn a_tokenizer_without_languages_is_no_translators() {
        let error = TranslationTokenizer::from_dir(folder(&["<turn>", "a_b", "extra_id_0"]).path()).unwrap_err();
        assert!(error.to_string().contains("expected tokens for languages"), "{error}");
    }
}
