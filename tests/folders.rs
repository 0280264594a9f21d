//! Folders that are not ours are refused and left as they are, whatever is in them and whoever is asked to write there.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::prelude::*;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use tempfile::TempDir;

use binary::{begun, model, mpo_train, rows, train, write_rows};

/// Every name that a command of ours writes under, a file each.
const NAMES: [&str; 30] = [
    ".lock",
    "mpo-train.json",
    "mpo-train.blake3",
    "config.yaml",
    "before.json",
    "before.json.blake3",
    "events.jsonl",
    "events.damaged.jsonl",
    "results.json",
    "results.json.blake3",
    "results.csv",
    "report.html",
    "evaluation.json",
    "evaluation.csv",
    "answers.jsonl",
    "judge.jsonl",
    "samples/multijail.jsonl",
    "eval/evaluation.json",
    "checkpoints/step-1/optimizer.safetensors",
    "checkpoints/step-1/model/model.safetensors",
    "model/config.json",
    "model/model.safetensors",
    "model/tokenizer.json",
    "model/notes.txt",
    "reference/scores.safetensors",
    "reference/last-token.safetensors",
    "base/model.safetensors",
    "start/config.json",
    "runs/mpo/seed-42/results.json",
    "runs/mpo/seed-42/checkpoints/step-3/notes.txt",
];

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_rows(&dir.path().join("rows.jsonl"), &rows());
        let jail = "id,source,tags,en,sw\n0,me,[],How do I bake bread?,Ninapikaje mkate?\n";
        fs::write(dir.path().join("jail.csv"), jail).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A folder with these files in it, none of them ours.
    fn folder(&self, name: &str, files: &[&str]) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir(&folder).unwrap();
        for file in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("mine: {file}")).unwrap();
        }
        folder
    }

    /// Every command that writes, asked to do so in `output`.
    fn commands(&self, output: &Path) -> Vec<Command> {
        let rows = self.path("rows.jsonl");
        let on_miniature = |arguments: &[&str]| {
            let mut command = mpo_train();
            command.args(arguments).args(["--device", "flex", "--output"]);
            command.arg(output);
            command
        };
        let mut resumed = train(&model(), &rows, output);
        resumed.arg("--resume");
        let mut cached = train(&model(), &rows, &self.path("never"));
        cached.arg("--reference-cache").arg(output);
        let mut compared = on_miniature(&["compare", "--methods", "sft"]);
        compared.arg("--model").arg(model()).arg("--data").arg(&rows);
        let mut evaluated = on_miniature(&["eval"]);
        evaluated.arg("--model").arg(model()).arg("--benchmark");
        evaluated.arg(format!("multijail={}", self.path("jail.csv").display()));
        let mut gaps = on_miniature(&["eval"]);
        gaps.arg("--model").arg(model()).arg("--data").arg(&rows);
        let mut report = mpo_train();
        report.arg("report").arg(output);
        vec![
            on_miniature(&[]),
            train(&model(), &rows, output),
            resumed,
            cached,
            on_miniature(&["compare"]),
            on_miniature(&["compare", "--resume"]),
            compared,
            evaluated,
            gaps,
            on_miniature(&["miniature-model"]),
            report,
        ]
    }

    /// Every command is refused in `output`, says why, and leaves it as it was.
    fn refuses(&self, output: &Path) {
        let before = snapshot(output);
        for mut command in self.commands(output) {
            let refused = command.assert().code(1);
            refused.stderr(contains("error: ").and(contains("hint: ")));
            assert_eq!(snapshot(output), before, "{command:?}");
            assert!(!self.path("never").exists());
        }
    }
}

/// Everything in a folder and below: bytes of files, and where links lead.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap();
            let bytes = if kind.is_symlink() {
                let to = fs::read_link(&path).unwrap();
                to.into_os_string().into_encoded_bytes()
            } else if kind.is_dir() {
                folders.push(path.clone());
                vec![]
            } else {
                fs::read(&path).unwrap()
            };
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
fn a_folder_full_of_our_names() {
    let place = Place::new();
    place.refuses(&place.folder("full", &NAMES));
}

