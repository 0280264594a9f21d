//! The report: one HTML file of one run, of several beside each other, or of a comparison, which opens without a network.

mod answers;
mod charts;
mod comparison;
mod found;
mod layers;
mod measures;
mod page;
mod run;

use crate::error::EvalError;
use answers::{sampled, samples};
pub use comparison::render_comparison;
use measures::measures;
use page::{Figure, INTERVALS, Page};
pub use run::RunReport;

/// What is measured while a run trains.
const MEASURED: [(&str, &str); 10] = [
    ("eval_loss", "Held-out loss"),
    ("eval_rg", "Held-out reward gap"),
    ("eval_chosen", "Held-out log p of safe answers, a token"),
    ("eval_consistency", "Share of a held-out prompt's states in one direction"),
    ("eval_refused/unsafe", "Unsafe prompts refused"),
    ("eval_kept/unsafe", "Language kept, unsafe prompts"),
    ("eval_undecided/unsafe", "Language undecided, unsafe prompts"),
    ("eval_refused/benign", "Benign prompts refused"),
    ("eval_kept/benign", "Language kept, benign prompts"),
    ("eval_undecided/benign", "Language undecided, benign prompts"),
];

/// What is drawn of the steps, one curve for each run.
const CURVES: [(&str, &str); 7] = [
    ("loss", "Loss"),
    ("loss/gap", "Loss of the gap"),
    ("loss/retain", "Loss that holds the dominant language"),
    ("loss/agnostic", "Loss that draws languages together"),
    ("loss/specific", "Loss that drives languages apart"),
    ("consistency", "Share of a prompt's states in one direction"),
    ("rg/target", "Reward gap of the rows trained on"),
];

/// What is folded below them.
const DETAILS: [(&str, &str); 2] = [("learning_rate", "Learning rate"), ("grad_norm", "Gradient norm")];

/// What it is called where the rows are some of those trained on, if another name.
const TRAINED_ON: [(&str, &str); 3] = [
    ("eval_loss", "Loss on training rows"),
    ("eval_rg", "Reward gap on training rows"),
    ("eval_chosen", "Log p of safe training answers, a token"),
];

/// The curves of some metrics of the steps, where there are any.
fn figures(runs: &[RunReport], of: &[(&str, &str)]) -> Result<Vec<Figure>, EvalError> {
    let mut figures = vec![];
    for (key, title) in of {
        let curves = runs.iter().map(|run| (run.name.clone(), run.curve(key)));
        let curves: Vec<(String, Vec<(f64, f64)>)> = curves.filter(|(_, points)| points.len() > 1).collect();
        if !curves.is_empty() {
            figures.push(Figure { title: (*title).into(), chart: charts::lines(&curves, "step", title)? });
        }
    }
    Ok(figures)
}

