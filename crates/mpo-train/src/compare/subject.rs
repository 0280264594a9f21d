//! What is compared on: a model, rows to train on, and rows that none is trained on.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use mpo_data::{Language, Message, Pairs, TokenizeOptions, Truncation, TruncationReport};
use mpo_trainer::{RunFolder, TrainConfig, TrainError, TrainOptions, TrainingRows};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::data;
use crate::exam::{Exam, Prompt};
use crate::failure::Failure;
use crate::measure::EvalSet;
use crate::miniature::Miniature;
use crate::model_folder::ModelFolder;
use crate::session::Session;

/// Of the distinct prompts, one in this many is for the test, and half as many for validation.
const TEST_SHARE: usize = 5;
const VALIDATION_SHARE: usize = 10;
/// Every comparison of the same data splits it alike.
const SPLIT_SEED: u64 = 0;

pub(super) struct Subject {
    pub(super) folder: ModelFolder,
    /// Settings of every run, beside its method's.
    pub(super) options: TrainOptions,
    pub(super) dominant: Option<Language>,
    /// To train on.
    rows: Pairs,
    pub(super) test: Exam,
    /// To choose settings by.
    pub(super) validation: Exam,
}

impl Subject {
    /// What the program carries, with `options` where they say something.
    pub(super) fn miniature(options: TrainOptions, held: &RunFolder, session: &Session) -> Result<Self, Failure> {
        let miniature = Miniature::new(held, session)?;
        let (test, validation) = (miniature.test()?, miniature.validation()?);
        Ok(Self {
            options: options.or(miniature.options),
            folder: miniature.folder,
            dominant: Some(miniature.dominant),
            rows: miniature.rows,
            test,
            validation,
        })
    }

    /// A model and a file of rows, split by prompts so that no translation of a held-out one is trained on.
    pub(super) fn read(
        config: &TrainConfig,
        options: TrainOptions,
        benign: Option<&Path>,
        max_new_tokens: usize,
        session: &Session,
    ) -> Result<Self, Failure> {
        if config.eval_rows == 0 {
            let expected = "at least 1 row to measure on";
            return Err(TrainError::setting("eval_rows", expected, "0").into());
        }
        let folder = ModelFolder::open(&config.model, &config.template_options(), session)?;
        let read = |path, limit| data::read(path, &data::options(config), limit, None, session);
        let data = read(&config.data, config.rows)?;
        let (cut, _) = folder.tokenize_quietly(&data.rows, config.tokenize_options()?)?;
        folder.check_positions(cut.sequence_lengths(), "--max-tokens cuts them", session)?;
        let (rest, test) = match &config.eval_data {
            Some(path) => {
                let test = read(path, Some(config.eval_rows))?.rows;
                let all = data.rows.len();
                let rest = apart(data.rows, &test);
                if rest.len() < all {
                    session.note(format_args!(
                        "{:<10} {} of {all} rows, whose prompts are in {}",
                        "left out",
                        all - rest.len(),
                        path.display()
                    ));
                }
                (rest, test)
            }
            None => split(data.rows, TEST_SHARE),
        };
        let (rows, validation) = split(rest, VALIDATION_SHARE);
        let benign = match benign {
            Some(path) => read_prompts(path, &folder)?,
            None => vec![],
        };
        let dominant = data.report.dominant;
        let uncut = TokenizeOptions { truncation: Truncation::UNLIMITED, skip_bad_rows: config.skip_bad_rows };
        let exam = |rows: &Pairs, share: &[Prompt], name| -> Result<Exam, Failure> {
            let (cut, _) = folder.tokenize_quietly(rows, config.tokenize_options()?)?;
            let pairs = EvalSet::new(&cut, config.eval_rows, dominant);
            if pairs.pairs.is_empty() {
                return Err(Failure::new(
                    format!("expected rows for the {name}, got none"),
                    "give more rows: prompts are split, every fifth for the test and a tenth of the others to choose settings by",
                ));
            }
            // Asked whole: a model goes on with a request that was cut, which is no refusal.
            let (rows, _) = folder.tokenize_quietly(rows, uncut)?;
            let whole = EvalSet::new(&rows, config.eval_rows, dominant);
            let unsafe_prompts = whole.pairs.iter().map(|row| Prompt {
                language: row.language,
                ids: row.pair.prompt().to_vec(),
                is_unsafe: true,
            });
            Ok(Exam {
                prompts: unsafe_prompts.chain(share.iter().cloned()).collect(),
                pairs,
                judge: Box::new(|language, answer| mpo_eval::is_refusal(answer, Some(language))),
                max_new_tokens,
                batch_size: 16,
                max_tokens: config.micro_batch_tokens,
            })
        };
        // Every third benign prompt of a language is to choose settings by, and in files whose languages have the same
        // prompts in the same order, so are its translations.
        let share = |test: bool| -> Vec<Prompt> {
            let mut seen: HashMap<Language, usize> = HashMap::new();
            let mut turn = |of: &Prompt| {
                let seen = seen.entry(of.language).or_default();
                *seen += 1;
                *seen
            };
            let of_share = benign.iter().filter(|&one| (turn(one) % 3 != 0) == test);
            of_share.cloned().collect()
        };
        Ok(Self {
            test: exam(&test, &share(true), "test")?,
            validation: exam(&validation, &share(false), "validation")?,
            folder,
            options,
            dominant,
            rows,
        })
    }