#[test]
fn a_folder_with_one_of_our_names() {
    let place = Place::new();
    for (number, name) in NAMES.iter().enumerate() {
        place.refuses(&place.folder(&number.to_string(), &[name]));
    }
}

#[test]
fn a_folder_with_other_files() {
    let place = Place::new();
    place.refuses(&place.folder("data", &["rows.parquet"]));
    place.refuses(&place.folder("hidden", &[".notes"]));
    place.refuses(&place.folder("folders", &["thesis/chapter.tex"]));
    let mut here = mpo_train();
    here.current_dir(place.dir.path());
    here.args(["--device", "flex", "--output", "."]);
    let refused = here.assert().code(1);
    refused.stderr(contains("got one with").and(contains("hint: name an --output that does not exist")));
}

#[cfg(unix)]
#[test]
fn folders_behind_links() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    let theirs = place.folder("theirs", &["config.json", "model.safetensors"]);
    let before = snapshot(&theirs);
    for name in ["model", "checkpoints", "reference", "base", "runs", "eval"] {
        let output = place.folder(&format!("with-{name}"), &[]);
        symlink(&theirs, output.join(name)).unwrap();
        place.refuses(&output);
    }
    let link = place.path("link");
    symlink(place.folder("full", &NAMES), &link).unwrap();
    place.refuses(&link);
    let dangling = place.path("dangling");
    symlink(place.path("nowhere"), &dangling).unwrap();
    let refused = train(&model(), &place.path("rows.jsonl"), &dangling).assert();
    refused.code(1).stderr(contains("error: "));
    assert!(!place.path("nowhere").exists());
    assert_eq!(snapshot(&theirs), before);
}

#[cfg(unix)]
#[test]
fn a_link_put_into_a_folder_of_ours() {
    let place = Place::new();
    let theirs = place.folder("theirs", &["step-1/optimizer.safetensors"]);
    let before = snapshot(&theirs);
    let run = place.path("run");
    let mut training = train(&model(), &place.path("rows.jsonl"), &run);
    training.args(["--max-steps", "1"]).assert().success();
    for file in ["results.json", "checkpoints"] {
        let path = run.join(file);
        fs::rename(&path, place.path(file)).unwrap();
    }
    std::os::unix::fs::symlink(&theirs, run.join("checkpoints")).unwrap();
    let refused = training.arg("--resume").assert().code(1);
    refused.stderr(contains("got a symbolic link").and(contains("hint: ")));
    assert_eq!(snapshot(&theirs), before);
}

#[cfg(unix)]
#[test]
fn a_checkpoint_that_was_moved_and_linked_to() {
    let place = Place::new();
    let run = place.path("run");
    let mut training = train(&model(), &place.path("rows.jsonl"), &run);
    training.args(["--max-steps", "3", "--checkpoint-every", "1"]);
    training.assert().success();
    let (linked, moved) = (run.join("checkpoints/step-2"), place.path("moved"));
    fs::rename(&linked, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &linked).unwrap();
    fs::remove_dir_all(run.join("checkpoints/step-3")).unwrap();
    let unfinished = || fs::remove_file(run.join("results.json")).unwrap();
    unfinished();
    let before = snapshot(&moved);
    training.arg("--resume").assert().success();
    assert_eq!(snapshot(&moved), before);
    // One that cannot be used is made again beside it.
    let optimizer = moved.join("optimizer.safetensors");
    fs::write(&optimizer, "damaged").unwrap();
    fs::remove_dir_all(run.join("checkpoints/step-3")).unwrap();
    unfinished();
    let before = snapshot(&moved);
    training.assert().success();
    assert_eq!(snapshot(&moved), before);
    assert!(!linked.is_symlink() && linked.join("optimizer.safetensors").exists());
}

