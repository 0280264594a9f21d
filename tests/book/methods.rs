//! What the pages of methods have from the code: the list of them, and of each its settings and ablations.

use std::fmt::Write;

use mpo_objectives::{Definition, Loss, OBJECTIVES, Settings};

use crate::made;

/// What rows a method is trained on, and whether it asks a reference.
fn learns_from(definition: &Definition) -> (&'static str, bool) {
    let objective = definition.objective(&Settings::new()).unwrap();
    match objective.loss() {
        Loss::Demonstrations(_) => ("safe answers", false),
        Loss::Pairs(_) => ("pairs", false),
        Loss::ReferencedPairs(_) => ("pairs", true),
        Loss::Unpaired(_) => ("single answers, good or bad", true),
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
