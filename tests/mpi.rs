//! The program as several ranks, started by `mpirun`: `cargo test --release -p mpo-train --features mpi --test mpi`.
//!
//! Kills and hangs take long, so they are asked for by `-- --ignored`; `MPO_KILLS` says how many kills, 50 if it says nothing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use binary::{assert_nothing_partial, model, rows, write_rows};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mpo-train");

/// Settings of all runs here: three rows a step, one at a time, so that three ranks add up what one process does.
const SETTINGS: [&str; 8] =
    ["--batch-size", "3", "--micro-batch-tokens", "1", "--lr", "1e-5", "--checkpoint-every", "2"];

/// Ranks that wait take all of a core each, so one run at a time has the machine.
static ONE: Mutex<()> = Mutex::new(());

struct Place {
    dir: TempDir,
    epochs: &'static str,
    _one: MutexGuard<'static, ()>,
}

impl Place {
    fn new(epochs: &'static str) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        write_rows(&dir.path().join("rows.jsonl"), &rows());
        Self { dir, epochs, _one: one }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What trains a run: without a launcher, or as so many ranks.
    fn train(&self, ranks: Option<usize>, run: &str) -> Command {
        self.train_on("rows.jsonl", ranks, run)
    }

    fn train_on(&self, rows: &str, ranks: Option<usize>, run: &str) -> Command {
        let mut command = match ranks {
            None => Command::new(PROGRAM),
            Some(ranks) => {
                let mut command = mpirun();
                command.args(["-n", &ranks.to_string(), PROGRAM]);
                command
            }
        };
        command.args(["train", "--device", "flex", "--model"]).arg(model());
        command.arg("--data").arg(self.path(rows)).arg("--output").arg(self.path(run)).args(SETTINGS);
        command.args(["--epochs", self.epochs, "--save-dtype", "f32"]);
        command.env("RAYON_NUM_THREADS", "1");
        command
    }
}

fn mpirun() -> Command {
    let mut command = Command::new("mpirun");
    // Tests may run as root, on a machine with fewer cores than ranks.
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.args(["--oversubscribe", "--bind-to", "none"]);
    command
}

fn succeeds(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What the command says on stderr, which ends with an error.
fn fails(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// The numbers of a run's steps and measurements, without those that say when.
fn log(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut events: Vec<Value> = events.filter(|event: &Value| event["event"] == "step").collect();
    for event in &mut events {
        let event = event.as_object_mut().unwrap();
        event.retain(|key, _| !["wall_time", "tokens_per_second", "seconds_left", "check", "blake3"].contains(&&**key));
    }
    events
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("model/model.safetensors")).unwrap()
}

fn losses(run: &Path) -> Vec<f64> {
    log(run).iter().map(|event| event["loss"].as_f64().unwrap()).collect()
}

/// But for roundings: losses in f32 of sums over a hundred tokens are 1e-6 apart as soon as a batch is cut in another way.
fn assert_near(one: &[f64], other: &[f64]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert!((one - other).abs() <= 1e-5 * other.abs().max(1.0), "{one} {other}");
    }
}

#[test]
fn ranks_come_to_what_one_process_comes_to() {
    let place = Place::new("2");
    succeeds(place.train(None, "alone"));
    let alone = place.path("alone");
    for ranks in [1, 3] {
        let run = format!("ranks-{ranks}");
        let output = succeeds(place.train(Some(ranks), &run));
        let run = place.path(&run);
        assert!(weights(&run) == weights(&alone), "{ranks}");
        assert_eq!(log(&run), log(&alone), "{ranks}");
        assert_eq!(fs::read(run.join("results.json")).unwrap(), fs::read(alone.join("results.json")).unwrap());
        assert_nothing_partial(&run);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr.matches("report in").count(), 1, "one rank speaks: {stderr}");
    }
    succeeds(place.train(Some(2), "ranks-2"));
    assert_near(&losses(&place.path("ranks-2")), &losses(&alone));
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let place = Place::new("6");
    succeeds(place.train(None, "alone"));
    let resumed = |ranks| {
        let mut command = place.train(ranks, "run");
        command.arg("--resume");
        command
    };
    // Two ranks, then three, then one process; each ended as soon as there is a later checkpoint.
    let step = |step: u64| place.path("run").join(format!("checkpoints/step-{step}/optimizer.safetensors"));
    end_when(place.train(Some(2), "run"), || step(2).exists());
    end_when(resumed(Some(3)), || step(4).exists());
    succeeds(resumed(None));
    assert_near(&losses(&place.path("run")), &losses(&place.path("alone")));
    let again = succeeds(resumed(Some(2)));
    assert!(String::from_utf8(again.stderr).unwrap().contains("finished already"));
}

