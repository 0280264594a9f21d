//! What is compared on: a model, rows to train on, and rows that none is trained on.

use std::collections::HashMap;
use std::path::PathBuf;

use mpo_chat::{LONGER, ModelFolder};
use mpo_data::{Dataset, Language, Rows, TokenizeOptions, TokenizedRows, Truncation, TruncationReport};
use mpo_progress::{Progress, Silent};
use mpo_trainer::{
    TrainConfig, TrainError, TrainOptions, check_consistency, check_rows, consistency_rows, pivoted, read_data,
    read_options, read_rows, with_harm_notes,
};

use super::exam::Exam;
use super::request::Request;
use crate::error::EvalError;
use crate::measure::EvalSet;
use crate::prompts::Prompt;
use crate::refusal::is_refusal;

/// Of the distinct prompts, one in this many is for the test, and half as many for validation.
const TEST_SHARE: f64 = 0.2;
const VALIDATION_SHARE: f64 = 0.1;
/// Longest answer to a held-out prompt, in tokens.
const MAX_NEW_TOKENS: usize = 32;
/// Every comparison of the same data splits it alike.
const SPLIT_SEED: u64 = 0;

/// A model and rows.
pub struct Subject {
    /// The model that every run begins with.
    pub folder: ModelFolder,
    /// Settings of every run, beside its method's.
    pub options: TrainOptions,
    /// The language that all others are targets beside.
    pub dominant: Option<Language>,
    /// To train on.
    pub rows: Rows,
    /// To train on instead, by the file that a run names.
    pub other_rows: Vec<(PathBuf, Rows)>,
    /// Rows whose prompts are held consistent in runs that do so, where they are others.
    pub consistent: Option<TokenizedRows>,
    /// What every model is measured on.
    pub test: Exam,
    /// To choose settings by.
    pub validation: Exam,
    /// The validation's rows, to measure runs on while they train.
    pub held_out: TokenizedRows,
}

impl Subject {
    /// The model and the file of rows that `options` name, split by prompts so that no translation of a held-out one is
    /// trained on. The request says how long answers may be, and which prompts should not be refused.
    ///
    /// # Errors
    /// If a file cannot be read, there are too few rows, or a sequence is longer than can be computed.
    pub fn read(options: TrainOptions, request: &Request, progress: &dyn Progress) -> Result<Self, EvalError> {
        let config = options.clone().resolve()?;
        if config.eval_rows == 0 {
            let expected = "at least 1 row to measure on";
            return Err(TrainError::setting("eval_rows", expected, "0").into());
        }
        let folder = ModelFolder::open(&config.model, &config.template_options(), progress)?;
        let read = |path, limit| read_rows(path, &read_options(&config), limit, None, progress);
        let data = read_data(&config, None, progress)?;
        let (cut, _) = folder.tokenize_quietly(&data.rows, config.tokenize_options()?)?;
        folder.check_positions(cut.sequence_lengths(), LONGER, progress)?;
        let mut dominant = data.report.dominant;
        let (rest, test) = match &config.eval_data {
            Some(path) => {
                let Dataset { rows: test, report } = read(path, Some(config.eval_rows))?;
                // Where rows of one language are tried beside others, the test says which language others are targets beside.
                if !request.data_sets().is_empty() {
                    dominant = dominant.or(report.dominant);
                }
                let all = data.rows.len();
                let rest = data.rows.apart_from(&test);
                if rest.len() < all {
                    progress.note(&format_args!(
                        "{:<10} {} of {all} rows, whose prompts are in {}",
                        "left out",
                        all - rest.len(),
                        path.display()
                    ));
                }
                (rest, test)
            }
            None => data.rows.hold_out(config.held_out_share()?.unwrap_or(TEST_SHARE), SPLIT_SEED),
        };
        let (rows, validation) = rest.hold_out(VALIDATION_SHARE, SPLIT_SEED);
        let mut other_rows = vec![];
        for (_, path) in request.data_sets() {
            if config.eval_data.is_none() {
                let expected = "a file of rows to measure on, as rows of several files are tried";
                return Err(TrainError::setting("eval_data", expected, "none").into());
            }
            if config.data.single() != Some(path) {
                let rows = read(path, config.rows)?.rows.apart_from(&test).apart_from(&validation);
                other_rows.push((path.to_owned(), rows));
            }
        }
        let consistent = consistency_rows(&config, &[&test, &validation], progress)?;
        let consistent = match consistent {
            Some(rows) => Some(folder.tokenize_quietly(&rows, config.tokenize_options()?)?.0),
            None => None,
        };
        let benign = match &request.benign {
            Some(path) => Prompt::benign(path, &folder)?,
            None => vec![],
        };
        let uncut = TokenizeOptions { truncation: Truncation::UNLIMITED, skip_bad_rows: config.skip_bad_rows };
        let exam = |rows: &Rows, share: &[Prompt], name| -> Result<Exam, EvalError> {
            let (cut, _) = folder.tokenize_quietly(rows, config.tokenize_options()?)?;
            let pairs = EvalSet::new(&cut, config.eval_rows, dominant);
            if pairs.pairs.is_empty() {
                return Err(EvalError::NothingHeldOut { what: name });
            }
            // Asked whole: a model goes on with a request that was cut, which is no refusal.
            let (rows, _) = folder.tokenize_quietly(rows, uncut)?;
            let whole = EvalSet::new(&rows, config.eval_rows, dominant);
            let prompts = whole.pairs.iter().map(Prompt::of_row);
            Ok(Exam {
                prompts: prompts.chain(share.iter().cloned()).collect(),
                pairs,
                refuses: Box::new(|language, answer| is_refusal(answer, Some(language))),
                max_new_tokens: request.max_new_tokens.unwrap_or(MAX_NEW_TOKENS),
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
            held_out: folder.tokenize_quietly(&validation, config.tokenize_options()?)?.0.limit(config.eval_rows),
            test: exam(&test, &share(true), "test")?,
            validation: exam(&validation, &share(false), "validation")?,
            folder,
            options,
            dominant,
            rows,
            other_rows,
            consistent,
        })
    }

    /// The language that stands in where an ablation needs another than the dominant one: the first target.
    pub fn other_language(&self) -> Option<Language> {
        self.rows.languages().next()
    }

    /// The rows that a run trains on, and how much of them was cut.
    ///
    /// # Errors
    /// If the run's method cannot be trained on them.
    pub fn rows(&self, config: &TrainConfig) -> Result<(TokenizedRows, TruncationReport), EvalError> {
        let named = self.other_rows.iter().find(|(path, _)| config.data.single() == Some(path));
        let rows = named.map_or(&self.rows, |(_, rows)| rows);
        let turned = match config.pivot {
            Some(language) => Some(pivoted(rows.clone(), language)?),
            None => None,
        };
        let rows = turned.as_ref().unwrap_or(rows);
        let (rows, cut) = self.folder.tokenize_quietly(rows, config.tokenize_options()?)?;
        check_rows(&rows, &*config.objective()?, config)?;
        let prompts = self.consistent.as_ref().unwrap_or(&rows);
        check_consistency(config, prompts, self.folder.config.decoder.prompt_layers())?;
        Ok((with_harm_notes(rows, &self.folder.tokenizer, config, &Silent)?, cut))
    }
}
