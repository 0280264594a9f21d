//! Rows as data sets have them, from the command line: the same pairs give the same reward gap however they are written,
//! and what cannot be measured is an error.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use binary::{model, mpo_train, train};

const DISHES: [&str; 4] = ["bread", "rice", "tea", "soup"];
const CHOSEN: &str = "I am sorry, I cannot help.";
const REJECTED: &str = "Boil water and wait.";

fn prompt(dish: &str) -> String {
    format!("How do I cook {dish} for my friends at home?")
}

/// A place for files of rows.
struct Kitchen {
    dir: TempDir,
}

impl Kitchen {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// JSONL of a row for each dish.
    fn lines(&self, name: &str, row: impl Fn(&str) -> Value) -> PathBuf {
        let lines: Vec<String> = DISHES.iter().map(|dish| row(dish).to_string()).collect();
        self.write(name, lines.join("\n"))
    }
}

fn score(data: &Path, arguments: &[&str]) -> Output {
    let mut command = mpo_train();
    command.args(["score", "--device", "flex", "--json", "--model"]);
    command.arg(model()).arg("--data").arg(data).args(arguments);
    command.output().unwrap()
}

/// The reward gaps of these rows, as JSON.
fn gaps(data: &Path, arguments: &[&str]) -> Value {
    let output = score(data, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", data.display());
    let scores: Value = serde_json::from_slice(&output.stdout).unwrap();
    scores["reward_gap"].clone()
}

/// Standard error of a command that must fail.
fn refusal(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("hint: ") && !stderr.contains("panicked"), "{stderr}");
    stderr
}

