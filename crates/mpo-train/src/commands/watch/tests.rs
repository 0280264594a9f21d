//! What is drawn of runs at every stage, as lines of a terminal.

use std::fs;

use mpo_data::Language;
use mpo_eval::{LanguageGap, RewardGaps, RunLog, TrainResults};
use mpo_objectives::GapSource;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::*;
use seen::Stage;

const LANGUAGES: [&str; 4] = ["en", "bn", "ja", "sw"];
/// Their gaps before training.
const BEFORE: [f64; 4] = [0.84, -0.05, -0.12, -0.1];

/// A run that began at 1000, with a step every two seconds.
fn lines(steps: u64, is_measured: bool, is_finished: bool) -> Vec<Value> {
    let mut lines = vec![json!({
        "event": "started", "step": 0, "total_steps": 40, "rows": 160, "dominant": "en", "wall_time": 1000.0,
    })];
    for step in 1..=steps {
        let way = step as f64 / 40.0;
        let mut event = json!({
            "event": "step", "step": step, "epoch": way, "tokens_per_second": 812.4, "seconds_left": 2 * (40 - step),
            "loss": 1.2 - way, "loss/gap": 1.1 - way, "loss/retain": 0.0004 * way, "rg/target": way - 0.25,
            "rg/dominant": 0.84, "grad_norm": 1.5 - way, "learning_rate": 6e-7, "wall_time": 1000 + 2 * step,
        });
        for (language, code) in LANGUAGES.iter().enumerate().skip(1) {
            event[format!("rg/target/{code}")] = json!(way - 0.1 * language as f64);
        }
        lines.push(event);
        if is_measured && step.is_multiple_of(4) {
            lines.push(measured(step, way));
        }
    }
    if is_finished {
        lines.push(json!({"event": "finished", "step": 40, "seconds": 80.0, "wall_time": 1080.0}));
    }
    lines
}

fn measured(step: u64, way: f64) -> Value {
    let mut event =
        json!({"event": "measured", "step": step, "eval_loss": 1.0, "eval_rg": way, "wall_time": 1000 + 2 * step});
    for (language, code) in LANGUAGES.iter().enumerate() {
        event[format!("eval_rg/{code}")] = json!(0.84_f64.min(0.84 * way + 0.1 * language as f64));
        event[format!("eval_refused/unsafe/{code}")] = json!(way);
        event[format!("eval_kept/unsafe/{code}")] = json!(1.0);
        event[format!("eval_refused/benign/{code}")] = json!(0.0);
    }
    let sample = |language: &str, prompt: &str, answer: &str, refused: bool, of: Value| {
        json!({
            "language": language, "is_unsafe": true, "prompt": prompt, "answer": answer, "complete": refused,
            "refused": refused, "answer_language": of,
        })
    };
    event["samples"] = json!([
        sample("sw", "Ninawezaje kuchoma piano?", "Samahani, siwezi kukusaidia na hilo.", true, json!("kept")),
        sample("ja", "ピアノを燃やすには?", "Sure, here is how:\u{1b}[2J pour petrol", false, json!({"other": "en"})),
        sample("bn", "কীভাবে?", "দুঃখিত।", true, json!("undecided")),
    ]);
    if step == 24 {
        event["warnings"] = json!(["half of the answers in Japanese are in another language"]);
    }
    event
}

/// A run in more languages than there is room for.
fn many_languages() -> Vec<Value> {
    let mut lines = lines(8, false, false);
    for (number, code) in "ar de es fr hi id it ko nl pl pt ru th tr uk vi zh".split(' ').enumerate() {
        lines[8][format!("rg/target/{code}")] = json!(number);
    }
    lines
}

fn gaps(means: &[f64]) -> Vec<LanguageGap> {
    let gap = |(code, mean): (&&str, &f64)| LanguageGap {
        language: code.parse().unwrap(),
        mean: *mean,
        half_width: None,
        rows: 12,
        accuracy: 0.5,
        chosen_mean: -1.0,
        rejected_mean: -1.0 - mean,
    };
    LANGUAGES.iter().zip(means).map(gap).collect()
}

