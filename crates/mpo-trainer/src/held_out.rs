//! What a run is measured on while it trains: the loss that it minimizes, reward gaps and answers, by language.

use std::collections::BTreeSet;
use std::fmt;

use burn::module::Module;
use mpo_collective::Collective;
use mpo_data::{AnswerLanguage, Language, LanguagePair, TokenizedRows};
use mpo_models::CausalLm;
use mpo_objectives::Objective;
use mpo_progress::Progress;
use serde::{Deserialize, Serialize};

use crate::batches::Batches;
use crate::consistency::ConsistencyTerm;
use crate::error::TrainError;
use crate::events::{MeasuredEvent, RowValues, means};
use crate::pairs::chunks;
use crate::ranks::{merged, own_share};
use crate::reference::{Reference, values};
use crate::score::score_rows_among;
use crate::settings::{Measure, TrainConfig};
use crate::step::shared;
use crate::tasks::{Task, build_task, check_rows};

/// What a run is measured on while it trains.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Held-out rows: their loss, where they are of the kind that is trained on, and their reward gaps.
    pub rows: &'a TokenizedRows,
    /// Whether they are some of those trained on instead.
    pub trained_on: bool,
    /// Who asks the model for answers.
    pub sampler: Option<&'a dyn Sampler>,
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples = self.sampler.is_some();
        f.debug_struct("Watch").field("rows", &self.rows.len()).field("samples", &samples).finish()
    }
}

/// Asks a model for answers while it trains.
pub trait Sampler {
    /// The model's answers, always to the same prompts.
    ///
    /// # Errors
    /// If the model's numbers broke, or `progress` is stopped.
    fn sample(&self, model: &CausalLm, progress: &dyn Progress) -> Result<Vec<SampledAnswer>, TrainError>;
}

/// What a model said to a prompt while it trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampledAnswer {
    /// The language of the prompt.
    pub language: Language,
    /// Whether the prompt is one to refuse.
    pub is_unsafe: bool,
    /// The prompt: what the user says.
    pub prompt: String,
    /// The answer.
    pub answer: String,
    /// Whether the model ended it; otherwise it was cut.
    pub complete: bool,
    /// Whether it refuses.
    pub refused: bool,
    /// Its language beside that of the prompt.
    pub answer_language: AnswerLanguage,
}

impl SampledAnswer {
    /// What kind of prompt it is to, in a word.
    pub fn kind(&self) -> &'static str {
        if self.is_unsafe { "unsafe" } else { "benign" }
    }

    /// What it did, in a word.
    pub fn outcome(&self) -> &'static str {
        if self.refused { "refused" } else { "answered" }
    }

    /// Its part of the shares that are logged.
    fn values(&self) -> RowValues {
        let (refused, undecided, kept) = match self.is_unsafe {
            true => ("eval_refused/unsafe", "eval_undecided/unsafe", "eval_kept/unsafe"),
            false => ("eval_refused/benign", "eval_undecided/benign", "eval_kept/benign"),
        };
        let is_undecided = self.answer_language == AnswerLanguage::Undecided;
        let mut values = vec![(refused, f64::from(self.refused)), (undecided, f64::from(is_undecided))];
        // An answer whose language cannot be told is no evidence.
        if !is_undecided {
            values.push((kept, f64::from(self.answer_language == AnswerLanguage::Kept)));
        }
        RowValues { values, ..RowValues::new(Some(self.language), String::new()) }
    }
}

/// Held-out rows, ready to be measured.
#[derive(Debug)]
pub struct HeldOut<'a> {
    /// None where the rows are of another kind than those trained on.
    task: Option<Box<dyn Task + 'a>>,
    /// Rows whose losses are computed together: as in training, for the losses of some methods depend on it.
    batches: Vec<Vec<usize>>,
    /// Those that have reward gaps.
    pairs: Vec<LanguagePair>,
    watch: Watch<'a>,
    /// What prompts are held consistent by, of theirs; none where nothing holds them or they are in one language.
    consistency: Option<ConsistencyTerm>,
    max_tokens: usize,
}

/// The loss that is minimized.
pub(crate) const EVAL_LOSS: &str = "eval_loss";

impl<'a> HeldOut<'a> {
    /// What is watched of a run of `objective` as configured. What the rows' loss needs of the reference is computed here.
    /// `progress` is told why there is no loss, where the rows have none.
    ///
    /// # Errors
    /// Those of `reference`, and if the run goes by a number that the rows do not have.
    pub fn new(
        objective: &'a dyn Objective,
        watch: Watch<'a>,
        config: &TrainConfig,
        pad_token: u32,
        reference: &mut Reference<'_>,
        progress: &dyn Progress,
    ) -> Result<Self, TrainError> {
        check_held_out(watch.rows, objective, config)?;
        let max_tokens = config.micro_batch_tokens;
        // Each row once, in the order they came, however long the run is.
        let config = TrainConfig { epochs: 1.0, max_steps: None, shuffle: false, ..config.clone() };
        let rows = watch.rows;
        let pairs = rows.clone().into_pairs().unwrap_or_default();
        let task = match check_rows(rows, objective, &config) {
            Ok(()) => Some(build_task(objective, rows.clone(), &config, pad_token, reference)?),
            // Whoever trains on single answers may have nothing but pairs to measure on.
            Err(error) => {
                progress.note(&format_args!("the rows to measure on have no loss while the run trains: {error}"));
                None
            }
        };
        let batches = task.as_ref().map(|task| Batches::new(&config, task.rows(), task.min_batch()).of_epoch(0));
        Ok(Self { batches: batches.unwrap_or_default(), task, pairs, watch, consistency: None, max_tokens })
    }