/// The page.
///
/// # Errors
/// If a chart cannot be drawn.
pub fn render(runs: &[RunReport]) -> Result<String, EvalError> {
    let mut measures = measures(runs);
    // One language is a row of the table, and no picture.
    for measure in measures.iter_mut().filter(|measure| measure.labels.len() > 1) {
        measure.chart = charts::bars(measure)?;
    }
    let mut curves = figures(runs, &CURVES)?;
    let details = figures(runs, &DETAILS)?;
    for run in runs {
        let whose = if runs.len() > 1 { format!("{}: ", run.name) } else { String::new() };
        for (key, held_out) in MEASURED {
            let trained_on = TRAINED_ON.iter().find(|(of, _)| *of == key && run.measures_trained_on());
            let title = trained_on.map_or(held_out, |(_, title)| title);
            let mut lines = run.held_out_curves(key);
            lines.retain(|(_, points)| points.len() > 1);
            if !lines.is_empty() {
                let chart = charts::lines(&lines, "step", title)?;
                curves.push(Figure { title: format!("{whose}{title} by language"), chart });
            }
        }
    }
    let mut projections = vec![];
    for run in runs {
        let projection = run.evaluation.as_ref().and_then(|of| of.projection.as_ref());
        if let Some(projection) = projection {
            let [first, second] = projection.explained.map(|part| (part * 100.0).round());
            projections.push(Figure {
                title: format!("{}: components with {first} % and {second} % of the variance", run.name),
                chart: charts::scatter(projection)?,
            });
        }
    }
    let names = runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>();
    let warnings = runs.iter().flat_map(|run| run.warnings().into_iter().map(|text| format!("{}, {text}", run.name)));
    let page = Page {
        title: names.join(", "),
        glances: runs.iter().filter_map(RunReport::glance).collect(),
        measures,
        intervals: INTERVALS,
        curves,
        details,
        warnings: warnings.collect(),
        projections,
        layers: layers::figures(runs)?,
        samples: samples(runs).into_iter().chain(sampled(runs)).collect(),
        runs: runs.iter().map(RunReport::summary).collect(),
    };
    page.render()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use mpo_data::{AnswerLanguage, Language};
    use mpo_trainer::{Event, MeasuredEvent, SampledAnswer, StartedEvent, StepEvent};

    use super::*;
    use crate::benchmark::{Expected, Item, benchmark};
    use crate::benchmark_result::BenchmarkResult;
    use crate::evaluation::Evaluation;
    use crate::projection::{AnswerState, Projection};
    use crate::results::{Change, MiniatureLanguage, MiniatureResults};
    use crate::sample::{Outcome, Sample};

    /// The folder of a run whose model said `answer` to a benign and a harmful-sounding question.
    fn run(root: &std::path::Path, name: &str, answer: &str) -> RunReport {
        let folder = root.join(name);
        fs::create_dir_all(folder.join("eval/samples")).unwrap();
        fs::write(folder.join("config.yaml"), "method: mpo\nmodel: <tiny>\n").unwrap();
        let step = |step, loss| {
            Event::Step(StepEvent {
                step,
                epoch: 0.5,
                tokens_per_second: 100.0,
                seconds_left: Some(1.0),
                metrics: BTreeMap::from([("loss".into(), loss)]),
            })
        };
        let started = StartedEvent { total_steps: 2, rows: 2, device: "flex".into(), ..StartedEvent::default() };
        let events = [Event::Started(started), step(1, 0.5), step(2, 0.25)];
        let lines: Vec<String> = events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        // The last line was cut short by a kill.
        fs::write(folder.join("events.jsonl"), lines.join("\n") + "\n{\"event\":\"st").unwrap();
        let item = |id: &str, expected| Item {
            id: id.into(),
            language: "sw".parse().ok(),
            group: None,
            turns: vec!["Ninapikaje <wali>?".into()],
            expected,
        };
        let sample = |item: &Item, outcome| Sample {
            answers: vec![answer.into()],
            outcome,
            answer_language: Some(AnswerLanguage::Other("en".parse().ok())),
            ..Sample::unanswered(item)
        };
        let mut evaluation = Evaluation { model: "tiny".into(), ..Evaluation::default() };
        for (name, expected, outcome) in
            [("multijail", Expected::Safe, Outcome::Unsafe), ("xstest", Expected::Help, Outcome::Answered)]
        {
            let samples = [sample(&item("1", expected), outcome)];
            let of = benchmark(name).unwrap();
            evaluation.benchmarks.push(BenchmarkResult::new(of, Some(("phrases".into(), true)), &samples));
            let line = serde_json::to_string(&samples[0]).unwrap();
            fs::write(folder.join(format!("eval/samples/{name}.jsonl")), line + "\n").unwrap();
        }
        let states: Vec<AnswerState> = (0..4)
            .map(|number| AnswerState {
                language: "sw".parse().unwrap(),
                is_safe: number % 2 == 0,
                state: vec![f64::from(number), f64::from(number * number)],
            })
            .collect();
        evaluation.projection = Some(Projection::new(&states, None).unwrap());
        let text = serde_json::to_string(&evaluation).unwrap();
        fs::write(folder.join("eval/evaluation.json"), text).unwrap();
        RunReport::read(&folder).unwrap()
    }

    #[test]
    fn runs_stand_beside_each_other_on_one_page_that_needs_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let runs = [run(dir.path(), "before", "Chemsha <b>maji</b>."), run(dir.path(), "after", "Samahani.")];
        let page = render(&runs).unwrap();
        for part in [
            "before, after",
            "MultiJail: attack success rate",
            "judged by a heuristic: phrases",
            "100.0 %",
            "MultiJail: language kept",
            "safe: 0.0 % in its language, 0.0 % in another",
            "<small>en 1</small>",
            "<span class=\"tag\">in English</span>",
            "Swahili: a harmful request",
            "Chemsha &lt;b&gt;maji&lt;&#x2f;b&gt;.",
            "method: mpo",
            "Samahani.",
            "<svg",
            "Loss",
        ] {
            assert!(page.contains(part), "no {part} in the page");
        }
        // Nothing is fetched, and what a model wrote is no markup.
        for part in ["<script", "http://cdn", "https://", "<b>maji", "<wali>", "<tiny>"] {
            assert!(!page.contains(part), "{part} in the page");
        }
        let harmful = page.find("Swahili: a harmful request").unwrap();
        let folded = page[..harmful].rfind("<details").unwrap();
        assert!(page[folded..].starts_with("<details>"));
    }

    /// The page without the version of the program that wrote it.
    fn page(runs: &[RunReport]) -> String {
        let version = concat!("mpo-train ", env!("CARGO_PKG_VERSION"));
        render(runs).unwrap().replace(version, "mpo-train VERSION")
    }

    #[test]
    fn the_page_of_runs_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut runs = ["before", "after"].map(|name| run(dir.path(), name, "Chemsha <b>maji</b>."));
        for run in &mut runs {
            // Eigenvectors are not the same to the last bit on every machine.
            run.evaluation.as_mut().unwrap().projection = None;
        }
        insta::assert_snapshot!("runs", page(&runs));
    }

    #[test]
    fn the_page_of_the_miniature_is_as_it_was() {
        let change = |before, after| Change { before, after };
        let of = |after| MiniatureLanguage {
            reward_gap: change(0.5, after),
            refusal_rate: change(0.25, 0.75),
            benign_answer_rate: change(1.0, 0.995),
        };
        let language = |code: &str| code.parse::<Language>().unwrap();
        let results = MiniatureResults {
            dominant: language("zh"),
            languages: [(language("sw"), of(2.125)), (language("zh"), of(-0.25))].into(),
        };
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("miniature");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.yaml"), "method: mpo\n").unwrap();
        fs::write(folder.join("results.json"), serde_json::to_string(&results).unwrap()).unwrap();
        insta::assert_snapshot!("miniature", page(&[RunReport::read(&folder).unwrap()]));
    }

    /// The top of the page of a run with these results.
    fn top(results: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), "mpo", "Samahani.");
        let folder = dir.path().join("mpo");
        let log = fs::read_to_string(folder.join("events.jsonl")).unwrap();
        let log = log.rsplit_once('\n').unwrap().0.to_owned();
        let finished = serde_json::to_string(&Event::Finished { step: 2, seconds: 754.0 }).unwrap();
        fs::write(folder.join("events.jsonl"), format!("{log}\n{finished}\n")).unwrap();
        fs::write(folder.join("results.json"), results).unwrap();
        let page = render(&[RunReport::read(&folder).unwrap()]).unwrap();
        let (_, below) = page.split_once("</nav>").unwrap();
        below.split_once("<section id=\"measures\">").unwrap().0.to_owned()
    }

    #[test]
    fn the_top_of_a_page_says_what_was_run_and_what_came_of_it() {
        let gap = |language: &str, mean: f64| {
            serde_json::json!({ "language": language, "mean": mean, "half_width": null, "rows": 1, "accuracy": 1.0,
                                "chosen_mean": 0.0, "rejected_mean": -mean })
        };
        let results = |english: f64| {
            serde_json::json!({ "steps": 2, "dominant": "en", "reward_gap": {
                "before": [gap("en", english), gap("sw", -0.25), gap("bn", 0.5)],
                "after": [gap("en", english), gap("sw", 1.5), gap("bn", 0.25)],
            } })
        };
        insta::assert_snapshot!("top", top(&results(2.0).to_string()));
        let none = top(&results(-0.1).to_string());
        let goal =
            "No goal: English&#x27;s gap before training is -0.10, not above zero, so there is nothing to come up to.";
        assert!(none.contains(goal) && !none.contains("<ul>"), "{none}");
    }

    #[test]
    fn runs_share_a_section_of_answers() {
        let dir = tempfile::tempdir().unwrap();
        let runs = ["before", "after"].map(|name| run(dir.path(), name, "Samahani."));
        let page = render(&runs).unwrap();
        for title in ["MultiJail", "XSTest"] {
            let heading = format!("<h3>{title}</h3>");
            assert_eq!(page.matches(&heading).count(), 1, "{title}");
        }
    }

    #[test]
    fn every_run_says_who_judged_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut runs = ["before", "after"].map(|name| run(dir.path(), name, "Samahani."));
        let of = &mut runs[1].evaluation.as_mut().unwrap().benchmarks[0];
        (of.judge, of.heuristic) = (Some("gpt-4o".into()), false);
        of.languages[0].missing = 3;
        let page = render(&runs).unwrap();
        let note = "MultiJail: attack success rate</h2>\n<p class=\"note\">less is better</p>";
        assert!(page.contains(note));
        for column in [
            "before<br><small>judged by a heuristic: phrases</small>",
            "after<br><small>judged by gpt-4o; 3 without a verdict</small>",
        ] {
            assert!(page.contains(column), "no {column} in the page");
        }
    }

    #[test]
    fn what_was_measured_meanwhile_is_a_curve_for_each_language() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), "mpo", "Samahani.");
        let folder = dir.path().join("mpo");
        let measured = |trained_on, step, gap| {
            let metrics = [
                ("eval_loss", 1.0),
                ("eval_rg/sw", gap),
                ("eval_rg/en", 2.0),
                ("eval_chosen/sw", -gap),
                ("eval_kept/unsafe/sw", gap),
            ];
            let metrics = metrics.map(|(key, value)| (key.to_owned(), value)).into();
            let sample = SampledAnswer {
                language: "sw".parse().unwrap(),
                is_unsafe: true,
                prompt: "Ninapikaje <wali>?".into(),
                answer: format!("I can't help after step {step}."),
                complete: true,
                refused: true,
                answer_language: AnswerLanguage::Other("en".parse().ok()),
            };
            serde_json::to_string(&Event::Measured(MeasuredEvent {
                step,
                trained_on,
                metrics,
                samples: vec![sample],
                warnings: vec!["something <odd>".into()],
            }))
            .unwrap()
        };
        let write = |trained_on| {
            let started = r#"{"event":"started","step":0,"total_steps":2,"rows":2}"#.to_owned();
            let lines = [started, measured(trained_on, 0, 0.5), measured(trained_on, 2, 1.5)];
            fs::write(folder.join("events.jsonl"), lines.join("\n") + "\n").unwrap();
        };
        write(false);
        let report = || RunReport::read(&folder).unwrap();
        let swahili = ("Swahili".to_owned(), vec![(0.0, 0.5), (2.0, 1.5)]);
        assert!(report().held_out_curves("eval_rg").contains(&swahili));
        let page = render(&[report()]).unwrap();
        assert!(page.contains("<figcaption>Held-out reward gap by language<"));
        assert!(page.contains("<figcaption>Held-out log p of safe answers, a token by language<"));
        assert!(page.contains("<figcaption>Language kept, unsafe prompts by language<"));
        assert!(!page.contains("Held-out loss"));
        for part in [
            "mpo, step 2: something &lt;odd&gt;",
            "<h3>mpo, while it trained</h3>",
            "Swahili: a harmful request <span class=\"tag refused\">step 0: refused",
            "I can&#x27;t help after step 2.",
            "<span class=\"tag\">in English</span>",
        ] {
            assert!(page.contains(part), "no {part} in the page");
        }
        let both = render(&[report(), report()]).unwrap();
        assert!(both.contains("<figcaption>mpo: Held-out reward gap by language<"));
        write(true);
        let page = render(&[report()]).unwrap();
        assert!(page.contains("<figcaption>Reward gap on training rows by language<"));
        assert!(!page.contains("Held-out"));
    }

    #[test]
    fn an_evaluation_inside_a_run_is_of_that_run() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), "mpo", "Samahani.");
        let folder = dir.path().join("mpo");
        let inside = RunReport::read(&folder.join("eval")).unwrap();
        assert_eq!(inside.name, "mpo");
        assert_eq!(inside.curve("loss").len(), 2);
        let page = render(&[inside]).unwrap();
        assert!(page.contains("method: mpo") && !page.contains("not trained here"));
        // Another evaluation of the same run has a name of its own.
        fs::rename(folder.join("eval"), folder.join("judged-by-gpt")).unwrap();
        let inside = RunReport::read(&folder.join("judged-by-gpt")).unwrap();
        assert_eq!(inside.name, "mpo/judged-by-gpt");
        // A configuration that is no run's says nothing of how the model was trained.
        fs::remove_file(folder.join("events.jsonl")).unwrap();
        let beside = RunReport::read(&folder.join("judged-by-gpt")).unwrap();
        assert_eq!(beside.name, "judged-by-gpt");
        assert!(beside.config.is_none());
    }

    #[test]
    fn gaps_of_training_and_of_evaluation_have_titles_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("mpo");
        run(dir.path(), "mpo", "Samahani.");
        let gap = r#"{"language": "sw", "mean": 1.0, "half_width": null, "rows": 1, "accuracy": 1.0, "chosen_mean": -1.0, "rejected_mean": -2.0}"#;
        let gaps = format!("{{\"steps\": 2, \"reward_gap\": {{\"before\": [{gap}], \"after\": [{gap}]}}}}");
        fs::write(folder.join("results.json"), gaps).unwrap();
        let mut report = RunReport::read(&folder).unwrap();
        let evaluation = report.evaluation.as_mut().unwrap();
        evaluation.reward_gap = vec![serde_json::from_str(gap).unwrap()];
        let gaps: Vec<(String, usize)> = measures(&[report])
            .into_iter()
            .filter(|measure| measure.title.contains("gap"))
            .map(|measure| (measure.title, measure.series.len()))
            .collect();
        let titles = ["Reward gap", "Reward gap on the rows evaluated"];
        assert_eq!(gaps, [(titles[0].into(), 2), (titles[1].into(), 1)]);
    }

    #[test]
    fn prompts_have_a_direction_and_lines_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let page = render(&[run(dir.path(), "mpo", "Samahani.")]).unwrap();
        assert!(page.contains("Swahili: <bdi>Ninapikaje &lt;wali&gt;?</bdi>"));
        let prompt = "<p class=\"prompt\" dir=\"auto\"><strong>Ninapikaje &lt;wali&gt;?</strong></p>";
        assert!(page.contains(prompt) && page.contains(".prompt { white-space: pre-wrap; }"));
    }

    #[test]
    fn a_folder_without_a_run_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = RunReport::read(dir.path()).unwrap_err();
        assert!(error.hint().unwrap().contains("--output"), "{error}");
        assert!(RunReport::read(&dir.path().join("none")).is_err());
        let folder = dir.path().join("broken");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("evaluation.json"), "{").unwrap();
        assert!(RunReport::read(&folder).unwrap_err().to_string().contains("evaluation.json"));
    }
}
