//! What is wrong with a file, a flag or a disk is said in words, with what to do next, and leaves nothing behind.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use binary::{assert_nothing_partial, model, mpo_train, rows, train, write_rows};

/// Good rows, a copy of the model to damage, and a run folder that must never come to be.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        write_rows(&bench.path("rows.jsonl"), &rows());
        fs::create_dir(bench.path("model")).unwrap();
        for entry in fs::read_dir(model()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), bench.path("model").join(entry.file_name())).unwrap();
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn train(&self) -> Command {
        let mut command = train(&self.path("model"), &self.path("rows.jsonl"), &self.path("run"));
        command.args(["--max-steps", "1"]);
        command
    }

    /// Training with these flags is refused.
    fn refuses(&self, what: &str, arguments: &[&str], code: i32, expected: &[&str]) {
        fails(what, self.train().args(arguments), code, expected);
        assert!(!self.path("run").exists(), "{what}: left a run folder");
    }

    /// Training on a model with this file in it (or without it) is refused.
    fn refuses_model(&self, file: &str, contents: Option<&[u8]>, expected: &[&str]) {
        let path = self.path("model").join(file);
        let good = fs::read(&path).unwrap();
        match contents {
            Some(contents) => fs::write(&path, contents).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let expected = [expected, &["hint: "]].concat();
        let what = format!("{file} for {expected:?}");
        self.refuses(&what, &[], 1, &expected);
        fs::write(&path, good).unwrap();
    }

    /// Training on a data file of this content is refused.
    fn refuses_data(&self, contents: &[u8], expected: &[&str]) {
        fs::write(self.path("rows.jsonl"), contents).unwrap();
        let expected = [expected, &["hint: "]].concat();
        self.refuses(&format!("data for {expected:?}"), &[], 1, &expected);
    }
}

/// Runs a command that must end with `code`, an error that says all of `expected`, and no panic; gives its stderr.
fn fails(what: &str, command: &mut Command, code: i32, expected: &[&str]) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{what}: {stderr}");
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
    for expected in ["error: "].iter().chain(expected) {
        assert!(stderr.contains(expected), "{what}: no {expected:?} in: {stderr}");
    }
    stderr
}

/// The lines of the good rows, and this one.
fn and_line(line: &[u8]) -> Vec<u8> {
    let mut lines: Vec<u8> = rows().iter().flat_map(|row| format!("{row}\n").into_bytes()).collect();
    lines.extend(line);
    lines
}

/// A good row with one change.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut row = rows().swap_remove(0);
    change(&mut row);
    row.to_string().into_bytes()
}

/// A file of weights, to take apart.
struct Weights {
    header: Map<String, Value>,
    body: Vec<u8>,
}

impl Weights {
    fn read() -> Self {
        let bytes = fs::read(model().join("model.safetensors")).unwrap();
        let (length, rest) = bytes.split_first_chunk().unwrap();
        let (header, body) = rest.split_at(u64::from_le_bytes(*length) as usize);
        Self { header: serde_json::from_slice(header).unwrap(), body: body.to_vec() }
    }

    fn bytes(&self) -> Vec<u8> {
        let header = serde_json::to_vec(&self.header).unwrap();
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], &header, &self.body].concat()
    }

    fn with(key: &str, value: Value) -> Vec<u8> {
        let mut weights = Self::read();
        weights.header["model.norm.weight"][key] = value;
        weights.bytes()
    }

    /// The last tensor of the file is the final norm's.
    fn norm_bytes(&self) -> usize {
        let offsets = &self.header["model.norm.weight"]["data_offsets"];
        assert_eq!(offsets[1], self.body.len());
        (offsets[1].as_u64().unwrap() - offsets[0].as_u64().unwrap()) as usize
    }
}

#[test]
fn weights_that_are_cut_short() {
    let bench = Bench::new();
    let whole = Weights::read().bytes();
    let header = 8 + u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    for length in [0, 4, 8, 100, header, header + 10, whole.len() - 1] {
        bench.refuses_model("model.safetensors", Some(&whole[..length]), &["model.safetensors: ", "cut short"]);
    }
}