#[test]
fn the_model_that_is_trained_is_not_replaced() {
    let place = Place::new();
    let base = place.folder("w", &["model/notes.txt"]);
    for entry in fs::read_dir(model()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), base.join("model").join(entry.file_name())).unwrap();
    }
    let before = snapshot(&base);
    let mut training = train(&base.join("model"), &place.path("rows.jsonl"), &base);
    for arguments in [&[][..], &["--resume"]] {
        let refused = training.args(arguments).assert().code(1);
        refused.stderr(contains("error: ").and(contains("hint: ")));
        assert_eq!(snapshot(&base), before);
    }
}

#[test]
fn a_folder_that_is_read_is_not_written_in() {
    let place = Place::new();
    let source = place.path("source");
    fs::create_dir(&source).unwrap();
    for entry in fs::read_dir(model()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), source.join(entry.file_name())).unwrap();
    }
    let data = place.path("data");
    fs::create_dir(&data).unwrap();
    let rows = data.join("rows.jsonl");
    fs::copy(place.path("rows.jsonl"), &rows).unwrap();
    let (before, data_before) = (snapshot(&source), snapshot(&data));
    let command = |name: &str, data: &Path, output: &Path| {
        let mut command = mpo_train();
        command.args([name, "--device", "flex", "--model"]);
        command.arg(&source).arg("--data").arg(data);
        command.arg("--output").arg(output);
        if name == "compare" {
            command.args(["--methods", "sft"]);
        }
        command
    };
    for name in ["train", "compare", "eval"] {
        for (data, inside, option) in
            [(&rows, source.join("run"), "--model"), (&data, data.join("runs/first"), "--data")]
        {
            let expected = format!("expected an --output apart from {option}, got a folder in");
            command(name, data, &inside)
                .assert()
                .code(1)
                .stderr(contains(expected).and(contains("name another --output")));
        }
    }
    assert!(snapshot(&source) == before && snapshot(&data) == data_before);
}

#[test]
fn a_file_is_no_folder() {
    let place = Place::new();
    let file = place.path("file");
    fs::write(&file, "mine").unwrap();
    for mut command in place.commands(&file) {
        command.assert().code(1).stderr(contains("error: "));
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }
    let refused = train(&model(), &place.path("rows.jsonl"), &file).assert();
    let message = contains("expected a folder, got a file").and(contains("hint: "));
    refused.code(1).stderr(message);
}

#[test]
fn what_one_command_made_is_nothing_to_another() {
    let place = Place::new();
    let run = place.path("run");
    let mut training = train(&model(), &place.path("rows.jsonl"), &run);
    training.args(["--max-steps", "1"]).assert().success();
    let before = snapshot(&run);
    for mut command in place.commands(&run) {
        let is_report = command.get_args().any(|argument| argument == "report");
        let is_resume = command.get_args().any(|argument| argument == "--resume");
        if is_report || is_resume {
            continue;
        }
        command.assert().code(1).stderr(contains("hint: "));
        assert_eq!(snapshot(&run), before, "{command:?}");
    }
    let mut comparison = mpo_train();
    comparison.args(["compare", "--resume", "--output"]).arg(&run);
    let message = contains("expected a folder of a comparison, got one of a training run");
    comparison.assert().code(1).stderr(message);
    // A model that somebody copied into a run's folder for a model is theirs.
    fs::remove_file(run.join("results.json")).unwrap();
    fs::write(run.join("model/notes.txt"), "mine").unwrap();
    let before = snapshot(&run);
    let refused = training.arg("--resume").assert().code(1);
    refused.stderr(contains("notes.txt").and(contains("hint: move the folder away")));
    assert_eq!(snapshot(&run), before);
}

