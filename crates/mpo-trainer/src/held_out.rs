//! Rows that a run is measured on while it trains: the loss that it minimizes, and reward gaps, by language.

use std::collections::BTreeMap;

use burn::module::Module;
use mpo_data::{LanguagePair, TokenizedRows};
use mpo_models::CausalLm;
use mpo_objectives::Objective;
use mpo_progress::Progress;

use crate::batches::Batches;
use crate::error::TrainError;
use crate::events::{RowValues, means};
use crate::pairs::chunks;
use crate::reference::{Reference, values};
use crate::score::score_rows;
use crate::settings::TrainConfig;
use crate::step::shared;
use crate::tasks::{Task, build_task, check_rows};

/// Held-out rows, ready to be measured.
#[derive(Debug)]
pub struct HeldOut<'a> {
    /// None where the rows are of another kind than those trained on.
    task: Option<Box<dyn Task + 'a>>,
    /// Rows whose losses are computed together: as in training, for the losses of some methods depend on it.
    batches: Vec<Vec<usize>>,
    /// Those that have reward gaps.
    pairs: Vec<LanguagePair>,
    max_tokens: usize,
}

/// The loss that is minimized.
pub(crate) const EVAL_LOSS: &str = "eval_loss";

impl<'a> HeldOut<'a> {
    /// `rows` for a run of `objective` as configured. What their loss needs of the reference is computed here.
    ///
    /// # Errors
    /// Those of `reference`.
    pub fn new(
        objective: &'a dyn Objective,
        rows: TokenizedRows,
        config: &TrainConfig,
        pad_token: u32,
        reference: &mut Reference<'_>,
    ) -> Result<Self, TrainError> {
        let max_tokens = config.micro_batch_tokens;
        // Each row once, in the order they came, however long the run is.
        let config = TrainConfig { epochs: 1, max_steps: None, shuffle: false, ..config.clone() };
        let pairs = rows.clone().into_pairs().unwrap_or_default();
        let task = match check_rows(&rows, objective, &config) {
            Ok(()) => Some(build_task(objective, rows, &config, pad_token, reference)?),
            // Whoever trains on single answers may have nothing but pairs to measure on.
            Err(_) => None,
        };
        let batches = task.as_ref().map(|task| Batches::new(&config, task.rows(), task.min_batch()).of_epoch(0));
        Ok(Self { batches: batches.unwrap_or_default(), task, pairs, max_tokens })
    }

    /// The numbers of `model` by name, each a mean over rows, and again for each language as `key/sw`: `eval_loss`, what is
    /// minimized; `eval_rg`, the reward gap, nats per token; `eval_chosen` and `eval_rejected`, the mean log p per token of
    /// the safe and the unsafe answers. A number that is not finite is left out.
    ///
    /// # Errors
    /// If `progress` is stopped.
    pub(crate) fn measure(
        &self,
        model: &CausalLm,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, f64>, TrainError> {
        let in_batches: usize = self.batches.iter().map(Vec::len).sum();
        let stage = progress.begin("measuring held-out rows", Some(in_batches + self.pairs.len()));
        let mut rows = vec![];
        if let Some(task) = &self.task {
            let valid = model.valid();
            for batch in &self.batches {
                let shared = shared(&**task, batch, model).map(|(_, number)| number);
                for part in chunks(batch, self.max_tokens, |&row| task.tokens(row)) {
                    if stage.is_stopped() {
                        return Err(TrainError::Interrupted);
                    }
                    let work = task.losses(part, shared);
                    let losses = values((work.then)(&valid.forward(&work.batch)).losses);
                    for (row, loss) in part.iter().zip(losses) {
                        let values = vec![(EVAL_LOSS, f64::from(loss))];
                        rows.push(RowValues { values, ..task.describe(*row) });
                    }
                    stage.advance(part.len());
                }
            }
        }
        let scored = score_rows(model, &self.pairs, self.max_tokens, &*stage)?;
        for (scored, pair) in scored.iter().zip(&self.pairs) {
            let mean = |(sum, tokens): (f64, usize)| sum / tokens as f64;
            let values = vec![
                ("eval_rg", scored.reward_gap()),
                ("eval_chosen", mean(scored.chosen)),
                ("eval_rejected", mean(scored.rejected)),
            ];
            rows.push(RowValues { values, ..RowValues::new(Some(pair.language), pair.origin.to_string()) });
        }
        let mut metrics = means(&rows);
        metrics.retain(|_, value| value.is_finite());
        Ok(metrics)
    }
}
