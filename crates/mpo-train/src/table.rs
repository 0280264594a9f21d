//! Tables for people: reward gaps by language.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use mpo_data::Language;
use mpo_eval::{
    Approach, Approaches, Course, Direction, Estimate, Evaluation, HarmAccuracy, HarmFit, LanguageDifference,
    LanguageGap, LanguageKept, LayerSilhouettes, Layers, MeanKept, MeasureDifference, MiniatureResults, SafeAnswers,
    TrainResults,
};

use crate::paint::Paint;

/// A table whose columns from `numbers_from` on hold numbers.
pub(crate) fn render<'h>(
    header: impl IntoIterator<Item = &'h str>,
    rows: impl IntoIterator<Item = impl IntoIterator<Item = String>>,
    numbers_from: usize,
) -> String {
    let underline = LineStyle::none().fill('─').junction('─');
    let mut table = Table::new();
    table
        .load_style(TableStyle::new().header_separator(underline))
        .set_header(header.into_iter().collect::<Vec<_>>())
        .add_rows(rows.into_iter().map(|row| row.into_iter().collect::<Vec<_>>()));
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// The gaps of one model.
pub(crate) fn gaps(gaps: &[LanguageGap], dominant: Option<Language>) -> String {
    let header = ["language", "rows", "reward gap", "gap > 0", "log p(safe)", "log p(unsafe)"];
    let rows = gaps.iter().map(|gap| {
        [
            language(gap.language, dominant),
            gap.rows.to_string(),
            interval(gap),
            percent(gap.accuracy),
            format!("{:.3}", gap.chosen_mean),
            format!("{:.3}", gap.rejected_mean),
        ]
    });
    render(header, rows, 1)
}

/// Everything that was evaluated, a line for each measure and language.
pub(crate) fn evaluation(evaluation: &Evaluation) -> String {
    let mut tables = vec![];
    if !evaluation.reward_gap.is_empty() {
        tables.push(gaps(&evaluation.reward_gap, evaluation.dominant));
    }
    if !evaluation.implicit_gap.is_empty() {
        let rows = evaluation.implicit_gap.iter().map(|of| {
            let half_width = of.gap.high.map(|high| high - of.gap.value);
            [
                language(of.language, evaluation.dominant),
                of.gap.count.to_string(),
                plus_minus(of.gap.value, half_width, 3),
                percent(of.accuracy),
            ]
        });
        tables.push(render(["language", "rows", "implicit reward gap", "gap > 0"], rows, 1));
    }
    let rows = evaluation.benchmarks.iter().flat_map(|result| {
        result.languages.iter().map(|of| {
            let name = of.language.map_or("mixed".into(), |of| language(of, evaluation.dominant));
            let is_rate = result.metric.is_rate();
            let show = |value: f64| if is_rate { format!("{:.1} %", value * 100.0) } else { format!("{value:.2}") };
            let ends = of.estimate.and_then(|e| e.low.zip(e.high));
            let interval = ends.map(|(low, high)| format!("{} to {}", show(low), show(high)));
            let judge = match (&result.judge, result.heuristic) {
                (Some(judge), true) => format!("{judge} (heuristic)"),
                (Some(judge), false) => judge.clone(),
                (None, _) => String::new(),
            };
            [
                result.benchmark.clone(),
                name,
                result.metric.name().to_owned(),
                or_none(of.estimate.map(|e| show(e.value))),
                or_none(interval),
                of.estimate.map_or(0, |e| e.count).to_string(),
                of.missing.to_string(),
                judge,
            ]
        })
    });
    let header = ["benchmark", "language", "metric", "value", "95 % interval", "questions", "missing", "judge"];
    if !evaluation.benchmarks.is_empty() {
        tables.push(render(header, rows, 3));
    }
    tables.extend(languages_kept(evaluation));
    tables.extend(evaluation.layers.as_ref().map(layers));
    tables.join("\n\n")
}

/// How far apart languages lie, layer by layer: where it shows most.
fn layers(layers: &Layers) -> String {
    let mut parts = vec![];
    let bottleneck = layers.silhouettes.iter().find(|of| Some(of.layer) == layers.bottleneck);
    if let Some(LayerSilhouettes { layer, meaning, language }) = bottleneck {
        parts.push(format!(
            "bottleneck: layer {layer} of {} (silhouettes of {} prompts by meaning {meaning:.2}, by language {language:.2})",
            layers.silhouettes.len(),
            layers.prompts,
        ));
    }
    if let Some(dominant) = layers.dominant.filter(|_| !layers.directions.is_empty()) {
        let rows = layers.directions.iter().map(|Direction { language: of, harmful, harmless, cosines }| {
            let mean = cosines.iter().sum::<f64>() / cosines.len().max(1) as f64;
            let least = (1..).zip(cosines).min_by(|(_, a), (_, b)| a.total_cmp(b));
            [
                language(*of, None),
                harmful.to_string(),
                harmless.to_string(),
                format!("{mean:.2}"),
                or_none(least.map(|(layer, cosine)| format!("{cosine:.2} at layer {layer}"))),
            ]
        });
        let direction = format!("direction of harm, cosine with {}'s", dominant.name());
        parts.push(render(["language", "harmful prompts", "harmless", &direction, "least"], rows, 1));
    }
    parts.join("\n\n")
}

/// How often a classifier of prompts is right, by language; those that it was not fitted in are marked.
pub(crate) fn harm(fit: &HarmFit) -> String {
    let exact = |fraction: f64| format!("{:.1} %", fraction * 100.0);
    let of = |estimate: Option<Estimate>| {
        let ends = estimate.and_then(|of| of.low.zip(of.high));
        let interval = ends.map(|(low, high)| format!("{} to {}", exact(low), exact(high)));
        [or_none(estimate.map(|of| exact(of.value))), or_none(interval), estimate.map_or(0, |of| of.count).to_string()]
    };
    let rows = fit.held_out.iter().map(|HarmAccuracy { language, right, found, false_alarms }| {
        let is_new = !fit.fitted_in.contains(language);
        let name = format!("{}{}", language.name(), if is_new { " (not fitted in)" } else { "" });
        let [found, among, harmful] = of(*found);
        let [alarms, between, harmless] = of(*false_alarms);
        let [right, ends, _] = of(*right);
        [name, right, ends, harmful, found, among, harmless, alarms, between]
    });
    let interval = "95 % interval";
    let header = ["language", "right", interval, "harmful", "found", interval, "harmless", "false alarms", interval];
    render(header, rows, 1)
}

/// How many answers are in the language of their questions, and in which one harmful requests are answered safely.
fn languages_kept(evaluation: &Evaluation) -> Option<String> {
    let exact = |fraction: f64| format!("{:.1} %", fraction * 100.0);
    let row = |benchmark: &str, name: String, kept: &LanguageKept, safe: Option<SafeAnswers>| {
        let ends = kept.estimate.and_then(|estimate| estimate.low.zip(estimate.high));
        [
            benchmark.to_owned(),
            name,
            or_none(kept.estimate.map(|estimate| exact(estimate.value))),
            or_none(ends.map(|(low, high)| format!("{} to {}", exact(low), exact(high)))),
            kept.estimate.map_or(0, |estimate| estimate.count).to_string(),
            kept.undecided.to_string(),
            or_none(safe.map(|safe| exact(safe.in_language))),
            or_none(safe.map(|safe| exact(safe.in_another))),
        ]
    };
    // A mean over languages has no interval.
    let mean_row = |benchmark: &str, mean: MeanKept| {
        let name = match mean {
            MeanKept { languages, of, .. } if languages == of => format!("mean over {of} languages"),
            MeanKept { languages, of, .. } => format!("mean over {languages} of {of} languages"),
        };
        let [value, decided, undecided] = [exact(mean.value), mean.decided.to_string(), mean.undecided.to_string()];
        [benchmark.to_owned(), name, value, or_none(None), decided, undecided, or_none(None), or_none(None)]
    };
    let rows: Vec<_> = evaluation
        .benchmarks
        .iter()
        .flat_map(|result| {
            let of = result.languages.iter().filter_map(|of| Some((of, of.language?, of.kept.as_ref()?)));
            let of =
                of.map(|(of, name, kept)| row(&result.benchmark, language(name, evaluation.dominant), kept, of.safe));
            let mean = result.mean_kept(evaluation.dominant).map(|mean| mean_row(&result.benchmark, mean));
            of.chain(mean).collect::<Vec<_>>()
        })
        .collect();
    let header = [
        "benchmark",
        "language",
        "language kept",
        "95 % interval",
        "answers",
        "undecided",
        "safe in its language",
        "safe in another",
    ];
    (!rows.is_empty()).then(|| render(header, rows, 2))
}

/// What changed from one model to another, a table for each measure.
pub(crate) fn differences(all: &[MeasureDifference], runs: usize, dominant: Option<Language>) -> String {
    let after = if runs > 1 { format!("mean of {runs} runs") } else { "after".into() };
    let header = ["language", "questions", "before", &after, "difference", "95 % interval", "finding"];
    let of_measure = |measure: &MeasureDifference| {
        let show = |value: f64| match measure.is_rate {
            true => format!("{:.1} %", value * 100.0),
            false => format!("{value:.2}"),
        };
        // What is added up here are percentage points.
        let points = |value: f64| match measure.is_rate {
            true => format!("{:+.1}", value * 100.0),
            false => format!("{value:+.2}"),
        };
        let row = |name: String, of: &LanguageDifference| {
            [
                name,
                of.questions.to_string(),
                show(of.before),
                show(of.after),
                points(of.difference),
                or_none(of.interval.map(|[low, high]| format!("{} to {}", points(low), points(high)))),
                measure.finding(of).name().to_owned(),
            ]
        };
        let languages = measure.languages.iter().map(|of| {
            let name = of.language.map_or("mixed".into(), |of| language(of, dominant));
            row(name, of)
        });
        let targets = measure.languages.iter().filter(|of| dominant.is_none() || of.language != dominant).count();
        let mean = measure.mean.iter().map(|of| row(format!("mean over {targets} languages"), of));
        let better = if measure.less_is_better { "less is better" } else { "more is better" };
        let judge = measure.judge.as_ref().map(|judge| match measure.heuristic {
            true => format!(", judged by a heuristic: {judge}"),
            false => format!(", judged by {judge}"),
        });
        format!(
            "{}: {} ({better}{})\n{}",
            measure.benchmark,
            measure.measure,
            judge.unwrap_or_default(),
            render(header, languages.chain(mean), 1)
        )
    };
    let tables: Vec<String> = all.iter().map(of_measure).collect();
    tables.join("\n\n")
}

/// The gaps of a model before and after training.
pub(crate) fn before_and_after(results: &TrainResults) -> String {
    let header = ["language", "rows", "gap before", "after", "> 0 before", "after"];
    let shown = |gap: &LanguageGap| plus_minus(gap.mean, gap.half_width, 2);
    let rows = results.reward_gap.after.iter().map(|after| {
        let same = |gap: &&LanguageGap| gap.language == after.language;
        let before = results.reward_gap.before.iter().find(same);
        [
            format!("{}{}", after.language.name(), mark(after.language, results.dominant)),
            after.rows.to_string(),
            or_none(before.map(shown)),
            shown(after),
            or_none(before.map(|before| percent(before.accuracy))),
            percent(after.accuracy),
        ]
    });
    render(header, rows, 1)
}

/// A line for each language: where its gap went, against the goal.
pub(crate) fn approaches(approaches: &Approaches, paint: Paint) -> String {
    let Approaches { goal, of } = approaches;
    let mut lines = vec![goal.to_string()];
    let names = of.iter().map(|of| of.language.name().chars().count()).max().unwrap_or_default();
    let deeds = of.iter().map(|of| of.course.deed().len()).max().unwrap_or_default();
    lines.extend(of.iter().map(|approach| {
        let Approach { language, course, .. } = approach;
        // Filled up first: a terminal shows no column for a colour.
        let deed = format!("{:<deeds$}", course.deed());
        let deed = match course {
            Course::Reached => paint.good(&deed),
            Course::Nearer | Course::Lowered => paint.fair(&deed),
            Course::Farther => paint.bad(&deed),
        };
        format!("  {:<names$}  {deed}  {}", language.name(), approach.shares(5))
    }));
    lines.join("\n")
}

/// What training changed in the miniature.
pub(crate) fn miniature(results: &MiniatureResults) -> String {
    let header = ["language", "reward gap", "after MPO", "refused", "after MPO", "benign answered", "after MPO"];
    let rows = results.in_order().into_iter().map(|(language, of)| {
        [
            format!("{}{}", language.name(), mark(language, Some(results.dominant))),
            format!("{:.2}", of.reward_gap.before),
            format!("{:.2}", of.reward_gap.after),
            percent(of.refusal_rate.before),
            percent(of.refusal_rate.after),
            percent(of.benign_answer_rate.before),
            percent(of.benign_answer_rate.after),
        ]
    });
    render(header, rows, 1)
}

fn mark(language: Language, dominant: Option<Language>) -> &'static str {
    if dominant == Some(language) { " (dominant)" } else { "" }
}