    /// The language that stands in where an ablation needs another than the dominant one: the first target.
    pub(super) fn other_language(&self) -> Option<Language> {
        match &self.rows {
            Pairs::Bilingual(rows) => rows.first().map(|row| row.target.language()),
            Pairs::Monolingual(rows) => rows.first().map(|row| row.pair.language()),
            Pairs::Unpaired(rows) => rows.first().map(|row| row.language),
        }
    }

    /// The rows that a run trains on, and how much of them was cut.
    pub(super) fn rows(&self, config: &TrainConfig) -> Result<(TrainingRows, TruncationReport), Failure> {
        let pivoted = match config.pivot {
            Some(language) => Some(data::pivoted(self.rows.clone(), language)?),
            None => None,
        };
        let rows = pivoted.as_ref().unwrap_or(&self.rows);
        let (rows, cut) = self.folder.tokenize_quietly(rows, config.tokenize_options()?)?;
        rows.check(&*config.objective()?, config)?;
        Ok((rows, cut))
    }
}

/// Takes every row of one prompt in `share` out. A bilingual row's prompt is its dominant one.
fn split(rows: Pairs, share: usize) -> (Pairs, Pairs) {
    fn taken<T>(rows: Vec<T>, prompt: impl Fn(&T) -> &[Message], share: usize) -> (Vec<T>, Vec<T>) {
        let mut seen = HashSet::new();
        let mut prompts: Vec<&[Message]> = rows.iter().map(&prompt).filter(|prompt| seen.insert(*prompt)).collect();
        prompts.shuffle(&mut ChaCha8Rng::seed_from_u64(SPLIT_SEED));
        // A few prompts are split too, one or two are not.
        let count = (prompts.len() / share).max(usize::from(prompts.len() > 2));
        let out: HashSet<Vec<Message>> = prompts[..count].iter().map(|prompt| prompt.to_vec()).collect();
        rows.into_iter().partition(|row| !out.contains(prompt(row)))
    }
    match rows {
        Pairs::Bilingual(rows) => {
            let (rest, out) = taken(rows, |row| row.dominant.prompt(), share);
            (Pairs::Bilingual(rest), Pairs::Bilingual(out))
        }
        Pairs::Monolingual(rows) => {
            let (rest, out) = taken(rows, |row| row.pair.prompt(), share);
            (Pairs::Monolingual(rest), Pairs::Monolingual(out))
        }
        Pairs::Unpaired(rows) => {
            let (rest, out) = taken(rows, |row| &row.prompt[..], share);
            (Pairs::Unpaired(rest), Pairs::Unpaired(out))
        }
    }
}

