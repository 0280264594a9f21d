//! What is written, read by a reader of our own and held against bytes that TensorBoard's Python package wrote.

use std::fs;
use std::path::PathBuf;

use mpo_progress::Silent;

use super::record::unframed;
use super::*;
use crate::events::{EventLog, StartedEvent, StepEvent};
use crate::folder::{Identity, Kind};
use crate::settings::LogTo;

/// The messages in a file; none where a record is cut or damaged.
fn messages(file: &[u8]) -> Option<Vec<message::Event>> {
    unframed(file)?.into_iter().map(|record| message::Event::decode(record).ok()).collect()
}

fn step(step: u64, loss: f64) -> Event {
    let metrics = BTreeMap::from([("loss".into(), loss), ("rg/target/sw".into(), -0.25)]);
    Event::Step(StepEvent { step, epoch: 0.5, tokens_per_second: 7.0, seconds_left: None, metrics })
}

fn started(step: u64) -> Event {
    Event::Started(StartedEvent { step, total_steps: 4, rows: 2, ..StartedEvent::default() })
}

fn measured(step: u64) -> Event {
    let sample = |is_unsafe, refused, answer_language| SampledAnswer {
        language: "sw".parse().unwrap(),
        is_unsafe,
        prompt: "Habari?".into(),
        answer: "Nzuri.".into(),
        complete: true,
        refused,
        answer_language,
    };
    Event::Measured(MeasuredEvent {
        step,
        trained_on: false,
        metrics: BTreeMap::from([("eval_loss".into(), 0.1)]),
        samples: vec![
            sample(true, true, AnswerLanguage::Kept),
            sample(false, false, AnswerLanguage::Other("en".parse().ok())),
            sample(true, false, AnswerLanguage::Undecided),
        ],
        warnings: vec!["sw is lost".into()],
    })
}

