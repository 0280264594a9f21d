//! What the pages of methods have from the code: the list of them, and of each its settings and ablations.

use std::fmt::Write;

use mpo_objectives::{Definition, Loss, OBJECTIVES, Settings};
use serde_json::Value;

use crate::kitchen::Kitchen;
use crate::made;
use crate::page::Page;

/// What rows a method is trained on, and whether it asks a reference.
fn learns_from(definition: &Definition) -> (&'static str, bool) {
    let objective = definition.objective(&Settings::new()).unwrap();
    match objective.loss() {
        Loss::Demonstrations(_) => ("safe answers", false),
        Loss::Pairs(_) => ("pairs", false),
        Loss::ReferencedPairs(_) => ("pairs", true),
        Loss::Unpaired(_) => ("single answers, good or bad", true),
        Loss::Crossed(_) => ("pairs in two languages", true),
        Loss::Parallel(_) => ("prompts in several languages", true),
        Loss::Bilingual(loss) => {
            let needs = loss.needs();
            let asks = needs.reference_target || needs.reference.is_some() || needs.held.is_some();
            ("pairs in two languages", asks)
        }
    }
}

fn list() -> String {
    let mut list = "| `method` | what | learns from | reference |\n|---|---|---|---|\n".to_owned();
    for definition in OBJECTIVES {
        let (rows, asks) = learns_from(definition);
        let reference = if asks { "yes" } else { "no" };
        let name = definition.name;
        _ = writeln!(list, "| [`{name}`](methods/{name}.md) | {} | {rows} | {reference} |", definition.source);
    }
    list
}

fn of_one(definition: &Definition) -> String {
    let (rows, asks) = learns_from(definition);
    let reference = if asks { "beside a reference" } else { "without a reference" };
    let letters = "[What the letters mean](../methods.md#words-of-the-formulas).";
    let mut text = format!("{}. Learns from {rows}, {reference}. {letters}\n", definition.source);
    let defaults = definition.resolve(&Settings::new()).unwrap();
    let mut parameters = definition.parameters().peekable();
    if parameters.peek().is_some() {
        text += "\n| setting | what | values | default | tried in the paper |\n|---|---|---|---|---|\n";
    }
    for one in parameters {
        let default = &defaults[one.name];
        let default = default.as_f64().map_or_else(|| default.to_string(), |number| number.to_string());
        let tried: Vec<String> = one.search.iter().map(f64::to_string).collect();
        let tried = if tried.is_empty() { "–".to_owned() } else { tried.join(", ") };
        let (name, help, default) = (one.name, one.help, default.trim_matches('"'));
        _ = writeln!(text, "| `{name}` | {help} | {} | `{default}` | {tried} |", one.values);
    }
    if !definition.variants.is_empty() {
        text += "\n| ablation | settings | what |\n|---|---|---|\n";
    }
    for variant in definition.variants {
        let settings: Vec<String> = variant.settings.iter().map(|(key, value)| format!("`{key}: {value}`")).collect();
        _ = writeln!(text, "| `{}-{}` | {} | {} |", definition.name, variant.name, settings.join(", "), variant.help);
    }
    text
}

#[test]
fn the_list_of_methods_is_that_of_the_code() {
    made::check("docs/methods.md", "methods", &list());
}

#[test]
fn every_method_has_a_page_with_its_settings() {
    for definition in OBJECTIVES {
        made::check(&format!("docs/methods/{}.md", definition.name), "settings", &of_one(definition));
    }
}

/// What a page says of the log is there, in the first step of a run.
#[test]
fn numbers_of_the_log_are_those_of_a_run() {
    let kitchen = Kitchen::new();
    for definition in OBJECTIVES {
        let (name, output) = (definition.name, format!("runs/{}-logged", definition.name));
        let words = format!(
            "train --quiet --device flex --model MODEL --data rows.json --max-steps 1 --eval-rows 0 --method {name}"
        );
        let words: Vec<&str> = words.split(' ').chain(["--output", &output]).collect();
        kitchen.done(&words).unwrap();
        let log = kitchen.read(&format!("{output}/events.jsonl"));
        let step: Value = serde_json::from_str(log.lines().find(|line| line.contains("\"step\":1")).unwrap()).unwrap();
        let keys: Vec<&String> = step.as_object().unwrap().keys().collect();
        let mut page = Page::read(format!("docs/methods/{name}.md"));
        page.prose =
            page.prose.split_once("\n## In the log\n").unwrap_or_else(|| panic!("{name}: nothing of the log")).1.into();
        let is_key = |span: &&str| ["kl", "logps", "loss", "rewards", "rg/"].iter().any(|key| span.starts_with(key));
        for span in page.spans().into_iter().filter(is_key) {
            // Not there: what the page says that the method has not.
            let is_there = match span.strip_suffix('*') {
                Some(begin) => keys.iter().any(|key| key.starts_with(begin)),
                None => keys.iter().any(|key| *key == span),
            };
            let is_missing = page.prose.contains(&format!("no `{span}`"));
            assert!(is_there != is_missing, "{name}: `{span}` beside {keys:?}");
        }
    }
}
