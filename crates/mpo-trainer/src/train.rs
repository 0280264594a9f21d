//! The loop: batches, steps, the log, checkpoints.

use std::time::Instant;

use mpo_models::{CausalLm, ModelConfig, PassOptions, RunAgain};
use mpo_progress::Progress;

use crate::batches::Batches;
use crate::checkpoint::{self, Resumed};
use crate::error::TrainError;
use crate::events::{Event, EventLog, MeasuredEvent, StepEvent};
use crate::folder::RunFolder;
use crate::held_out::{HeldOut, Measured};
use crate::optimizer::Optimizer;
use crate::settings::TrainConfig;
use crate::step::Step;
use crate::tasks::Task;

/// What a run came to.
#[derive(Debug)]
pub struct Trained {
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
    /// Whether layers are run again in the backward instead of being kept.
    pub recompute: bool,
    /// What is measured every `eval_every` steps.
    pub held_out: Option<HeldOut<'a>>,
}

impl Trainer<'_> {
    /// Trains `model` from the run's last checkpoint, or from the start if there is none. `on_event` is told of everything
    /// that happens.
    ///
    /// # Errors
    /// If a loss or gradient is not finite (the last checkpoint is intact), a file cannot be written, or `progress` is
    /// stopped (then after a checkpoint).
    pub fn run(
        &self,
        model: CausalLm,
        progress: &dyn Progress,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Trained, TrainError> {
        let rows = self.task.rows();
        if rows == 0 {
            return Err(TrainError::NoRows);
        }
        let batches = Batches::new(self.config, rows, self.task.min_batch());
        let total = batches.total();
        let fingerprint = self.fingerprint()?;
        let options = self.config.optimizer_options();
        let (start, mut model, mut optimizer) = match checkpoint::find(self.run, &fingerprint, progress)? {
            Some(found) => {
                let Resumed { step, model, optimizer } = found.load(options, model)?;
                (step, model, optimizer)
            }
            None => {
                let optimizer = Optimizer::new(options, &model.device())?;
                (0, model, optimizer)
            }
        };
        model = model.with_precision(self.config.precision());
        let pass = self.pass_options(&optimizer, &model);
        // The last step with a checkpoint.
        let mut saved = (start > 0).then_some(start);
        let mut log = EventLog::open(self.run, start, progress)?;
        let mut tell = |log: &mut EventLog, event: Event| {
            on_event(&event);
            log.write(&event).map(|()| progress.is_stopped())
        };
        let stage = progress.begin("training", Some(total as usize));
        stage.skip(start as usize);
        let started = Event::Started { step: start, total_steps: total, rows };
        let mut stop = tell(&mut log, started)?;
        // An interrupt may have come before it.
        if self.measures_after(start, total) && !log.has_measured() {
            stop |= self.measure(&model, start, progress, |event| tell(&mut log, event))?;
        }
        let began = Instant::now();
        for step in start..total {
            if stop {
                return Err(TrainError::Interrupted);
            }
            let lr = self.config.learning_rate(step, total);
            let batch = batches.batch(step);
            let at = Instant::now();
            let diverged = |error| diverged(error, step + 1, saved);
            let taken = Step {
                task: self.task,
                rows: &batch,
                max_tokens: self.config.micro_batch_tokens,
                pass,
                learning_rate: lr,
            };
            let (next, metrics) = taken.take(model, &mut optimizer).map_err(diverged)?;
            model = next;
            let tokens: usize = batch.iter().map(|&row| self.task.tokens(row)).sum();
            let pace = began.elapsed().as_secs_f64() / (step + 1 - start) as f64;
            let event = StepEvent {
                step: step + 1,
                epoch: batches.epochs_after(step + 1),
                tokens_per_second: tokens as f64 / at.elapsed().as_secs_f64(),
                seconds_left: pace * (total - step - 1) as f64,
                metrics,
            };
            stage.say(&event.to_string());
            stage.advance(1);
            stop = tell(&mut log, Event::Step(event))?;
            if self.measures_after(step + 1, total) && !stop {
                stop = self.measure(&model, step + 1, progress, |event| tell(&mut log, event))?;
            }
            let due = (step + 1) % self.config.checkpoint_every == 0;
            if due || stop || step + 1 == total {
                // Who goes on from the checkpoint finds the lines up to it.
                log.sync()?;
                checkpoint::save(self.run, step + 1, &fingerprint, &model, self.model_config, &optimizer)
                    .map_err(diverged)?;
                saved = Some(step + 1);
                stop |= tell(&mut log, Event::Checkpoint { step: step + 1 })?;
            }
        }
        let finished = Event::Finished { step: total, seconds: began.elapsed().as_secs_f64() };
        tell(&mut log, finished)?;
        log.sync()?;
        Ok(Trained { model, steps: total })
    }

    /// Whether held-out rows are measured after so many steps.
    fn measures_after(&self, step: u64, total: u64) -> bool {
        let every = self.config.eval_every.filter(|_| self.held_out.is_some());
        every.is_some_and(|every| step.is_multiple_of(every) || step == total)
    }

    /// Measures held-out rows, and says whether the run is to stop: then it is not told of, and the run that goes on measures.
    fn measure(
        &self,
        model: &CausalLm,
        step: u64,
        progress: &dyn Progress,
        tell: impl FnOnce(Event) -> Result<bool, TrainError>,
    ) -> Result<bool, TrainError> {
        let Some(held_out) = &self.held_out else {
            return Ok(false);
        };
        match held_out.measure(model, progress) {
            Ok(Measured { metrics, samples }) => tell(Event::Measured(MeasuredEvent { step, metrics, samples })),
            Err(TrainError::Interrupted) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// What passes keep for their backward. Whoever has no room for gradients has none for the head's while layers are gone
    /// through.
    fn pass_options(&self, optimizer: &Optimizer, model: &CausalLm) -> PassOptions {
        let keeps = optimizer.keeps_gradients() || model.adapter().is_some();
        let again = match (self.recompute, keeps) {
            (false, _) => RunAgain::Nothing,
            (true, true) => RunAgain::Layers,
            (true, false) => RunAgain::LayersAndHead,
        };
        PassOptions { again, head_memory: self.config.head_memory(self.recompute) }
    }

    /// Identifies what decides the weights that the run ends with: a checkpoint of anything else is not gone on from.
    fn fingerprint(&self) -> Result<String, TrainError> {
        let what = [&self.task.fingerprint(), self.model_hash, &self.config.fingerprint()?];
        let mut hasher = blake3::Hasher::new();
        for part in what {
            hasher.update(part.as_bytes());
            hasher.update(&[0]);
        }
        Ok(hasher.finalize().to_string())
    }
}

/// What can be gone back to after a step whose loss or gradient is NaN or infinite.
fn diverged(error: TrainError, step: u64, saved: Option<u64>) -> TrainError {
    match error {
        error @ TrainError::NotFinite { .. } => TrainError::Diverged { step, saved, error: Box::new(error) },
        error => error,
    }
}
