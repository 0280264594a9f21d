//! The commands of the documentation done, page by page, with the miniature's model and words in place of whatever they name.

use std::time::Instant;

use crate::commands::documented;
use crate::kitchen::{Kitchen, PHRASES};
use crate::page::BOOK;
use crate::shell::Command;

/// Commands that are not done here, by words that they have, and why; that they are taken is tested elsewhere.
const LEFT: [(&str, &str); 10] = [
    ("miniature-model", "takes minutes"),
    ("compare --all", "takes minutes"),
    ("compare --methods mpo,dpo,rdpo,r-dpo,simpo,kto", "takes minutes"),
    ("compare --methods mpo --seeds 1,2,3", "takes minutes"),
    ("compare --methods dpo,simpo --search", "takes minutes"),
    ("--benign tests/fixtures/benign.jsonl --max-steps 24", "takes minutes"),
    ("--model search/runs/", "needs the runs of a search that takes minutes"),
    ("watch ", "wants a terminal"),
    ("serve ", "goes on until it is stopped"),
    ("--judge http", "asks an endpoint"),
];

/// The arguments of a command of this program, if it is to be done here.
fn arguments(command: &Command) -> Option<&[String]> {
    let at = command.words.iter().position(|word| word == "mpo-train")?;
    let is_ours = command.words[..at].iter().all(|word| word == "/usr/bin/time" || word == "-v");
    is_ours.then(|| &command.words[at + 1..])
}

fn why_left(words: &[String]) -> Option<&'static str> {
    let line = format!("{} ", words.join(" "));
    LEFT.iter().find(|(part, _)| line.contains(part)).map(|(part, _)| *part)
}

/// The value of a flag.
fn value<'a>(words: &'a [String], flag: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == flag)?;
    words.get(at + 1).map(String::as_str)
}

/// Gives a flag this value, whatever it had.
fn set(words: &mut Vec<String>, flag: &str, value: &str) {
    match words.iter().position(|word| word == flag) {
        Some(at) => words[at + 1] = value.to_owned(),
        None => words.extend([flag.to_owned(), value.to_owned()]),
    }
}

/// The same on this machine's CPU, with few and short answers.
fn here(words: &[String]) -> Vec<String> {
    let mut here: Vec<String> = words.iter().filter(|word| *word != "…").cloned().collect();
    let command = here.first().cloned().unwrap_or_default();
    if words.iter().any(|word| word == "…") && ["train", "plan"].contains(&&*command) {
        for (flag, value) in [("--model", "MODEL"), ("--data", "rows.json"), ("--output", "runs/any")] {
            if !here.iter().any(|word| word == flag) {
                set(&mut here, flag, value);
            }
        }
    }
    if ["train", "compare", "score", "prepare", "eval", "generate", "chat"].contains(&&*command) {
        set(&mut here, "--device", "flex");
    }
    match &*command {
        "eval" => {
            set(&mut here, "--max-new-tokens", "8");
            set(&mut here, "--limit", "2");
        }
        "prepare" => {
            set(&mut here, "--max-new-tokens", "24");
            set(&mut here, "--translator", &format!("phrases={PHRASES}"));
        }
        // Whoever runs the tests may have a token.
        "push" if !here.iter().any(|word| word == "--dry-run") => here.push("--dry-run".into()),
        "compare" | "generate" | "chat" => set(&mut here, "--max-new-tokens", "8"),
        _ => {}
    }
    here
}

/// What a command writes, as far as it names it.
fn output(words: &[String]) -> Option<&str> {
    // That of the README's `run.yaml`.
    let configured = words.iter().any(|word| word == "run.yaml").then_some("runs/qwen");
    value(words, "--output").or(value(words, "-o")).or(configured)
}

fn writes_nothing(words: &[String]) -> bool {
    words[0] == "plan" || words.iter().any(|word| word == "--print-config")
}

#[test]
fn every_command_does_what_it_says() {
    let mut kitchen = Kitchen::new().with_runs();
    let (mut faults, mut done, mut left) = (vec![], 0, vec![]);
    let mut page = String::new();
    for (place, command) in documented() {
        let Some(words) = arguments(&command) else { continue };
        let (of, _) = place.split_once(':').unwrap();
        if of != "README.md" && !of.starts_with(BOOK) {
            continue;
        }
        if of != page {
            kitchen.tidy();
            page = of.to_owned();
        }
        if let Some(part) = why_left(words) {
            left.push(part);
            continue;
        }
        let began = Instant::now();
        let here = here(words);
        let tried = match output(words).filter(|_| !writes_nothing(words)) {
            Some(output) => {
                // An evaluation adds to what is there.
                let adds = words[0] == "eval" && kitchen.was_written(output);
                let goes_on = adds || words.iter().any(|word| word == "--resume");
                kitchen.writing(output, goes_on, &here)
            }
            None => kitchen.done(&here),
        };
        if let Err(error) = tried {
            faults.push(format!("{place}: mpo-train {}\n{}", here.join(" "), error.trim()));
        }
        println!("{:6.1} s  {place}: {}", began.elapsed().as_secs_f64(), here.join(" "));
        done += 1;
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n\n"));
    assert!(done > 40, "{done} commands");
    for (part, why) in LEFT {
        assert!(left.contains(&part), "no command has `{part}`, which is left as it {why}");
    }
}

#[test]
fn the_recipe_of_each_backbone_goes_from_prompts_to_a_verdict() {
    let kitchen = Kitchen::new();
    for recipe in ["llama-3.1-8b", "gemma-2-9b", "qwen2.5-7b"] {
        let arguments = [recipe, recipe, "unsafe.jsonl", "harmless.jsonl", "MultiJail.csv", "--max-steps", "2"];
        // Twice: it goes on where it was.
        for _ in 0..2 {
            kitchen.script("recipes/on-policy.sh", &arguments).unwrap();
        }
        let page = kitchen.read(&format!("{recipe}/report.html"));
        assert!(page.contains("attack success rate") && page.contains("over-refusal rate"), "{page}");
        assert!(kitchen.read(&format!("{recipe}/run/config.yaml")).contains("one_sided: true"));
    }
    assert!(kitchen.script("recipes/on-policy.sh", &["llama"]).is_err());
}

#[test]
fn a_command_is_done_as_it_can_be_here() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let done = here(&words("train --data a.jsonl --device cuda …"));
    assert_eq!(done, words("train --data a.jsonl --device flex --model MODEL --output runs/any"));
    let done = here(&words("eval --limit 30 --output o"));
    assert_eq!(done, words("eval --limit 2 --output o --device flex --max-new-tokens 8"));
    assert_eq!(output(&words("train --config run.yaml")), Some("runs/qwen"));
    assert_eq!(why_left(&words("serve m")), Some("serve "));
    assert_eq!(why_left(&words("score --data serve.json")), None);
}
