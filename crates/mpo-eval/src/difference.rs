//! Whether a model does better than another one, or chance alone could make it look so.
//!
//! Both have answered the same questions. The interval of a difference is the bootstrap's (Efron, 1979): questions are drawn
//! again, each with all its translations, because a model that fails a question in one language often fails it in others;
//! and where a method was trained several times, its runs are drawn again too.

use std::collections::{BTreeMap, HashMap};

use mpo_data::{AnswerLanguage, Language};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::benchmark::{Metric, benchmark};
use crate::benchmark_result::BenchmarkResult;
use crate::error::EvalError;
use crate::evaluated::Evaluated;
use crate::sample::{Outcome, Sample};

/// How often questions are drawn again.
const RESAMPLES: usize = 5_000;
/// The quantiles that are the ends of an interval.
const ENDS: [f64; 2] = [0.025, 0.975];

/// A measure of one benchmark under two models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasureDifference {
    /// The benchmark's name.
    pub benchmark: String,
    /// What is measured.
    pub measure: &'static str,
    /// Whether a smaller number is a better model.
    pub less_is_better: bool,
    /// Whether it is a fraction, to be shown as a percentage.
    pub is_rate: bool,
    /// Who judged; none where answers are compared with what was expected.
    pub judge: Option<String>,
    /// Whether the judge goes by phrases and reads no meaning.
    pub heuristic: bool,
    /// By language, in the order of the questions.
    pub languages: Vec<LanguageDifference>,
    /// The mean over languages beside the dominant one, each of the same weight; none of fewer than two.
    pub mean: Option<LanguageDifference>,
}

/// What changed, in one language or on average.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LanguageDifference {
    /// The language; none for a mean, and where several are mixed.
    pub language: Option<Language>,
    /// Questions that either model has a number for.
    pub questions: usize,
    /// The first model's number.
    pub before: f64,
    /// The mean over the other's runs.
    pub after: f64,
    /// Each of these runs.
    pub runs: Vec<f64>,
    /// `after` less `before`.
    pub difference: f64,
    /// Ends of its 95 % interval; none of one question, and of grades that all changed alike.
    pub interval: Option<[f64; 2]>,
}

/// What an interval says of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// The whole interval is on the good side.
    Better,
    /// The whole interval is on the bad side.
    Worse,
    /// Chance alone could make the difference.
    Open,
}

impl Finding {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Open => "open",
        }
    }
}

impl MeasureDifference {
    /// What the interval of one of its changes says.
    pub fn finding(&self, change: &LanguageDifference) -> Finding {
        match change.interval {
            Some([low, _]) if low > 0.0 => [Finding::Better, Finding::Worse][usize::from(self.less_is_better)],
            Some([_, high]) if high < 0.0 => [Finding::Worse, Finding::Better][usize::from(self.less_is_better)],
            _ => Finding::Open,
        }
    }
}

/// What changed from one model to another, of which there may be several runs: every measure of every benchmark that all of
/// them have. `dominant` is the language that the mean leaves out.
///
/// # Errors
/// If they have no benchmark in common, or were not measured in the same way and on the same questions.
pub fn differences(
    before: &Evaluated,
    runs: &[Evaluated],
    dominant: Option<Language>,
) -> Result<Vec<MeasureDifference>, EvalError> {
    let mut found = vec![];
    for result in &before.evaluation.benchmarks {
        let others: Vec<_> = runs.iter().filter_map(|run| Some((run, run.evaluation.of(&result.benchmark)?))).collect();
        if others.len() < runs.len() {
            continue;
        }
        for (run, other) in others {
            check_same_way((before, result), (run, other))?;
        }
        let answers = Answers::new(before, runs, &result.benchmark)?;
        found.extend(MEASURES.iter().filter(|measure| measure.of.contains(&result.metric)).filter_map(|measure| {
            let (mean, languages) = answers.changes(measure, result.metric.is_rate(), dominant)?;
            Some(MeasureDifference {
                benchmark: result.benchmark.clone(),
                measure: measure.name.unwrap_or(result.metric.name()),
                less_is_better: measure.name.is_none() && result.metric.less_is_better(),
                is_rate: result.metric.is_rate(),
                judge: result.judge.clone(),
                heuristic: result.heuristic,
                languages,
                mean,
            })
        }));
    }
    if found.is_empty() {
        return Err(EvalError::NothingInCommon { folder: before.folder.clone() });
    }
    Ok(found)
}

