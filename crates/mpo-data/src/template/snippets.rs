//! Snippets of templates, and what Jinja2 writes with them: `tests/peers/make_snippets.py` makes the table.

use serde_json::json;

use super::*;

#[test]
fn snippets_write_what_jinja2_writes_or_are_refused() {
    let table: Vec<(String, Option<String>)> = serde_json::from_str(include_str!("snippets.json")).unwrap();
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>"), ("pad_token", "<pad>"), ("unk_token", "<unk>")];
    let parts = Parts {
        messages: json!([
            { "role": "user", "content": "How do I bake bread?" },
            { "role": "assistant", "content": " With\n\nflour. " },
            { "role": "user", "content": "আর জল?" },
        ]),
        tools: Value::Null,
        documents: Value::Null,
    };
    let mut different = vec![];
    for (source, expected) in table {
        let file = TemplateSource { file: "snippet".into(), text: source.clone() };
        let options = TemplateOptions::default();
        let tokens = tokens.into_iter().collect();
        let text =
            ChatTemplate::new(file.into(), &tokens, &options).and_then(|template| template.write(parts.clone(), true));
        match (text, expected) {
            (Ok(text), Some(expected)) if text == expected => {}
            (Err(_), None) => {}
            (got, expected) => different.push(format!("{source}\n  {got:?}\n  {expected:?}")),
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