/// Kills a rank, which ends all.
fn end_when(command: Command, so_far: impl Fn() -> bool) {
    let mut child = begun(command, so_far);
    signal(ranks_of(&child)[0], libc::SIGKILL);
    assert!(!child.wait().unwrap().success());
}

fn begun(mut command: Command, so_far: impl Fn() -> bool) -> Child {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !so_far() {
        assert!(began.elapsed() < Duration::from_secs(100) && child.try_wait().unwrap().is_none());
        sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn ranks_of_different_runs_say_so() {
    let place = Place::new("2");
    // Other arguments.
    let mut other = place.train(Some(1), "run");
    other.args([":", "-n", "1", PROGRAM, "train", "--model", "m", "--data", "d", "--output", "o"]);
    let said = fails(other);
    assert!(said.contains("error: expected ranks of one run, got the arguments train --model m"), "{said}");
    assert_eq!(said.matches("error:").count(), 1, "{said}");
    // Other rows under the same name.
    let (here, there) = (place.path("here"), place.path("there"));
    for dir in [&here, &there] {
        fs::create_dir(dir).unwrap();
    }
    write_rows(&here.join("rows.jsonl"), &rows());
    write_rows(&there.join("rows.jsonl"), &rows()[1..]);
    let mut command = mpirun();
    for (at, dir) in [&here, &there].into_iter().enumerate() {
        command.args([":"].iter().take(at)).arg("-wdir").arg(dir).args(["-n", "1", PROGRAM, "train", "--model"]);
        command.arg(model()).args(["--device", "flex", "--data", "rows.jsonl", "--output"]).arg(place.path("run"));
    }
    let said = fails(command);
    assert!(said.contains("error: expected ranks of one run, got rows"), "{said}");
    assert!(said.contains("on rank 1, and"), "{said}");
    assert!(!place.path("run").exists(), "nothing was begun");
}

#[test]
fn an_error_of_one_rank_is_the_end_of_all() {
    let place = Place::new("2");
    let said = fails(place.train_on("nothing.jsonl", Some(3), "run"));
    assert_eq!(said.matches("error:").count(), 1, "{said}");
    assert!(said.contains("nothing.jsonl"), "{said}");
}

/// The processes that a launcher started.
fn ranks_of(launcher: &Child) -> Vec<u32> {
    let children = format!("/proc/{0}/task/{0}/children", launcher.id());
    let text = fs::read_to_string(children).unwrap();
    text.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

fn signal(process: u32, signal: i32) {
    // SAFETY: sends a signal, and touches no memory.
    unsafe { libc::kill(process as i32, signal) };
}

fn waits_less_than(mut child: Child, most: Duration) -> bool {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > most {
            child.kill().unwrap();
            return false;
        }
        sleep(Duration::from_millis(10));
    }
    true
}

#[test]
#[ignore = "long"]
fn whoever_is_killed_ends_all_and_the_run_goes_on() {
    let kills: usize = std::env::var("MPO_KILLS").map_or(50, |text| text.parse().unwrap());
    let place = Place::new("6");
    let began = Instant::now();
    succeeds(place.train(Some(3), "whole"));
    let most = began.elapsed();
    let (mut state, mut done, mut run) = (7_u64, 0, 0);
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f64 / (1_u64 << 24) as f64
    };
    while done < kills {
        let name = format!("run-{run}");
        run += 1;
        for _ in 0..4 {
            let mut command = place.train(Some(3), &name);
            if place.path(&name).join("checkpoints").exists() {
                command.arg("--resume");
            } else {
                _ = fs::remove_dir_all(place.path(&name));
            }
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            sleep(most.mul_f64(random()));
            let ranks = ranks_of(&child);
            if let Some(rank) = ranks.get((random() * ranks.len() as f64) as usize) {
                signal(*rank, libc::SIGKILL);
                done += 1;
            }
            assert!(waits_less_than(child, Duration::from_secs(60)), "a kill of one ends all");
        }
        let mut command = place.train(Some(3), &name);
        if place.path(&name).join("checkpoints").exists() {
            command.arg("--resume");
        } else {
            _ = fs::remove_dir_all(place.path(&name));
        }
        succeeds(command);
        assert!(weights(&place.path(&name)) == weights(&place.path("whole")));
        assert_nothing_partial(&place.path(&name));
    }
    eprintln!("{done} kills in {run} runs");
}

#[test]
#[ignore = "takes the half minute after which a rank is taken for dead"]
fn whoever_hangs_ends_all_within_a_minute() {
    let place = Place::new("60");
    let checkpoint = place.path("run").join("checkpoints/step-2");
    let child = begun(place.train(Some(3), "run"), || checkpoint.exists());
    signal(ranks_of(&child)[1], libc::SIGSTOP);
    assert!(waits_less_than(child, Duration::from_secs(60)));
    let mut resumed = place.train(Some(3), "run");
    resumed.arg("--resume");
    succeeds(resumed);
}