#[test]
fn a_preference_is_the_same_however_it_is_written() {
    let kitchen = Kitchen::new();
    let plain = |dish: &str| json!({ "prompt": prompt(dish), "chosen": CHOSEN, "rejected": REJECTED });
    let expected = gaps(&kitchen.lines("plain.jsonl", plain), &[]);
    let whole = |dish: &str, answer: &str| json!([{ "role": "user", "content": prompt(dish) }, { "role": "assistant", "content": answer }]);
    let conversations = kitchen
        .lines("whole.jsonl", |dish| json!({ "chosen": whole(dish, CHOSEN), "rejected": whole(dish, REJECTED) }));
    let transcripts = kitchen.lines("hh.jsonl", |dish| {
        let of = |answer: &str| format!("\n\nHuman: {}\n\nAssistant: {answer}", prompt(dish));
        json!({ "chosen": of(CHOSEN), "rejected": of(REJECTED) })
    });
    let alpaca = kitchen.lines(
        "alpaca.jsonl",
        |dish| json!({ "instruction": prompt(dish), "input": "", "chosen": CHOSEN, "rejected": REJECTED, "score": 1 }),
    );
    let rows: Vec<Value> = DISHES.iter().map(|dish| plain(dish)).collect();
    let wrapped = kitchen.write("wrapped.json", json!({ "data": rows }).to_string());
    let table = |separator: &str| {
        let rows = DISHES.iter().map(|dish| {
            [prompt(dish), CHOSEN.into(), REJECTED.into()].map(|cell| format!("\"{cell}\"")).join(separator)
        });
        let header = ["question", "good", "bad"].join(separator);
        format!("{header}\n{}\n", rows.collect::<Vec<_>>().join("\n"))
    };
    let csv = kitchen.write("rows.csv", table(","));
    let utf_16: Vec<u8> =
        std::iter::once(0xFEFF).chain(table("\t").encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let tsv = kitchen.write("rows", utf_16);
    for (number, dish) in DISHES.iter().enumerate() {
        kitchen.write(&format!("shards/data/train-0000{number}-of-00004.jsonl"), plain(dish).to_string());
        kitchen.write("shards/data/test-00000-of-00001.jsonl", "{}");
    }
    let columns = ["--columns", "prompt=question,chosen=good,rejected=bad"];
    for (data, arguments) in [
        (conversations, &[][..]),
        (transcripts, &[]),
        (alpaca, &[]),
        (wrapped, &[]),
        (csv, &columns),
        (tsv, &columns),
        (kitchen.path("shards"), &["--language", "English"]),
    ] {
        assert_eq!(gaps(&data, arguments), expected, "{}", data.display());
    }
}

#[test]
fn the_report_names_what_was_not_read() {
    let kitchen = Kitchen::new();
    let data = kitchen.lines(
        "rows.jsonl",
        |dish| json!({ "prompt": prompt(dish), "chosen": CHOSEN, "rejected": REJECTED, "score": 1, "\u{1b}[2J": 2 }),
    );
    let output = score(&data, &[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("not read   columns \\u{1b}[2J, score\n"), "{stderr}");
}

#[test]
fn nothing_to_measure_is_an_error() {
    let kitchen = Kitchen::new();
    let unpaired = kitchen
        .lines("unpaired.jsonl", |dish| json!({ "prompt": prompt(dish), "completion": CHOSEN, "label": "True" }));
    let same =
        kitchen.lines("same.jsonl", |dish| json!({ "prompt": prompt(dish), "chosen": CHOSEN, "rejected": CHOSEN }));
    for (data, expected) in [
        (unpaired, "unpaired.jsonl: expected pairs of answers, got single answers"),
        (same, "all 4 rows were dropped; same.jsonl, line 1: target: the chosen and the rejected answer are the same"),
    ] {
        let stderr = refusal(&score(&data, &[])).replace(&format!("{}/", kitchen.dir.path().display()), "");
        assert!(stderr.contains(expected), "{stderr}");
        let mut command = mpo_train();
        command.args(["eval", "--device", "flex", "--model"]);
        command.arg(model()).arg("--data").arg(&data);
        let stderr = refusal(&command.arg("--output").arg(kitchen.path("eval")).output().unwrap());
        assert!(stderr.contains("expected"), "{stderr}");
    }
}

#[test]
fn kto_warns_of_answers_that_are_all_good() {
    let kitchen = Kitchen::new();
    for (labels, warns) in [([1, 1, 1, 1], true), ([1, 0, 1, 0], false)] {
        let rows: Vec<String> = DISHES
            .iter()
            .zip(labels)
            .map(|(dish, label)| json!({ "prompt": prompt(dish), "completion": CHOSEN, "label": label }).to_string())
            .collect();
        let data = kitchen.write("rows.jsonl", rows.join("\n"));
        let run = kitchen.path(if warns { "one" } else { "two" });
        let mut command = train(&model(), &data, &run);
        command.args(["--method", "kto", "--max-steps", "1", "--batch-size", "2", "--eval-rows", "0"]);
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        assert_eq!(stderr.contains("warning: all 4 answers are good ones"), warns, "{stderr}");
    }
}

#[test]
fn a_split_or_a_place_that_is_not_there_is_named() {
    let kitchen = Kitchen::new();
    let row = json!({ "prompt": prompt("tea"), "chosen": CHOSEN, "rejected": REJECTED }).to_string();
    kitchen.write("set/test.jsonl", &row);
    kitchen.write("pages/notes.txt", "Notes.");
    kitchen.write("rows.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    for (data, expected) in [
        ("set", "expected a split `train`, got `test`"),
        ("pages", "expected data files"),
        ("rows.jsonl", "a Git LFS pointer"),
        ("none.jsonl", "No such file"),
    ] {
        let stderr = refusal(&score(&kitchen.path(data), &[]));
        assert!(stderr.contains(expected), "{stderr}");
    }
    assert!(score(&kitchen.path("set"), &["--split", "test"]).status.success());
}

#[test]
fn tools_and_a_system_column_reach_the_template() {
    let kitchen = Kitchen::new();
    let template = "{% if tools %}{{ tools | tojson }}{% endif %}\
        {% for message in messages %}{{ message.role + ': ' + message.content + '\n' }}{% endfor %}";
    let template = kitchen.write("template.jinja", template);
    let arguments = ["--template", template.to_str().unwrap()];
    let row = |dish: &str| json!({ "prompt": prompt(dish), "chosen": CHOSEN, "rejected": REJECTED });
    let with = |key: &'static str, value: Value| {
        move |dish: &str| {
            let mut row = row(dish);
            row[key] = value.clone();
            row
        }
    };
    let plain = gaps(&kitchen.lines("plain.jsonl", row), &arguments);
    let tools = json!([{ "type": "function", "function": { "name": "cook" } }]);
    let text = with("tools", tools.to_string().into());
    let tools = gaps(&kitchen.lines("tools.jsonl", with("tools", tools)), &arguments);
    assert_ne!(tools, plain);
    assert_eq!(gaps(&kitchen.lines("text.jsonl", text), &arguments), tools);
    let system = gaps(&kitchen.lines("system.jsonl", with("system", "Be kind.".into())), &arguments);
    assert_ne!(system, plain);
    let in_prompt = kitchen.lines("prompt.jsonl", |dish| {
        let messages = json!([
            { "role": "system", "content": "Be kind." }, { "role": "user", "content": prompt(dish) },
        ]);
        json!({ "prompt": messages, "chosen": CHOSEN, "rejected": REJECTED })
    });
    assert_eq!(gaps(&in_prompt, &arguments), system);
}

#[test]
fn a_folder_is_read_as_its_description_says() {
    let kitchen = Kitchen::new();
    let row = |dish: &str| json!({ "prompt": prompt(dish), "chosen": CHOSEN, "rejected": REJECTED }).to_string();
    let readme = "---\nconfigs:\n- config_name: tea\n  data_files: tea.jsonl\n  default: true\n- config_name: both\n  data_files: \"*.jsonl\"\n---\n";
    kitchen.write("set/README.md", readme);
    kitchen.write("set/tea.jsonl", row("tea"));
    kitchen.write("set/soup.jsonl", row("soup"));
    let rows = |arguments: &[&str]| gaps(&kitchen.path("set"), arguments)[0]["rows"].clone();
    assert_eq!(rows(&[]), 1);
    assert_eq!(rows(&["--split", "both/train"]), 2);
    kitchen.write("shards/train-00001-of-00002.jsonl", row("tea"));
    kitchen.write("table.csv", "prompt,chosen,rejected\nWhy?,\"a,b\nHow?,\"c\",d\n");
    kitchen.write("frame.json", json!({ "prompt": ["a", "b"], "chosen": ["c", "d"] }).to_string());
    kitchen.write("other.jsonl", json!({ "ask": "a", "chosen": "b", "bad": "c" }).to_string());
    for (data, arguments, expected) in [
        ("shards", &[][..], "expected 2 shards named `train-*-of-00002`, got 1"),
        ("table.csv", &[], "line 2: expected a separator or the end of the line"),
        ("frame.json", &[], "got columns and no rows"),
        ("other.jsonl", &[], "--columns rejected=NAME: the row also has ask, bad"),
        ("set/tea.jsonl", &["--split", "nope"], "expected a split `nope`, got `train`"),
    ] {
        let stderr = refusal(&score(&kitchen.path(data), arguments));
        assert!(stderr.contains(expected), "{stderr}");
    }
}

/// Several sources are what one file with all of their rows is, of each as many as it is to give.
#[test]
fn rows_of_several_files_are_trained_on_as_those_of_one() {
    let kitchen = Kitchen::new();
    let all = binary::rows();
    let part = |name: &str, rows: &[Value]| {
        let path = kitchen.path(name);
        binary::write_rows(&path, rows);
        path
    };
    let (a, b) = (part("a.jsonl", &all[..4]), part("b.jsonl", &all[4..]));
    let one = part("one.jsonl", &all);
    // Half of eight rows, two in each language, in the order they came.
    let half = part("half.jsonl", &all[..8]);
    let run = |output: &str, data: &Path, more: &[&str]| {
        let mut command = train(&model(), data, &kitchen.path(output));
        command.args(["--max-steps", "2", "--lr", "1e-4"]).args(more);
        command.output().unwrap()
    };
    let weights = |output: &str| fs::read(kitchen.path(output).join("model/model.safetensors")).unwrap();
    let b = b.to_str().unwrap();
    for (output, data, more, expected) in [
        ("one", &one, &[][..], ""),
        ("both", &a, &["--data", b], "together   12 rows of 2 sources: bn 6, sw 6"),
        ("half", &half, &[], ""),
        (
            "weighted",
            &a,
            &["--data", b, "--data-weights", "1,0.5"],
            "used       4 of 8, evenly over languages (data_weights 0.5)\ntogether   8 rows of 2 sources: bn 4, sw 4",
        ),
    ] {
        let done = run(output, data, more);
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success() && told.contains(expected), "{output}: {told}");
    }
    assert!(weights("one") == weights("both"));
    assert!(weights("half") == weights("weighted") && weights("half") != weights("one"));
    // The run knows its sources and what they give.
    let resume = |more: &[&str]| {
        let mut command = mpo_train();
        command.args(["train", "--resume", "--output"]).arg(kitchen.path("weighted")).args(more);
        let done = command.output().unwrap();
        String::from_utf8(done.stderr).unwrap()
    };
    assert!(resume(&[]).contains("finished already, after 2 steps"));
    let other = resume(&["--data-weights", "1,1"]);
    assert!(other.contains("different settings: data_weights: [1.0,0.5] → [1.0,1.0]"), "{other}");

    let refused = |more: &[&str], expected: &str| {
        let done = run("refused", &a, more);
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(1) && told.contains(expected), "{told}");
        assert!(!kitchen.path("refused").exists());
    };
    refused(&["--data", b, "--data-weights", "1"], "data_weights: expected one for each of data: 2, got 1");
    let targets: Vec<Value> = all[..4].iter().map(|row| row["target"].clone()).collect();
    let targets = part("targets.jsonl", &targets);
    let kinds = "data: expected sources of one kind, got pairs in two languages, and in ";
    refused(&["--data", targets.to_str().unwrap()], kinds);
    let turned = |row: &Value| json!({ "dominant": row["target"], "target": row["dominant"] });
    let turned: Vec<Value> = all[..4].iter().step_by(2).map(turned).collect();
    let turned = part("turned.jsonl", &turned);
    refused(
        &["--data", turned.to_str().unwrap()],
        "data: expected sources of one dominant language, got English, and in ",
    );
}