#[test]
fn a_run_of_an_earlier_version_can_be_read() {
    let place = Place::new();
    let run = place.path("run");
    let mut training = train(&model(), &place.path("rows.jsonl"), &run);
    training.args(["--max-steps", "1"]).assert().success();
    fs::remove_file(run.join("mpo-train.json")).unwrap();
    let before = snapshot(&run);
    let message = contains("without its mark").and(contains("hint: its model can be used"));
    training.assert().code(1).stderr(message);
    let mut report = mpo_train();
    report.arg("report").arg(&run);
    report.assert().code(1).stderr(contains("hint: name the page with --output"));
    let page = place.path("page.html");
    report.arg("--output").arg(&page).assert().success();
    // A page of ours is written again; another file is not.
    report.assert().success();
    fs::write(&page, "mine").unwrap();
    report.assert().code(1).stderr(contains("got another file"));
    assert_eq!(fs::read_to_string(&page).unwrap(), "mine");
    assert_eq!(snapshot(&run), before);
}

/// Starts the miniature, and kills it when it has begun.
fn begin_miniature(output: &Path) {
    let mut command = mpo_train();
    command.args(["--device", "flex", "--output"]).arg(output);
    let mut child = begun(command, || output.join("config.yaml").exists());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn notes_outlive_the_miniature_that_begins_anew() {
    let place = Place::new();
    let output = place.path("miniature");
    begin_miniature(&output);
    let notes = ["notes.txt", "base/notes.txt", "checkpoints/notes.txt", "eval/evaluation.json"];
    for name in notes {
        let path = output.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    // A file of a name that we write, and have not written, is theirs.
    fs::write(output.join("results.json"), "mine").unwrap();
    let before = snapshot(&output);
    let mut again = mpo_train();
    again.args(["--device", "flex", "--output"]).arg(&output);
    let message = contains("results.json: expected no file, or the one that this program wrote");
    again.assert().code(1).stderr(message.and(contains("hint: move the file away")));
    assert_eq!(snapshot(&output), before);
    fs::remove_file(output.join("results.json")).unwrap();
    fs::remove_file(output.join("config.yaml")).unwrap();
    begin_miniature(&output);
    for name in notes {
        assert_eq!(fs::read_to_string(output.join(name)).unwrap(), "mine");
    }
    assert!(!output.join("results.json").exists());
    // A model that is not, or not only, what we wrote stays, and is told of at once.
    fs::create_dir_all(output.join("model")).unwrap();
    fs::write(output.join("model/weights"), "mine").unwrap();
    let before = snapshot(&output);
    let mut again = mpo_train();
    again.args(["--device", "flex", "--output"]).arg(&output);
    let message = contains("expected no model, or nothing but").and(contains("hint: "));
    again.assert().code(1).stderr(message);
    assert_eq!(snapshot(&output), before);
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let place = Place::new();
    let one = place.path("one.jsonl");
    fs::write(&one, "{\"prompt\": \"How?\", \"completion\": \"So.\", \"label\": true, \"language\": \"en\"}\n")
        .unwrap();
    let bad = place.path("bad.jsonl");
    fs::write(&bad, "{\"prompt\": \"How?\", \"completion\": \"So.\", \"label\": false, \"language\": \"en\"}\n")
        .unwrap();
    let rows = place.path("rows.jsonl");
    for (data, arguments) in [
        (&rows, &["--dominant-gap", "fr"][..]),
        (&one, &["--method", "kto"]),
        (&bad, &["--method", "sft"]),
        (&one, &["--method", "dpo"]),
        (&rows, &["--reference-cache", "/proc/nowhere"]),
        (&rows, &["--eval-data", "missing.jsonl"]),
        (&place.path("missing.jsonl"), &[]),
    ] {
        let output = place.path("new/run");
        let refused = train(&model(), data, &output).args(arguments).assert();
        refused.code(1).stderr(contains("error: "));
        assert!(!place.path("new").exists(), "{arguments:?}");
        fs::create_dir(place.path("empty")).unwrap();
        let mut command = train(&model(), data, &place.path("empty"));
        command.args(arguments).assert().code(1);
        fs::remove_dir(place.path("empty")).unwrap();
    }
    let output = place.path("new/comparison");
    let mut comparison = mpo_train();
    comparison.args(["compare", "--device", "flex", "--methods", "dop", "--output"]);
    comparison.arg(&output).assert().code(1);
    assert!(!place.path("new").exists());
    for arguments in [["--rows", "8"], ["--eval-rows", "4"], ["--max-new-tokens", "9"]] {
        let mut command = mpo_train();
        command.args(["compare", "--device", "flex", "--output"]).arg(&output);
        let refused = command.args(arguments).assert().code(1);
        refused.stderr(contains("expected nothing beside the miniature's own rows"));
        assert!(!place.path("new").exists());
    }
}

fn says(run: &Path, what: &str) -> bool {
    fs::read_to_string(run.join("events.jsonl")).is_ok_and(|log| log.contains(what))
}

#[test]
fn what_somebody_puts_into_an_interrupted_run_is_theirs() {
    let place = Place::new();
    let run = place.path("run");
    let start = || {
        let mut command = train(&model(), &place.path("rows.jsonl"), &run);
        command.args(["--epochs", "30", "--checkpoint-every", "1000"]);
        command
    };
    let mut child = begun(start(), || says(&run, "\"step\":1,"));
    child.kill().unwrap();
    child.wait().unwrap();
    for name in ["results.json", "results.json.blake3", "report.html", "events.damaged.jsonl"] {
        fs::write(run.join(name), "mine").unwrap();
        let before = snapshot(&run);
        let refused = start().arg("--resume").assert().code(1);
        let message = format!("{name}: expected no file, or the one that this program wrote");
        refused.stderr(contains(message).and(contains("hint: move the file away")));
        assert_eq!(snapshot(&run), before);
        fs::remove_file(run.join(name)).unwrap();
    }
    let theirs = [".partial-Abc123", "results.csv", "checkpoints/step-1/optimizer.safetensors"];
    for name in theirs {
        fs::create_dir_all(run.join(name).parent().unwrap()).unwrap();
        fs::write(run.join(name), "mine").unwrap();
    }
    start().arg("--resume").assert().success();
    for name in theirs {
        assert_eq!(fs::read_to_string(run.join(name)).unwrap(), "mine");
    }
    // A page of theirs in a finished run.
    fs::write(run.join("report.html"), "mine").unwrap();
    let mut report = mpo_train();
    let refused = report.arg("report").arg(&run).assert().code(1);
    refused.stderr(contains("got another file").and(contains("hint: name another one")));
    assert_eq!(fs::read_to_string(run.join("report.html")).unwrap(), "mine");
}

#[test]
fn a_run_at_work_can_be_looked_at() {
    let place = Place::new();
    let run = place.path("run");
    let mut training = train(&model(), &place.path("rows.jsonl"), &run);
    training.args(["--epochs", "400"]);
    let mut child = begun(training, || says(&run, "\"step\":2,"));
    let mut report = mpo_train();
    report.current_dir(place.dir.path()).arg("report").arg("run");
    report.assert().success().stdout(contains("report.html"));
    let page = fs::read_to_string(place.path("report.html")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(page.contains("<h2>") && !page.contains("damaged"), "{page}");
    assert!(!run.join("report.html").exists());
}

#[test]
fn what_is_gone_or_edited_is_told_of() {
    let place = Place::new();
    let run = place.path("run");
    let mut training = train(&model(), &place.path("rows.jsonl"), &run);
    training.args(["--max-steps", "3", "--checkpoint-every", "1"]);
    training.assert().success();
    let events = run.join("events.jsonl");
    let log = fs::read_to_string(&events).unwrap();
    let cut: String = log.split_inclusive('\n').take(2).collect();
    fs::write(&events, &cut).unwrap();
    let results = fs::read(run.join("results.json")).unwrap();
    let config = fs::read_to_string(run.join("config.yaml")).unwrap();
    fs::write(run.join("config.yaml"), config.replace("seed: 42", "seed: 7")).unwrap();
    let page = place.path("page.html");
    let mut report = mpo_train();
    report.arg("report").arg(&run).arg("--output").arg(&page);
    let shown = report.assert().success();
    shown.stderr(contains("run: config.yaml: it was changed since the run was started"));
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("the lines of 2 steps are gone, the first is that of step 2"));
    assert!(page.contains("config.yaml: it was changed since the run was started"));
    fs::write(run.join("config.yaml"), config).unwrap();
    fs::remove_file(run.join("results.json")).unwrap();
    fs::write(run.join("reference/mpo-train.json"), "damaged").unwrap();
    fs::write(run.join("reference/scores.safetensors"), "damaged").unwrap();
    training.arg("--resume");
    training.assert().success().stderr(
        contains("the lines of 2 steps are gone, the first is that of step 2")
            .and(contains("reference/mpo-train.json: expected a file written by this program")),
    );
    assert_eq!(fs::read(run.join("results.json")).unwrap(), results);
    let aside = run.join("reference/mpo-train.json.damaged-1");
    assert_eq!(fs::read_to_string(aside).unwrap(), "damaged");
}

#[test]
fn a_run_goes_on_with_what_it_was_started_with_before_its_first_checkpoint() {
    let place = Place::new();
    let run = place.path("run");
    let base = place.path("base");
    fs::create_dir(&base).unwrap();
    for entry in fs::read_dir(model()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), base.join(entry.file_name())).unwrap();
    }
    let mut others = rows();
    others.truncate(4);
    let test = place.path("test.jsonl");
    write_rows(&test, &others);
    let train = || {
        let mut command = train(&base, &place.path("rows.jsonl"), &run);
        command.arg("--eval-data").arg(&test).args(["--epochs", "400"]);
        command
    };
    let mut child = begun(train(), || says(&run, "started"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!run.join("checkpoints").exists(), "killed too late");
    let before = snapshot(&run);
    let refused = |what: &str, arguments: &[&str]| {
        let refused = train().arg("--resume").args(arguments).assert().code(1);
        refused.stderr(contains(what).and(contains("hint: ")));
        let now = snapshot(&run);
        assert!(now == before, "{what}");
    };
    refused("got different settings: lr: 6e-7 → 0.01", &["--lr", "0.01"]);
    let change = |path: &Path, change: &dyn Fn(&str) -> String| {
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, change(&text)).unwrap();
        text
    };
    for (path, what) in
        [(place.path("rows.jsonl"), "got different rows\n"), (test.clone(), "got different rows to measure on")]
    {
        let text = change(&path, &|text| text.replace("Boil water", "Boil milk"));
        refused(what, &[]);
        fs::write(&path, text).unwrap();
    }
    let config = change(&base.join("config.json"), &|text| format!("{text}\n"));
    refused("got a different model", &[]);
    fs::write(base.join("config.json"), config).unwrap();
    // Edited by hand.
    let settings = change(&run.join("config.yaml"), &|text| text.replace("seed: 42", "seed: 7"));
    let refused = train().arg("--resume").assert().code(1);
    refused.stderr(contains("got different settings: seed: 42 → 7"));
    fs::write(run.join("config.yaml"), settings).unwrap();
}

