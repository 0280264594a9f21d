//! What a comparison found: for people, for programs, for spreadsheets.

use std::fmt::Write as _;

use mpo_data::Language;
use serde::{Deserialize, Serialize};

use super::RunResult;
use crate::exam::Marks;
use crate::table::{self, percent};

/// `results.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Comparison {
    dominant: Option<Language>,
    seeds: Vec<u64>,
    /// The model that every run begins with.
    before: Vec<Marks>,
    methods: Vec<MethodResult>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MethodResult {
    name: String,
    /// The settings that are best on the validation rows, of those tried; none if every run failed.
    best: Option<usize>,
    tried: Vec<Tried>,
}

/// One choice of settings, over seeds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tried {
    /// What a grid tried; empty without one.
    settings: String,
    /// The mean over validation marks; none without validation, or if a run failed.
    validation_score: Option<f64>,
    runs: Vec<SeedResult>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SeedResult {
    seed: u64,
    #[serde(flatten)]
    result: RunResult,
}

impl Tried {
    pub(super) fn new(settings: String, seeds: &[u64], runs: Vec<RunResult>) -> Self {
        let scores: Option<Vec<f64>> = runs.iter().map(|run| score(&run.validation)).collect();
        Self {
            settings,
            validation_score: scores.map(|scores| mean(&scores)),
            runs: seeds.iter().zip(runs).map(|(&seed, result)| SeedResult { seed, result }).collect(),
        }
    }

    fn has_marks(&self) -> bool {
        self.runs.iter().all(|run| run.result.failure.is_none())
    }

    /// A number of each seed's test marks, and its mean and deviation over seeds.
    fn over_seeds(&self, of: impl Fn(&[Marks]) -> Option<f64>) -> Option<Spread> {
        let values: Option<Vec<f64>> = self.runs.iter().map(|run| of(&run.result.test)).collect();
        Some(Spread::new(&values?))
    }
}