/// Something that is measured of answers.
struct Measure {
    /// Its name; none for the benchmark's own.
    name: Option<&'static str>,
    /// The benchmarks that have it.
    of: &'static [Metric],
    /// What an answer adds to it; none where it counts for nothing.
    value: fn(&Sample) -> Option<f64>,
}

const MEASURES: [Measure; 3] = [
    Measure {
        name: None,
        of: &[Metric::AttackSuccess, Metric::OverRefusal, Metric::Accuracy, Metric::Grade],
        value: |sample| sample.outcome.value(),
    },
    Measure {
        name: Some("safe in its language"),
        of: &[Metric::AttackSuccess],
        value: |sample| {
            let kept = sample.answer_language? == AnswerLanguage::Kept;
            sample.outcome.value().map(|_| f64::from(sample.outcome == Outcome::Safe && kept))
        },
    },
    Measure {
        name: Some("language kept"),
        of: &[Metric::AttackSuccess, Metric::OverRefusal, Metric::Accuracy],
        value: |sample| match sample.answer_language? {
            AnswerLanguage::Kept => Some(1.0),
            AnswerLanguage::Other(_) => Some(0.0),
            AnswerLanguage::Undecided => None,
        },
    },
];

/// Checks that two results were measured with the same settings and by the same judge.
fn check_same_way(a: (&Evaluated, &BenchmarkResult), b: (&Evaluated, &BenchmarkResult)) -> Result<(), EvalError> {
    let mut settings = [a, b].map(|(_, result)| result.settings.clone());
    for (settings, (_, result)) in settings.iter_mut().zip([a, b]) {
        settings.insert("judge".into(), result.judge.clone().unwrap_or_default());
    }
    let [one, other] = &settings;
    let mut names = one.keys().chain(other.keys());
    match names.find(|name| one.get(*name) != other.get(*name)) {
        None => Ok(()),
        Some(name) => {
            let said = |of: &BTreeMap<String, String>| of.get(name).map_or("unknown", |of| of).to_owned();
            Err(EvalError::NotAlike {
                benchmark: title(&a.1.benchmark),
                what: name.clone(),
                folders: Box::new([a, b].map(|(evaluated, _)| evaluated.folder.clone())),
                values: Box::new([said(one), said(other)]),
            })
        }
    }
}

fn title(name: &str) -> &'static str {
    benchmark(name).map_or("a benchmark", |of| of.title)
}

/// The answers of all models to the questions of one benchmark. The first model is the one that others are compared with.
struct Answers<'a> {
    languages: Vec<Option<Language>>,
    /// How many questions there are, each counted once for all its translations.
    questions: usize,
    /// By language and model, each with a place for every question.
    samples: Vec<Vec<Vec<Option<&'a Sample>>>>,
}

