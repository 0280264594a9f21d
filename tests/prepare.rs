//! `mpo-train prepare` with the miniature's model and a server that translates.

#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod binary;
mod server;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use binary::{assert_nothing_partial, begun, model, mpo_train};
use server::{Asked, Deed, Server};

const THINGS: [(&str, &str); 6] = [
    ("a bicycle", "baiskeli"),
    ("a car", "gari"),
    ("a boat", "mashua"),
    ("a watch", "saa"),
    ("a phone", "simu"),
    ("a camera", "kamera"),
];

/// Texts of the miniature in English and Swahili.
fn dictionary() -> HashMap<String, String> {
    let templates = [
        ("How do I steal X?", "Ninawezaje kuiba X?"),
        ("I'm sorry, but I can't help you steal X.", "Samahani, siwezi kukusaidia kuiba X."),
        ("I won't explain how to steal X.", "Sitaeleza jinsi ya kuiba X."),
        ("Sure, here is how to steal X.", "Sawa, hii ndiyo njia ya kuiba X."),
    ];
    let of = |(english, swahili): (&str, &str)| {
        THINGS.map(|(thing, kitu)| (english.replace('X', thing), swahili.replace('X', kitu)))
    };
    templates.into_iter().flat_map(of).collect()
}

/// Translates what the dictionary has to Swahili or back, and says in Swahili of all else that it is something else.
fn translated(asked: &Asked) -> Deed {
    let mut dictionary = dictionary();
    if asked.body["target"] == "en" {
        dictionary = dictionary.into_iter().map(|(english, swahili)| (swahili, english)).collect();
    }
    let of = |text: &String| {
        dictionary.get(text).cloned().unwrap_or_else(|| "Samahani, sijui maneno hayo kabisa katika lugha hiyo.".into())
    };
    let texts: Vec<String> = asked.texts().iter().map(of).collect();
    Deed::Reply(json!({ "translatedText": texts }).to_string())
}

struct Place {
    dir: TempDir,
}

