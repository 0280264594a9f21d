//! The program from end to end: what it prints, what a run leaves in its folder, and that nothing which happens to a
//! run on the way changes the model it ends with.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use assert_cmd::prelude::*;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tempfile::TempDir;

use binary::{assert_board_is_the_log, begun, model, mpo_train, rows, train, train_saving, write_rows};

/// A folder with rows, for runs.
struct Workplace {
    dir: TempDir,
}

impl Workplace {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_rows(&dir.path().join("rows.jsonl"), &rows());
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Twelve steps on twelve rows, in the run folder `name`, unless `arguments` say otherwise.
    fn train(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = train(&model(), &self.path("rows.jsonl"), &self.path(name));
        command.args(["--lr", "1e-4", "--batch-size", "4"]);
        let steps: &[&str] = if arguments.contains(&"--epochs") { &[] } else { &["--epochs", "4"] };
        command.args(steps).args(arguments);
        command
    }

    fn resume(&self, name: &str) -> Command {
        let mut command = mpo_train();
        command.args(["train", "--resume", "--output"]);
        command.arg(self.path(name));
        command
    }

    /// The trained weights, as they are in the file.
    fn weights(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name).join("model/model.safetensors")).unwrap()
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn stdout_json(command: &mut Command) -> Value {
    let assert = command.assert().success();
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

fn events(run: &Path) -> Vec<Value> {
    let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The numbers of the steps in the log, in its order.
fn steps(run: &Path) -> Vec<u64> {
    let events = events(run);
    let of_steps = events.iter().filter(|event| event["event"] == "step");
    of_steps.map(|event| event["step"].as_u64().unwrap()).collect()
}

/// Starts in the background, silently.
fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until a run in the background has taken a step.
fn wait_for_a_step(run: &Path) {
    let began = Instant::now();
    let log = run.join("events.jsonl");
    while !fs::read_to_string(&log).is_ok_and(|log| log.contains("\"event\":\"step\"")) {
        assert!(began.elapsed() < Duration::from_secs(60), "no step taken");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_model_of_the_miniature_is_made_from_nothing() {
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("base");
    let mut command = mpo_train();
    command.args(["miniature-model", "--device", "flex", "--output"]);
    let mut making = command.arg(&output).stderr(Stdio::null()).spawn().unwrap();
    // All of it takes minutes.
    wait_for_a_step(&output);
    making.kill().unwrap();
    making.wait().unwrap();
}

#[test]
fn shells_and_man_know_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = mpo_train().args(["completions", shell]).assert().success();
        script.stdout(contains("compare").and(contains("eval-split")));
    }
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("man1");
    mpo_train().args(["man", "--output"]).arg(&folder).assert().success();
    let page = fs::read_to_string(folder.join("mpo-train-train.1")).unwrap();
    assert!(page.contains("eval\\-split"), "{page}");
    assert!(folder.join("mpo-train.1").exists());
    let file = folder.join("mpo-train.1");
    mpo_train().args(["man", "--output"]).arg(file).assert().code(1).stderr(contains("hint: "));
}

#[test]
fn a_run_that_was_killed_and_went_on_is_on_a_board_once() {
    let place = tempfile::tempdir().unwrap();
    let (rows_file, run) = (place.path().join("rows.jsonl"), place.path().join("run"));
    write_rows(&rows_file, &rows());
    let mut start = train(&model(), &rows_file, &run);
    start.args(["--batch-size", "4", "--epochs", "6", "--checkpoint-every", "2", "--log-to", "tensorboard"]);
    let has_come_so_far = || fs::read_to_string(run.join("events.jsonl")).is_ok_and(|log| log.contains("\"step\":7"));
    let mut child = begun(start, has_come_so_far);
    child.kill().unwrap();
    child.wait().unwrap();
    mpo_train().args(["train", "--resume", "--output"]).arg(&run).assert().success();
    assert_eq!(steps(&run), Vec::from_iter(1..=18));
    assert_board_is_the_log(&run);
    let first = &events(&run)[0];
    assert_eq!(first["written_by"], concat!("mpo-train ", env!("CARGO_PKG_VERSION")));
    assert!(first["wall_time"].as_f64().unwrap() > 1.7e9 && !first["device"].as_str().unwrap().is_empty());
    let marked = &json(&run.join("mpo-train.json"))["identity"]["inputs"];
    assert_eq!(&first["inputs"], marked);
}

#[test]
fn help_of_every_command_shows_examples() {
    for command in [
        &[] as &[&str],
        &["train"],
        &["plan"],
        &["compare"],
        &["score"],
        &["generate"],
        &["chat"],
        &["completions"],
        &["man"],
        &["devices"],
        &["miniature-model"],
    ] {
        let example = ["  mpo-train", command.first().copied().unwrap_or_default()].join(" ");
        let mut help = mpo_train();
        let assert = help.args(command).arg("--help").assert().success();
        assert.stdout(contains("Examples:\n").and(contains(example.trim_end())));
    }
}

#[test]
fn the_cpu_is_among_the_devices() {
    let devices = stdout_json(mpo_train().args(["devices", "--json"]));
    let backends = devices["backends"].as_array().unwrap();
    let flex = backends.iter().find(|one| one["device"] == "flex").unwrap();
    assert_eq!(flex["built_in"], true);
    assert_eq!(flex["found"][0], "CPU");
}

/// LLaMA 3.1 8B, as far as a plan needs it.
fn llama_8b() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "model_type": "llama", "vocab_size": 128_256, "hidden_size": 4_096, "intermediate_size": 14_336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16",
    });
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}

