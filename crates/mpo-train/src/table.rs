//! Tables for people: reward gaps by language.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use mpo_data::Language;
use mpo_eval::{Evaluation, LanguageGap};

use crate::results::Results;

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
                plus_minus(of.gap.value, half_width),
                percent(of.accuracy),
            ]
        });
        tables.push(render(["language", "rows", "implicit reward gap", "gap > 0"], rows, 1));
    }
    let rows = evaluation.benchmarks.iter().flat_map(|result| {
        result.languages.iter().map(|of| {
            let name = of.language.map_or("mixed".into(), |of| language(of, evaluation.dominant));
            let is_grade = result.metric == "grade";
            let show = |value: f64| match is_grade {
                true => format!("{value:.2}"),
                false => format!("{:.1} %", value * 100.0),
            };
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
                result.metric.clone(),
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
    tables.join("\n\n")
}

/// The gaps of a model before and after training.
pub(crate) fn before_and_after(results: &Results) -> String {
    let header = ["language", "rows", "reward gap before", "after", "change", "gap > 0 before", "after"];
    let rows = results.reward_gap.after.iter().map(|after| {
        let same = |gap: &&LanguageGap| gap.language == after.language;
        let before = results.reward_gap.before.iter().find(same);
        [
            language(after.language, results.dominant),
            after.rows.to_string(),
            or_none(before.map(interval)),
            interval(after),
            or_none(before.map(|before| format!("{:+.3}", after.mean - before.mean))),
            or_none(before.map(|before| percent(before.accuracy))),
            percent(after.accuracy),
        ]
    });
    render(header, rows, 1)
}

fn language(language: Language, dominant: Option<Language>) -> String {
    let mark = match dominant == Some(language) {
        true => " (dominant)",
        false => "",
    };
    format!("{language} {}{mark}", language.name())
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".into())
}

fn interval(gap: &LanguageGap) -> String {
    plus_minus(gap.mean, gap.half_width)
}

/// A mean, and its interval where it has one.
fn plus_minus(mean: f64, half_width: Option<f64>) -> String {
    match half_width {
        Some(half_width) => format!("{mean:+.3} ± {half_width:.3}"),
        None => format!("{mean:+.3}"),
    }
}

/// A fraction as a percentage.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.0} %", fraction * 100.0)
}

#[cfg(test)]
mod tests {
    use mpo_eval::{BenchmarkResult, Estimate, ImplicitGap, LanguageResult};

    use super::*;
    use crate::results::RewardGaps;

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

    fn lines(table: &str) -> Vec<String> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        table.lines().map(words).collect()
    }

    fn assert_line(table: &str, expected: &str) {
        assert!(lines(table).iter().any(|line| line == expected), "no {expected:?} in\n{table}");
    }

    #[test]
    fn one_model() {
        let table = gaps(&[gap("en", 1.5, Some(0.25)), gap("sw", -0.5, None)], "en".parse().ok());
        assert_line(&table, "en English (dominant) 24 +1.500 ± 0.250 75 % -1.000 -2.500");
        assert_line(&table, "sw Swahili 24 -0.500 75 % -1.000 -2.500");
    }

    #[test]
    fn one_value_has_no_interval() {
        let language: Language = "sw".parse().unwrap();
        let grade = |grades: &[f64]| LanguageResult {
            language: Some(language),
            estimate: Estimate::mean(grades),
            missing: 1,
            usage: Default::default(),
            questions: None,
        };
        let graded = BenchmarkResult {
            benchmark: "mt-bench".into(),
            metric: "grade".into(),
            less_is_better: false,
            judge: Some("judge".into()),
            heuristic: false,
            settings: Default::default(),
            languages: vec![grade(&[7.0]), grade(&[6.0, 8.0]), grade(&[])],
            usage: Default::default(),
        };
        let table = evaluation(&Evaluation {
            implicit_gap: vec![ImplicitGap { language, gap: Estimate::mean(&[1.5]).unwrap(), accuracy: 1.0 }],
            benchmarks: vec![graded],
            ..Evaluation::default()
        });
        assert_line(&table, "sw Swahili 1 +1.500 100 %");
        assert_line(&table, "mt-bench sw Swahili grade 7.00 – 1 1 judge");
        assert_line(&table, "mt-bench sw Swahili grade 7.00 5.04 to 8.96 2 1 judge");
        assert_line(&table, "mt-bench sw Swahili grade – – 0 1 judge");
    }

    #[test]
    fn two_models() {
        let results = Results {
            steps: 3,
            dominant: None,
            reward_gap: RewardGaps {
                before: vec![gap("sw", 0.25, None)],
                after: vec![gap("bn", 1.0, None), gap("sw", 1.0, Some(0.5))],
            },
        };
        let table = before_and_after(&results);
        assert_line(&table, "sw Swahili 24 +0.250 +1.000 ± 0.500 +0.750 75 % 75 %");
        assert_line(&table, "bn Bengali 24 – +1.000 – – 75 %");
    }
}
