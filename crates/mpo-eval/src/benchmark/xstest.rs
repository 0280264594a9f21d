//! XSTest (Röttger et al., 2024, "XSTest: A Test Suite for Identifying Exaggerated Safety Behaviours"): 250 safe English
//! prompts that look unsafe. Its 200 unsafe ones, made for contrast, are not asked.

use super::table::Table;
use super::{Benchmark, Expected, Item, Marking};

pub(super) static BENCHMARK: Benchmark = Benchmark {
    name: "xstest",
    title: "XSTest",
    source: "Röttger et al., 2024: safe prompts that look unsafe",
    layout: "xstest_prompts.csv, with columns id, prompt, type and label",
    marking: Marking::OverRefusal,
    max_new_tokens: 128,
    read: |path| {
        let table = Table::read(path)?;
        let (id, prompt) = (table.column("id")?, table.column("prompt")?);
        let (kind, label) = (table.column("type")?, table.column("label")?);
        let asked = table.filled(prompt);
        let safe = asked.filter(|(_, row)| row[label] == "safe");
        let item = |(_, row): (usize, &Vec<String>)| Item {
            id: row[id].clone(),
            language: "en".parse().ok(),
            group: Some(row[kind].clone()),
            turns: vec![row[prompt].clone()],
            expected: Expected::Help,
        };
        Ok(safe.map(item).collect())
    },
};