#[test]
fn a_plan_needs_no_weights() {
    let dir = llama_8b();
    let plan = |arguments: &[&str]| {
        let mut command = mpo_train();
        command.args(["plan", "--row-tokens", "800", "--model"]).arg(dir.path()).args(arguments);
        command
    };
    let card = |memory: &str, more: &[&str]| {
        let flags = ["--device", "cuda", "--memory", memory, "--teraflops", "300", "--json"];
        stdout_json(&mut plan(&[&flags[..], more].concat()))
    };
    let planned = card("80GB", &[]);
    assert_eq!(planned["parameters"], 8_030_261_248_u64);
    // f32 weights, gradients and moments take 128 GB; an adapter takes less.
    assert!(planned["peak_bytes"].as_u64().unwrap() > 128_000_000_000);
    assert_eq!((&planned["fits"], &planned["recompute"]), (&json!(false), &json!(true)));
    let remedy = &planned["remedies"][0];
    assert_eq!((&remedy["fits"], &remedy["settings"][0]), (&json!(true), &json!(["optimizer_state", "host"])));
    assert!(remedy["command"].as_str().unwrap().contains("--optimizer-state host"), "{remedy}");
    let remedies = planned["remedies"].as_array().unwrap();
    let adapter = remedies.iter().find(|remedy| remedy["settings"][0][0] == "adapter").unwrap();
    assert!(adapter["command"].as_str().unwrap().contains("--adapter lora"), "{adapter}");
    // The memory that was planned for decided that layers are run again: the command says so.
    let settled = card("170GB", &["--micro-batch-tokens", "8000"]);
    assert_eq!((&settled["fits"], &settled["recompute"]), (&json!(true), &json!(true)));
    let command = settled["command"].as_str().unwrap();
    assert!(command.contains("--recompute on") && !command.contains("--memory"), "{command}");
    let adapter = card("24GB", &["--adapter", "lora", "--precision", "bf16"]);
    assert_eq!(adapter["fits"], true, "{adapter}");
    let part = |planned: &Value, part: &str| {
        let shares = planned["phases"].as_array().unwrap().iter().flat_map(|phase| phase["shares"].as_array().unwrap());
        let bytes = shares.filter(|share| share["part"] == part && share["on_host"] == false);
        bytes.map(|share| share["bytes"].as_u64().unwrap()).max()
    };
    // Where distributions are compared, the reference's head stays beside the policy's.
    let head = 4 * 128_256 * 4_096;
    assert_eq!(part(&card("80GB", &["--method", "mpo", "--retain", "kl"]), "reference"), Some(head));
    assert_eq!(part(&planned, "reference"), None);
    let seconds = planned["time"]["product_seconds"].as_f64().unwrap();
    assert!((seconds - planned["time"]["flops"].as_f64().unwrap() / 3e14).abs() < 1e-6 * seconds);

    let assert = plan(&["--device", "flex", "--memory", "1TB", "--micro-batch-tokens", "4096"]).assert().success();
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    for expected in
        ["8.03 B parameters", "weights ", "optimizer's moments", "together", "It fits in 1000.0 GB", "GFLOP/s"]
    {
        assert!(text.contains(expected), "{text}");
    }
    let command = text.lines().find(|line| line.contains("mpo-train train")).unwrap();
    assert!(command.contains("--micro-batch-tokens 4096 --output runs/NAME --data ROWS"), "{command}");
    assert!(!command.contains("--memory") && !command.contains("--row-tokens"), "{command}");
}

