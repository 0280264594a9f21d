//! What a comparison found, as people read it.

use std::fmt::Write as _;

use mpo_data::Language;
use mpo_eval::LanguageKept;
use mpo_eval::compare::{Comparison, Marks, Tried, mean};

use crate::table::{self, percent};

/// Averages over the target languages beside the dominant one; then every language's refusals and gaps.
pub(super) fn table(comparison: &Comparison) -> String {
    let targets = COLUMNS.iter().chain(&KEPT).map(|column| over_languages(comparison, false, *column));
    let dominant = COLUMNS.iter().map(|column| over_languages(comparison, true, *column));
    let mut text = rows(comparison, targets.chain(dominant).collect());
    for column in [REFUSED, REFUSED_IN_ANOTHER].into_iter().chain(KEPT).chain([REWARD_GAP]) {
        let languages = comparison.before.iter().map(|marks| marks.language);
        let columns: Vec<Shown> = languages.map(|language| of_language(language, column)).collect();
        if columns.iter().any(|column| is_known(comparison, column)) {
            _ = write!(text, "\n\n{}\n{}", column.name, rows(comparison, columns));
        }
    }
    text
}

/// Whether anything is known of a column; of results of the first versions much is not.
fn is_known(comparison: &Comparison, column: &Shown) -> bool {
    let tried = comparison.methods.iter().flat_map(|method| &method.tried);
    let mut runs = tried.flat_map(|tried| &tried.runs);
    (column.of)(&comparison.before).is_some() || runs.any(|run| (column.of)(&run.result.test).is_some())
}

/// A line a method; columns of which nothing is known are left out.
fn rows(comparison: &Comparison, mut columns: Vec<Shown>) -> String {
    columns.retain(|column| is_known(comparison, column));
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let before = columns.iter().map(|column| {
        let value = (column.of)(&comparison.before).map(|value| Spread::new(&[value]));
        or_none(value.map(column.format))
    });
    let mut rows = vec![std::iter::once("before".to_owned()).chain(before).collect()];
    for method in &comparison.methods {
        let tried = method.best.map(|best| &method.tried[best]);
        let name = match tried.map_or("failed", |tried| &tried.settings) {
            "" => method.name.clone(),
            settings => format!("{} ({settings})", method.name),
        };
        let values = columns.iter().map(|column| {
            let spread = tried.and_then(|tried| over_seeds(tried, &column.of));
            or_none(spread.map(column.format))
        });
        rows.push(std::iter::once(name).chain(values).collect::<Vec<String>>());
    }
    let header = columns.iter().map(|column| &*column.header);
    table::render(std::iter::once("method").chain(header), rows, 1)
}

/// A column over the target languages, as a mean, or of the dominant one.
fn over_languages(comparison: &Comparison, of_dominant: bool, column: Column) -> Shown {
    let dominant = comparison.dominant;
    let of = move |marks: &[Marks]| {
        let values: Option<Vec<f64>> =
            marks.iter().filter(|marks| (Some(marks.language) == dominant) == of_dominant).map(column.of).collect();
        let values = values.filter(|values| !values.is_empty())?;
        Some(mean(&values))
    };
    let whose = match (of_dominant, dominant) {
        (true, Some(language)) => language.name().to_owned(),
        _ => "targets".to_owned(),
    };
    Shown { header: format!("{whose}:\n{}", column.name), of: Box::new(of), format: column.format }
}

/// A column of one language.
fn of_language(language: Language, column: Column) -> Shown {
    let of = move |marks: &[Marks]| {
        let mut marks = marks.iter();
        marks.find(|marks| marks.language == language).and_then(column.of)
    };
    Shown { header: language.name().to_owned(), of: Box::new(of), format: column.format }
}

/// A number of each seed's test marks, and its mean and deviation over seeds.
fn over_seeds(tried: &Tried, of: impl Fn(&[Marks]) -> Option<f64>) -> Option<Spread> {
    let values: Option<Vec<f64>> = tried.runs.iter().map(|run| of(&run.result.test)).collect();
    Some(Spread::new(&values?))
}

/// A mean over seeds, and their standard deviation if there are several.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    mean: f64,
    deviation: Option<f64>,
}

impl Spread {
    fn new(values: &[f64]) -> Self {
        let mean = mean(values);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt());
        Self { mean, deviation }
    }

    fn percent(self) -> String {
        match self.deviation {
            Some(deviation) => format!("{:.1} ± {:.1}", 100.0 * self.mean, 100.0 * deviation),
            None => percent(self.mean),
        }
    }

    fn nats(self) -> String {
        match self.deviation {
            Some(deviation) => format!("{:.2} ± {deviation:.2}", self.mean),
            None => format!("{:.2}", self.mean),
        }
    }
}

