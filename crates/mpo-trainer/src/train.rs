//! The loop: batches, backward, clipping, the step, the log, checkpoints.

use std::time::Instant;

use burn::tensor::Tensor;
use mpo_models::{CausalLm, ModelConfig};

use crate::batches::Batches;
use crate::checkpoint;
use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::events::{Event, EventLog, RowValues, StepEvent, means};
use crate::folder::RunFolder;
use crate::optimizer::{NamedGradients, Optimizer};
use crate::pack::chunks;
use crate::reference::values;
use crate::tasks::Task;

/// Whoever watches a run, and may stop it.
pub trait Progress {
    /// Something happened.
    fn event(&mut self, event: &Event);

    /// The user is to know something that is no event.
    fn note(&mut self, _text: &str) {}

    /// Whether the run should write a checkpoint and stop after the present step.
    fn stop(&self) -> bool;
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The trained model.
    pub model: CausalLm,
    /// Steps taken in all.
    pub steps: u64,
}

/// A run about to happen.
#[derive(Debug)]
pub struct Trainer<'a> {
    /// What is trained.
    pub task: &'a dyn Task,
    /// How.
    pub config: &'a TrainConfig,
    /// Where.
    pub run: &'a RunFolder,
    /// What the model's folder says, to write checkpoints.
    pub model_config: &'a ModelConfig,
    /// The digest of the weights it starts from.
    pub model_hash: &'a str,
}