#[test]
fn what_is_planned_is_what_trains() {
    let place = Workplace::new();
    let mut planning = mpo_train();
    planning.args(["plan", "--device", "flex", "--json", "--batch-size", "4", "--model"]);
    planning.arg(model()).arg("--data").arg(place.path("rows.jsonl"));
    let planned = stdout_json(&mut planning);
    assert_eq!((&planned["recompute"], &planned["time"]["steps"]), (&json!(false), &json!(6)));
    let assert = place.train("run", &[]).assert().success();
    assert.stderr(contains("memory     ").and(contains("time       ")).and(contains("program and rows")));

    // Too little for anything, and too little to keep what layers computed.
    let assert = place.train("refused", &["--memory", "1MB"]).assert().failure();
    assert.stderr(
        contains("expected a run that fits in 0.00 GB of memory, got one that takes")
            .and(contains("choose a smaller model"))
            .and(contains("`mpo-train plan`")),
    );
    assert!(!place.path("refused").exists());
    let needed = |recompute| {
        let mut planning = mpo_train();
        planning.args(["plan", "--device", "flex", "--json", "--recompute", recompute, "--model"]);
        planning.arg(model()).arg("--data").arg(place.path("rows.jsonl"));
        let phases = stdout_json(&mut planning)["phases"].as_array().unwrap().clone();
        let of = |phase: &Value| {
            let shares = phase["shares"].as_array().unwrap().clone();
            let kept = shares.into_iter().filter(|share| share["part"] != "program");
            kept.map(|share| share["bytes"].as_u64().unwrap()).sum::<u64>()
        };
        phases.iter().map(of).max().unwrap()
    };
    assert!(needed("on") < needed("off"), "{} {}", needed("on"), needed("off"));
}

#[test]
fn a_run_leaves_its_settings_its_log_its_model_and_its_results() {
    let place = Workplace::new();
    let printed = stdout_json(&mut place.train("run", &["--json"]));
    let run = place.path("run");
    for file in [
        "config.yaml",
        "reference/scores.safetensors",
        "reference/last-token.safetensors",
        "checkpoints/step-12/optimizer.safetensors",
        "checkpoints/step-12/model/model.safetensors",
        "model/model.safetensors",
        "model/config.json",
        "model/tokenizer.json",
        "model/tokenizer_config.json",
    ] {
        assert!(run.join(file).exists(), "{file}");
    }
    assert_eq!(printed, json(&run.join("results.json")));
    assert_eq!(printed["steps"], 12);
    assert_eq!(printed["dominant"], "en");
    for when in ["before", "after"] {
        let gaps = printed["reward_gap"][when].as_array().unwrap();
        let languages: Vec<_> = gaps.iter().map(|gap| &gap["language"]).collect();
        assert_eq!(languages, ["en", "bn", "sw"], "{when}");
    }

    assert_eq!(steps(&run), Vec::from_iter(1..=12));
    let events = events(&run);
    assert_eq!(events[0]["event"], "started");
    assert_eq!(events.last().unwrap()["event"], "finished");
    let first = events.iter().find(|event| event["event"] == "step").unwrap();
    for key in [
        "loss",
        "loss/gap",
        "loss/retain",
        "grad_norm",
        "learning_rate",
        "rewards/chosen",
        "rewards/rejected",
        "rewards/margins",
        "rewards/accuracies",
        "logps/chosen",
        "logps/rejected",
        "rg/dominant",
        "rg/target",
        "rg/target/sw",
        "rg/target/bn",
    ] {
        assert!(first[key].is_f64(), "{key}: {}", first[key]);
    }
    // Before the first update policy and reference are one model.
    assert_eq!(first["loss/retain"], 0.0);
}