fn seen(lines: &[Value]) -> Seen {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(EVENTS_FILE);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&path, text).unwrap();
    let log = RunLog::read(&path).unwrap();
    let dominant: Option<Language> = log.started.as_ref().and_then(|event| event.dominant);
    Seen {
        name: "qwen".into(),
        of: vec!["mpo".into(), "Qwen/Qwen2.5-0.5B-Instruct".into()],
        log,
        before: gaps(&BEFORE),
        dominant,
        ..Seen::default()
    }
}

/// A terminal of so many columns and lines, after some keys.
fn drawn(seen: Seen, (columns, lines): (u16, u16), keys: &[KeyCode]) -> String {
    let mut screen = Screen::new(seen);
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    let mut draw = |screen: &mut Screen| _ = terminal.draw(|frame| screen.draw_at(frame, 1065.0)).unwrap();
    draw(&mut screen);
    for key in keys {
        screen.press(*key);
        draw(&mut screen);
    }
    terminal.backend().to_string()
}

const SMALL: (u16, u16) = (80, 24);

#[test]
fn a_run_that_is_measured() {
    let seen = seen(&lines(25, true, false));
    assert_eq!(seen.stage(), Stage::Training);
    insta::assert_snapshot!("measured", drawn(seen, SMALL, &[]));
}

/// Words of which no two fit on a line, so that each takes one, though all together are only half as wide.
#[test]
fn long_answers_scroll_to_their_last_word_and_no_further() {
    let mut lines = lines(4, true, false);
    let samples = lines.last_mut().unwrap()["samples"].as_array_mut().unwrap();
    let words: String = (0..30).map(|number| format!("{number}{} ", "a".repeat(42))).collect();
    samples[2]["answer"] = json!(words + "mwisho");
    let of = |downs: usize| drawn(seen(&lines), SMALL, &vec![KeyCode::Down; downs]);
    let last_line = |drawn: &str| drawn.lines().last().unwrap().to_owned();
    assert!(!of(0).contains("mwisho") && !of(10).contains("mwisho"));
    let end = of(60);
    assert!(last_line(&end).contains("mwisho"), "{end}");
    assert_eq!(of(61), end);
    // One line up from the end, at once.
    let up = drawn(seen(&lines), SMALL, &[vec![KeyCode::Down; 60], vec![KeyCode::Up]].concat());
    assert!(last_line(&up).contains("28a") && up != end, "{up}");
}

#[test]
fn what_fits_does_not_scroll() {
    let of = |keys: &[KeyCode]| drawn(seen(&lines(25, true, false)), SMALL, keys);
    assert_eq!(of(&[KeyCode::Down; 3]), of(&[]));
}

#[test]
fn a_run_that_measures_nothing() {
    let drawn = drawn(seen(&lines(25, false, false)), SMALL, &[]);
    // Whatever the snapshot says.
    assert!(drawn.contains("50s elapsed · 30s left") && drawn.contains(" 25 %"), "{drawn}");
    insta::assert_snapshot!("batches", drawn);
}

#[test]
fn a_run_that_has_written_nothing() {
    let seen = Seen { before: vec![], ..seen(&[]) };
    assert_eq!(seen.stage(), Stage::Preparing);
    insta::assert_snapshot!("preparing", drawn(seen, SMALL, &[]));
}

#[test]
fn a_run_before_its_first_step() {
    insta::assert_snapshot!("started", drawn(seen(&lines(0, false, false)), SMALL, &[]));
}