fn language(language: Language, dominant: Option<Language>) -> String {
    let mark = mark(language, dominant);
    format!("{language} {}{mark}", language.name())
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".into())
}

fn interval(gap: &LanguageGap) -> String {
    plus_minus(gap.mean, gap.half_width, 3)
}

/// A mean, and its interval where it has one, to so many digits.
fn plus_minus(mean: f64, half_width: Option<f64>, digits: usize) -> String {
    match half_width {
        Some(half_width) => format!("{mean:+.digits$} ± {half_width:.digits$}"),
        None => format!("{mean:+.digits$}"),
    }
}

/// A fraction as a percentage.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.0} %", fraction * 100.0)
}

#[cfg(test)]
mod tests {
    use mpo_chat::LinearHead;
    use mpo_data::AnswerLanguage;
    use mpo_eval::{
        BenchmarkResult, Change, Estimate, ImplicitGap, LanguageResult, Metric, MiniatureLanguage, RewardGaps,
    };

    use super::*;
    use crate::paint::{COLORED, PLAIN};

    fn gap(code: &str, mean: f64, half_width: Option<f64>) -> LanguageGap {
        LanguageGap {
            language: code.parse().unwrap(),
            mean,
            half_width,
            rows: 24,
            accuracy: 0.75,
            chosen_mean: -1.0,
            rejected_mean: -2.5,
        }
    }