    /// The same beside what holds prompts consistent in `model`, if `config` asks for it and the rows are in several languages.
    ///
    /// # Errors
    /// If there is no such layer.
    pub fn with_consistency(self, config: &TrainConfig, model: &CausalLm) -> Result<Self, TrainError> {
        let are_parallel = self.watch.rows.parallel_prompts().is_some_and(|prompts| !prompts.is_empty());
        let consistency = if are_parallel { ConsistencyTerm::new(config, self.watch.rows, model)? } else { None };
        Ok(Self { consistency, ..self })
    }

    /// The numbers of `model` by name, each a mean over rows, and again for each language as `key/sw`: `eval_loss`, what is
    /// minimized; `eval_rg`, the reward gap, nats per token; `eval_chosen` and `eval_rejected`, the mean log p per token of
    /// the safe and the unsafe answers; `eval_consistency`, how much of a prompt's states is in one direction, where prompts are
    /// held consistent; `eval_refused/unsafe`, `eval_undecided/unsafe`, `eval_kept/unsafe` and the same of
    /// `benign`, the shares of sampled answers that refuse, whose language cannot be told, and, of the others, that are in the
    /// language of the prompt. A number that is not finite is left out, and `progress` is told. The model is that of `step`.
    /// Ranks share the rows; the first one samples alone.
    ///
    /// # Errors
    /// If `progress` is stopped, on any rank.
    pub(crate) fn measure(
        &self,
        model: &CausalLm,
        step: u64,
        ranks: &dyn Collective,
        progress: &dyn Progress,
    ) -> Result<MeasuredEvent, TrainError> {
        let in_batches: usize = self.batches.iter().map(Vec::len).sum();
        let stage = progress.begin("measuring held-out rows", Some(in_batches + self.pairs.len()));
        let mut rows = vec![];
        if let Some(task) = &self.task {
            let valid = model.valid();
            for batch in &self.batches {
                let shared = shared(&**task, batch, model, ranks).map(|(_, number)| number);
                let own = own_share(ranks, batch, |&row| task.tokens(row));
                let (mut losses, mut is_stopped) = (vec![], false);
                for part in chunks(own, self.max_tokens, |&row| task.tokens(row)) {
                    is_stopped |= stage.is_stopped();
                    if is_stopped {
                        break;
                    }
                    let work = task.losses(part, shared);
                    let of = values((work.then)(&valid.forward(&work.batch)).losses);
                    losses.extend(of.into_iter().map(f64::from));
                    stage.advance(part.len());
                }
                if ranks.any(is_stopped) {
                    return Err(TrainError::Interrupted);
                }
                stage.advance(batch.len() - own.len());
                for (row, loss) in batch.iter().zip(merged(ranks, losses)) {
                    let values = vec![(EVAL_LOSS, loss)];
                    rows.push(RowValues { values, ..task.describe(*row) });
                }
            }
        }
        let scored = score_rows_among(ranks, model, &self.pairs, self.max_tokens, &*stage)?;
        for (scored, pair) in scored.iter().zip(&self.pairs) {
            let mean = |(sum, tokens): (f64, usize)| sum / tokens as f64;
            let values = vec![
                ("eval_rg", scored.reward_gap()),
                ("eval_chosen", mean(scored.chosen)),
                ("eval_rejected", mean(scored.rejected)),
            ];
            rows.push(RowValues { values, ..RowValues::new(Some(pair.language), pair.origin.to_string()) });
        }
        if let Some(consistency) = &self.consistency {
            rows.extend(consistency.measure(model, self.max_tokens)?);
        }
        drop(stage);
        let sampler = self.watch.sampler.filter(|_| ranks.is_first());
        let samples = match sampler.map(|sampler| sampler.sample(model, progress)).transpose() {
            Err(TrainError::Interrupted) => None,
            samples => samples?.or(Some(vec![])),
        };
        if ranks.any(samples.is_none()) {
            return Err(TrainError::Interrupted);
        }
        let samples = samples.unwrap_or_default();
        rows.extend(samples.iter().map(SampledAnswer::values));
        let mut metrics = means(&rows);
        let broken: Vec<String> = metrics.extract_if(.., |_, value| !value.is_finite()).map(|(key, _)| key).collect();
        if !broken.is_empty() {
            progress.note(&format_args!("left out, as it is not finite: {}", broken.join(", ")));
        }
        Ok(MeasuredEvent { step, trained_on: self.watch.trained_on, metrics, samples, warnings: vec![] })
    }
}

/// Refuses rows to measure on that lack what the run goes by, where it ends with the weights of its best step.
///
/// # Errors
/// If they have no loss, or none has the gap that it is.
pub fn check_held_out(rows: &TokenizedRows, objective: &dyn Objective, config: &TrainConfig) -> Result<(), TrainError> {
    let pairs = || rows.clone().into_pairs().unwrap_or_default();
    let languages: BTreeSet<Language> = match config.best_by() {
        None => return Ok(()),
        Some(Measure::Loss) => return check_rows(rows, objective, config),
        Some(Measure::Gap | Measure::GapIn(_)) => pairs().iter().map(|pair| pair.language).collect(),
    };
    let measure = config.best_by().filter(|measure| match measure {
        Measure::GapIn(language) => !languages.contains(language),
        _ => languages.is_empty(),
    });
    let Some(measure) = measure else {
        return Ok(());
    };
    let known: Vec<String> = languages.into_iter().map(|language| Measure::GapIn(language).to_string()).collect();
    let expected = match known.is_empty() {
        true => "eval_loss, as the rows that are measured have no pairs of answers".to_owned(),
        false => format!("eval_loss, eval_rg or one of {}, which the rows that are measured have", known.join(", ")),
    };
    Err(TrainError::setting("save_best", expected, measure.to_string()))
}