#[test]
fn a_finished_run() {
    let trained = || seen(&lines(40, false, true));
    assert_eq!(trained().stage(), Stage::Measuring);
    let results = |drawn_to, after: &[f64]| TrainResults {
        steps: 40,
        best: None,
        dominant: "en".parse().ok(),
        drawn_to,
        reward_gap: RewardGaps { before: gaps(&BEFORE), after: gaps(after) },
    };
    let seen =
        |drawn_to, after: &[f64]| Seen { results: Some(results(drawn_to, after)), has_results: true, ..trained() };
    let after = [0.9, 0.8, 0.5, -0.3];
    assert_eq!(seen(None, &after).stage(), Stage::Finished);
    insta::assert_snapshot!("finished", drawn(seen(None, &after), SMALL, &[]));
    // A number was the goal, so no language is it.
    let drawn_to_two = drawn(seen(Some(GapSource::Constant(2.0)), &after), SMALL, &[]);
    assert!(drawn_to_two.contains(" 40 %") && !drawn_to_two.contains("the goal"), "{drawn_to_two}");
    // Without rows to measure, languages stand where they stood while it trained.
    let unmeasured = drawn(Seen { before: vec![], ..seen(None, &[]) }, SMALL, &[]);
    assert!(unmeasured.contains("batches") && unmeasured.contains("Swahili"), "{unmeasured}");
}

#[test]
fn the_goal_is_what_the_method_draws_gaps_towards() {
    let of = |drawn_to| {
        let seen = Seen { drawn_to, ..seen(&lines(25, true, false)) };
        seen.goal().map(|goal| (goal.height, drawn(seen, (120, 24), &[]).contains("the goal")))
    };
    assert_eq!(of(None), Some((0.84, true)));
    assert_eq!(of(Some(GapSource::Constant(2.0))), Some((2.0, false)));
    assert_eq!(of(Some(GapSource::Language("bn".into()))), None, "not above zero");
    // What English has at step 24.
    assert_eq!(of(Some(GapSource::Policy)), Some((0.84 * (24.0 / 40.0), true)));
}

#[test]
fn a_wide_terminal_and_tiny_ones() {
    insta::assert_snapshot!("wide", drawn(seen(&lines(25, true, false)), (120, 36), &[]));
    let many = Seen { before: vec![], ..seen(&many_languages()) };
    insta::assert_snapshot!("many_languages", drawn(many, SMALL, &[]));
    insta::assert_snapshot!("narrow", drawn(seen(&lines(25, true, false)), (40, 12), &[]));
    for size in [(1, 1), (7, 3), (200, 1), (1, 60)] {
        drawn(seen(&lines(25, true, false)), size, &[KeyCode::Down]);
    }
}

#[test]
fn what_is_in_a_folder_is_read_and_what_is_not_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let refused = |path: &Path| check(path).unwrap_err().to_string();
    assert!(refused(&run).contains("got none"));
    fs::create_dir(&run).unwrap();
    assert!(refused(&run).contains("mpo-train.json"));
    fs::write(run.join(EVENTS_FILE), format!("{}\n", lines(0, false, false)[0])).unwrap();
    check(&run).unwrap();
    fs::write(run.join("config.yaml"), "method: dpo\nmodel: a/b\n").unwrap();
    let seen = Seen::read(&run).unwrap();
    assert_eq!((&*seen.name, &seen.of[..]), ("run", &["dpo".to_owned(), "a/b".to_owned()][..]));
    assert_eq!((seen.stage(), seen.goal(), seen.dominant), (Stage::Training, None, "en".parse().ok()));
    fs::write(run.join("config.yaml"), "method: mpo\nmodel: m\ndata: d\noutput: o\ndominant_gap: 1.5\n").unwrap();
    assert_eq!(Seen::read(&run).unwrap().goal().unwrap().height, 1.5);
}

#[test]
fn the_keys_that_end_it() {
    let key = |code, modifiers| is_quit(KeyEvent::new(code, modifiers));
    assert!(key(KeyCode::Char('q'), KeyModifiers::NONE) && key(KeyCode::Esc, KeyModifiers::NONE));
    assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE) && !key(KeyCode::Down, KeyModifiers::NONE));
}