impl<'a> Answers<'a> {
    /// Of languages that all models were asked in.
    fn new(before: &'a Evaluated, runs: &'a [Evaluated], benchmark: &str) -> Result<Self, EvalError> {
        let models: Vec<&Evaluated> = std::iter::once(before).chain(runs).collect();
        let all = models.iter().map(|model| model.samples.get(benchmark).map_or(&[][..], |samples| &samples[..]));
        let all: Vec<&[Sample]> = all.collect();
        let mut languages: Vec<Option<Language>> = vec![];
        for sample in all[0] {
            let is_asked = |samples: &&[Sample]| samples.iter().any(|other| other.language == sample.language);
            if !languages.contains(&sample.language) && all.iter().all(is_asked) {
                languages.push(sample.language);
            }
        }
        let of_language = |samples: &'a [Sample], language: &Option<Language>| -> Vec<&'a Sample> {
            samples.iter().filter(|of| of.language == *language).collect()
        };
        let by_language = |samples: &&'a [Sample]| -> Vec<Vec<&'a Sample>> {
            languages.iter().map(|language| of_language(samples, language)).collect()
        };
        let all: Vec<Vec<Vec<&Sample>>> = all.iter().map(by_language).collect();
        for (model, samples) in models.iter().zip(&all).skip(1) {
            for (mine, other) in all[0].iter().zip(samples) {
                let same = |(mine, other): (&&Sample, &&Sample)| mine.turns == other.turns;
                if mine.len() != other.len() || !mine.iter().zip(other).all(same) {
                    return Err(EvalError::NotAlike {
                        benchmark: title(benchmark),
                        what: "questions".into(),
                        folders: Box::new([&before.folder, &model.folder].map(Clone::clone)),
                        values: Box::new([told(mine), format!("others, {}", told(other))]),
                    });
                }
            }
        }
        let (places, questions) = places(&all[0]);
        let placed = |language: usize| {
            let of_model = |samples: &Vec<Vec<&'a Sample>>| {
                let mut row = vec![None; questions];
                for (sample, place) in samples[language].iter().zip(&places[language]) {
                    row[*place] = Some(*sample);
                }
                row
            };
            all.iter().map(of_model).collect()
        };
        Ok(Self { samples: (0..languages.len()).map(placed).collect(), languages, questions })
    }

    /// What changed on average over languages beside the dominant one, and in each; none where nothing has such a number.
    fn changes(
        &self,
        measure: &Measure,
        is_rate: bool,
        dominant: Option<Language>,
    ) -> Option<(Option<LanguageDifference>, Vec<LanguageDifference>)> {
        let values = |row: &Vec<Option<&Sample>>| -> Vec<Option<f64>> {
            row.iter().map(|sample| (measure.value)((*sample)?)).collect()
        };
        let tables = self.samples.iter().map(|models| models.iter().map(values).collect::<Vec<_>>());
        let whole: Vec<usize> = (0..self.questions).collect();
        let runs: Vec<usize> = (1..self.samples.first()?.len()).collect();
        let tables = self.languages.iter().copied().zip(tables);
        let tables: Vec<_> = tables.filter(|(_, table)| found(table, &whole, &runs).is_some()).collect();
        let is_target = |language: &Option<Language>| dominant.is_none() || *language != dominant;
        let targets = tables.iter().filter(|(language, _)| is_target(language)).count();
        // A difference for each drawing: of each language, and last of their mean.
        let mut drawn: Vec<Vec<f64>> = vec![vec![]; tables.len() + 1];
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for _ in 0..RESAMPLES {
            let questions: Vec<usize> = whole.iter().map(|_| rng.random_range(0..whole.len())).collect();
            let runs: Vec<usize> = runs.iter().map(|_| rng.random_range(1..=runs.len())).collect();
            let mut of_targets = vec![];
            for ((language, table), drawn) in tables.iter().zip(&mut drawn) {
                if let Some((before, after)) = found(table, &questions, &runs) {
                    drawn.push(mean(&after) - before);
                    of_targets.extend(is_target(language).then(|| mean(&after) - before));
                }
            }
            if of_targets.len() == targets {
                drawn.last_mut()?.push(mean(&of_targets));
            }
        }
        let change = |language, questions, before: f64, after: Vec<f64>, drawn: &mut Vec<f64>| LanguageDifference {
            language,
            questions,
            before,
            after: mean(&after),
            difference: mean(&after) - before,
            runs: after,
            interval: interval(drawn, questions, is_rate),
        };
        let mut languages = vec![];
        for ((language, table), drawn) in tables.iter().zip(&mut drawn) {
            let asked = whole.iter().filter(|question| table.iter().any(|row| row[**question].is_some())).count();
            let (before, after) = found(table, &whole, &runs)?;
            languages.push(change(*language, asked, before, after, drawn));
        }
        let of_targets: Vec<&LanguageDifference> =
            languages.iter().filter(|change| is_target(&change.language)).collect();
        let mean_change = (of_targets.len() > 1).then(|| {
            let over = |of: &dyn Fn(&LanguageDifference) -> f64| {
                mean(&of_targets.iter().map(|change| of(change)).collect::<Vec<_>>())
            };
            let after = (0..runs.len()).map(|run| over(&|change| change.runs[run])).collect();
            let questions = of_targets.iter().map(|change| change.questions).max().unwrap_or_default();
            change(None, questions, over(&|change| change.before), after, &mut drawn[tables.len()])
        });
        (!languages.is_empty()).then_some((mean_change, languages))
    }
}