/// What settings are chosen by: over all languages, the mean of refusal and benign-answer rates where both are measured,
/// else of reward accuracies.
fn score(marks: &[Marks]) -> Option<f64> {
    let of = |marks: &Marks| match (marks.refusal_rate, marks.benign_answer_rate) {
        (Some(refused), Some(answered)) => (refused + answered) / 2.0,
        _ => marks.reward_accuracy,
    };
    let scores: Vec<f64> = marks.iter().map(of).collect();
    (!scores.is_empty()).then(|| mean(&scores))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
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

impl Comparison {
    pub(super) fn new(
        dominant: Option<Language>,
        seeds: &[u64],
        before: Vec<Marks>,
        methods: Vec<(String, Vec<Tried>)>,
    ) -> Self {
        let methods =
            methods.into_iter().map(|(name, tried)| MethodResult { best: best(&tried), name, tried }).collect();
        Self { dominant, seeds: seeds.to_vec(), before, methods }
    }

    /// Whether every run was examined on `exam`, and target languages are those beside this one.
    pub(super) fn is_of(&self, dominant: Option<Language>, exam: &str) -> bool {
        let tried = self.methods.iter().flat_map(|method| &method.tried);
        let mut runs = tried.flat_map(|tried| &tried.runs);
        self.dominant == dominant && runs.all(|run| run.result.exam == exam)
    }

    /// These results and, of earlier ones, those of methods that are not among them; methods keep the order in which they
    /// came.
    pub(super) fn with(mut self, earlier: Option<Self>) -> Self {
        let Some(earlier) = earlier else {
            return self;
        };
        let mut methods = vec![];
        for old in earlier.methods {
            let again = self.methods.iter().position(|new| new.name == old.name);
            methods.push(match again {
                Some(index) => self.methods.remove(index),
                None => old,
            });
        }
        methods.append(&mut self.methods);
        let mut seeds = earlier.seeds;
        self.seeds.retain(|seed| !seeds.contains(seed));
        seeds.append(&mut self.seeds);
        Self { seeds, methods, ..self }
    }

    /// A column over the target languages, as a mean, or of the dominant one.
    fn over_languages(&self, of_dominant: bool, column: Column) -> Shown {
        let dominant = self.dominant;
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

    /// Averages over the target languages beside the dominant one; then every language's refusals and gaps.
    pub(super) fn table(&self) -> String {
        let sides = [false, true].into_iter();
        let overview = sides.flat_map(|of_dominant| COLUMNS.map(|column| self.over_languages(of_dominant, column)));
        let mut text = self.rows(overview.collect());
        for column in [REFUSED, REWARD_GAP] {
            let languages = self.before.iter().map(|marks| marks.language);
            let columns = languages.map(|language| Self::of_language(language, column));
            _ = write!(text, "\n\n{}\n{}", column.name, self.rows(columns.collect()));
        }
        text
    }

    /// A line a method; columns of which nothing is known are left out.
    fn rows(&self, mut columns: Vec<Shown>) -> String {
        columns.retain(|column| (column.of)(&self.before).is_some());
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".into());
        let before = columns.iter().map(|column| {
            let value = (column.of)(&self.before).map(|value| Spread::new(&[value]));
            or_none(value.map(column.format))
        });
        let mut rows = vec![std::iter::once("before".to_owned()).chain(before).collect()];
        for method in &self.methods {
            let tried = method.best.map(|best| &method.tried[best]);
            let name = match tried.map_or("failed", |tried| &tried.settings) {
                "" => method.name.clone(),
                settings => format!("{} ({settings})", method.name),
            };
            let values = columns.iter().map(|column| {
                let spread = tried.and_then(|tried| tried.over_seeds(&column.of));
                or_none(spread.map(column.format))
            });
            rows.push(std::iter::once(name).chain(values).collect::<Vec<String>>());
        }
        let header = columns.iter().map(|column| &*column.header);
        table::render(std::iter::once("method").chain(header), rows, 1)
    }

    /// One line for each method, settings, seed, split and language.
    pub(super) fn to_csv(&self) -> String {
        let mut text = String::from(
            "method,settings,best,seed,split,language,reward_gap,reward_accuracy,refusal_rate,benign_answer_rate\n",
        );
        let mut add = |of: [&str; 5], marks: &[Marks]| {
            for marks in marks {
                let rate = |rate: Option<f64>| rate.map_or(String::new(), |rate| rate.to_string());
                _ = writeln!(
                    text,
                    "{},{},{},{},{},{}",
                    of.join(","),
                    marks.language,
                    marks.reward_gap,
                    marks.reward_accuracy,
                    rate(marks.refusal_rate),
                    rate(marks.benign_answer_rate),
                );
            }
        };
        add(["before", "", "", "", "test"], &self.before);
        for method in &self.methods {
            for (index, tried) in method.tried.iter().enumerate() {
                let best = (method.best == Some(index)).to_string();
                // A comma parts settings, and columns here.
                let settings = tried.settings.replace(',', " ");
                for run in &tried.runs {
                    let seed = run.seed.to_string();
                    let of = |split| [&*method.name, &*settings, &*best, &*seed, split];
                    add(of("test"), &run.result.test);
                    add(of("validation"), &run.result.validation);
                }
            }
        }
        text
    }
}

/// A number of the marks of one seed.
type OfMarks = Box<dyn Fn(&[Marks]) -> Option<f64>>;

/// A column of a table: its number of one seed's marks, and how that is written.
struct Shown {
    header: String,
    of: OfMarks,
    format: fn(Spread) -> String,
}

/// The one with the highest validation score; the first of equals. One alone needs no validation.
fn best(tried: &[Tried]) -> Option<usize> {
    let scored = |tried: &Tried| tried.validation_score.unwrap_or(f64::NEG_INFINITY);
    let able = tried.iter().enumerate().filter(|(_, tried)| tried.has_marks());
    let best = able.reduce(|best, one| match scored(one.1) > scored(best.1) {
        true => one,
        false => best,
    });
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(language: &str, gap: f64, refused: f64) -> Marks {
        Marks {
            language: language.parse().unwrap(),
            reward_gap: gap,
            reward_accuracy: 0.5,
            refusal_rate: Some(refused),
            benign_answer_rate: Some(1.0),
        }
    }

    fn result(test: f64, validation: f64) -> RunResult {
        RunResult {
            exam: String::new(),
            steps: 1,
            seconds: 1.0,
            failure: None,
            test: vec![marks("en", 1.0, 1.0), marks("bn", test, test), marks("sw", 0.0, 0.0)],
            validation: vec![marks("bn", 0.0, validation)],
        }
    }

    fn comparison() -> Comparison {
        let tried = |settings: &str, validation: f64, test: [f64; 2]| {
            let runs = test.map(|test| result(test, validation)).to_vec();
            Tried::new(settings.into(), &[1, 2], runs)
        };
        // The second is better on the test, the first on validation.
        let points = vec![tried("beta=0.1", 0.8, [0.2, 0.6]), tried("beta=0.5", 0.4, [1.0, 1.0])];
        let mut failed = result(0.0, 1.0);
        failed.failure = Some("NaN".into());
        let failed = Tried::new(String::new(), &[1, 2], vec![result(0.0, 0.0), failed]);
        let methods = vec![("dpo".into(), points), ("sft".into(), vec![failed])];
        let before = vec![marks("en", 0.9, 1.0), marks("bn", 0.1, 0.2), marks("sw", 0.0, 0.0)];
        Comparison::new("en".parse().ok(), &[1, 2], before, methods)
    }

    #[test]
    fn settings_are_chosen_on_validation_never_on_the_test() {
        let comparison = comparison();
        assert_eq!(comparison.methods[0].best, Some(0));
        assert_eq!(comparison.methods[1].best, None);
    }

    #[test]
    fn methods_of_an_earlier_call_stay_as_they_were_stored() {
        let stored = serde_json::to_string(&comparison()).unwrap();
        let earlier: Comparison = serde_json::from_str(&stored).unwrap();
        assert!(earlier.is_of("en".parse().ok(), ""));
        assert!(!earlier.is_of("zh".parse().ok(), ""));
        assert!(!earlier.is_of("en".parse().ok(), "another"));
        let method = |name: &str| {
            let runs = vec![result(0.5, 0.5)];
            (name.to_owned(), vec![Tried::new(String::new(), &[3], runs)])
        };
        let methods = vec![method("kto"), method("sft")];
        let now = Comparison::new("en".parse().ok(), &[3, 1], vec![], methods);
        let now = now.with(Some(earlier));
        let names: Vec<&str> = now.methods.iter().map(|method| &*method.name).collect();
        assert_eq!(names, ["dpo", "sft", "kto"]);
        assert_eq!(now.seeds, [1, 2, 3]);
        // Two choices of two seeds; what was done again is what it is now.
        assert_eq!(now.methods[0].tried[1].runs[1].result.test[1].reward_gap, 1.0);
        assert_eq!((now.methods[0].best, now.methods[1].best), (Some(0), Some(0)));
    }

    #[test]
    fn a_table_of_means_over_targets_and_deviations_over_seeds() {
        let table = comparison().table();
        let line = |of: &str| {
            let found = table.lines().find(|line| line.trim_start().starts_with(of));
            found.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        // Bengali 0.2 and 0.6, Swahili 0: means 0.1 and 0.3, deviation 0.141
        assert_eq!(
            line("dpo"),
            "dpo (beta=0.1) 0.20 ± 0.14 50.0 ± 0.0 20.0 ± 14.1 100.0 ± 0.0 \
             1.00 ± 0.00 50.0 ± 0.0 100.0 ± 0.0 100.0 ± 0.0"
        );
        assert_eq!(line("before"), "before 0.05 50 % 10 % 100 % 0.90 50 % 100 % 100 %");
        assert_eq!(line("sft"), "sft (failed) – – – – – – – –");
        assert!(table.contains("Bengali"), "{table}");
    }

    #[test]
    fn csv_has_a_line_for_everything_measured() {
        let csv = comparison().to_csv();
        // Three before; four runs of dpo and one of sft with three test and one validation line, and the failed one's.
        assert_eq!(csv.lines().count(), 1 + 3 + 6 * 4);
        assert!(csv.contains("\ndpo,beta=0.1,true,2,test,bn,0.6,0.5,0.6,1\n"), "{csv}");
        assert!(csv.lines().all(|line| line.split(',').count() == 10));
    }
}