/// Writes rows in another shape.
fn convert(data: &Path, output: &Path, arguments: &[&str]) -> Output {
    let mut command = mpo_train();
    command.args(["convert", "--data"]).arg(data).arg("--output").arg(output).args(arguments);
    command.output().unwrap()
}

/// What it says of them, and the file.
fn converted(data: &Path, output: &Path, arguments: &[&str]) -> (String, String) {
    let done = convert(data, output, arguments);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8(done.stdout).unwrap();
    // The place is another in every test.
    let place = format!("{}/", output.parent().unwrap().display());
    (said.replace(&place, "").trim_end().to_owned(), fs::read_to_string(output).unwrap())
}

/// A row in two languages, of dish and target language.
fn in_two(dish: &str, language: &str) -> Value {
    json!({
        "dominant": { "language": "en", "prompt": prompt(dish), "chosen": CHOSEN, "rejected": REJECTED },
        "target": { "language": language, "prompt": format!("{language} {dish}?"), "chosen": "Samahani.", "rejected": "Chemsha." },
    })
}

#[test]
fn rows_of_any_shape_become_ours_or_those_of_trl() {
    let kitchen = Kitchen::new();
    let alpaca = kitchen.lines(
        "alpaca.jsonl",
        |dish| json!({ "instruction": prompt(dish), "input": "", "best": CHOSEN, "rejected": REJECTED, "score": 1 }),
    );
    let columns = ["--columns", "chosen=best", "--language", "en"];
    let (said, text) = converted(&alpaca, &kitchen.path("ours.jsonl"), &columns);
    assert_eq!(said, "ours.jsonl: 4 rows (pairs in one language): en 4");
    let message = |role: &str, content: &str| json!([{ "role": role, "content": content }]);
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let expected = json!({
        "language": "en",
        "prompt": message("user", &prompt("bread")),
        "chosen": message("assistant", CHOSEN),
        "rejected": message("assistant", REJECTED),
    });
    assert_eq!(first, expected);
    // What was written is read as the same rows, and written as the same bytes.
    let (_, trl) = converted(&kitchen.path("ours.jsonl"), &kitchen.path("trl.jsonl"), &["--to", "trl"]);
    assert_eq!(trl, text);
    let (_, again) = converted(&kitchen.path("trl.jsonl"), &kitchen.path("again.jsonl"), &["--to", "mpo-train"]);
    assert_eq!(again, text);
    assert_eq!(gaps(&kitchen.path("trl.jsonl"), &[]), gaps(&alpaca, &columns));
    let few = converted(&alpaca, &kitchen.path("few.jsonl"), &[&columns[..], &["--rows", "3"]].concat()).0;
    assert_eq!(few, "few.jsonl: 3 rows (pairs in one language): en 3");
}

