//! A tokenizer of nine words for tests.

use std::fs;

use super::TextTokenizer;
use crate::error::DataError;
use crate::template::TemplateChoice;

/// A template that writes turns as `<turn>role text <end>`.
pub(crate) const CHATML: &str = "{% for m in messages %}{{ '<turn>' + m.role + ' ' + m.content + ' <end> ' }}{% endfor %}\
                      {% if add_generation_prompt %}{{ '<turn>assistant ' }}{% endif %}";

/// Words of one token each: ids 0 to 8 as listed; `<s>` begins a sequence if `adds_bos`.
pub(super) fn folder(adds_bos: bool, config: &str) -> tempfile::TempDir {
    let words = ["<s>", "</s>", "<turn>", "<end>", "<unk>", "user", "assistant", "bake", "bread"];
    let vocab: serde_json::Map<String, serde_json::Value> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), id.into())).collect();
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

/// A `tokenizer_config.json` with this template.
pub(crate) fn config(template: &str) -> String {
    serde_json::json!({ "bos_token": { "content": "<s>" }, "eos_token": "</s>", "chat_template": template }).to_string()
}

/// The tokenizer of such a folder.
pub(crate) fn load(adds_bos: bool, config: &str, choice: TemplateChoice) -> Result<TextTokenizer, DataError> {
    TextTokenizer::from_dir(folder(adds_bos, config).path(), &choice.into())
}
