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
        let table = Table::read(path, &["id", "prompt", "type", "label"])?;
        let [id, prompt, kind, label] =
            ["id", "prompt", "type", "label"].map(|name| table.column(name));
        let safe = table.rows.iter().filter(|row| row[label] == "safe");
        let item = |row: &Vec<String>| Item {
            id: row[id].clone(),
            language: "en".parse().ok(),
            group: Some(row[kind].clone()),
            turns: vec![row[prompt].clone()],
            expected: Expected::Help,
        };
        Ok(safe.map(item).collect())
    },
};