#[test]
fn weights_that_lie() {
    let bench = Bench::new();
    let refuses = |weights: &[u8], expected| {
        bench.refuses_model("model.safetensors", Some(weights), &[expected]);
    };
    let mut length = Weights::read().bytes();
    length[..8].copy_from_slice(&(1_u64 << 60).to_le_bytes());
    refuses(&length, "expected a header of 1152921504606846976 bytes");
    for offsets in [json!([0, 1_u64 << 50]), json!([1_u64 << 50, 3_136_320])] {
        let lying = Weights::with("data_offsets", offsets);
        refuses(&lying, "model.norm.weight: expected offsets");
    }
    refuses(&Weights::with("shape", json!([80, 2])), "model.norm.weight: expected shape [160], got [80, 2]");
    let mut missing = Weights::read();
    let kept = missing.body.len() - missing.norm_bytes();
    missing.body.truncate(kept);
    missing.header.remove("model.norm.weight");
    refuses(&missing.bytes(), "expected a tensor named model.norm.weight, got none");
}

#[test]
fn a_shard_that_is_missing() {
    let bench = Bench::new();
    let names = Weights::read().header;
    let shards: Map<String, Value> =
        names.into_iter().map(|(name, _)| (name, "model-00001-of-00002.safetensors".into())).collect();
    let index = json!({ "metadata": {}, "weight_map": shards }).to_string();
    fs::write(bench.path("model/model.safetensors.index.json"), index).unwrap();
    let expected = ["expected model-00001-of-00002.safetensors beside it"];
    bench.refuses_model("model.safetensors", None, &expected);
}

#[test]
fn a_model_folder_without_one_of_its_files_or_with_garbage_in_it() {
    let bench = Bench::new();
    let garbage = Some(&b"\xff{"[..]);
    bench.refuses_model("model.safetensors", None, &["model.safetensors", "neither"]);
    for file in ["config.json", "tokenizer.json"] {
        bench.refuses_model(file, None, &[file]);
        bench.refuses_model(file, garbage, &[file, "line 1"]);
    }
    let file = "tokenizer_config.json";
    bench.refuses_model(file, garbage, &[file, "line 1"]);
    let text = fs::read(bench.path("model").join(file)).unwrap();
    let mut config: Value = serde_json::from_slice(&text).unwrap();
    config.as_object_mut().unwrap().remove("chat_template");
    let text = config.to_string();
    bench.refuses_model(file, Some(text.as_bytes()), &["expected a chat template"]);
}

#[test]
fn a_configuration_of_a_model_that_cannot_be() {
    let bench = Bench::new();
    let text = fs::read(bench.path("model/config.json")).unwrap();
    for (key, value) in [
        ("hidden_size", json!(0)),
        ("hidden_size", json!("wide")),
        ("hidden_size", json!(1_u64 << 40)),
        ("num_attention_heads", json!(0)),
        ("num_hidden_layers", json!(-1)),
        ("num_key_value_heads", json!(3)),
        ("vocab_size", json!(1_u64 << 50)),
        ("head_dim", json!(31)),
        ("rope_theta", json!(-1)),
        ("model_type", json!("abacus")),
        ("hidden_act", json!("step")),
    ] {
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        config[key] = value;
        let bad = config.to_string();
        let expected = [&format!("config.json: {key}: expected "), ", got "];
        bench.refuses_model("config.json", Some(bad.as_bytes()), &expected);
    }
}

#[test]
fn data_that_is_no_file_of_rows() {
    let bench = Bench::new();
    for nothing in [&b""[..], b"\n\n", b"[]"] {
        bench.refuses_data(nothing, &["expected at least one preference row"]);
    }
    bench.refuses_data(b"{\"a\": 1}", &["line 1: expected the keys of a known format"]);
    bench.refuses_data(&[b'['; 100_000], &["expected an object"]);
    bench.refuses_data(&b"{\"a\":".repeat(100_000), &["line 1: recursion limit"]);
    let long = [b"{\"a\": \"".to_vec(), vec![b'x'; 20 << 20]].concat();
    bench.refuses_data(&and_line(&long), &["line 13: expected a row of at most"]);

    let (folder, missing) = (bench.path("model"), bench.path("missing"));
    for (data, expected) in [(&folder, "got the directory"), (&missing, "No such file or directory")] {
        let mut command = train(&model(), data, &bench.path("run"));
        fails(expected, &mut command, 1, &[expected, "hint: "]);
        assert!(!bench.path("run").exists());
    }
}