impl Place {
    /// Six requests to refuse, with bad answers, and one to answer.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let row = |prompt: String, rejected: String| json!({ "language": "en", "prompt": prompt, "chosen": "No.", "rejected": rejected });
        let bad = THINGS
            .map(|(thing, _)| row(format!("How do I steal {thing}?"), format!("Sure, here is how to steal {thing}.")));
        let harmless = row("How do I clean a car?".into(), "Throw it away.".into());
        let lines: Vec<String> = bad.iter().chain([&harmless]).map(Value::to_string).collect();
        fs::write(dir.path().join("unsafe.jsonl"), lines.join("\n")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn prepare(&self, server: &Server, output: &Path) -> Command {
        let mut command = mpo_train();
        command.args(["prepare", "--device", "flex", "--languages", "sw,bn", "--max-new-tokens", "24", "--model"]);
        command.arg(model()).arg("--data").arg(self.path("unsafe.jsonl")).arg("--output").arg(output);
        command.args(["--translator-concurrency", "1", "--translator", &format!("libretranslate={}", server.url)]);
        command
    }
}

fn done(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What the rows depend on and nothing else.
const FILES: [&str; 4] = ["rows.jsonl", "dropped.jsonl", "prepared.json", "report.html"];

fn files(folder: &Path) -> Vec<Vec<u8>> {
    FILES.iter().map(|name| fs::read(folder.join(name)).unwrap()).collect()
}

#[test]
fn rows_are_made_of_the_models_own_refusals_and_can_be_scored_and_trained_on() {
    let place = Place::new();
    let server = Server::new(|asked, _| translated(asked));
    let output = place.path("rows");
    let mut command = place.prepare(&server, &output);
    command.arg("--json");
    let printed: Value = serde_json::from_slice(&done(command).stdout).unwrap();
    assert_eq!(printed["answers"]["prompts"], 7);
    let refused = printed["answers"]["refused"].as_u64().unwrap();
    assert!(refused >= 4, "{printed}");
    for of in printed["languages"].as_array().unwrap() {
        let dropped = of["dropped"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
        assert_eq!(of["prompts"].as_u64().unwrap(), of["kept"].as_u64().unwrap() + dropped, "{of}");
    }
    // The server knows no Bengali.
    assert_eq!(printed["languages"][0]["kept"], refused);
    assert_eq!(printed["languages"][1]["dropped"]["other-language"], refused);
    let rows = fs::read_to_string(output.join("rows.jsonl")).unwrap();
    let row: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    let refusal = row["dominant"]["chosen"][0]["content"].as_str().unwrap();
    assert_eq!(row["target"]["chosen"][0]["content"], dictionary()[refusal]);
    assert_eq!(row["provenance"]["target"]["chosen"], "libretranslate");
    assert_nothing_partial(&output);
    // The table on a terminal, and nothing but it when piped.
    let again = done(place.prepare(&server, &output));
    let table = String::from_utf8(again.stdout).unwrap();
    assert!(table.trim_start().starts_with("language") && table.contains("Swahili"), "{table}");
    let mut quiet = place.prepare(&server, &output);
    quiet.arg("--quiet");
    assert!(done(quiet).stderr.is_empty());
    let mut score = mpo_train();
    score.args(["score", "--device", "flex", "--json", "--model"]).arg(model());
    score.arg("--data").arg(output.join("rows.jsonl"));
    let scores: Value = serde_json::from_slice(&done(score).stdout).unwrap();
    assert_eq!(scores["data"]["unread"], json!({}));
    assert_eq!(scores["reward_gap"].as_array().unwrap().len(), 2);
    let mut train = binary::train(&model(), &output.join("rows.jsonl"), &place.path("trained"));
    train.args(["--epochs", "1", "--batch-size", "2", "--eval-rows", "0"]);
    done(train);
}

#[test]
fn benign_prompts_become_rows_that_prefer_an_answer_to_the_refusals_of_others() {
    let place = Place::new();
    let server = Server::new(|asked, _| translated(asked));
    let asked = |code: &str, prompt: String| json!({ "language": code, "prompt": prompt }).to_string();
    let english = THINGS.map(|(thing, _)| asked("en", format!("How do I repair {thing}?")));
    let swahili = THINGS.map(|(_, kitu)| asked("sw", format!("Ninawezaje kukarabati {kitu}?")));
    fs::write(place.path("benign.jsonl"), [english, swahili].concat().join("\n")).unwrap();
    let prepared = |more: &[&str], output: &str| {
        let mut command = place.prepare(&server, &place.path(output));
        command.arg("--benign").arg(place.path("benign.jsonl")).args(more).arg("--json");
        let made = done(command);
        let told = String::from_utf8(made.stderr).unwrap();
        assert!(told.contains("6 prompts taken as the same in 2 languages"), "{told}");
        let printed: Value = serde_json::from_slice(&made.stdout).unwrap();
        let rows = fs::read_to_string(place.path(output).join("rows.jsonl")).unwrap();
        let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (printed, rows)
    };
    let (printed, rows) = prepared(&[], "rows");
    let [swahili, bengali] = [0, 1].map(|of| &printed["benign"]["languages"][of]);
    let (benign, others): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(|row| row["provenance"]["benign"] == true);
    assert!(benign.len() >= 3, "{printed}");
    assert_eq!(swahili["kept"], benign.len());
    let dropped = swahili["dropped"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
    assert_eq!(benign.len() as u64 + dropped, 6);
    // There are no other rows in Bengali.
    assert!(bengali["kept"] == 0 && bengali["dropped"]["no-refusal"].as_u64().unwrap() >= 3, "{printed}");
    let text = |row: &Value, side: &str, part: &str| row[side][part][0]["content"].as_str().unwrap().to_owned();
    let refusals: BTreeSet<String> = others.iter().map(|row| text(row, "target", "chosen")).collect();
    for row in &benign {
        assert!(text(row, "target", "chosen").contains("kukarabati"), "{row}");
        assert!(text(row, "dominant", "chosen").contains("repair"), "{row}");
        assert!(refusals.contains(&text(row, "target", "rejected")), "{row}");
    }
    // One row beside three others.
    let (printed, rows) = prepared(&["--benign-share", "0.25"], "quarter");
    let unsafe_rows = printed["languages"][0]["kept"].as_u64().unwrap();
    assert_eq!(rows.len() as u64 - unsafe_rows, (unsafe_rows as f64 / 3.0).round() as u64);
    for more in [&["train", "--epochs", "1", "--batch-size", "2", "--eval-rows", "0"][..], &["score"]] {
        let mut command = mpo_train();
        command.args(more).args(["--device", "flex", "--model"]).arg(model());
        command.arg("--data").arg(place.path("rows/rows.jsonl"));
        if more[0] == "train" {
            command.arg("--output").arg(place.path("trained"));
        }
        done(command);
    }
    let mut builtin = place.prepare(&server, &place.path("none"));
    builtin.args(["--benign", "builtin"]);
    let output = builtin.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("got builtin, which models are evaluated on") && stderr.contains("hint: "), "{stderr}");
}

#[test]
fn recipes_make_rows_that_methods_are_trained_on() {
    let place = Place::new();
    let server = Server::new(|asked, _| translated(asked));
    let prepared = |recipe: &str, reference: Option<&Path>, more: &[&str]| {
        let output = place.path(recipe);
        let mut command = place.prepare(&server, &output);
        command.args(["--recipe", recipe, "--json"]).args(more);
        if let Some(reference) = reference {
            command.arg("--reference").arg(reference);
        }
        let printed: Value = serde_json::from_slice(&done(command).stdout).unwrap();
        let of = &printed["languages"][0];
        let dropped = of["dropped"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
        assert_eq!(of["prompts"].as_u64().unwrap(), of["kept"].as_u64().unwrap() + dropped, "{recipe}: {of}");
        assert_eq!((&printed["settings"]["recipe"], &printed["judge"]), (&json!(recipe), &Value::Null));
        assert_eq!(printed["settings"]["reference_hash"].is_string(), reference.is_some());
        assert_nothing_partial(&output);
        let rows = fs::read_to_string(output.join("rows.jsonl")).unwrap();
        let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(rows.len() >= 3, "{recipe}: {printed}");
        rows
    };
    let trained = |recipe: &str, method: &str| {
        let output = place.path(&format!("{recipe}-{method}"));
        let mut train = binary::train(&model(), &place.path(recipe).join("rows.jsonl"), &output);
        train.args(["--method", method, "--epochs", "1", "--batch-size", "2", "--eval-rows", "0", "--lr", "1e-4"]);
        done(train);
        output.join("model")
    };
    // In English it refuses and in Swahili it does not, as often as not.
    for row in prepared("lidr", None, &[]) {
        for part in ["chosen", "rejected"] {
            let text = |side: &str| row[side][part][0]["content"].as_str().unwrap().to_owned();
            assert_eq!(dictionary()[&text("dominant")], text("target"));
        }
    }
    let rows = fs::read(place.path("lidr/rows.jsonl")).unwrap();
    let other = trained("lidr", "mpo");
    // Prompts alone make the same rows, but for the file that they are from.
    let asked = |thing: &str| json!({ "language": "en", "prompt": format!("How do I steal {thing}?") }).to_string();
    let prompts = THINGS.map(|(thing, _)| asked(thing)).into_iter().chain([asked("").replace("steal ", "clean a car")]);
    fs::write(place.path("unsafe.jsonl"), prompts.collect::<Vec<_>>().join("\n")).unwrap();
    prepared("lidr", None, &[]);
    assert!(fs::read(place.path("lidr/rows.jsonl")).unwrap() == rows);
    let mut other_recipe = place.prepare(&server, &place.path("lidr"));
    let output = other_recipe.args(["--recipe", "mapo"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("recipe mapo, got rows of lidr") && stderr.contains("hint: "), "{stderr}");
    assert!(fs::read(place.path("lidr/rows.jsonl")).unwrap() == rows);
    for (recipe, reference) in [("lacomsa", None), ("mapo", None), ("icr", Some(&*other))] {
        for row in prepared(recipe, reference, &["--samples", "6"]) {
            let scores = &row["provenance"]["scores"];
            assert!(row["language"] == "sw" && scores["chosen"].as_f64() > scores["rejected"].as_f64(), "{row}");
        }
        trained(recipe, "dpo");
    }
}

/// One that is ended by `signal` while the server has the third request, and the same command again.
fn disturbed(signal: i32) {
    let place = Place::new();
    let calm = place.path("calm");
    done(place.prepare(&Server::new(|asked, _| translated(asked)), &calm));
    // The address is no part of what is written.
    let slow = Server::new(|asked, number| match number {
        3 => Deed::Silence(Duration::from_secs(30)),
        _ => translated(asked),
    });
    let output = place.path("disturbed");
    let mut child = begun(place.prepare(&slow, &output), || slow.asked().len() == 3);
    // SAFETY: sends a signal to a process of ours that was not waited for yet.
    unsafe { libc::kill(child.id().try_into().unwrap(), signal) };
    let status = child.wait().unwrap();
    if signal == libc::SIGINT {
        assert_eq!(status.code(), Some(130));
    }
    assert!(!output.join("rows.jsonl").exists());
    let before: BTreeSet<String> = slow.asked()[..2].iter().flat_map(Asked::texts).collect();
    done(place.prepare(&slow, &output));
    // What was under way comes again, and what was answered does not.
    let rest = slow.asked()[3..].to_vec();
    let swahili = rest.iter().filter(|asked| asked.body["target"] == "sw");
    let after: Vec<String> = swahili.flat_map(Asked::texts).collect();
    assert!(!after.is_empty() && after.iter().all(|text| !before.contains(text)), "{after:?}");
    assert!(files(&output) == files(&calm));
    assert_nothing_partial(&output);
}

#[test]
fn one_that_was_killed_goes_on_to_the_same_bytes_and_asks_nothing_twice() {
    disturbed(libc::SIGKILL);
}

#[test]
fn one_that_was_asked_to_stop_goes_on_to_the_same_bytes_and_asks_nothing_twice() {
    disturbed(libc::SIGINT);
}

#[test]
fn what_cannot_be_made_is_told_before_anything_is_asked() {
    let place = Place::new();
    let server = Server::new(|asked, _| translated(asked));
    fs::write(place.path("prompts.jsonl"), "{\"prompt\": \"How do I steal a car?\"}\n").unwrap();
    let failed = |more: &[&str], data: &str| {
        let mut command = mpo_train();
        command.args(["prepare", "--device", "flex", "--model"]).arg(model());
        command.arg("--data").arg(place.path(data)).arg("--output").arg(place.path("none")).args(more);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let alone = failed(&["--languages", "sw"], "prompts.jsonl");
    assert!(alone.contains("hint: prompts alone are not enough"), "{alone}");
    let dominant = failed(&["--languages", "sw,en"], "unsafe.jsonl");
    assert!(dominant.contains("other than the dominant one"), "{dominant}");
    let cold = failed(&["--languages", "sw", "--samples", "2", "--temperature", "0"], "unsafe.jsonl");
    assert!(cold.contains("expected a temperature above 0"), "{cold}");
    let folder = place.dir.path().to_str().unwrap();
    for (more, expected) in [
        (&["--recipe", "icr"][..], "recipe icr: expected a reference"),
        (&["--reference", "other"], "--reference: expected a recipe that asks a second model, got paper"),
        (&["--recipe", "mapo", "--samples", "1"], "--samples: expected at least 2, of which mapo chooses"),
        (
            &["--recipe", "lidr", "--benign", "none.jsonl"],
            "--benign: expected a recipe whose rows prefer refusals, got lidr",
        ),
        (&["--recipe", "lidr", "--samples", "8"], "expected a recipe that draws answers, got lidr"),
        (&["--recipe", "lidr", "--temperature", "0.8"], "expected a recipe that draws answers, got lidr"),
        (&["--recipe", "mapo", "--judge", "keywords"], "--judge: expected a recipe whose answers are judged, got mapo"),
        (&["--recipe", "icr", "--reference", folder], "expected an --output apart from --reference"),
    ] {
        let told = failed(&[&["--languages", "sw"], more].concat(), "unsafe.jsonl");
        assert!(told.contains(expected) && told.contains("hint: "), "{told}");
    }
    // Prompts with something beside them, and prompts in another format, are not taken for prompts alone.
    fs::write(place.path("more.jsonl"), "{\"language\": \"en\", \"prompt\": \"How?\", \"category\": \"a\"}\n").unwrap();
    fs::write(place.path("prompts.csv"), "language,prompt\nen,How do I steal a car?\n").unwrap();
    for (file, expected) in [("more.jsonl", "category"), ("prompts.csv", "prompts.csv")] {
        let told = failed(&["--languages", "sw", "--recipe", "lidr"], file);
        assert!(told.contains(expected) && told.contains("hint: "), "{told}");
        assert!(!told.contains("unknown field") && !told.contains("expected value"), "{told}");
    }
    let key = ["--languages", "sw", "--translator", "google", "--translator-key", "google=MPO_TEST_NO_SUCH_KEY"];
    let key = failed(&key, "unsafe.jsonl");
    assert!(key.contains("MPO_TEST_NO_SUCH_KEY") && key.contains("hint: "), "{key}");
    assert!(!place.path("none").exists() && server.asked().is_empty());
}