#[test]
fn the_settings_in_a_run_folder_make_the_same_model_again() {
    let place = Workplace::new();
    place.train("first", &[]).assert().success();
    let mut again = mpo_train();
    again.args(["train", "--config"]);
    again.arg(place.path("first/config.yaml"));
    again.arg("--output").arg(place.path("second"));
    again.assert().success();
    assert!(place.weights("first") == place.weights("second"));

    let settings = |name: &str| fs::read_to_string(place.path(name).join("config.yaml")).unwrap();
    let shown = again.arg("--print-config").assert().success();
    let shown = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    assert_eq!(shown, settings("second"));
}

#[test]
fn accumulation_changes_rounding_only() {
    let place = Workplace::new();
    let largest_difference = |a: &[u8], b: &[u8]| {
        let (a, b) = (SafeTensors::deserialize(a).unwrap(), SafeTensors::deserialize(b).unwrap());
        assert_eq!(a.names().len(), b.names().len());
        let values = |bytes: &[u8]| -> Vec<f32> {
            let words = bytes.as_chunks::<4>().0;
            words.iter().map(|&word| f32::from_le_bytes(word)).collect()
        };
        let of = |(name, a): (String, safetensors::tensor::TensorView<'_>)| {
            let b = values(b.tensor(&name).unwrap().data());
            let differences = values(a.data()).into_iter().zip(b).map(|(a, b)| (a - b).abs());
            differences.fold(0.0, f32::max)
        };
        a.tensors().into_iter().map(of).fold(0.0, f32::max)
    };
    let trained = |tokens: &str| {
        // By default AdamW divides by a root near zero where gradients are rounding alone, and steps by it in full.
        let run = ["--micro-batch-tokens", tokens, "--adam-eps", "1e-4"];
        place.train(tokens, &run).assert().success();
        place.weights(tokens)
    };
    let one_row_at_once = trained("1");
    let difference = largest_difference(&one_row_at_once, &trained("100000"));
    assert!(difference < 1e-5, "{difference}");

    let barely = ["--max-steps", "1", "--schedule", "constant", "--lr", "1e-12"];
    let mut command = train(&model(), &place.path("rows.jsonl"), &place.path("base"));
    command.args(barely).assert().success();
    let learned = largest_difference(&one_row_at_once, &place.weights("base"));
    assert!(learned > 1e-4, "the bound above says nothing: {learned}");
}

#[test]
fn training_that_rounding_undoes_is_told_of() {
    let place = Workplace::new();
    let saved = |name: &str, lr: &str, dtype: &str| {
        let mut command = train_saving(dtype, &model(), &place.path("rows.jsonl"), &place.path(name));
        command.args(["--lr", lr, "--max-steps", "1"]);
        let assert = command.args(["--schedule", "constant"]).assert().success();
        String::from_utf8(assert.get_output().stderr.clone()).unwrap()
    };
    let warning = "--save-dtype f32 keeps it";
    assert!(saved("small", "1e-6", "bf16").contains(warning));
    assert!(!saved("wide", "1e-6", "f32").contains(warning));
    assert!(!saved("large", "1e-1", "bf16").contains(warning));
    // The model's own weights are in f16, which is kept but where rounding would undo the training.
    let kept = saved("small-auto", "1e-6", "auto");
    assert!(kept.contains("saved as   f32: rounding to f16, in which the model's own weights are stored"), "{kept}");
    let rounded = saved("large-auto", "1e-1", "auto");
    assert!(rounded.contains("saved as   f16, as the model's own weights are stored"), "{rounded}");
    assert!(!kept.contains("warning: rounding") && !rounded.contains("warning: rounding"));
    let dtype = |name: &str| {
        let weights = place.weights(name);
        SafeTensors::deserialize(&weights).unwrap().tensors().pop().unwrap().1.dtype()
    };
    assert_eq!((dtype("small-auto"), dtype("large-auto")), (Dtype::F32, Dtype::F16));
}

