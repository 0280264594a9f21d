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
    let before =
        columns.iter().map(|column| or_none((column.of)(&comparison.before).map(|number| column.written(&[number]))));
    let mut rows = vec![std::iter::once("before".to_owned()).chain(before).collect()];
    for method in &comparison.methods {
        let tried = method.best.map(|best| &method.tried[best]);
        let name = match tried.map_or("failed", |tried| &tried.settings) {
            "" => method.name.clone(),
            settings => format!("{} ({settings})", method.name),
        };
        let values = columns.iter().map(|column| {
            or_none(tried.and_then(|tried| over_seeds(tried, &column.of)).map(|numbers| column.written(&numbers)))
        });
        rows.push(std::iter::once(name).chain(values).collect::<Vec<String>>());
    }
    let header = columns.iter().map(|column| &*column.header);
    table::render(std::iter::once("method").chain(header), rows, 1)
}

/// A column over the target languages, as a mean of those that have it, or of the dominant one.
fn over_languages(comparison: &Comparison, of_dominant: bool, column: Column) -> Shown {
    let dominant = comparison.dominant;
    let of = move |marks: &[Marks]| {
        let of = || marks.iter().filter(|marks| (Some(marks.language) == dominant) == of_dominant);
        let values: Vec<f64> = of().filter_map(column.of).collect();
        let lacking = of().count() - values.len();
        (!values.is_empty()).then(|| Number { value: mean(&values), languages: values.len(), lacking })
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
        let value = marks.find(|marks| marks.language == language).and_then(column.of)?;
        Some(Number { value, languages: 1, lacking: 0 })
    };
    Shown { header: language.name().to_owned(), of: Box::new(of), format: column.format }
}

/// A number of each seed's test marks.
fn over_seeds(tried: &Tried, of: impl Fn(&[Marks]) -> Option<Number>) -> Option<Vec<Number>> {
    tried.runs.iter().map(|run| of(&run.result.test)).collect()
}

/// A number of one seed's marks.
#[derive(Clone, Copy)]
struct Number {
    value: f64,
    /// The languages that it is a mean over, and those that have no such number.
    languages: usize,
    lacking: usize,
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
/// Of the answers whose language can be told, and how many are not among them.
const KEPT: [Column; 4] = [
    Column { name: "language kept, unsafe", of: |marks| kept(marks.unsafe_kept.as_ref()), format: Spread::percent },
    Column { name: "undecided, unsafe", of: |marks| undecided(marks.unsafe_kept.as_ref()), format: Spread::percent },
    Column { name: "language kept, benign", of: |marks| kept(marks.benign_kept.as_ref()), format: Spread::percent },
    Column { name: "undecided, benign", of: |marks| undecided(marks.benign_kept.as_ref()), format: Spread::percent },
];

/// None where so few answers can be told that a ruined model might look like a good one.
fn kept(of: Option<&LanguageKept>) -> Option<f64> {
    let kept = of.filter(|kept| !kept.is_doubtful())?;
    kept.estimate.map(|estimate| estimate.value)
}

fn undecided(of: Option<&LanguageKept>) -> Option<f64> {
    of.map(LanguageKept::undecided_share)
}

/// A number of the marks of one seed.
type OfMarks = Box<dyn Fn(&[Marks]) -> Option<Number>>;

/// A column of a table: its number of one seed's marks, and how that is written.
struct Shown {
    header: String,
    of: OfMarks,
    format: fn(Spread) -> String,
}

impl Shown {
    /// The numbers of seeds, as their mean and deviation; where languages lack it, with how many have it at least.
    fn written(&self, seeds: &[Number]) -> String {
        let values: Vec<f64> = seeds.iter().map(|number| number.value).collect();
        let written = (self.format)(Spread::new(&values));
        match seeds.iter().max_by_key(|number| number.lacking) {
            Some(Number { languages, lacking, .. }) if *lacking > 0 => {
                format!("{written} ({languages} of {} languages)", languages + lacking)
            }
            _ => written,
        }
    }
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
            "dpo (beta=0.1) 0.20 ± 0.14 50.0 ± 0.0 20.0 ± 14.1 100.0 ± 0.0 100.0 ± 0.0 0.0 ± 0.0 \
             1.00 ± 0.00 50.0 ± 0.0 100.0 ± 0.0 100.0 ± 0.0"
        );
        assert_eq!(line("before"), "before 0.05 50 % 10 % 100 % 100 % 0 % 0.90 50 % 100 % 100 %");
        assert_eq!(line("sft"), "sft (failed) – – – – – – – – – –");
        assert!(table.contains("Bengali"), "{table}");
        assert!(table.contains("\n\nrefused in another language\n") && !table.contains("language kept, benign"));
    }

    /// A model that babbles in Swahili has few answers there that can be told, and these may be in Swahili.
    #[test]
    fn a_language_without_answers_that_can_be_told_is_told_of() {
        use AnswerLanguage::{Kept, Undecided};
        let mut ruined = comparison();
        let runs = ruined.methods.iter_mut().flat_map(|method| &mut method.tried).flat_map(|tried| &mut tried.runs);
        for marks in runs.flat_map(|run| &mut run.result.test).filter(|marks| marks.language.code() == "sw") {
            marks.unsafe_kept = LanguageKept::new([Kept, Undecided, Undecided, Undecided]);
        }
        let table = table(&ruined);
        let (means, by_language) = table.split_once("\n\nlanguage kept, unsafe\n").unwrap();
        let words = |of: &str| {
            let line = of.lines().find(|line| line.trim_start().starts_with("dpo")).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        // Bengali alone is kept, and the undecided are those of both.
        assert!(words(means).contains(" 100.0 ± 0.0 (1 of 2 languages) 37.5 ± 0.0 "), "{table}");
        assert_eq!(words(by_language), "dpo (beta=0.1) 100.0 ± 0.0 100.0 ± 0.0 –", "{table}");
        let (_, undecided) = by_language.split_once("\n\nundecided, unsafe\n").unwrap();
        assert_eq!(words(undecided), "dpo (beta=0.1) 0.0 ± 0.0 0.0 ± 0.0 75.0 ± 0.0", "{table}");
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
