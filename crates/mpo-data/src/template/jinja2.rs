//! Beside Jinja2: what it writes is made by `tests/peers/make_templates.py`, which says how.

use serde::Deserialize;
use serde_json::Value;

use super::*;

#[derive(Deserialize)]
struct Written {
    tokens: Map<String, Value>,
    templates: Vec<Template>,
}

#[derive(Deserialize)]
struct Template {
    file: String,
    source: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    messages: Value,
    tools: Value,
    add_generation_prompt: bool,
    arguments: TemplateArguments,
    text: Option<String>,
    error: Option<String>,
}

/// What is different, in a line.
fn difference(template: &Template, case: &Case, tokens: &SpecialTokens) -> Option<String> {
    let source = TemplateSource { file: template.file.clone(), text: template.source.clone() };
    let options = TemplateOptions { arguments: case.arguments.clone(), ..TemplateOptions::default() };
    let parts = Parts { messages: case.messages.clone(), tools: case.tools.clone(), documents: Value::Null };
    let ours = ChatTemplate::new(source.into(), tokens, &options)
        .and_then(|ours| ours.write(parts, case.add_generation_prompt));
    match (ours, &case.text) {
        (Ok(ours), Some(text)) if ours == *text => None,
        (Ok(ours), Some(text)) => {
            let at = ours.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
            let from = |text: &str| {
                String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(20)..]).chars().take(80).collect::<String>()
            };
            Some(format!("got {:?}, expected {:?}", from(&ours), from(text)))
        }
        (Err(_), None) => None,
        (Err(error), Some(_)) => Some(format!("got error {error}")),
        (Ok(_), None) => Some(format!("got a text, expected {:?}", case.error)),
    }
}

#[test]
#[ignore = "needs MPO_TEMPLATES, what jinja2 writes with templates that are not ours to keep"]
fn templates_write_what_jinja2_writes() {
    let file = std::env::var("MPO_TEMPLATES").expect("MPO_TEMPLATES names a file");
    let written: Written = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let tokens = SpecialTokens::of_file(&written.tokens);
    let (mut same, mut different) = (0, 0);
    for template in &written.templates {
        for case in &template.cases {
            match difference(template, case, &tokens) {
                None => same += 1,
                Some(difference) => {
                    different += 1;
                    println!("{}: {difference}", template.file);
                }
            }
        }
    }
    println!("{} templates: {same} renderings are the same, {different} are not", written.templates.len());
    assert_eq!(different, 0);
}