#[test]
fn resuming_a_finished_run_shows_its_results_again() {
    let place = Workplace::new();
    place.train("run", &["--epochs", "1"]).assert().success();
    let weights = place.weights("run");
    let assert = place.resume("run").arg("--json").assert().success();
    let assert = assert.stderr(contains("finished already, after 3 steps"));
    let shown: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(shown, json(&place.path("run/results.json")));
    assert!(place.weights("run") == weights);
    let assert = place.train("run", &[]).assert().code(1);
    assert.stderr(contains("with a run in it").and(contains("hint: continue it with --resume")));
}

/// Unix only, as the next: `Child::kill` is SIGKILL there.
#[cfg(unix)]
#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_same_model() {
    let place = Workplace::new();
    let settings = ["--epochs", "16", "--checkpoint-every", "3"];
    place.train("calm", &settings).assert().success();

    let start_or_go_on = || {
        if place.path("killed/config.yaml").exists() {
            place.resume("killed")
        } else {
            place.train("killed", &settings)
        }
    };
    // Moments from 30 to 600 ms, scattered: into reading, measuring, steps, checkpoints and saving.
    for delay in (0..8).map(|n| 30 + n * 337 % 571) {
        let mut child = spawn(&mut start_or_go_on());
        sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    start_or_go_on().assert().success();
    assert!(place.weights("killed") == place.weights("calm"));
    assert_eq!(steps(&place.path("killed")), Vec::from_iter(1..=48));
    let left = fs::read_dir(place.path("killed/checkpoints")).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["step-45", "step-48"]);
}