    #[test]
    fn one_model() {
        let gaps = gaps(&[gap("en", 1.5, Some(0.25)), gap("sw", -0.5, None)], "en".parse().ok());
        insta::assert_snapshot!("gaps", gaps);
    }

    #[test]
    fn two_models_on_the_same_questions() {
        let change = |code: Option<&str>, after: f64, interval| LanguageDifference {
            language: code.and_then(|code| code.parse().ok()),
            questions: 60,
            before: 0.75,
            after,
            runs: vec![after],
            difference: after - 0.75,
            interval,
        };
        let measure = |measure, less_is_better, mean| MeasureDifference {
            benchmark: "multijail".into(),
            measure,
            less_is_better,
            is_rate: true,
            judge: Some("refusal phrases".into()),
            heuristic: true,
            languages: vec![
                change(Some("en"), 0.75, Some([-0.05, 0.05])),
                change(Some("sw"), 0.25, Some([-0.625, -0.4])),
                change(Some("bn"), 0.5, None),
            ],
            mean,
        };
        let all = [
            measure("attack success rate", true, Some(change(None, 0.375, Some([-0.5, -0.25])))),
            measure("safe in its language", false, None),
        ];
        insta::assert_snapshot!("differences", differences(&all, 3, "en".parse().ok()));
    }