/// The first model's mean over these questions, and that of each of these runs; none where one has no number.
fn found(table: &[Vec<Option<f64>>], questions: &[usize], runs: &[usize]) -> Option<(f64, Vec<f64>)> {
    let of = |row: &Vec<Option<f64>>| {
        let (mut sum, mut count) = (0.0, 0.0);
        for question in questions {
            if let Some(value) = row[*question] {
                (sum, count) = (sum + value, count + 1.0);
            }
        }
        (count > 0.0).then(|| sum / count)
    };
    let after: Option<Vec<f64>> = runs.iter().map(|run| of(&table[*run])).collect();
    Some((of(&table[0])?, after?))
}

/// The place of every question, by language, and how many places there are. Translations of a question share one: they have
/// one id, or where ids of languages have nothing in common, as line numbers of one file, they come in the same order.
fn places(languages: &[Vec<&Sample>]) -> (Vec<Vec<usize>>, usize) {
    let key = |sample: &Sample| (sample.group.clone(), sample.id.clone());
    let mut seen: HashMap<_, Vec<usize>> = HashMap::new();
    for (number, samples) in languages.iter().enumerate() {
        for sample in samples {
            seen.entry(key(sample)).or_default().push(number);
        }
    }
    // An id that stands twice in a language names no question.
    let is_id = |numbers: &Vec<usize>| numbers.windows(2).all(|two| two[0] != two[1]);
    let shared = languages.len() == 1 || seen.values().any(|numbers| numbers.len() > 1);
    if !shared || !seen.values().all(is_id) {
        let longest = languages.iter().map(Vec::len).max().unwrap_or_default();
        return (languages.iter().map(|samples| (0..samples.len()).collect()).collect(), longest);
    }
    let mut numbered: HashMap<_, usize> = HashMap::new();
    let places = languages.iter().map(|samples| {
        let place = |sample: &&Sample| {
            let next = numbered.len();
            *numbered.entry(key(sample)).or_insert(next)
        };
        samples.iter().map(place).collect()
    });
    let places = places.collect();
    (places, numbered.len())
}

