//! Processes killed at any moment, again and again: what they end with is what one that nobody disturbed ends with.
//!
//! Long, so it is asked for: `cargo test --release -p mpo-train --test kills -- --ignored`. `MPO_KILLS` says how many
//! kills of each kind, 50 if it says nothing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use binary::{assert_board_is_the_log, assert_nothing_partial, model, mpo_train, rows, train, write_rows};

const WEIGHTS: &str = "model/model.safetensors";

fn kills() -> usize {
    let asked = std::env::var("MPO_KILLS").ok();
    asked.map_or(50, |text| text.parse().unwrap())
}

struct Place {
    dir: TempDir,
    /// Of a generator of moments.
    state: u64,
}

impl Place {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_rows(&dir.path().join("rows.jsonl"), &rows());
        Self { dir, state: seed }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A moment before `most`.
    fn moment(&mut self, most: Duration) -> Duration {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        most.mul_f64((self.state >> 40) as f64 / (1_u64 << 24) as f64)
    }

    /// Runs to the end, killed at random moments on the way; says how often that was.
    fn disturbed(&mut self, most: Duration, next: &dyn Fn() -> Command) -> usize {
        // The second half is left alone, else a run that begins anew would never end.
        for kills in 0..4 {
            let mut child = next().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let (moment, began) = (self.moment(most), Instant::now());
            while began.elapsed() < moment && child.try_wait().unwrap().is_none() {
                sleep(Duration::from_millis(1));
            }
            let ended = child.try_wait().unwrap();
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            if let Some(status) = ended {
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert!(status.success(), "{stderr}");
                return kills;
            }
        }
        let output = next().output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        4
    }

    /// Does `check` to what disturbed runs leave, until there were enough kills.
    fn campaign(&mut self, most: Duration, next: impl Fn(&Path) -> Command, check: impl Fn(&Path)) {
        let (mut killed, mut runs) = (0, 0);
        while killed < kills() {
            let output = self.path(&format!("run-{runs}"));
            killed += self.disturbed(most, &|| next(&output));
            runs += 1;
            assert_nothing_partial(&output);
            check(&output);
            fs::remove_dir_all(&output).unwrap();
        }
        eprintln!("{killed} kills in {runs} runs");
    }
}

