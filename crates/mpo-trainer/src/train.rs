//! The loop: batches, steps, the log, checkpoints.

use std::time::Instant;

use mpo_collective::{Alone, Collective};
use mpo_data::Language;
use mpo_kernels::device_name;
use mpo_models::{CausalLm, ModelConfig, PassOptions, RunAgain};
use mpo_progress::Progress;

use crate::batches::Batches;
use crate::checkpoint;
use crate::consistency::ConsistencyTerm;
use crate::early_stop::EarlyStop;
use crate::error::TrainError;
use crate::events::{Event, EventLog, MeasuredEvent, StartedEvent, StepEvent};
use crate::folder::{RunFolder, WRITTEN_BY};
use crate::held_out::HeldOut;
use crate::optimizer::Optimizer;
use crate::ranks::{told_by_first, with_weights_of_first};
use crate::settings::TrainConfig;
use crate::step::Step;
use crate::tasks::Task;
use crate::time_left::TimeLeft;
use crate::warnings::History;

/// What a run came to.
#[derive(Debug)]
pub struct Trained {
    /// The trained model.
    pub model: CausalLm,
    /// Steps taken in all.
    pub steps: u64,
    /// The step whose weights they are, where a later one was no better.
    pub best: Option<u64>,
}

/// A run about to happen.
#[derive(Debug)]
pub struct Trainer<'a> {
    /// What is trained.
    pub task: &'a dyn Task,
    /// What holds prompts consistent beside it.
    pub consistency: Option<ConsistencyTerm>,
    /// How.
    pub config: &'a TrainConfig,
    /// Where.
    pub run: &'a RunFolder,
    /// What the model's folder says, to write checkpoints.
    pub model_config: &'a ModelConfig,
    /// The digest of the weights it starts from.
    pub model_hash: &'a str,
    /// The dominant language of rows in two languages, for the log.
    pub dominant: Option<Language>,
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
        self.run_among(&Alone, model, progress, on_event)
    }

    /// The same as one of several ranks, all of which begin with the same rows and weights. The first one reads and writes the
    /// run's folder; to the others theirs is of no use.
    ///
    /// # Errors
    /// Those of [`run`](Self::run). All ranks are stopped if one is; any other error is to end them all.
    pub fn run_among(
        &self,
        ranks: &dyn Collective,
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
        // A run that was given a later end takes the steps before that as it took them.
        let earlier = told_by_first(ranks, || Ok(self.run.earlier_ends()))?;
        let ends = [earlier, vec![total]].concat();
        let fingerprint = self.fingerprint()?;
        let found = match ranks.is_first() {
            true => checkpoint::find(self.run, &fingerprint, progress)?,
            false => None,
        };
        let resumed = || match &found {
            Some(found) => Ok((found.step(), found.early_stop()?)),
            None => Ok((0, EarlyStop::default())),
        };
        let (start, mut early) = told_by_first(ranks, resumed)?;
        let optimizer = Optimizer::new(self.config.optimizer_options(), &model.device())?.resumed(start);
        let mut model = match &found {
            Some(found) => found.weights(model)?,
            None => model,
        };
        model = with_weights_of_first(ranks, model).with_precision(self.config.precision());
        let mut optimizer = optimizer.among(ranks, &model);
        if start > 0 {
            checkpoint::restore(found, &model, &mut optimizer)?;
        }
        let pass = self.pass_options(&optimizer, &model);
        // The last step with a checkpoint.
        let mut saved = (start > 0).then_some(start);
        let open = || EventLog::open(self.run, start, self.config.log_to, progress);
        let mut log = ranks.is_first().then(open).transpose()?;
        if let Some(log) = &log {
            log.describe(&self.config.deciding()?)?;
        }
        // Whether any rank is to stop.
        let mut tell = |log: &mut Option<EventLog>, event: Event| {
            on_event(&event);
            let written = log.as_mut().map_or(Ok(()), |log| log.write(&event));
            written.map(|()| ranks.any(progress.is_stopped()))
        };
        let mut left = TimeLeft::new(self.config, &batches, self.held_out.is_some(), |row| self.task.tokens(row));
        let stage = progress.begin("training", Some(total as usize));
        stage.skip(start as usize);
        let started = self.started(start, total, &model);
        let mut stop = tell(&mut log, Event::Started(started))?;
        // An interrupt may have come before it.
        let before = log.as_ref().map_or(&[][..], EventLog::measured);
        let mut history = History::new(before);
        let is_measured = told_by_first(ranks, || Ok(before.iter().any(|event| event.step == start)))?;
        if let Some(held_out) = self.due(start, &ends).filter(|_| !is_measured) {
            let at = Instant::now();
            let event = measured(held_out, &model, start, ranks, progress);
            left.measuring_took(at.elapsed());
            // What the untouched model does is nothing that training did.
            let event = event.map_err(|error| if start == 0 { error } else { diverged(error, start, saved) })?;
            let event = event.ok_or(TrainError::Interrupted)?;
            let event = history.add(event);
            self.observe(&mut early, &event);
            if self.config.best_by().is_some() && start > 0 {
                // A checkpoint that knows of the measurement takes the place of one that does not.
                self.save(ranks, start, &fingerprint, &model, &optimizer, &early)?;
            }
            stop |= tell(&mut log, Event::Measured(event))?;
        }
        let mut steps = start;
        let began = Instant::now();
        for step in start..total {
            if stop {
                return Err(TrainError::Interrupted);
            }
            if ends.contains(&step) {
                early.go_on();
            }
            if self.is_over(&early) {
                break;
            }
            let end = ends.iter().find(|end| step < **end).unwrap_or(&total);
            let lr = self.config.learning_rate(step, *end);
            let batch = batches.batch(step);
            let at = Instant::now();
            let diverged = |error| diverged(error, step + 1, saved);
            let taken = Step {
                task: self.task,
                consistency: self.consistency.as_ref(),
                number: step,
                rows: &batch,
                max_tokens: self.config.micro_batch_tokens,
                pass,
                learning_rate: lr,
                stage: &*stage,
                ranks,
            };
            let (next, metrics) = taken.take(model, &mut optimizer).map_err(diverged)?;
            model = next;
            let took = at.elapsed();
            left.step_took(step, took);
            let left_now = left.after(step + 1);
            let event = StepEvent {
                step: step + 1,
                epoch: batches.epochs_after(step + 1),
                tokens_per_second: left.tokens(step) as f64 / took.as_secs_f64(),
                seconds_left: left_now.map(|left| left.as_secs_f64()),
                metrics,
            };
            stage.say(&event.to_string());
            stage.advance(1);
            stage.left(left_now);
            steps = step + 1;
            stop = tell(&mut log, Event::Step(event))?;
            let held_out = self.due(steps, &ends);
            let (mut is_best, mut is_unmeasured) = (false, held_out.is_some());
            if let Some(held_out) = held_out.filter(|_| !stop) {
                let at = Instant::now();
                match measured(held_out, &model, steps, ranks, progress).map_err(diverged)? {
                    None => stop = true,
                    Some(event) => {
                        left.measuring_took(at.elapsed());
                        let event = history.add(event);
                        (is_best, is_unmeasured) = (self.observe(&mut early, &event), false);
                        stop = tell(&mut log, Event::Measured(event))?;
                    }
                }
            }
            let due = steps % self.config.checkpoint_every == 0 || is_best || self.is_over(&early);
            if due || stop || ends.contains(&steps) {
                // Who goes on from the checkpoint finds the lines up to it.
                log.as_mut().map_or(Ok(()), EventLog::sync)?;
                let at = Instant::now();
                self.save(ranks, steps, &fingerprint, &model, &optimizer, &early).map_err(diverged)?;
                left.saving_took(at.elapsed());
                saved = Some(steps);
                stop |= tell(&mut log, Event::Checkpoint { step: steps })?;
            }
            if is_unmeasured {
                // The run that goes on measures, and then knows what it ends with.
                return Err(TrainError::Interrupted);
            }
        }
        drop(optimizer);
        let best = early.best().filter(|best| *best != steps);
        if let Some(best) = best {
            if ranks.is_first() {
                model = checkpoint::weights_of(self.run, best, &fingerprint, model)?;
            }
            model = with_weights_of_first(ranks, model).with_precision(self.config.precision());
            let measure = self.config.best_by().unwrap_or_default();
            tell(&mut log, Event::Best { step: steps, best, measure })?;
        }
        let finished = Event::Finished { step: steps, seconds: began.elapsed().as_secs_f64() };
        tell(&mut log, finished)?;
        log.as_mut().map_or(Ok(()), EventLog::sync)?;
        Ok(Trained { model, steps, best })
    }

    /// What the run goes on to do after `step` steps of `total_steps`, with what and where.
    fn started(&self, step: u64, total_steps: u64, model: &CausalLm) -> StartedEvent {
        let mut inputs = self.run.inputs();
        inputs.insert("model".into(), self.model_hash.into());
        StartedEvent {
            step,
            total_steps,
            rows: self.task.rows(),
            written_by: WRITTEN_BY.into(),
            device: device_name(&model.device()),
            dominant: self.dominant,
            inputs,
        }
    }

    /// Writes a checkpoint: the first rank does, of what all have.
    fn save(
        &self,
        ranks: &dyn Collective,
        step: u64,
        fingerprint: &str,
        model: &CausalLm,
        optimizer: &Optimizer<'_>,
        early: &EarlyStop,
    ) -> Result<(), TrainError> {
        if !ranks.is_first() {
            checkpoint::give(model, optimizer);
            return Ok(());
        }
        let early = self.config.best_by().map(|_| early);
        checkpoint::save(self.run, step, fingerprint, model, self.model_config, optimizer, early)?;
        let best = early.and_then(EarlyStop::best);
        checkpoint::remove_older(self.run, step, self.config.save_total_limit, best)
    }

    /// What is to be measured after so many steps.
    fn due(&self, step: u64, ends: &[u64]) -> Option<&HeldOut<'_>> {
        let every = self.config.eval_every?;
        self.held_out.as_ref().filter(|_| step.is_multiple_of(every) || ends.contains(&step))
    }

    /// Takes in a measurement, and says whether its weights are to be kept, for the run would end with them.
    fn observe(&self, early: &mut EarlyStop, measured: &MeasuredEvent) -> bool {
        self.config.best_by().is_some_and(|measure| early.observe(measured.step, measure, measured.value(measure)))
    }

    fn is_over(&self, early: &EarlyStop) -> bool {
        self.config.early_stop.is_some_and(|patience| early.is_over(patience))
    }

    /// What passes keep for their backward. Whoever has no room for gradients has none for the head's while layers are gone
    /// through.
    fn pass_options(&self, optimizer: &Optimizer<'_>, model: &CausalLm) -> PassOptions {
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
        // Of the end that it was started with, so that checkpoints of before it was given a later one are its own.
        let end = self.run.first_end();
        let config = end.map_or_else(|| self.config.clone(), |end| self.config.with_end(&end));
        let what = [self.task.fingerprint(), self.model_hash.to_owned(), config.fingerprint()?];
        let beside = self.consistency.as_ref().map(ConsistencyTerm::fingerprint);
        let mut hasher = blake3::Hasher::new();
        for part in what.into_iter().chain(beside) {
            hasher.update(part.as_bytes());
            hasher.update(&[0]);
        }
        Ok(hasher.finalize().to_string())
    }
}

/// What held-out rows come to; none if the run is to stop: then the one that goes on measures them.
fn measured(
    held_out: &HeldOut<'_>,
    model: &CausalLm,
    step: u64,
    ranks: &dyn Collective,
    progress: &dyn Progress,
) -> Result<Option<MeasuredEvent>, TrainError> {
    match held_out.measure(model, step, ranks, progress) {
        Ok(event) => Ok(Some(event)),
        Err(TrainError::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What can be gone back to after a step whose loss or gradient is NaN or infinite.
fn diverged(error: TrainError, step: u64, saved: Option<u64>) -> TrainError {
    match error {
        error @ TrainError::NotFinite { .. } => TrainError::Diverged { step, saved, error: Box::new(error) },
        error => error,
    }
}
