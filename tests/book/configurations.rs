//! Blocks of settings: each is a configuration of a run, or says in its first line whose it is.

use std::fs;

use crate::binary::mpo_train;
use crate::page::Page;

/// How a block begins that shows what another program reads.
const OTHERS: [&str; 3] = ["# LLaMA-Factory", "# TRL", "# another program"];

/// The blocks of settings of all pages, with where they stand.
pub(crate) fn documented() -> Vec<(String, String)> {
    let mut found = vec![];
    for page in Page::all() {
        for block in page.blocks.iter().filter(|block| block.language == "yaml") {
            found.push((format!("{}:{}", page.path.display(), block.line), block.text.clone()));
        }
    }
    found
}

#[test]
fn every_block_of_settings_makes_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.yaml");
    let mut read = 0;
    for (place, text) in documented() {
        fs::write(&path, &text).unwrap();
        let mut command = mpo_train();
        command.args(["train", "--print-config", "--config"]).arg(&path);
        // What a part of a configuration leaves out.
        for key in ["model", "data", "output"] {
            if !text.lines().any(|line| line.starts_with(&format!("{key}:"))) {
                command.args([format!("--{key}"), key.to_owned()]);
            }
        }
        let output = command.output().unwrap();
        let is_ours = !OTHERS.iter().any(|whose| text.starts_with(whose));
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), is_ours, "{place}:\n{text}{error}");
        read += 1;
    }
    assert!(read > 3, "{read} blocks");
}

/// What the page on moving explains stands in the list that the program makes of what it knows.
#[test]
fn names_elsewhere_are_those_that_the_program_knows() {
    let known = Page::read("docs/configuration.md").prose;
    let page = Page::read("docs/moving.md").prose;
    let rows: Vec<Vec<&str>> =
        page.lines().filter(|line| line.starts_with("| `")).map(|line| line.split(" | ").collect()).collect();
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        for theirs in row[0].trim_start_matches("| ").split(", ") {
            let line = format!("\n| {theirs} | {}", row[1]);
            assert!(known.contains(&line), "docs/configuration.md has no line {line}");
        }
    }
}