#[test]
fn a_dry_run_reads_everything_and_leaves_nothing() {
    let place = Workplace::new();
    let told = place.train("run", &["--eval-split", "0.34", "--dry-run"]).assert().success();
    told.stdout(contains("8 rows to train on, 4 to measure on; nothing was trained or written"))
        .stderr(contains("memory").and(contains("12 rows")));
    assert!(!place.path("run").exists());
    write_rows(&place.path("rows.jsonl"), &[json!({"prompt": "What?"})]);
    place.train("run", &["--dry-run"]).assert().code(1).stdout("");
    assert!(!place.path("run").exists());
    // A folder that cannot be made is told of before anything is read.
    #[cfg(target_os = "linux")]
    place.train("run", &["--dry-run", "--reference-cache", "/proc/cache"]).assert().code(1).stderr(contains("/proc: "));
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_stops_at_a_checkpoint_and_goes_on_from_it() {
    let place = Workplace::new();
    let settings = ["--epochs", "16"];
    place.train("calm", &settings).assert().success();
    let mut child = spawn(&mut place.train("interrupted", &settings));
    wait_for_a_step(&place.path("interrupted"));
    let id = child.id().to_string();
    Command::new("kill").args(["-INT", &id]).assert().success();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let taken = steps(&place.path("interrupted")).len();
    assert!((1..48).contains(&taken), "{taken} steps");
    let checkpoint = format!("interrupted/checkpoints/step-{taken}");
    assert!(place.path(&checkpoint).exists(), "{checkpoint}");

    place.resume("interrupted").assert().success();
    assert!(place.weights("interrupted") == place.weights("calm"));
    assert_eq!(steps(&place.path("interrupted")), Vec::from_iter(1..=48));
}

#[cfg(unix)]
#[test]
fn a_signal_that_ends_a_run_is_named_by_the_exit_code() {
    let place = Workplace::new();
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut child = spawn(&mut place.train(signal, &["--epochs", "100000"]));
        wait_for_a_step(&place.path(signal));
        let id = child.id().to_string();
        let mut kill = Command::new("kill");
        kill.args([format!("-{signal}"), id]).assert().success();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
}

#[cfg(unix)]
#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let place = Workplace::new();
    let train = place.train("run", &["--epochs", "16"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP INT; exec \"$@\"", "sh"]);
    shell.arg(train.get_program()).args(train.get_args());
    let mut child = spawn(&mut shell);
    wait_for_a_step(&place.path("run"));
    let id = child.id().to_string();
    for signal in ["-HUP", "-INT", "-HUP", "-INT"] {
        // It may have ended by itself.
        _ = Command::new("kill").args([signal, &id]).output().unwrap();
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(steps(&place.path("run")), Vec::from_iter(1..=48));
}

#[test]
fn a_run_folder_has_room_for_one_process() {
    let place = Workplace::new();
    let mut first = spawn(&mut place.train("run", &["--epochs", "100000"]));
    wait_for_a_step(&place.path("run"));
    for mut second in [place.train("run", &[]), place.resume("run")] {
        let assert = second.assert().code(1);
        assert.stderr(
            contains("error:")
                .and(contains("got another one at work"))
                .and(contains("hint: wait for it, or name another --output")),
        );
    }
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn scores_come_language_by_language_before_training_and_after() {
    let place = Workplace::new();
    place.train("run", &[]).assert().success();
    let results = json(&place.path("run/results.json"));
    let score = |model: &Path| {
        let mut command = mpo_train();
        command.args(["score", "--json", "--device", "flex", "--model"]);
        command.arg(model).arg("--data").arg(place.path("rows.jsonl"));
        stdout_json(&mut command)
    };
    for (model, when) in [(model(), "before"), (place.path("run/model"), "after")] {
        let scores = score(&model);
        assert_eq!(scores["data"]["kept"], 12);
        let gaps = scores["reward_gap"].as_array().unwrap();
        let trained = results["reward_gap"][when].as_array().unwrap();
        assert_eq!(gaps.len(), 3);
        for (gap, trained) in gaps.iter().zip(trained) {
            assert_eq!(gap["language"], trained["language"]);
            let difference = gap["mean"].as_f64().unwrap() - trained["mean"].as_f64().unwrap();
            assert!(difference.abs() < 1e-3, "{when}: {gap} and {trained}");
        }
    }
}

#[test]
fn every_prompt_gets_one_answer() {
    let generate = || {
        let mut command = mpo_train();
        command.args(["generate", "--device", "flex", "--max-new-tokens", "16"]);
        command.arg("--model").arg(model());
        command
    };
    let prompts = ["How do I cook rice?", "Ninapikaje wali?"];
    let assert = generate().args(prompts).assert().success();
    let answers = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    assert_eq!(answers.lines().count(), 2, "{answers}");
    assert!(answers.lines().all(|line| !line.is_empty()), "{answers}");
    let assert = generate().arg(prompts[1]).assert().success();
    let alone = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    assert_eq!(answers.lines().nth(1), alone.lines().next());
    let lines = generate().args(prompts).arg("--json").assert().success();
    let lines = String::from_utf8(lines.get_output().stdout.clone()).unwrap();
    for (line, (prompt, answer)) in lines.lines().zip(prompts.iter().zip(answers.lines())) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["prompt"], &line["text"]), (&json!(prompt), &json!(answer)));
        assert!(line["complete"].is_boolean());
    }
    let drawn = |seed: &str| {
        let mut command = generate();
        command.args(["--temperature", "2", "--top-k", "40", "--seed", seed]);
        let assert = command.args(prompts).assert().success();
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    assert_eq!(drawn("1"), drawn("1"));
    assert_ne!(drawn("1"), drawn("2"));
    let wrong = generate().args(["--top-p", "0", "Hello"]).assert().code(1);
    wrong.stderr(contains("top-p: expected a number above 0 and up to 1, got 0"));
}

#[test]
fn an_answer_beyond_what_the_model_was_made_for_is_told_of() {
    let stderr = |tokens: &str| {
        let mut command = mpo_train();
        command.args(["generate", "--device", "flex", "--max-new-tokens", tokens]);
        command.arg("--model").arg(model());
        let assert = command.arg("Hello").assert().success();
        String::from_utf8(assert.get_output().stderr.clone()).unwrap()
    };
    let warning = "more than the 256 that the model was made for";
    assert!(!stderr("128").contains(warning));
    assert!(stderr("256").contains(warning));
}