/// `RecordWriter(file).write(event.SerializeToString())` of the Python package, 2.21.0, for each of these events.
#[test]
fn bytes_are_those_of_tensorboard() {
    let event = |wall_time, step, what| message::Event { wall_time, step, what: Some(what) };
    let summary = |value| What::Summary(Summary { value });
    for (event, expected) in [
        (
            event(1.5, 0, What::FileVersion(FILE_VERSION.into())),
            "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c",
        ),
        (
            event(1.5, 0, What::SessionLog(SessionLog { status: SessionLog::START })),
            "0d000000000000003c37b83409000000000000f83f3a020801b718825c",
        ),
        (
            event(2.5, 1, summary(vec![scalar("loss", 0.1), scalar("rg/target/sw", -0.25)])),
            "2f000000000000006d5d1d5009000000000000044010012a220a0b0a046c6f737315cdcccc3d\
             0a130a0c72672f7461726765742f737715000080be2562ff38",
        ),
        (
            event(3.5, 1, summary(vec![text("samples/sw/unsafe".into(), vec!["Habari?".into()])])),
            "410000000000000000a9c2ab090000000000000c4010012a340a320a1173616d706c65732f73772f756e73616665\
             4211080712041202080142074861626172693f4a0a0a060a047465787420020aed1ece",
        ),
    ] {
        let bytes: String = record(&event.encode_to_vec()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(bytes, expected);
    }
}

#[test]
fn every_number_has_its_name_and_answers_are_text() {
    let at = |event| LoggedEvent { event, wall_time: Some(12.5) };
    let of = |event| match &messages(&records(&at(event))).unwrap()[..] {
        [message::Event { wall_time: 12.5, step: 3, what: Some(What::Summary(summary)) }] => summary.value.clone(),
        others => panic!("{others:?}"),
    };
    let numbers = |values: &[Value]| -> Vec<(String, f32)> {
        let number = |value: &Value| match value.shown {
            Some(Shown::SimpleValue(number)) => Some((value.tag.clone(), number)),
            _ => None,
        };
        values.iter().filter_map(number).collect()
    };
    let taken = of(step(3, 0.1));
    let expected = [("epoch", 0.5), ("tokens_per_second", 7.0), ("loss", 0.1), ("rg/target/sw", -0.25)];
    assert_eq!(numbers(&taken), expected.map(|(tag, value)| (tag.to_owned(), value)));
    let held_out = of(measured(3));
    assert_eq!(numbers(&held_out), [("eval_loss".to_owned(), 0.1)]);
    let texts = held_out.iter().filter_map(|value| match &value.shown {
        Some(Shown::Tensor(tensor)) => {
            let texts = tensor.string_val.iter().map(|text| String::from_utf8(text.clone()).unwrap());
            Some((&*value.tag, texts.collect::<Vec<_>>()))
        }
        _ => None,
    });
    let said = |what: &str| format!("**Habari?**\n\nNzuri.\n\n*{what}*");
    let expected = [
        ("samples/sw/benign", vec![said("answered, in English")]),
        (
            "samples/sw/unsafe",
            vec![said("refused, in the language of the prompt"), said("answered, in a language that cannot be told")],
        ),
        ("warnings", vec!["sw is lost".to_owned()]),
    ];
    assert_eq!(texts.collect::<Vec<_>>(), expected);
    // What has no place on a board.
    assert!(records(&at(Event::Checkpoint { step: 3 })).is_empty());
}

/// The step of every record, and the loss where it has one.
fn steps(file: &[u8]) -> Vec<(i64, Option<f32>)> {
    let loss = |value: &Value| match value.shown {
        Some(Shown::SimpleValue(loss)) if value.tag == "loss" => Some(loss),
        _ => None,
    };
    let of = |what: &What| match what {
        What::Summary(summary) => summary.value.iter().find_map(loss),
        _ => None,
    };
    messages(file).unwrap().iter().map(|event| (event.step, event.what.as_ref().and_then(of))).collect()
}

#[test]
fn a_run_that_goes_on_tells_every_step_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunFolder::create(&dir.path().join("run"), Kind::Train, Identity::default()).unwrap();
    let open = |step, log_to| EventLog::open(&run, step, log_to, &Silent).unwrap();
    let files = || -> Vec<PathBuf> {
        let entries = fs::read_dir(run.path()).unwrap().map(|entry| entry.unwrap().path());
        let is_board = |path: &PathBuf| path.to_string_lossy().contains("tfevents");
        // The one before is empty.
        entries.filter(|path| is_board(path) && fs::metadata(path).unwrap().len() > 0).collect()
    };
    let only = || match &files()[..] {
        [file] => fs::read(file).unwrap(),
        files => panic!("{files:?}"),
    };
    // Begun without a board, which has the whole run once it is asked for.
    let mut log = open(0, None);
    for event in [started(0), step(1, 1.0)] {
        log.write(&event).unwrap();
    }
    log.sync().unwrap();
    assert!(files().is_empty());
    let mut log = open(1, Some(LogTo::Tensorboard));
    for event in [started(1), step(2, 2.0), step(3, 3.0)] {
        log.write(&event).unwrap();
    }
    log.sync().unwrap();
    let before = [(0, None), (0, None), (1, Some(1.0)), (2, None), (2, None)];
    let (two, three) = ((2, Some(2.0)), (3, Some(3.0)));
    let (whole, mut last) = (only(), files().swap_remove(0));
    assert_eq!(steps(&whole), [&before[..], &[two, three]].concat());
    // Killed at any byte of it, at a time whose last checkpoint is that of step 2.
    for cut in [0, whole.len() / 2, whole.len() - 1, whole.len()] {
        fs::write(&last, &whole[..cut]).unwrap();
        drop(open(2, Some(LogTo::Tensorboard)));
        assert_eq!(steps(&only()), [&before[..], &[two]].concat(), "cut at {cut}");
        last = files().swap_remove(0);
    }
    let mut log = open(2, Some(LogTo::Tensorboard));
    for event in [started(2), step(3, 4.0)] {
        log.write(&event).unwrap();
    }
    let after = [(3, None), (3, None), (3, Some(4.0))];
    assert_eq!(steps(&only()), [&before[..], &[two], &after].concat());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_of_with_the_file_and_what_to_do() {
    let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut board = EventFile { path: "run/events.out.tfevents.1".into(), file };
    let error = board.write(&LoggedEvent { event: step(1, 1.0), wall_time: None }).unwrap_err();
    assert!(error.to_string().starts_with("run/events.out.tfevents.1: No space left"), "{error}");
    assert_eq!(error.hint().unwrap(), "free some space and continue with --resume");
}