/// The rows of which no prompt is asked in the test, in whatever language.
fn apart(rows: Pairs, test: &Pairs) -> Pairs {
    let asked = prompts(test);
    match rows {
        Pairs::Bilingual(mut rows) => {
            rows.retain(|row| {
                let sides = [row.dominant.prompt(), row.target.prompt()];
                sides.iter().all(|prompt| !asked.contains(prompt))
            });
            Pairs::Bilingual(rows)
        }
        Pairs::Monolingual(mut rows) => {
            rows.retain(|row| !asked.contains(row.pair.prompt()));
            Pairs::Monolingual(rows)
        }
        Pairs::Unpaired(mut rows) => {
            rows.retain(|row| !asked.contains(&row.prompt[..]));
            Pairs::Unpaired(rows)
        }
    }
}

/// Every prompt, of both sides where there are two.
fn prompts(rows: &Pairs) -> HashSet<&[Message]> {
    match rows {
        Pairs::Bilingual(rows) => rows.iter().flat_map(|row| [row.dominant.prompt(), row.target.prompt()]).collect(),
        Pairs::Monolingual(rows) => rows.iter().map(|row| row.pair.prompt()).collect(),
        Pairs::Unpaired(rows) => rows.iter().map(|row| &row.prompt[..]).collect(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BenignPrompt {
    language: Language,
    prompt: String,
}

/// Benign prompts, one a line.
fn read_prompts(path: &Path, folder: &ModelFolder) -> Result<Vec<Prompt>, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::io(path))?;
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines
        .map(|(line, number)| {
            let row: BenignPrompt = serde_json::from_str(line).map_err(|error| {
                Failure::new(
                    format!("{}, line {number}: {error}", PathBuf::from(path).display()),
                    "write one {\"language\": \"sw\", \"prompt\": \"…\"} a line",
                )
            })?;
            Ok(Prompt {
                language: row.language,
                ids: folder.encode_prompt(&[Message::user(row.prompt)])?,
                is_unsafe: false,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use mpo_data::{BilingualPair, MonolingualPair, Origin, Position, PreferencePair};

    use super::*;

    fn side(language: &str, text: String) -> PreferencePair {
        let prompt = vec![Message::user(text)];
        PreferencePair::new(language.parse().unwrap(), prompt, "a".into(), "b".into()).unwrap()
    }

    fn origin() -> Origin {
        Origin { file: "f".into(), position: Position::Row(1) }
    }

    /// Rows in two languages, with these numbers in their prompts.
    fn bilingual(numbers: Range<usize>) -> Vec<BilingualPair> {
        let both = |i: usize| {
            ["sw", "bn"].map(|language| BilingualPair {
                dominant: side("en", format!("prompt {i}")),
                target: side(language, format!("{language} {i}")),
                origin: origin(),
            })
        };
        numbers.flat_map(both).collect()
    }

    #[test]
    fn translations_of_a_prompt_stay_together() {
        let rows = bilingual(0..20);
        let (Pairs::Bilingual(rest), Pairs::Bilingual(out)) = split(Pairs::Bilingual(rows), 5) else {
            panic!("two languages remain two languages");
        };
        assert_eq!((rest.len(), out.len()), (32, 8));
        assert!(out.iter().all(|one| rest.iter().all(|other| one.dominant != other.dominant)));
    }

    #[test]
    fn what_a_test_of_its_own_asks_is_not_trained_on() {
        let mut test = bilingual(15..30);
        // Rewritten in English, and the same in the other languages.
        for row in &mut test[..2] {
            row.dominant = side("en", "another prompt".into());
        }
        let test = Pairs::Bilingual(test);
        let rest = apart(Pairs::Bilingual(bilingual(0..20)), &test);
        assert_eq!(rest.len(), 30);
        assert!(prompts(&rest).is_disjoint(&prompts(&test)));
        let monolingual = |language: &str| {
            let row = |i: usize| MonolingualPair { pair: side(language, format!("{language} {i}")), origin: origin() };
            apart(Pairs::Monolingual((0..20).map(row).collect()), &test).len()
        };
        assert_eq!((monolingual("bn"), monolingual("ar")), (15, 20));
    }
}