impl Trainer<'_> {
    /// Trains `model` from the run's last checkpoint, or from the start if there is none.
    ///
    /// # Errors
    /// If a loss or gradient is not finite (the last checkpoint is intact), a file cannot be written, or `progress` said
    /// stop (then after a checkpoint).
    pub fn run(
        &self,
        model: CausalLm,
        progress: &mut impl Progress,
    ) -> Result<Outcome, TrainError> {
        let rows = self.task.rows();
        if rows == 0 {
            return Err(TrainError::NoRows);
        }
        let device = model.device();
        let batches = Batches::new(self.config, rows, self.task.min_batch());
        let total = batches.total();
        let fingerprint = self.fingerprint();
        let options = self.config.optimizer_options();
        let mut note = |text: String| progress.note(&text);
        let resumed = checkpoint::load(self.run, &fingerprint, options, &device, &mut note)?;
        let (start, mut model, mut optimizer) = match resumed {
            Some(resumed) => {
                // Else the weights that training began with would stay in memory to the end.
                drop(model);
                (resumed.step, resumed.model, resumed.optimizer)
            }
            None => (0, model, Optimizer::new(options)),
        };
        // The last step with a checkpoint.
        let mut saved = (start > 0).then_some(start);
        let mut log = EventLog::open(self.run, start, &mut note)?;
        let mut tell = |log: &mut EventLog, event: Event| {
            progress.event(&event);
            log.write(&event).map(|()| progress.stop())
        };
        let started = Event::Started {
            step: start,
            total_steps: total,
            rows,
        };
        let mut stop = tell(&mut log, started)?;
        let began = Instant::now();
        for step in start..total {
            if stop {
                return Err(TrainError::Interrupted);
            }
            let lr = self.config.learning_rate(step, total);
            let batch = batches.batch(step);
            let at = Instant::now();
            let diverged = |error| diverged(error, step + 1, saved);
            let (next, mut event) = self
                .step(model, &mut optimizer, &batch, lr)
                .map_err(diverged)?;
            model = next;
            event.step = step + 1;
            event.epoch = batches.epochs_after(step + 1);
            let tokens: usize = batch.iter().map(|&row| self.task.tokens(row)).sum();
            event.tokens_per_second = tokens as f64 / at.elapsed().as_secs_f64();
            let pace = began.elapsed().as_secs_f64() / (step + 1 - start) as f64;
            event.seconds_left = pace * (total - step - 1) as f64;
            stop = tell(&mut log, Event::Step(event))?;
            let due = (step + 1) % self.config.checkpoint_every == 0;
            if due || stop || step + 1 == total {
                // Who goes on from the checkpoint finds the lines up to it.
                log.sync()?;
                checkpoint::save(
                    self.run,
                    step + 1,
                    &fingerprint,
                    &model,
                    self.model_config,
                    &optimizer,
                )
                .map_err(diverged)?;
                saved = Some(step + 1);
                stop |= tell(&mut log, Event::Checkpoint { step: step + 1 })?;
            }
        }
        let finished = Event::Finished {
            step: total,
            seconds: began.elapsed().as_secs_f64(),
        };
        tell(&mut log, finished)?;
        log.sync()?;
        Ok(Outcome {
            model,
            steps: total,
        })
    }

    /// One optimizer step over `batch`, in micro-batches of at most so many tokens.
    fn step(
        &self,
        model: CausalLm,
        optimizer: &mut Optimizer,
        batch: &[usize],
        lr: f64,
    ) -> Result<(CausalLm, StepEvent), TrainError> {
        let mut accumulated: Option<NamedGradients> = None;
        let mut described: Vec<RowValues> = vec![];
        let shared = self.task.shared(&model, batch);
        let tokens = |&row: &usize| self.task.tokens(row);
        for rows in chunks(batch, self.config.micro_batch_tokens, tokens) {
            let micro = self.task.losses(&model, rows, &shared);
            // Read before the backward: a loss that is not a number must name its row, and cost no more time.
            let losses = values(micro.losses.clone());
            described.extend(self.describe(rows, &losses, micro.columns)?);
            let loss = micro.losses.sum().div_scalar(batch.len() as f32);
            let mut gradients = loss.backward();
            let gradients = model.take_gradients(&mut gradients);
            accumulated = Some(match accumulated {
                None => gradients,
                Some(sum) => add(sum, gradients),
            });
        }
        let gradients = accumulated.ok_or(TrainError::NoRows)?;
        let norm = Optimizer::global_norm(&gradients);
        if !norm.is_finite() {
            let rows: Vec<&str> = described.iter().map(|row| row.origin.as_str()).collect();
            return Err(TrainError::NotFinite {
                what: "the gradient's norm",
                value: norm,
                row: format!("one of {}", rows.join("; ")),
            });
        }
        let model = optimizer.step(model, gradients, norm, lr);
        let mut metrics = means(&described);
        metrics.extend(
            shared
                .0
                .iter()
                .map(|&(name, value)| (name.to_owned(), value)),
        );
        metrics.insert("grad_norm".into(), norm);
        metrics.insert("learning_rate".into(), lr);
        let event = StepEvent {
            step: 0,
            epoch: 0.0,
            tokens_per_second: 0.0,
            seconds_left: 0.0,
            metrics,
        };
        Ok((model, event))
    }

    fn describe(
        &self,
        rows: &[usize],
        losses: &[f32],
        columns: Vec<(&'static str, Tensor<1>)>,
    ) -> Result<Vec<RowValues>, TrainError> {
        let mut described: Vec<RowValues> =
            rows.iter().map(|&row| self.task.describe(row)).collect();
        for (row, &loss) in described.iter_mut().zip(losses) {
            if !loss.is_finite() {
                return Err(TrainError::NotFinite {
                    what: "the loss",
                    value: f64::from(loss),
                    row: row.origin.clone(),
                });
            }
            row.values.push(("loss", f64::from(loss)));
        }
        for (name, column) in columns {
            for (row, value) in described.iter_mut().zip(values(column)) {
                row.values.push((name, f64::from(value)));
            }
        }
        Ok(described)
    }

    fn fingerprint(&self) -> String {
        let what = [
            &self.task.fingerprint(),
            self.model_hash,
            &self.config.fingerprint(),
        ];
        let mut hasher = blake3::Hasher::new();
        for part in what {
            hasher.update(part.as_bytes());
            hasher.update(&[0]);
        }
        hasher.finalize().to_string()
    }
}

/// Of a step that came to numbers that are none, what can be gone back to.
fn diverged(error: TrainError, step: u64, saved: Option<u64>) -> TrainError {
    match error {
        error @ TrainError::NotFinite { .. } => TrainError::Diverged {
            step,
            saved,
            error: Box::new(error),
        },
        error => error,
    }
}

fn add(sum: NamedGradients, gradients: NamedGradients) -> NamedGradients {
    sum.into_iter()
        .zip(gradients)
        .map(|((name, sum), (_, gradient))| {
            let total = match (sum, gradient) {
                (Some(sum), Some(gradient)) => Some(sum + gradient),
                (one, other) => one.or(other),
            };
            (name, total)
        })
        .collect()
}