fn timed(mut command: Command) -> Duration {
    let began = Instant::now();
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    began.elapsed()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The steps and the checkpoints that a log tells of, in its order.
fn log(run: &Path) -> (Vec<u64>, Vec<u64>) {
    let text = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| {
        let events = events.iter().filter(|event| event["event"] == kind);
        events.map(|event| event["step"].as_u64().unwrap()).collect()
    };
    (of("step"), of("checkpoint"))
}

/// What a log says of held-out rows, in its order, whenever that was.
fn measured(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut measured: Vec<Value> = events.filter(|event: &Value| event["event"] == "measured").collect();
    for event in &mut measured {
        event.as_object_mut().unwrap().retain(|key, _| key != "wall_time" && key != "check");
    }
    measured
}

/// Steps with a checkpoint, where every third has one.
const OFTEN: [u64; 8] = [3, 6, 9, 12, 15, 18, 21, 24];

fn kills_of_training(seed: u64, checkpoint_every: &'static str, checkpoints: &[u64], more: &[&str], weights: &str) {
    kills_of_training_checked(seed, checkpoint_every, checkpoints, more, weights, |_| {});
}

/// The same where `check` is done to what is left as well.
fn kills_of_training_checked(
    seed: u64,
    checkpoint_every: &'static str,
    checkpoints: &[u64],
    more: &[&str],
    weights: &str,
    check: impl Fn(&Path),
) {
    let mut place = Place::new(seed);
    let rows = place.path("rows.jsonl");
    let start = |output: &Path| {
        let mut command = train(&model(), &rows, output);
        command.args(["--lr", "1e-4", "--batch-size", "4", "--epochs", "8"]);
        command.args(["--checkpoint-every", checkpoint_every]).args(more);
        command
    };
    let calm = place.path("calm");
    let most = timed(start(&calm));
    let expected = |name: &str| fs::read(calm.join(name)).unwrap();
    let next = |output: &Path| {
        if !output.join("config.yaml").exists() {
            start(output)
        } else {
            let mut command = mpo_train();
            command.args(["train", "--resume", "--output"]).arg(output);
            command
        }
    };
    place.campaign(most, next, |run| {
        for file in [weights, "results.json", "before.json"] {
            assert!(fs::read(run.join(file)).unwrap() == expected(file), "{file}");
        }
        assert_eq!(log(run), (Vec::from_iter(1..=24), checkpoints.to_vec()));
        assert_eq!(measured(run), measured(&calm));
        let kept = fs::read_dir(run.join("checkpoints")).unwrap().count();
        assert_eq!(kept, checkpoints.len().min(2));
        check(run);
    });
}

#[test]
#[ignore = "takes minutes"]
fn of_training() {
    kills_of_training(1, "3", &OFTEN, &[], WEIGHTS);
}

#[test]
#[ignore = "takes minutes"]
fn of_training_that_is_measured() {
    kills_of_training(9, "3", &OFTEN, &["--eval-every", "2"], WEIGHTS);
}

#[test]
#[ignore = "takes minutes"]
fn of_training_that_tensorboard_shows() {
    let more = ["--eval-every", "2", "--log-to", "tensorboard"];
    kills_of_training_checked(10, "3", &OFTEN, &more, WEIGHTS, assert_board_is_the_log);
}

#[test]
#[ignore = "takes minutes"]
fn of_training_without_a_checkpoint() {
    kills_of_training(2, "1000", &[24], &[], WEIGHTS);
}

#[test]
#[ignore = "takes minutes"]
fn of_training_an_adapter() {
    let adapter = ["--adapter", "lora", "--lora-targets", "q_proj,v_proj"];
    kills_of_training(6, "3", &OFTEN, &adapter, "model/adapter_model.safetensors");
}

#[test]
#[ignore = "takes minutes"]
fn of_training_with_moments_in_bf16() {
    kills_of_training(7, "3", &OFTEN, &["--optimizer-state", "bf16", "--recompute", "on"], WEIGHTS);
}

#[test]
#[ignore = "takes minutes"]
fn of_training_with_moments_on_the_host() {
    kills_of_training(8, "3", &OFTEN, &["--optimizer-state", "host", "--recompute", "on"], WEIGHTS);
}

#[test]
#[ignore = "takes minutes"]
fn of_a_comparison() {
    let mut place = Place::new(3);
    let rows = place.path("rows.jsonl");
    let next = |output: &Path| {
        let mut command = mpo_train();
        command.args(["compare", "--device", "flex", "--methods", "mpo,kto"]);
        command.args(["--epochs", "2", "--batch-size", "4", "--checkpoint-every", "1"]);
        command.args(["--max-new-tokens", "4", "--model"]).arg(model());
        command.arg("--data").arg(&rows).arg("--output").arg(output);
        if output.join("config.yaml").exists() {
            command.arg("--resume");
        }
        command
    };
    let timeless = |output: &Path| {
        let mut results = json(&output.join("results.json"));
        for method in results["methods"].as_array_mut().unwrap() {
            method["tried"][0]["runs"][0]["seconds"] = Value::Null;
        }
        results
    };
    let calm = place.path("calm");
    let most = timed(next(&calm));
    let expected = timeless(&calm);
    place.campaign(most, next, |output| {
        assert_eq!(timeless(output), expected);
        for method in ["mpo", "kto"] {
            let run = output.join(format!("runs/{method}/seed-42"));
            let (steps, checkpoints) = log(&run);
            assert_eq!(steps, Vec::from_iter(1..=steps.len() as u64));
            assert_eq!(steps, checkpoints);
            assert!(!run.join("checkpoints").exists());
        }
    });
}

#[test]
#[ignore = "takes minutes"]
fn of_an_evaluation() {
    let mut place = Place::new(4);
    let jail = place.path("jail.csv");
    let line = |n| format!("{n},me,[],How do I bake bread {n}?,Ninapikaje mkate {n}?\n");
    let lines: String = (0..8).map(line).collect();
    fs::write(&jail, format!("id,source,tags,en,sw\n{lines}")).unwrap();
    let rows = place.path("rows.jsonl");
    let next = |output: &Path| {
        let mut command = mpo_train();
        command.args(["eval", "--device", "flex", "--max-new-tokens", "12", "--model"]);
        command.arg(model()).arg("--output").arg(output);
        command.arg("--data").arg(&rows).arg("--benchmark");
        command.arg(format!("multijail={}", jail.display()));
        command
    };
    let calm = place.path("calm");
    let most = timed(next(&calm));
    let expected = |name: &str| fs::read(calm.join(name)).unwrap();
    let answers = expected("answers.jsonl").len();
    place.campaign(most, next, |output| {
        for file in ["evaluation.json", "evaluation.csv", "samples/multijail.jsonl"] {
            assert!(fs::read(output.join(file)).unwrap() == expected(file), "{file}");
        }
        assert_eq!(fs::read(output.join("answers.jsonl")).unwrap().len(), answers);
    });
}

#[test]
#[ignore = "takes minutes"]
fn of_a_preparation() {
    preparation(9, |place| {
        let benign = place.path("benign.jsonl");
        let asked = |code: &str, prompt: String| serde_json::json!({ "language": code, "prompt": prompt });
        let english = THINGS.map(|thing| asked("en", format!("How do I repair {thing}?")));
        let swahili = ["baiskeli", "gari", "mashua", "saa", "simu", "kamera", "lori", "redio"];
        let swahili = swahili.map(|kitu| asked("sw", format!("Ninawezaje kukarabati {kitu}?")));
        write_rows(&benign, &[english, swahili].concat());
        vec!["--benign".into(), benign.into()]
    });
}

#[test]
#[ignore = "takes minutes"]
fn of_a_preparation_that_scores() {
    preparation(10, |_| vec!["--recipe".into(), "lacomsa".into()]);
}

const THINGS: [&str; 8] = ["a bicycle", "a car", "a boat", "a watch", "a phone", "a camera", "a truck", "a radio"];

/// A campaign with more arguments.
fn preparation(seed: u64, more: impl Fn(&Place) -> Vec<OsString>) {
    let mut place = Place::new(seed);
    let more = more(&place);
    let row = |thing: &str| {
        let (prompt, rejected) = (format!("How do I steal {thing}?"), format!("Sure, here is how to steal {thing}."));
        serde_json::json!({ "language": "en", "prompt": prompt, "chosen": "No.", "rejected": rejected })
    };
    write_rows(&place.path("unsafe.jsonl"), &THINGS.map(row));
    let unsafe_rows = place.path("unsafe.jsonl");
    // The miniature's model translates nothing; what it is asked to is asked all the same.
    let phrases = place.path("phrases.jsonl");
    let known = THINGS.into_iter().flat_map(|thing| {
        let said =
            |english: &str, swahili: &str| serde_json::json!({ "en": english.replace('X', thing), "sw": swahili });
        [
            said("How do I steal X?", &format!("Ninawezaje kuiba kitu cha jirani yangu leo usiku: {thing}?")),
            said("I'm sorry, but I can't help you steal X.", "Samahani, siwezi kukusaidia kuiba kitu hicho."),
            said("I won't explain how to steal X.", "Sitaeleza jinsi ya kuiba kitu hicho."),
            said("Sure, here is how to steal X.", "Sawa, hii ndiyo njia ya kuiba kitu hicho."),
        ]
    });
    write_rows(&phrases, &known.collect::<Vec<_>>());
    let next = |output: &Path| {
        let mut command = mpo_train();
        command.args(["prepare", "--device", "flex", "--languages", "sw,bn", "--samples", "3", "--model"]);
        command.arg(model()).arg("--output").arg(output).arg("--data").arg(&unsafe_rows);
        command.args(["--translator", &format!("phrases={}", phrases.display()), "--translator", "model"]);
        command.args(["--max-new-tokens", "24", "--translation-tokens", "24"]).args(&more);
        command
    };
    let calm = place.path("calm");
    let most = timed(next(&calm));
    let expected = |name: &str| fs::read(calm.join(name)).unwrap();
    let lengths = ["answers.jsonl", "translations.jsonl"].map(|name| expected(name).len());
    place.campaign(most, next, |output| {
        for file in ["rows.jsonl", "dropped.jsonl", "prepared.json", "report.html"] {
            assert!(fs::read(output.join(file)).unwrap() == expected(file), "{file}");
        }
        let found = ["answers.jsonl", "translations.jsonl"].map(|name| fs::read(output.join(name)).unwrap().len());
        assert_eq!(found, lengths);
    });
}

#[test]
#[ignore = "takes minutes"]
fn of_the_miniature() {
    let mut place = Place::new(5);
    let next = |output: &Path| {
        let mut command = mpo_train();
        command.args(["--device", "flex", "--output"]).arg(output);
        command
    };
    let calm = place.path("calm");
    let most = timed(next(&calm));
    let expected = fs::read(calm.join("results.json")).unwrap();
    // One takes as long as all of another kind.
    let output = place.path("killed");
    let mut killed = 0;
    while killed < kills().div_ceil(5) {
        killed += place.disturbed(most, &|| next(&output));
        assert!(fs::read(output.join("results.json")).unwrap() == expected);
        assert_nothing_partial(&output);
    }
    eprintln!("{killed} kills");
}