    #[test]
    fn two_models() {
        let results = TrainResults {
            steps: 3,
            best: None,
            dominant: None,
            drawn_to: None,
            reward_gap: RewardGaps {
                before: vec![gap("sw", 0.25, None)],
                after: vec![gap("bn", 1.0, None), gap("sw", 1.0, Some(0.5))],
            },
        };
        insta::assert_snapshot!("before_and_after", before_and_after(&results));
    }

    #[test]
    fn where_languages_went() {
        let reward_gap = RewardGaps {
            before: vec![gap("en", 2.0, None), gap("bn", -0.5, None), gap("sw", 0.25, None)],
            after: vec![gap("en", 2.0, None), gap("bn", 1.9, None), gap("sw", 1.0, None)],
        };
        let results = TrainResults { steps: 3, best: None, dominant: "en".parse().ok(), drawn_to: None, reward_gap };
        insta::assert_snapshot!("approaches", approaches(&Approaches::new(&results).unwrap(), PLAIN));
        let painted = approaches(&Approaches::new(&results).unwrap(), COLORED);
        assert!(painted.contains("\u{1b}[32mreached the goal       \u{1b}[0m  "), "{painted}");
    }

    #[test]
    fn the_miniature_shows_its_dominant_language_first() {
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
        insta::assert_snapshot!("miniature", miniature(&results));
    }

