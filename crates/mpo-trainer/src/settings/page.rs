//! The reference page of the settings, `docs/configuration.md`.

use std::fmt::Write;

use super::declare::Setting;
use super::list::SETTINGS;
use super::meant::{ELSEWHERE, NOWHERE, converted, switch};
use super::method::hyper_parameters;
use super::recipe::RECIPES;

const BEGINNING: &str = "\
# Configuration

This page is written by the program; `UPDATE_DOCS=1 cargo test --release --workspace --lib configuration_page` writes it anew.

Every key works in a YAML file (`--config FILE`) and as a flag: `batch_size` in the file is `--batch-size` on the command
line. A flag beats the file, the file beats the recipe, the recipe beats the default. An unknown key is an error. A key that is
`null` in the file is as if nobody had given it, a recipe neither.
`mpo-train train … --print-config` prints the result and trains nothing.

With `--resume`, what is not given is taken from the run's `config.yaml`. A run can only go on with the settings, rows, model
and rows to measure on that it was started with; it is their contents that count, not their names. Settings that decide
nothing may change, such as `device` and `checkpoint_every`. A finished run is left as it is; a model or page that is gone is
made again. A recipe that is named beside `--resume` beats `config.yaml`:
leave it out where flags beat it at the start.

A finished run can be given a later end, by `epochs`, `max_steps` or both: `--resume --output RUN --max-steps 40`. It goes on
from its last checkpoint, with weights, moments, order of rows and log, and has results and a model of the new end only. The
steps that were taken stay as they were; from there on the learning rate is that of a run of the new length, as in
Transformers: after `cosine` and `linear`, which had come down to nearly nothing, it rises again, and what comes of it is not
the run that would have been as long from the start. With `schedule: constant` and `warmup_ratio: 0` it is that run, to the
bit on the CPU. The run keeps account of its ends, so it is the same run again where its checkpoints are gone and all steps are
taken anew. Measurements without progress, which `early_stop` counts, are counted anew after an end. A run that is not finished,
stopped early or has no checkpoint left cannot be given another end.

That is what a finished run keeps its last checkpoints for: 12 bytes a parameter each, 4 for the weights and 8 for AdamW's moments
(4 with `optimizer_state: bf16`); of an adapter, of its own parameters alone. They stay unless it is asked otherwise, as with
Transformers, for they cannot be made again but by training. `save_only_model` drops them when the run is finished;
`mpo-train train --resume --output RUN --save-only-model` drops those of one that is. Before anything is done `train` looks whether the disk
has room for one and for the model, and refuses to begin where it has not.

Truth values are `true` and `false`; `no` is a word, such as the code of Norwegian.

The last column says what a setting decides: *training*, how a run is trained, so that `compare --grid` can try values of it;
*identity*, what is learned and measured, the same for all runs of a comparison; or nothing of what a run comes to.
";

const HYPER_PARAMETERS: &str = "
A method's hyper-parameters are keys beside these. A key that the method does not have is an error. `compare --grid` can try
values of each. Formulas and search spaces are on the page of each method: [methods.md](methods.md).

| key | of | value | default | meaning |
|---|---|---|---|---|
";

const NAMES_ELSEWHERE: &str = "
## Names elsewhere
What Transformers, TRL and LLaMA-Factory call these settings; [moving.md](moving.md) says what differs. A file with such keys is refused
with ours, all at once, and so is a flag.

| there | here |
|---|---|
";

const RECIPES_BEGIN: &str = "
## Recipes
Settings to begin with: `--recipe NAME` takes one that the program carries, `--recipe FILE.yaml` one of your own. They are
files in [recipes/](https://github.com/mpo-train/mpo-train/tree/main/recipes) to read and copy; [recipes.md](recipes.md) takes them from prompts to a verdict. `recipe: FILE.yaml` in a file is found from where that file lies. The hyper-parameters of a recipe that names a method are left out where
another method is chosen.
";

/// The page: Markdown.
fn configuration_page() -> String {
    let mut page = String::from(BEGINNING);
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            _ = write!(page, "\n## {group}\n| key | value | default | meaning | decides |\n|---|---|---|---|---|\n");
        }
        let Setting { key, default, help, decides, .. } = setting;
        let decides = format!("{decides:?}").to_lowercase();
        _ = writeln!(page, "| `{key}` | {} | {} | {} | {decides} |", value(setting), default(), paragraph(help));
    }
    page += HYPER_PARAMETERS;
    for (key, uses) in hyper_parameters() {
        for (number, one) in uses.iter().enumerate() {
            let key = if number == 0 { format!("`{key}`") } else { String::new() };
            let objectives: Vec<String> = one.objectives.iter().map(|name| format!("`{name}`")).collect();
            let (of, range, default, help) = (objectives.join(", "), &one.range, &one.default, one.help);
            _ = writeln!(page, "| {key} | {of} | {range} | `{default}` | {help} |");
        }
    }
    page += NAMES_ELSEWHERE;
    for (theirs, ours) in ELSEWHERE {
        let on = switch(theirs).map(|value| format!(": `{value}` where theirs is true"));
        let how = on.or_else(|| converted(theirs).map(|how| format!(": {how}")));
        _ = writeln!(page, "| `{theirs}` | `{ours}`{} |", how.unwrap_or_default());
    }
    for (theirs, instead) in NOWHERE {
        _ = writeln!(page, "| `{theirs}` | –: {instead} |");
    }
    page += RECIPES_BEGIN;
    for (name, text) in RECIPES {
        _ = write!(page, "\n`{name}`:\n```yaml\n{text}```\n");
    }
    page
}

/// What a setting may be.
fn value(setting: &Setting) -> String {
    let words = (setting.words)();
    if words.is_empty() {
        return setting.range.to_owned();
    }
    let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
    words.join(", ")
}

/// Lines as one paragraph.
fn paragraph(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_configuration_page_is_as_the_settings_are() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        let page = configuration_page();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &page).unwrap();
        }
        // Windows may check out other line ends.
        let kept = fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
        assert!(kept == page, "docs/configuration.md is stale: run the test with UPDATE_DOCS=1");
    }
}