#[test]
fn rows_in_two_languages_are_a_row_a_side_for_trl() {
    let kitchen = Kitchen::new();
    let rows = DISHES.iter().flat_map(|dish| [in_two(dish, "sw"), in_two(dish, "bn")].map(|row| row.to_string()));
    let data = kitchen.write("rows.jsonl", rows.take(7).collect::<Vec<_>>().join("\n"));
    let (said, ours) = converted(&data, &kitchen.path("ours.jsonl"), &[]);
    assert_eq!(said, "ours.jsonl: 7 rows (pairs in two languages): bn 3, sw 4, beside en");
    assert_eq!(gaps(&kitchen.path("ours.jsonl"), &[]), gaps(&data, &[]));
    assert_eq!(converted(&kitchen.path("ours.jsonl"), &kitchen.path("again.jsonl"), &[]).1, ours);
    let output = convert(&data, &kitchen.path("trl.jsonl"), &["--to", "trl", "--json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("TRL has no rows in two languages: each side is a row of its own"), "{stderr}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Each English row once.
    assert_eq!((&said["rows"], &said["format"], &said["dominant"]), (&json!(11), &json!("trl"), &json!(null)));
    assert_eq!(said["languages"], json!({ "bn": 3, "en": 4, "sw": 4 }));
    assert_eq!(said["data"]["kept"], 7);
    let text = fs::read_to_string(kitchen.path("trl.jsonl")).unwrap();
    let languages = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["language"].clone());
    assert_eq!(languages.take(5).collect::<Vec<_>>(), ["en", "sw", "bn", "en", "sw"]);
}

#[test]
fn rows_that_cannot_be_converted_are_refused_and_nothing_is_written() {
    let kitchen = Kitchen::new();
    let plain = |dish: &str| json!({ "prompt": prompt(dish), "chosen": CHOSEN, "rejected": REJECTED });
    let rows = kitchen.lines("rows.jsonl", plain);
    let same = kitchen.lines("same.jsonl", |dish| json!({ "prompt": prompt(dish), "chosen": "a", "rejected": "a" }));
    let parallel = kitchen.lines("parallel.jsonl", |dish| json!({ "prompts": { "en": prompt(dish), "sw": dish } }));
    let folder = kitchen.write("folder/rows.jsonl", plain("tea").to_string());
    let folder = folder.parent().unwrap();
    let before = kitchen.write("there.jsonl", "mine");
    for (data, output, format, expected) in [
        (&*rows, "there.jsonl", "trl", "expected the name of a new file, got one that is there"),
        (&rows, "rows.parquet", "trl", "expected a name that ends in .jsonl"),
        (&rows, "new.jsonl", "gguf", "--to gguf: expected a model"),
        (&parallel, "new.jsonl", "trl", "expected rows with answers, which TRL is trained on, got prompts in several"),
        (&same, "new.jsonl", "mpo-train", "expected at least one row, got none: all 4 were dropped; "),
        (folder, "folder/new.jsonl", "trl", "expected an --output apart from --data"),
    ] {
        let said = refusal(&convert(data, &kitchen.path(output), &["--to", format]));
        assert!(said.contains(expected), "{said}");
        assert!(!kitchen.path("new.jsonl").exists() && !kitchen.path("folder/new.jsonl").exists(), "{expected}");
    }
    assert_eq!(fs::read_to_string(before).unwrap(), "mine");
    let mut command = mpo_train();
    command.arg("convert").arg(model()).args(["--to", "trl", "--output"]).arg(kitchen.path("new.jsonl"));
    assert!(refusal(&command.output().unwrap()).contains("--to: expected gguf of a model"));
    // What is asked of rows is not asked of a model.
    let mut command = mpo_train();
    command.arg("convert").arg(model()).args(["--rows", "2", "--output"]).arg(kitchen.path("new.gguf"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let (said, ours) = converted(&parallel, &kitchen.path("parallel-ours.jsonl"), &[]);
    assert_eq!(said, "parallel-ours.jsonl: 4 rows (prompts in several languages): sw 4, beside en");
    assert!(ours.starts_with("{\"prompts\":{\"en\":[{"), "{ours}");
}