    #[test]
    fn layers_are_told_in_a_few_lines() {
        let silhouettes = [(0.1, 0.5), (0.75, 0.25), (0.5, 0.375)];
        let silhouettes = (1..).zip(silhouettes);
        let layers = Layers {
            silhouettes: silhouettes
                .map(|(layer, (meaning, language))| LayerSilhouettes { layer, meaning, language })
                .collect(),
            prompts: 24,
            bottleneck: Some(2),
            dominant: "en".parse().ok(),
            directions: vec![Direction {
                language: "sw".parse().unwrap(),
                harmful: 12,
                harmless: 40,
                cosines: vec![0.5, 0.25, 0.75],
            }],
        };
        insta::assert_snapshot!("layers", super::layers(&layers));
    }

    #[test]
    fn a_classifier_is_told_by_language() {
        let of = |code: &str, right, found, false_alarms| HarmAccuracy {
            language: code.parse().unwrap(),
            right: Estimate::rate(right, 12),
            found: Estimate::rate(found, 4),
            false_alarms,
        };
        let fit = HarmFit {
            layer: 3,
            silhouettes: None,
            fitted_in: vec!["en".parse().unwrap()],
            harmful: 16,
            harmless: 32,
            // No harmless prompt in Swahili has no alarms.
            held_out: vec![of("en", 12, 4, Estimate::rate(0, 8)), of("sw", 9, 1, None)],
            head: LinearHead { weight: vec![], bias: 0.0 },
        };
        insta::assert_snapshot!("harm", harm(&fit));
    }

    #[test]
    fn an_evaluation_has_a_table_for_each_kind_of_number() {
        let language: Language = "sw".parse().unwrap();
        let result = |language, estimate| LanguageResult {
            language,
            estimate,
            missing: 1,
            kept: None,
            safe: None,
            usage: Default::default(),
            questions: None,
        };
        let benchmark =
            |name: &str, metric, judge: Option<&str>, heuristic, estimates: Vec<LanguageResult>| BenchmarkResult {
                benchmark: name.into(),
                metric,
                judge: judge.map(str::to_owned),
                heuristic,
                settings: Default::default(),
                languages: estimates,
                usage: Default::default(),
            };
        // One value has no interval, and none has no value.
        let grades = [&[7.0][..], &[6.0, 8.0], &[]].map(|of| result(Some(language), Estimate::mean(of)));
        let english = AnswerLanguage::Other("en".parse().ok());
        let rates = [("en", 2, AnswerLanguage::Kept), ("sw", 0, english)].map(|(code, hits, answer)| LanguageResult {
            kept: LanguageKept::new([AnswerLanguage::Kept, answer, answer, AnswerLanguage::Undecided]),
            safe: Some(SafeAnswers { in_language: 0.125, in_another: 0.25 }),
            ..result(code.parse().ok(), Estimate::rate(hits, 8))
        });
        let table = evaluation(&Evaluation {
            dominant: "en".parse().ok(),
            reward_gap: vec![gap("en", 1.5, Some(0.25)), gap("sw", -0.5, None)],
            implicit_gap: vec![ImplicitGap { language, gap: Estimate::mean(&[1.5]).unwrap(), accuracy: 1.0 }],
            benchmarks: vec![
                benchmark("multijail", Metric::AttackSuccess, Some("refusal phrases"), true, rates.into()),
                benchmark(
                    "csrt",
                    Metric::AttackSuccess,
                    Some("gpt-4o"),
                    false,
                    vec![result(None, Estimate::rate(1, 1))],
                ),
                benchmark("mgsm", Metric::Accuracy, None, false, vec![result(Some(language), Estimate::rate(3, 4))]),
                benchmark("mt-bench", Metric::Grade, Some("gpt-4o"), false, grades.into()),
            ],
            ..Evaluation::default()
        });
        insta::assert_snapshot!("evaluation", table);
    }
}
