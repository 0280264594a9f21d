//! An evaluation as a table for spreadsheets: one line per number.

use mpo_data::Language;
use serde::Serialize;

use crate::benchmark_result::BenchmarkResult;
use crate::error::EvalError;
use crate::estimate::Estimate;
use crate::evaluation::Evaluation;
use crate::kept::LanguageKept;
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
            .chain(self.benchmarks.iter().flat_map(|result| benchmark(result, self.dominant)))
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

fn benchmark(result: &BenchmarkResult, dominant: Option<Language>) -> Vec<Line<'_>> {
    let mut lines = vec![];
    let line = |language: String, metric| Line {
        measure: &result.benchmark,
        metric,
        language,
        count: Some(0),
        judge: result.judge.as_deref(),
        ..Line::default()
    };
    // Detection tells the language, whoever judges.
    let kept = |language: String, kept: &LanguageKept| {
        let line = Line { missing: Some(kept.undecided), judge: None, ..line(language, "language kept") };
        with_estimate(line, kept.estimate.as_ref())
    };
    for of in &result.languages {
        let name = of.language.map_or("mixed".to_owned(), |language: Language| language.to_string());
        let line = |metric| Line { missing: Some(of.missing), ..line(name.clone(), metric) };
        lines.push(with_estimate(line(result.metric.name()), of.estimate.as_ref()));
        if let (Some(safe), Some(estimate)) = (&of.safe, &of.estimate) {
            let safe = [("safe in its language", safe.in_language), ("safe in another language", safe.in_another)];
            let count = Some(estimate.count);
            lines.extend(safe.map(|(metric, value)| Line { value: Some(value), count, ..line(metric) }));
        }
        lines.extend(of.kept.as_ref().map(|of| kept(name.clone(), of)));
    }
    lines.extend(result.mean_kept(dominant).map(|mean| Line {
        value: Some(mean.value),
        count: Some(mean.languages),
        missing: Some(mean.of - mean.languages),
        judge: None,
        ..line("mean".into(), "language kept")
    }));
    lines
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
    use mpo_data::AnswerLanguage;

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

    #[test]
    fn languages_kept_have_lines_of_their_own() {
        let item = |language: &str| Item::testing(language, &["?"], Expected::Safe);
        let sample = |language: &str, answer_language| Sample {
            outcome: Outcome::Safe,
            answer_language: Some(answer_language),
            ..Sample::unanswered(&item(language))
        };
        let english = AnswerLanguage::Other("en".parse().ok());
        let samples =
            [sample("en", AnswerLanguage::Kept), sample("sw", english), sample("sw", AnswerLanguage::Undecided)];
        let judge = Some(("a judge".to_owned(), false));
        let result = BenchmarkResult::new(named("multijail").unwrap(), judge, &samples);
        let evaluation = Evaluation { benchmarks: vec![result], ..Evaluation::default() };
        let text = String::from_utf8(evaluation.to_csv().unwrap()).unwrap();
        for line in [
            "multijail,safe in its language,en,1.0,,,1,0,a judge",
            "multijail,safe in another language,sw,0.5,,,2,0,a judge",
            "multijail,language kept,sw,0.0,0.0,0.7934567085261071,1,1,",
        ] {
            assert!(text.lines().any(|of| of == line), "{line} in\n{text}");
        }
        assert!(text.contains("\nmultijail,language kept,mean,1.0,,,1,1,\n"), "{text}");
    }
}