#[test]
fn a_row_that_is_wrong_is_named_with_its_line() {
    let bench = Bench::new();
    let refuses = |line: &[u8], expected| bench.refuses_data(&and_line(line), &["line 13: ", expected]);
    refuses(b"{\"dominant\": {,}}", "(column 15)");
    refuses(b"{\"dominant\": \"\xff\"}", "expected UTF-8 text");
    refuses(b"\0", "expected value");
    let missing = changed(|row| {
        row["target"].as_object_mut().unwrap().remove("chosen");
    });
    refuses(&missing, "missing field `target.chosen`");
    let language = changed(|row| row["target"]["language"] = "xx".into());
    refuses(&language, "expected a language, got `xx`");
}

#[test]
fn rows_that_cannot_be_used_are_dropped_and_reported() {
    let bench = Bench::new();
    let empty = changed(|row| row["target"]["prompt"] = "".into());
    let report = "line 1: target: the prompt is empty";
    let none = ["kept       0", report, "expected at least one row to train on"];
    bench.refuses_data(&empty, &none);

    fs::write(bench.path("rows.jsonl"), and_line(&empty)).unwrap();
    let output = bench.train().output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("line 13: target: the prompt is empty"));
    assert!(stderr.contains("kept       12"), "{stderr}");
}

#[test]
fn an_answer_longer_than_the_limit_is_cut() {
    let bench = Bench::new();
    let long = changed(|row| row["target"]["rejected"] = "Chemsha maji. ".repeat(2000).into());
    fs::write(bench.path("rows.jsonl"), and_line(&long)).unwrap();
    let output = bench.train().args(["--max-tokens", "64"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("1 of 26 pairs or answers truncated"), "{stderr}");
}

#[test]
fn settings_that_make_no_sense() {
    let bench = Bench::new();
    for (arguments, code, expected) in [
        (&["--lr", "nan"][..], 1, "lr: expected a number above 0 and up to 1, got NaN"),
        (&["--beta=-1"], 1, "beta: expected a number above 0, got -1"),
        (&["--batch-size", "0"], 1, "batch_size: expected at least 1"),
        (&["--max-tokens", "1"], 1, "expected a limit of at least 2 tokens"),
        (&["--lr", "fast"], 2, "invalid value 'fast' for '--lr <X>'"),
        (&["--dominant", "xx"], 2, "expected a language"),
        (&["--template", "no"], 2, "expected the name of a chat template"),
        (&["--recipe", "none"], 2, "llama-3.1-8b, gemma-2-9b, qwen2.5-7b"),
        (&["--nothing"], 2, "unexpected argument '--nothing'"),
    ] {
        let next = ["hint: ", "For more information, try '--help'"][code - 1];
        bench.refuses(expected, arguments, code as i32, &[expected, next]);
    }
    let file = bench.path("settings.yaml");
    for (text, expected) in [
        ("lr: 1e-4\nlearning: 3\n", "expected a key of the configuration, got learning"),
        ("lr: fast\n", "line 1: lr: expected a number, such as 1e-6, got fast"),
        ("lr: [1\n", "line 1: lr: expected one value, got [1"),
        ("lr: .nan\n", "lr: expected a number above 0 and up to 1, got NaN"),
    ] {
        fs::write(&file, text).unwrap();
        let arguments = ["--config", file.to_str().unwrap()];
        bench.refuses(text, &arguments, 1, &[expected, "hint: "]);
    }
}

#[test]
fn a_folder_that_cannot_be_made() {
    let bench = Bench::new();
    // Root may write anywhere, but nobody below a file.
    let below = bench.path("rows.jsonl/run");
    let mut miniature = mpo_train();
    miniature.args(["--device", "flex", "--output"]).arg(&below);
    let mut training = train(&model(), &bench.path("rows.jsonl"), &below);
    for command in [&mut miniature, &mut training] {
        let expected = ["Not a directory", "hint: name an --output"];
        fails("below a file", command, 1, &expected);
    }
}

#[test]
fn a_run_to_resume_that_is_not_there() {
    let bench = Bench::new();
    let expected = ["expected a run to resume", "hint: start it without --resume"];
    bench.refuses("nothing to resume", &["--resume"], 1, &expected);
}

/// `script` with `train` as its arguments, in a shell.
#[cfg(unix)]
fn shell(script: &str, train: &Command) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]);
    command.arg(train.get_program()).args(train.get_args());
    command
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_grow_stops_a_run_that_can_be_resumed() {
    let bench = Bench::new();
    // Room for the reference, none for a checkpoint.
    let script = "ulimit -f 4000; exec \"$@\"";
    let expected = ["File too large", "hint: allow larger files (`ulimit -f`)"];
    fails(script, &mut shell(script, &bench.train()), 1, &expected);
    assert_nothing_partial(&bench.path("run"));
    let resumed = bench.train().arg("--resume").output().unwrap();
    assert!(resumed.status.success() && bench.path("run/results.json").exists());
}

