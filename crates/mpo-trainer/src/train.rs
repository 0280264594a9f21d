//! The loop: batches, backward, clipping, the step, the log, checkpoints.

use std::time::Instant;

use burn::tensor::Tensor;
use mpo_models::{CausalLm, ModelConfig};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::checkpoint;
use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::events::{Event, EventLog, RowValues, StepEvent, means};
use crate::optimizer::{NamedGradients, Optimizer};
use crate::reference::values;
use crate::run_folder::RunFolder;
use crate::tasks::Task;

/// Whoever watches a run, and may stop it.
pub trait Progress {
    /// Something happened.
    fn event(&mut self, event: &Event);

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
pub struct Trainer<'a, T> {
    /// What is trained.
    pub task: &'a T,
    /// How.
    pub config: &'a TrainConfig,
    /// Where.
    pub run: &'a RunFolder,
    /// What the model's folder says, to write checkpoints.
    pub model_config: &'a ModelConfig,
    /// The digest of the weights it starts from.
    pub model_hash: &'a str,
}

impl<T: Task> Trainer<'_, T> {
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
        let total = self.config.total_steps(rows);
        let fingerprint = self.fingerprint();
        let options = self.config.optimizer_options();
        let resumed = checkpoint::load(self.run, &fingerprint, options, &device)?;
        let (start, mut model, mut optimizer) = match resumed {
            Some(resumed) => {
                // Else the weights that training began with would stay in memory to the end.
                drop(model);
                (resumed.step, resumed.model, resumed.optimizer)
            }
            None => (0, model, Optimizer::new(options)),
        };
        let mut log = EventLog::open(&self.run.events_file(), start)?;
        let mut tell = |event: Event| {
            progress.event(&event);
            log.write(&event).map(|()| progress.stop())
        };
        let mut stop = tell(Event::Started {
            step: start,
            total_steps: total,
            rows,
        })?;
        let began = Instant::now();
        for step in start..total {
            if stop {
                return Err(TrainError::Interrupted);
            }
            let lr = self.config.learning_rate(step, total);
            let batch = self.batch(step);
            let at = Instant::now();
            let (next, mut event) = self.step(model, &mut optimizer, &batch, lr)?;
            model = next;
            event.step = step + 1;
            event.epoch = self.epochs_after(step + 1);
            let tokens: usize = batch.iter().map(|&row| self.task.tokens(row)).sum();
            event.tokens_per_second = tokens as f64 / at.elapsed().as_secs_f64();
            let pace = began.elapsed().as_secs_f64() / (step + 1 - start) as f64;
            event.seconds_left = pace * (total - step - 1) as f64;
            stop = tell(Event::Step(event))?;
            let due = (step + 1) % self.config.checkpoint_every == 0;
            if due || stop || step + 1 == total {
                checkpoint::save(
                    self.run,
                    step + 1,
                    &fingerprint,
                    &model,
                    self.model_config,
                    &optimizer,
                )?;
                stop |= tell(Event::Checkpoint { step: step + 1 })?;
            }
        }
        tell(Event::Finished {
            step: total,
            seconds: began.elapsed().as_secs_f64(),
        })?;
        Ok(Outcome {
            model,
            steps: total,
        })
    }

    /// Passes over the rows after so many steps: the last batch of a pass may be a partial one.
    fn epochs_after(&self, steps: u64) -> f64 {
        let rows = self.task.rows();
        let per_epoch = rows.div_ceil(self.config.batch_size) as u64;
        let (whole, part) = (steps / per_epoch, steps % per_epoch);
        whole as f64 + part as f64 * self.config.batch_size as f64 / rows as f64
    }

    /// Rows of a step: each epoch is a shuffle of its own, which follows from the seed alone.
    fn batch(&self, step: u64) -> Vec<usize> {
        let rows = self.task.rows();
        let per_epoch = rows.div_ceil(self.config.batch_size) as u64;
        let (epoch, within) = (step / per_epoch, (step % per_epoch) as usize);
        let mut order: Vec<usize> = (0..rows).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed);
        rng.set_stream(epoch);
        if self.config.shuffle {
            order.shuffle(&mut rng);
        }
        let first = within * self.config.batch_size;
        order[first..(first + self.config.batch_size).min(rows)].to_vec()
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
        for rows in self.micro_batches(batch) {
            let micro = self.task.losses(&model, rows);
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

    /// Cuts a batch where the tokens of a micro-batch are full.
    fn micro_batches<'b>(&self, batch: &'b [usize]) -> Vec<&'b [usize]> {
        let mut parts = vec![];
        let mut rest = batch;
        while !rest.is_empty() {
            let mut tokens = 0;
            let fits = |&&row: &&usize| {
                tokens += self.task.tokens(row);
                tokens <= self.config.micro_batch_tokens
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (part, after) = rest.split_at(count);
            parts.push(part);
            rest = after;
        }
        parts
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