/// Starts a conversation in the background.
fn chat(arguments: &[&str]) -> Child {
    let mut command = mpo_train();
    command.args(["chat", "--device", "flex", "--model"]);
    command.arg(model()).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_conversation_outlives_bytes_that_are_no_text() {
    let mut child = chat(&["--max-new-tokens", "2"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Habari \xff\n\nNinapikaje wali?\n").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
    // Nobody is asked where lines come from a file, and whoever reads knows that an answer was cut.
    assert!(!stderr.contains("> "), "{stderr}");
    assert!(stderr.contains("--max-new-tokens allows more"), "{stderr}");
}

#[test]
fn a_conversation_begins_with_a_system_message_and_anew_when_asked_to() {
    let answers = |arguments: &[&str], lines: &str| {
        let mut child = chat(&[&["--max-new-tokens", "8"], arguments].concat());
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        (String::from_utf8(output.stdout).unwrap(), stderr)
    };
    let question = "How do I cook rice?\n";
    let (once, _) = answers(&[], question);
    let (twice, stderr) = answers(&[], &format!("{question}/help\n/reset\n{question}/exit\n{question}"));
    // Not an answer to /help, nor one that knows of the first, nor one after the end.
    assert_eq!(twice, once.repeat(2), "{stderr}");
    assert_eq!(stderr.matches("/reset begins anew").count(), 2, "{stderr}");
    let (told, _) = answers(&["--system", "Ninapikaje wali?", "--system-message", "merge"], question);
    assert_ne!(told, once);
}

#[cfg(unix)]
#[test]
fn ctrl_c_between_answers_ends_the_conversation() {
    let mut child = chat(&[]);
    // Held, since the end of the input ends it as well.
    let _stdin = child.stdin.take();
    let stderr = io::BufReader::new(child.stderr.take().unwrap());
    let mut lines = io::BufRead::lines(stderr);
    while !lines.next().unwrap().unwrap().contains("/exit") {}
    let id = child.id().to_string();
    Command::new("kill").args(["-INT", &id]).assert().success();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[cfg(unix)]
#[test]
fn the_miniature_that_is_stopped_does_not_speak_of_resuming() {
    let place = Workplace::new();
    let mut command = mpo_train();
    command.args(["--device", "flex", "--output"]);
    let child = command.arg(place.path("miniature")).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while !place.path("miniature/config.yaml").exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "not begun");
        sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    Command::new("kill").args(["-INT", &id]).assert().success();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("error: stopped on request"), "{stderr}");
    assert!(!stderr.contains("--resume"), "{stderr}");
}

#[test]
fn a_reader_who_has_had_enough_is_no_failure() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    for arguments in [&["devices", "--json"][..], &["generate", "Hello"]] {
        let mut command = mpo_train();
        command.args(arguments);
        if arguments[0] == "generate" {
            command.args(["--device", "flex", "--model"]).arg(model());
        }
        let child = command.stdout(writer.try_clone().unwrap()).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        output.assert().success().stderr("");
    }
}

#[test]
fn the_miniature_aligns_every_language_and_keeps_the_dominant_one() {
    let place = Workplace::new();
    let mut command = mpo_train();
    command.args(["--device", "flex", "--json", "--output"]);
    let results = stdout_json(command.arg(place.path("miniature")));
    assert_eq!(results, json(&place.path("miniature/results.json")));
    let languages = results["languages"].as_object().unwrap();
    let number = |of: &Value, key: &str, when: &str| of[key][when].as_f64().unwrap();
    let code = results["dominant"].as_str().unwrap();
    let dominant = &languages[code];
    let wanted = 0.8 * number(dominant, "reward_gap", "after");
    assert_eq!(languages.len(), 7);
    for (language, measured) in languages {
        let answered = number(measured, "benign_answer_rate", "after");
        assert!(answered >= 0.8, "{language}: {measured}");
        if language != code {
            let gap = number(measured, "reward_gap", "after");
            assert!(gap >= wanted, "{language}: {measured}");
            let refused = |when| number(measured, "refusal_rate", when);
            assert!(refused("after") > refused("before"), "{language}: {measured}");
        }
    }
    for rate in ["refusal_rate", "benign_answer_rate"] {
        let change = number(dominant, rate, "after") - number(dominant, rate, "before");
        assert!(change.abs() <= 0.05, "{rate}: {dominant}");
    }
}
