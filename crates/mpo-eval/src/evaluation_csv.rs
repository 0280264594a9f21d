//! An evaluation as a table for spreadsheets: one line per number.

use mpo_data::Language;
use serde::Serialize;

use crate::benchmark_result::BenchmarkResult;
use crate::error::EvalError;
use crate::estimate::Estimate;
use crate::evaluation::Evaluation;
use crate::reward_gap::{ImplicitGap, LanguageGap};

/// A line. What a number does not have is an empty cell.
#[derive(Debug, Default, Serialize)]
struct Line<'a> {
    measure: &'a str,
    metric: &'a str,
    language: String,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    count: Option<usize>,
    missing: Option<usize>,
    judge: Option<&'a str>,
}

impl Evaluation {
    /// CSV with a header.
    ///
    /// # Errors
    /// If the table cannot be written, which memory does not do.
    pub fn to_csv(&self) -> Result<Vec<u8>, EvalError> {
        let broken = |error: String| EvalError::Report(error);
        let mut writer = csv::Writer::from_writer(vec![]);
        for line in self.lines() {
            writer.serialize(line).map_err(|error| broken(error.to_string()))?;
        }
        writer.into_inner().map_err(|error| broken(error.to_string()))
    }

    fn lines(&self) -> Vec<Line<'_>> {
        let separation = self.projection.iter().flat_map(|of| &of.separation);
        let separation = separation.map(|of| Line {
            measure: "separation",
            metric: "mean silhouette",
            language: of.language.to_string(),
            value: Some(of.silhouette),
            ..Line::default()
        });
        self.reward_gap
            .iter()
            .flat_map(gap)
            .chain(self.implicit_gap.iter().flat_map(implicit_gap))
            .chain(self.benchmarks.iter().flat_map(benchmark))
            .chain(separation)
            .collect()
    }
}

fn gap(gap: &LanguageGap) -> [Line<'_>; 2] {
    let end = |sign: f64| gap.half_width.map(|half| gap.mean + sign * half);
    let line = |metric, value, low, high| Line {
        measure: "reward gap",
        metric,
        language: gap.language.to_string(),
        value: Some(value),
        low,
        high,
        count: Some(gap.rows),
        ..Line::default()
    };
    [line("nats per token", gap.mean, end(-1.0), end(1.0)), line("accuracy", gap.accuracy, None, None)]
}

fn implicit_gap(gap: &ImplicitGap) -> [Line<'_>; 2] {
    let line =
        |metric| Line { measure: "implicit reward gap", metric, language: gap.language.to_string(), ..Line::default() };
    [
        with_estimate(line("nats per answer"), Some(&gap.gap)),
        Line { value: Some(gap.accuracy), count: Some(gap.gap.count), ..line("accuracy") },
    ]
}

fn benchmark(result: &BenchmarkResult) -> impl Iterator<Item = Line<'_>> {
    result.languages.iter().map(|of| {
        let name = |language: Language| language.to_string();
        let line = Line {
            measure: &result.benchmark,
            metric: result.metric.name(),
            language: of.language.map_or("mixed".to_owned(), name),
            count: Some(0),
            missing: Some(of.missing),
            judge: result.judge.as_deref(),
            ..Line::default()
        };
        with_estimate(line, of.estimate.as_ref())
    })
}

fn with_estimate<'a>(line: Line<'a>, estimate: Option<&Estimate>) -> Line<'a> {
    match estimate {
        None => line,
        Some(estimate) => Line {
            value: Some(estimate.value),
            low: estimate.low,
            high: estimate.high,
            count: Some(estimate.count),
            ..line
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{Expected, Item, benchmark as named};
    use crate::sample::{Outcome, Sample};

    #[test]
    fn a_judge_with_a_comma_in_its_name_is_one_cell() {
        let item = Item::testing("sw", &["?"], Expected::Safe);
        let samples =
            [Outcome::Unsafe, Outcome::Missing].map(|outcome| Sample { outcome, ..Sample::unanswered(&item) });
        let judge = Some(("models/a, b".to_owned(), false));
        let result = BenchmarkResult::new(named("multijail").unwrap(), judge, &samples);
        let evaluation = Evaluation { benchmarks: vec![result], ..Evaluation::default() };
        let text = String::from_utf8(evaluation.to_csv().unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "measure,metric,language,value,low,high,count,missing,judge");
        assert!(lines[1].starts_with("multijail,attack success rate,sw,1.0,"));
        assert!(lines[1].ends_with(",1,1,\"models/a, b\""), "{}", lines[1]);
    }
}