/// A number of one language's marks.
#[derive(Clone, Copy)]
struct Column {
    name: &'static str,
    of: fn(&Marks) -> Option<f64>,
    format: fn(Spread) -> String,
}

const REWARD_GAP: Column = Column { name: "reward gap", of: |marks| Some(marks.reward_gap), format: Spread::nats };
const REFUSED: Column = Column { name: "refused", of: |marks| marks.refusal_rate, format: Spread::percent };
const COLUMNS: [Column; 4] = [
    REWARD_GAP,
    Column { name: "gap > 0", of: |marks| Some(marks.reward_accuracy), format: Spread::percent },
    REFUSED,
    Column { name: "benign answered", of: |marks| marks.benign_answer_rate, format: Spread::percent },
];

/// Shown of each language.
const REFUSED_IN_ANOTHER: Column =
    Column { name: "refused in another language", of: |marks| marks.refused_in_another, format: Spread::percent };
/// Of the answers whose language can be told.
const KEPT: [Column; 2] = [
    Column { name: "language kept, unsafe", of: |marks| kept(marks.unsafe_kept.as_ref()), format: Spread::percent },
    Column { name: "language kept, benign", of: |marks| kept(marks.benign_kept.as_ref()), format: Spread::percent },
];

fn kept(of: Option<&LanguageKept>) -> Option<f64> {
    of?.estimate.map(|estimate| estimate.value)
}

/// A number of the marks of one seed.
type OfMarks = Box<dyn Fn(&[Marks]) -> Option<f64>>;

/// A column of a table: its number of one seed's marks, and how that is written.
struct Shown {
    header: String,
    of: OfMarks,
    format: fn(Spread) -> String,
}

#[cfg(test)]
mod tests {
    use mpo_data::AnswerLanguage;
    use mpo_eval::compare::RunResult;

    use super::*;

    fn marks(language: &str, gap: f64, refused: f64) -> Marks {
        Marks {
            language: language.parse().unwrap(),
            reward_gap: gap,
            reward_accuracy: 0.5,
            refusal_rate: Some(refused),
            refused_in_another: Some(refused / 2.0),
            benign_answer_rate: Some(1.0),
            unsafe_kept: LanguageKept::new([AnswerLanguage::Kept]),
            benign_kept: None,
        }
    }

    fn comparison() -> Comparison {
        let run = |test: f64, failure: Option<&str>| RunResult {
            exam: String::new(),
            steps: 1,
            seconds: 1.0,
            failure: failure.map(str::to_owned),
            test: vec![marks("en", 1.0, 1.0), marks("bn", test, test), marks("sw", 0.0, 0.0)],
            validation: vec![],
        };
        let dpo = Tried::new("beta=0.1".into(), &[1, 2], vec![run(0.2, None), run(0.6, None)]);
        let sft = Tried::new(String::new(), &[1, 2], vec![run(0.0, None), run(0.0, Some("NaN"))]);
        let methods = vec![("dpo".into(), vec![dpo]), ("sft".into(), vec![sft])];
        let before = vec![marks("en", 0.9, 1.0), marks("bn", 0.1, 0.2), marks("sw", 0.0, 0.0)];
        Comparison::new("en".parse().ok(), &[1, 2], before, methods)
    }

    #[test]
    fn a_table_of_means_over_targets_and_deviations_over_seeds() {
        let table = table(&comparison());
        let line = |of: &str| {
            let found = table.lines().find(|line| line.trim_start().starts_with(of));
            found.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        // Bengali 0.2 and 0.6, Swahili 0: means 0.1 and 0.3, deviation 0.141
        assert_eq!(
            line("dpo"),
            "dpo (beta=0.1) 0.20 ± 0.14 50.0 ± 0.0 20.0 ± 14.1 100.0 ± 0.0 100.0 ± 0.0 \
             1.00 ± 0.00 50.0 ± 0.0 100.0 ± 0.0 100.0 ± 0.0"
        );
        assert_eq!(line("before"), "before 0.05 50 % 10 % 100 % 100 % 0.90 50 % 100 % 100 %");
        assert_eq!(line("sft"), "sft (failed) – – – – – – – – –");
        assert!(table.contains("Bengali"), "{table}");
        assert!(table.contains("\n\nrefused in another language\n") && !table.contains("language kept, benign"));
    }

    #[test]
    fn what_the_first_versions_did_not_measure_has_no_column() {
        let mut old = comparison();
        let runs = old.methods.iter_mut().flat_map(|method| &mut method.tried).flat_map(|tried| &mut tried.runs);
        for marks in runs.flat_map(|run| &mut run.result.test).chain(&mut old.before) {
            (marks.refused_in_another, marks.unsafe_kept) = (None, None);
        }
        let table = table(&old);
        assert!(!table.contains("another language") && !table.contains("kept"), "{table}");
    }
}