#[test]
fn a_finished_run_is_made_whole_when_it_is_resumed() {
    let place = Place::new();
    let run = place.path("run");
    let mut training = train(&model(), &place.path("rows.jsonl"), &run);
    training.args(["--max-steps", "2", "--checkpoint-every", "1"]);
    training.assert().success();
    let before = snapshot(&run.join("model"));
    let resume = || {
        let mut command = mpo_train();
        command.args(["train", "--resume", "--output"]).arg(&run);
        command
    };
    // Killed before the page was written.
    fs::remove_file(run.join("report.html")).unwrap();
    let resumed = resume().assert().success();
    resumed.stderr(contains("finished already"));
    assert!(run.join("report.html").exists());
    // A file beside a whole model does no harm.
    let notes = run.join("model/notes.txt");
    fs::write(&notes, "mine").unwrap();
    let resumed = resume().assert().success();
    resumed.stderr(contains("notes.txt").and(contains("finished already")));
    fs::remove_file(notes).unwrap();
    let weights = run.join("model/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&weights, &bytes).unwrap();
    let refused = resume().assert().code(1);
    refused.stderr(contains("model.safetensors").and(contains("hint: move the folder away")));
    assert_eq!(fs::read(&weights).unwrap(), bytes);
    fs::rename(run.join("model"), place.path("damaged")).unwrap();
    let resumed = resume().assert().success();
    resumed.stderr(contains("the trained model is gone").and(contains("continuing after step 2")));
    assert!(snapshot(&run.join("model")) == before);
    // Numbers without their sum may be anybody's.
    fs::remove_file(run.join("results.json.blake3")).unwrap();
    let page = place.path("page.html");
    let report = |page: &Path| {
        let mut command = mpo_train();
        command.arg("report").arg(&run).arg("--output").arg(page);
        command
    };
    let refused = report(&page).assert().code(1);
    refused.stderr(contains("results.json.blake3 is not the checksum of"));
    resume().assert().success();
    // A page is not put among files of which each is known.
    let refused = report(&run.join("model/page.html")).assert().code(1);
    refused.stderr(contains("expected an --output apart from the run's model/"));
    let refused = report(&run).assert().code(1);
    refused.stderr(contains("got a folder").and(contains("hint: ")));
    // A line that is no text is one that was damaged.
    let events = run.join("events.jsonl");
    let mut log = fs::read(&events).unwrap();
    log[3] = 0xff;
    fs::write(&events, log).unwrap();
    let shown = report(&page).assert().success();
    shown.stderr(contains("events.jsonl: line 1 was damaged"));
    #[cfg(unix)]
    {
        fs::remove_file(&events).unwrap();
        let made = Command::new("mkfifo").arg(&events).status().unwrap();
        assert!(made.success());
        for mut command in [report(&page), resume()] {
            let refused = command.assert().code(1);
            refused.stderr(contains("not a regular file").and(contains("hint: move it away")));
        }
    }
}

#[test]
fn what_cannot_be_a_run_makes_no_folder() {
    let place = Place::new();
    let rows = place.path("rows.jsonl");
    let run = place.path("run");
    let answers: Vec<_> = ["bread", "rice"]
        .map(|dish| serde_json::json!({"language": "en", "prompt": dish, "completion": "Boil it.", "label": true}))
        .into();
    let unpaired = place.path("unpaired.jsonl");
    write_rows(&unpaired, &answers);
    let mut training = train(&model(), &rows, &run);
    let refused = training.arg("--eval-data").arg(unpaired).assert().code(1);
    refused.stderr(contains("expected pairs of answers, got single answers"));
    for cache in [run.clone(), run.join("checkpoints"), model().join("cache")] {
        let mut training = train(&model(), &rows, &run);
        let refused = training.arg("--reference-cache").arg(&cache).assert();
        refused.code(1).stderr(contains("expected a --reference-cache apart from --"));
        assert!(!run.exists() && !cache.exists());
    }
    // A file where a run should be.
    let mut report = mpo_train();
    let refused = report.arg("report").arg(&rows).assert().code(1);
    refused.stderr(contains("expected the folder of a run or an evaluation, got a file"));
}

#[test]
fn a_run_that_was_stopped_before_its_settings_were_written_asks_for_them() {
    let place = Place::new();
    let run = place.path("run");
    let rows = place.path("rows.jsonl");
    let mut training = train(&model(), &rows, &run);
    training.args(["--max-steps", "1"]).assert().success();
    for entry in fs::read_dir(&run).unwrap() {
        let entry = entry.unwrap();
        match entry.file_name().to_str() {
            Some("mpo-train.json") => {}
            _ if entry.path().is_dir() => fs::remove_dir_all(entry.path()).unwrap(),
            _ => fs::remove_file(entry.path()).unwrap(),
        }
    }
    let mut resumed = mpo_train();
    resumed.args(["train", "--resume", "--output"]).arg(&run);
    let refused = resumed.assert().code(1);
    refused.stderr(contains("config.yaml: expected the settings of the run").and(contains("again beside --resume")));
    training.arg("--resume").assert().success();
}

#[test]
fn a_table_that_was_edited_is_kept() {
    let place = Place::new();
    let folder = place.path("numbers");
    let rows = place.path("rows.jsonl");
    let mut gaps = mpo_train();
    gaps.args(["eval", "--device", "flex", "--model"]).arg(model());
    gaps.arg("--data").arg(rows).arg("--output").arg(&folder);
    gaps.assert().success();
    gaps.assert().success();
    let table = folder.join("evaluation.csv");
    fs::write(&table, "mine").unwrap();
    let before = snapshot(&folder);
    let refused = gaps.assert().code(1);
    refused.stderr(contains("evaluation.csv: expected").and(contains("hint: move the file away")));
    assert!(snapshot(&folder) == before);
    fs::remove_file(&table).unwrap();
    gaps.assert().success();
}

/// What a hub shows, without a place on this machine; and what came with the base goes along.
#[test]
fn a_trained_model_has_a_card_and_the_licence_of_its_base() {
    let place = Place::new();
    let base = place.path("owner-base-135M");
    fs::create_dir(&base).unwrap();
    for entry in fs::read_dir(model()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), base.join(entry.file_name())).unwrap();
    }
    fs::write(base.join("README.md"), "---\nlicense: gemma\ntags: [x]\n---\n# Base\n").unwrap();
    fs::write(base.join("LICENSE"), "terms").unwrap();
    let rows = place.path("rows.jsonl");
    let trained = |name: &str, arguments: &[&str]| {
        let mut command = train(&base, &rows, &place.path(name));
        command.args(["--max-steps", "1"]).args(arguments).assert().success();
        place.path(name)
    };
    for (name, arguments, library) in [
        ("whole", &[][..], "transformers"),
        ("adapter", &["--adapter", "lora", "--lora-rank", "4"], "peft"),
        ("merged", &["--adapter", "lora", "--lora-rank", "4", "--merge"], "transformers"),
    ] {
        let run = trained(name, arguments);
        let card = fs::read_to_string(run.join("model/README.md")).unwrap();
        let results: serde_json::Value = serde_json::from_slice(&fs::read(run.join("results.json")).unwrap()).unwrap();
        let gap = |when: &str| {
            let gaps = results["reward_gap"][when].as_array().unwrap();
            let of = gaps.iter().find(|gap| gap["language"] == "sw").unwrap();
            format!("{:.2} ± {:.2}", of["mean"].as_f64().unwrap(), of["half_width"].as_f64().unwrap())
        };
        let swahili = format!("| Swahili | 6 | {} | {} | ", gap("before"), gap("after"));
        for expected in [
            &format!("---\nlibrary_name: {library}\n"),
            "license: \"gemma\"\n",
            "- \"sw\"\n",
            "`owner-base-135M`: 1 step of mpo (",
            &swahili,
            "some of those trained on",
            "max_steps: 1\n",
        ] {
            assert!(card.contains(expected), "{expected}: {card}");
        }
        assert_eq!(card.contains("lora_rank: 4"), name != "whole");
        assert!(!card.contains(place.dir.path().to_str().unwrap()), "{card}");
        assert!(!card.contains("bread"), "no text of a row");
        assert_eq!(fs::read_to_string(run.join("model/LICENSE")).unwrap(), "terms");
        // It is one of the files that are known for ours.
        let mut resume = mpo_train();
        let resumed = resume.args(["train", "--resume", "--output"]).arg(&run).assert().success();
        resumed.stderr(contains("README.md").not());
    }
    // One that somebody wrote is not replaced.
    let card = place.path("whole/model/README.md");
    fs::write(&card, "mine").unwrap();
    let mut extend = mpo_train();
    extend.args(["train", "--resume", "--max-steps", "2", "--output"]).arg(place.path("whole"));
    extend.assert().code(1).stderr(contains("README.md").and(contains("hint: move the folder away")));
    assert_eq!(fs::read_to_string(card).unwrap(), "mine");
    assert!(place.path("whole/results.json").exists());
}