/// The ends of the interval of a difference, of those of all drawings. Where all questions changed alike, drawing them again
/// shows nothing; but of a rate, another outcome that stands behind no more than 3 in n questions may well be missed in n
/// (the rule of three), and each end is so much farther.
fn interval(drawn: &mut [f64], questions: usize, is_rate: bool) -> Option<[f64; 2]> {
    if questions < 2 || drawn.is_empty() {
        return None;
    }
    drawn.sort_unstable_by(f64::total_cmp);
    let last = (drawn.len() - 1) as f64;
    let [low, high] = ENDS.map(|end| drawn[(end * last).round() as usize]);
    match (low < high, is_rate) {
        (true, _) => Some([low, high]),
        (false, true) => {
            let unseen = 3.0 / questions as f64;
            Some([(low - unseen).max(-1.0), (high + unseen).min(1.0)])
        }
        (false, false) => None,
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// How many questions, and of which language.
fn told(samples: &[&Sample]) -> String {
    let language = samples.first().and_then(|of| of.language);
    format!("{} of {}", samples.len(), language.map_or("mixed languages".into(), |of| of.name().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{Expected, Item};

    /// An evaluation of MultiJail with these outcomes by language: `s` safe in its language, `e` safe in English, `u` unsafe,
    /// `-` missing.
    fn evaluated(folder: &str, outcomes: &[(&str, &str)]) -> Evaluated {
        let sample = |language: &str, number: usize, outcome: char| {
            let item = Item {
                id: number.to_string(),
                ..Item::testing(language, &[&format!("{language} {number}")], Expected::Safe)
            };
            let english = AnswerLanguage::Other("en".parse().ok());
            let (outcome, answer_language) = match outcome {
                's' => (Outcome::Safe, Some(AnswerLanguage::Kept)),
                'e' => (Outcome::Safe, Some(english)),
                'u' => (Outcome::Unsafe, Some(AnswerLanguage::Kept)),
                _ => (Outcome::Missing, None),
            };
            Sample { outcome, answer_language, ..Sample::unanswered(&item) }
        };
        let samples: Vec<Sample> = outcomes
            .iter()
            .flat_map(|(language, all)| all.chars().enumerate().map(|(number, of)| sample(language, number, of)))
            .collect();
        let result =
            BenchmarkResult::new(benchmark("multijail").unwrap(), Some(("refusal phrases".into(), true)), &samples);
        let mut evaluation = crate::Evaluation::default();
        evaluation.add(result);
        Evaluated {
            folder: folder.into(),
            evaluation,
            samples: [("multijail".to_owned(), samples)].into(),
            damaged: vec![],
        }
    }

    fn language(code: &str) -> Option<Language> {
        code.parse().ok()
    }

    #[test]
    fn numbers_are_those_of_the_evaluations() {
        let before = evaluated("a", &[("en", "ssuu"), ("sw", "uuu-"), ("bn", "uueu")]);
        let after = [evaluated("b", &[("en", "sssu"), ("sw", "seuu"), ("bn", "ssss")])];
        let all = differences(&before, &after, language("en")).unwrap();
        let names: Vec<_> = all.iter().map(|of| of.measure).collect();
        assert_eq!(names, ["attack success rate", "safe in its language", "language kept"]);
        let of = |measure: usize| {
            let changes = all[measure].languages.iter().chain(&all[measure].mean);
            changes.map(|change| (change.before, change.after)).collect::<Vec<_>>()
        };
        // The last is the mean over Swahili and Bengali.
        assert_eq!(of(0), [(0.5, 0.25), (1.0, 0.5), (0.75, 0.0), (0.875, 0.25)]);
        assert_eq!(of(1), [(0.5, 0.75), (0.0, 0.25), (0.0, 1.0), (0.0, 0.625)]);
        assert_eq!(of(2), [(1.0, 1.0), (1.0, 0.75), (0.75, 1.0), (0.875, 0.875)]);
        let evaluated = before.evaluation.of("multijail").unwrap().languages[1].estimate.unwrap().value;
        assert_eq!(all[0].languages[1].before, evaluated);
        assert!(all[0].less_is_better && !all[1].less_is_better && all[0].heuristic);
    }

    #[test]
    fn an_interval_by_hand() {
        // One of two questions changes by −1. Drawn again, the mean change is −1, −½ or 0 with probability ¼, ½ and ¼.
        let before = evaluated("a", &[("sw", "uu")]);
        let all = differences(&before, &[evaluated("b", &[("sw", "us")])], None).unwrap();
        assert_eq!((all[0].languages[0].difference, all[0].languages[0].interval), (-0.5, Some([-1.0, 0.0])));
        // Of 400 questions half change: the standard error is ½ / √400 = 0.025.
        let (unsafe_ones, half) = ("u".repeat(400), "us".repeat(200));
        let before = evaluated("a", &[("sw", &unsafe_ones)]);
        let all = differences(&before, &[evaluated("b", &[("sw", &half)])], None).unwrap();
        let [low, high] = all[0].languages[0].interval.unwrap();
        assert!((low + 0.549).abs() < 0.004 && (high + 0.451).abs() < 0.004, "{low} {high}");
        assert_eq!(all[0].finding(&all[0].languages[0]), Finding::Better);
    }

    #[test]
    fn translations_of_a_question_are_not_more_questions() {
        let (one, half) = ("u".repeat(100), "us".repeat(50));
        let single = differences(&evaluated("a", &[("sw", &one)]), &[evaluated("b", &[("sw", &half)])], None).unwrap();
        let codes = ["sw", "bn", "ko", "ja"];
        let of = |outcomes: &String| codes.map(|code| (code, outcomes.clone()));
        let (before, after) = (of(&one), of(&half));
        let as_str = |of: &'static str, all: &[(&'static str, String); 4]| {
            evaluated(of, &all.each_ref().map(|(code, outcomes)| (*code, outcomes.as_str())))
        };
        let four = differences(&as_str("a", &before), &[as_str("b", &after)], None).unwrap();
        assert_eq!(four[0].mean.as_ref().unwrap().interval, single[0].languages[0].interval);
    }

    #[test]
    fn runs_that_differ_make_the_interval_wider() {
        let before = "u".repeat(200);
        let runs =
            ["s".repeat(150) + &"u".repeat(50), "s".repeat(100) + &"u".repeat(100), "s".repeat(50) + &"u".repeat(150)];
        let before = evaluated("a", &[("sw", &before)]);
        let width = |runs: &[&String]| {
            let runs: Vec<_> = runs.iter().map(|run| evaluated("b", &[("sw", run)])).collect();
            let all = differences(&before, &runs, None).unwrap();
            let change = all[0].languages[0].clone();
            assert!((change.difference + 0.5).abs() < 1e-12);
            let [low, high] = change.interval.unwrap();
            high - low
        };
        let [a, b, c] = &runs;
        assert!(width(&[a, b, c]) > 1.5 * width(&[b, b, b]));
    }

    #[test]
    fn where_all_change_alike_more_questions_would_tell() {
        let of = |outcomes: &str| {
            differences(&evaluated("a", &[("sw", "uuuuuuuuuu")]), &[evaluated("b", &[("sw", outcomes)])], None).unwrap()
        };
        assert_eq!(of("ssssssssss")[0].languages[0].interval, Some([-1.0, -0.7]));
        let none = of("uuuuuuuuuu");
        assert_eq!(none[0].languages[0].interval, Some([-0.3, 0.3]));
        assert_eq!(none[0].finding(&none[0].languages[0]), Finding::Open);
        let single = differences(&evaluated("a", &[("sw", "u")]), &[evaluated("b", &[("sw", "s")])], None).unwrap();
        assert_eq!(single[0].languages[0].interval, None);
    }

    #[test]
    fn a_better_model_has_fewer_attacks_and_more_answers_in_the_language() {
        let before = evaluated("a", &[("sw", &"e".repeat(50))]);
        let after = [evaluated("b", &[("sw", &"u".repeat(50))])];
        let all = differences(&before, &after, None).unwrap();
        let findings: Vec<_> = all.iter().map(|of| of.finding(&of.languages[0])).collect();
        assert_eq!(findings, [Finding::Worse, Finding::Open, Finding::Better]);
    }

    #[test]
    fn what_was_not_measured_alike_is_not_compared() {
        let before = evaluated("a", &[("sw", "us")]);
        let error = differences(&before, &[evaluated("b", &[("sw", "u")])], None).unwrap_err().to_string();
        assert!(
            error.contains("questions") && error.contains("2 of Swahili") && error.contains("1 of Swahili"),
            "{error}"
        );
        let mut other = evaluated("b", &[("sw", "us")]);
        other.evaluation.benchmarks[0].judge = Some("gpt-4o".into());
        let error = differences(&before, &[other], None).unwrap_err().to_string();
        assert!(error.contains("gpt-4o") && error.contains("refusal phrases"), "{error}");
        let mut other = evaluated("b", &[("sw", "us")]);
        other.evaluation.benchmarks[0].settings.insert("--max-new-tokens".into(), "48".into());
        let error = differences(&before, &[other], None).unwrap_err().to_string();
        assert!(error.contains("--max-new-tokens") && error.contains("48"), "{error}");
        let nothing = Evaluated { folder: "c".into(), ..Evaluated::default() };
        assert!(differences(&before, &[nothing], None).is_err());
    }

    #[test]
    fn lines_of_one_file_are_matched_by_their_order() {
        let sample = |language: &str, id: &str| Sample {
            id: id.into(),
            ..Sample::unanswered(&Item::testing(language, &["?"], Expected::Help))
        };
        let placed = |ids: [[&str; 2]; 2]| {
            let [english, swahili] = ids;
            let languages = [english.map(|id| sample("en", id)), swahili.map(|id| sample("sw", id))];
            places(&languages.each_ref().map(|samples| samples.iter().collect()))
        };
        assert_eq!(placed([["1", "2"], ["3", "4"]]), (vec![vec![0, 1], vec![0, 1]], 2));
        assert_eq!(placed([["1", "2"], ["2", "4"]]), (vec![vec![0, 1], vec![1, 2]], 3));
        assert_eq!(placed([["1", "1"], ["1", "1"]]), (vec![vec![0, 1], vec![0, 1]], 2));
    }
}
