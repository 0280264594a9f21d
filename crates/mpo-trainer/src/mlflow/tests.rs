//! The store that events make, by hand.

use mpo_progress::Silent;
use serde_json::json;

use super::*;
use crate::events::{EventLog, MeasuredEvent, StepEvent};
use crate::folder::{Identity, Kind};
use crate::settings::LogTo;

fn step(step: u64, loss: f64) -> Event {
    let metrics = BTreeMap::from([("loss".into(), loss), ("loss/gap".into(), -0.25)]);
    Event::Step(StepEvent { step, epoch: 0.5, tokens_per_second: 7.0, seconds_left: None, metrics })
}

fn measured(step: u64) -> Event {
    let metrics = BTreeMap::from([("eval_rg/sw".into(), 6e-7)]);
    Event::Measured(MeasuredEvent { step, trained_on: false, metrics, samples: vec![], warnings: vec![] })
}

fn started(step: u64) -> Event {
    let started = StartedEvent { step, total_steps: 2, rows: 2, device: "flex".into(), ..StartedEvent::default() };
    Event::Started(StartedEvent { dominant: "en".parse().ok(), ..started })
}

#[test]
fn the_store_is_made_of_the_log_whenever_a_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunFolder::create(&dir.path().join("my run"), Kind::Train, Identity::default()).unwrap();
    run.keep();
    let open = |step, log_to| EventLog::open(&run, step, log_to, &Silent).unwrap();
    let mut log = open(0, Some(LogTo::Mlflow));
    log.describe(&Settings::from_iter([("lr".into(), json!(1e-5)), ("method".into(), json!("mpo"))])).unwrap();
    for event in [started(0), step(1, 0.5), measured(1), step(2, 0.75)] {
        log.write(&event).unwrap();
    }
    let store = run.path().join("mlruns/0");
    let folders = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let folders: Vec<PathBuf> = folders.collect();
    let [of_run] = &folders[..] else { panic!("{folders:?}") };
    let read = |file: &str| fs::read_to_string(of_run.join(file)).unwrap();
    // Without the times.
    let points = |name: &str| -> Vec<(String, String)> {
        let lines = read(&format!("metrics/{name}"));
        let words = lines.lines().map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        words.map(|words| (words[1].clone(), words[2].clone())).collect()
    };
    let pair = |value: &str, step: &str| (value.to_owned(), step.to_owned());
    assert_eq!(points("loss"), [pair("0.5", "1"), pair("0.75", "2")]);
    assert_eq!(points("loss.gap"), [pair("-0.25", "1"), pair("-0.25", "2")]);
    assert_eq!(points("eval_rg.sw"), [pair("0.0000006", "1")]);
    assert_eq!((read("params/lr"), read("params/method")), ("0.00001".into(), "mpo".into()));
    assert_eq!([read("tags/device"), read("tags/dominant"), read("tags/mlflow.runName")], ["flex", "en", "my run"]);
    let meta = || -> Value { serde_json::from_str(&read("meta.yaml")).unwrap() };
    let id = of_run.file_name().unwrap().to_str().unwrap();
    assert_eq!((&meta()["run_id"], &meta()["experiment_id"]), (&json!(id), &json!("0")));
    assert_eq!((&meta()["status"], &meta()["end_time"]), (&json!(1), &Value::Null));
    let began = meta()["start_time"].as_u64().unwrap();
    assert!(began > 1_700_000_000_000, "{began}");
    drop(log);

    // Killed, and gone on after the first step: the second is told once.
    let mut log = open(1, Some(LogTo::Mlflow));
    for event in [started(1), step(2, 0.25), Event::Finished { step: 2, seconds: 1.0 }] {
        log.write(&event).unwrap();
    }
    assert_eq!(points("loss"), [pair("0.5", "1"), pair("0.25", "2")]);
    assert_eq!(points("eval_rg.sw"), [pair("0.0000006", "1")]);
    assert_eq!((meta()["status"].as_u64(), meta()["start_time"].as_u64()), (Some(3), Some(began)));
    assert!(meta()["end_time"].as_u64().unwrap() >= began);
    let times = read("metrics/loss");
    let times: Vec<u64> = times.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(times.iter().all(|time| *time >= began), "{times:?}");
    let experiment: Value = serde_json::from_str(&fs::read_to_string(store.join("meta.yaml")).unwrap()).unwrap();
    assert_eq!((&experiment["name"], &experiment["experiment_id"]), (&json!("Default"), &json!("0")));
    // A run that begins anew leaves nothing of it.
    drop((log, run));
    RunFolder::begin_anew(&dir.path().join("my run"), Kind::Train, Identity::default()).unwrap().keep();
    assert!(!dir.path().join("my run/mlruns").exists());
}