/// On a disk of so many megabytes that only the shell and its children see: none where no file system may be mounted.
#[cfg(target_os = "linux")]
fn on_a_disk(folder: &Path, megabytes: usize, script: &str, train: &Command) -> Option<Command> {
    fs::create_dir_all(folder).unwrap();
    let mount = format!("mount -t tmpfs -o size={megabytes}m none '{}'", folder.display());
    let within = |script: &str| {
        let mut command = Command::new("unshare");
        let inner = shell(&format!("{mount} && {script}"), train);
        command.args(["--map-root-user", "--mount"]);
        command.arg(inner.get_program()).args(inner.get_args());
        command
    };
    if within("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Some(within(script));
    }
    // Not by `eprintln`, which is shown of failed tests only.
    writeln!(std::io::stderr(), "not tested: a full disk, as no file system may be mounted here")
        .expect("standard error");
    None
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up() {
    let bench = Bench::new();
    let (small, run) = (bench.path("small"), bench.path("small/run"));
    let mut training = train(&model(), &bench.path("rows.jsonl"), &run);
    training.args(["--checkpoint-every", "1", "--batch-size", "4"]);
    let script = format!("{{ \"$@\"; code=$?; find '{}' -name '.partial*' >&2; exit $code; }}", run.display());
    // Room for two checkpoints of 19 megabytes, and not for the one that is written before an older one goes.
    let Some(mut command) = on_a_disk(&small, 45, &script, &training) else { return };
    let expected = ["warning: the disk has room for 0.0", "No space left on device", "hint: free some space"];
    let stderr = fails(&script, &mut command, 1, &expected);
    assert!(!stderr.trim_end().lines().last().unwrap().contains(".partial"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_room_for_a_checkpoint_is_told_before_anything_is_done() {
    let bench = Bench::new();
    let (small, run) = (bench.path("small"), bench.path("small/run"));
    let script = format!("{{ \"$@\"; code=$?; find '{}' >&2; exit $code; }}", small.display());
    for rehearsal in [&[][..], &["--dry-run"]] {
        let mut training = train(&model(), &bench.path("rows.jsonl"), &run);
        training.args(rehearsal);
        let Some(mut command) = on_a_disk(&small, 20, &script, &training) else { return };
        let expected = [
            "expected room on the disk for a checkpoint of 0.02 GB and the trained model of 0.01 GB, got 0.02 GB",
            "hint: free some space, or name an --output on another disk, or train an adapter",
        ];
        let stderr = fails(&script, &mut command, 1, &expected);
        assert_eq!(stderr.trim_end().lines().last().unwrap(), small.to_str().unwrap(), "something was written");
    }
}

impl Bench {
    /// Lays changes over the model's configuration.
    fn configure(&self, changes: Value) {
        let path = self.path("model/config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        fs::write(path, config.to_string()).unwrap();
    }

    fn score(&self, model: &Path) -> Command {
        let mut command = mpo_train();
        command.args(["score", "--device", "flex", "--model"]);
        command.arg(model).arg("--data").arg(self.path("rows.jsonl"));
        command
    }
}

fn succeeds(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    stderr
}

#[test]
fn rows_longer_than_the_model_was_made_for_are_told_of_once() {
    let bench = Bench::new();
    let warning = "more than the 16 that the model was made for";
    let model = bench.path("model");
    assert!(!succeeds(&mut bench.score(&model)).contains("the model was made for"));
    bench.configure(json!({"max_position_embeddings": 16}));
    for command in [&mut bench.score(&model), &mut bench.train()] {
        assert_eq!(succeeds(command).matches(warning).count(), 1);
    }
    fs::remove_dir_all(bench.path("run")).unwrap();
    let cut = succeeds(bench.score(&model).args(["--max-tokens", "16"]));
    assert!(!cut.contains(warning), "{cut}");
    // With dynamic scaling what lies beyond would not be computed as in Transformers.
    bench.configure(json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}}));
    let expected = ["at most 16 tokens", "its rotary scaling", "hint: --max-tokens"];
    bench.refuses("dynamic", &[], 1, &expected);
    fails("dynamic", &mut bench.score(&model), 1, &expected);
    succeeds(bench.score(&model).args(["--max-tokens", "16"]));
}

#[test]
fn a_flipped_byte_of_a_saved_model_is_found() {
    let bench = Bench::new();
    succeeds(&mut bench.train());
    let saved = bench.path("run/model");
    succeeds(&mut bench.score(&saved));
    let list = "mpo-train.blake3";
    for name in ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", list] {
        let path = saved.join(name);
        let good = fs::read(&path).unwrap();
        // The first line of the list is that of the model card, which nobody computes with.
        let first = if name == list { 1 + good.iter().position(|byte| *byte == b'\n').unwrap() } else { 0 };
        for at in [first, good.len() / 2] {
            let mut bad = good.clone();
            bad[at] ^= 4;
            fs::write(&path, &bad).unwrap();
            // The file by its name, whether its sum or its form gives it away.
            fails(name, &mut bench.score(&saved), 1, &[name, "hint: "]);
        }
        fs::write(&path, &good).unwrap();
    }
    // A change that is meant is accepted by deleting the file's line.
    delete_line(&saved.join(list), "config.json");
    let config = fs::read_to_string(saved.join("config.json")).unwrap();
    fs::write(saved.join("config.json"), config + "\n").unwrap();
    succeeds(&mut bench.score(&saved));
}

fn delete_line(list: &Path, name: &str) {
    let text = fs::read_to_string(list).unwrap();
    let kept: String = text.lines().filter(|line| !line.ends_with(name)).map(|line| format!("{line}\n")).collect();
    assert!(kept.len() < text.len());
    fs::write(list, kept).unwrap();
}

#[test]
fn what_is_not_weights_goes_along_and_old_weights_stay_behind() {
    let bench = Bench::new();
    for name in ["tokenizer.model", "LICENSE", "pytorch_model.bin", "chat_template.json"] {
        fs::write(bench.path("model").join(name), name).unwrap();
    }
    succeeds(&mut bench.train());
    let saved = bench.path("run/model");
    for name in ["tokenizer.model", "LICENSE", "chat_template.json"] {
        assert_eq!(fs::read_to_string(saved.join(name)).unwrap(), name);
    }
    assert!(!saved.join("pytorch_model.bin").exists());
}

#[test]
fn a_head_that_was_not_saved_is_asked_for() {
    let bench = Bench::new();
    bench.configure(json!({"tie_word_embeddings": false}));
    let expected = ["expected a tensor named lm_head.weight", "hint: ", "\"tie_word_embeddings\": true"];
    fails("no head", &mut bench.score(&bench.path("model")), 1, &expected);
}

#[test]
fn a_tied_head_that_differs_is_refused() {
    let bench = Bench::new();
    let mut weights = Weights::read();
    let head = weights.header["model.embed_tokens.weight"].clone();
    let [from, to] = [0, 1].map(|i| head["data_offsets"][i].as_u64().unwrap() as usize);
    let embedding = weights.body[from..to].to_vec();
    let start = weights.body.len();
    weights.header.insert("lm_head.weight".into(), head);
    weights.header["lm_head.weight"]["data_offsets"] = json!([start, start + embedding.len()]);
    weights.body.extend(embedding);
    fs::write(bench.path("model/model.safetensors"), weights.bytes()).unwrap();
    succeeds(&mut bench.score(&bench.path("model")));
    weights.body[start] ^= 1;
    fs::write(bench.path("model/model.safetensors"), weights.bytes()).unwrap();
    let expected = ["lm_head.weight to be equal to the embedding", "hint: "];
    fails("tied", &mut bench.score(&bench.path("model")), 1, &expected);
    bench.configure(json!({"tie_word_embeddings": false}));
    succeeds(&mut bench.score(&bench.path("model")));
}

#[test]
fn a_number_that_is_none_is_an_error_that_names_its_row() {
    let bench = Bench::new();
    let mut weights = Weights::read();
    let norm = weights.body.len() - weights.norm_bytes();
    // Every bit set is NaN in 16 bits and in 32.
    weights.body[norm..].fill(0xff);
    fs::write(bench.path("model/model.safetensors"), weights.bytes()).unwrap();
    let expected = ["to be finite, got NaN at ", "rows.jsonl, line 1", "hint: "];
    fails("NaN", &mut bench.train(), 1, &expected);
    assert!(!bench.path("run").exists());
}
