//! One optimizer step: forward, backward, accumulation, the gradient's norm, the update.
//!
//! A task says what passes through the model and what is made of it; only here is the model run. Numbers are read from the
//! device once a step, after every backward has been sent to it.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{DType, Tensor};
use mpo_collective::Collective;
use mpo_kernels::allocator::give_back_freed_memory;
use mpo_models::{Accumulator, CausalLm, PassOptions, RunAgain};
use mpo_progress::Stage;

use crate::consistency::ConsistencyTerm;
use crate::error::TrainError;
use crate::events::{RowValues, means};
use crate::optimizer::Optimizer;
use crate::pairs::chunks;
use crate::ranks::{merged, own_share, shares};
use crate::reference::values;
use crate::tasks::{MicroBatch, Task};

/// What a step is taken on.
pub(crate) struct Step<'a> {
    pub(crate) task: &'a dyn Task,
    /// What holds prompts consistent beside it.
    pub(crate) consistency: Option<&'a ConsistencyTerm>,
    /// Its number, from 0.
    pub(crate) number: u64,
    /// Rows of the batch.
    pub(crate) rows: &'a [usize],
    /// Tokens that pass through the model at once.
    pub(crate) max_tokens: usize,
    /// What is kept for the backward.
    pub(crate) pass: PassOptions,
    pub(crate) learning_rate: f64,
    /// Who is told how far within the step it is.
    pub(crate) stage: &'a dyn Stage,
    /// Who takes it: each a share of the rows, and its own part of the update.
    pub(crate) ranks: &'a dyn Collective,
}

impl Step<'_> {
    /// Takes the step. Returns the model after it and the step's numbers by name.
    pub(crate) fn take(
        &self,
        model: CausalLm,
        optimizer: &mut Optimizer<'_>,
    ) -> Result<(CausalLm, BTreeMap<String, f64>), TrainError> {
        let shared = shared(self.task, self.rows, &model, self.ranks);
        let mut gradients = Accumulator::default();
        let mut done: Vec<(&[usize], MicroBatch)> = vec![];
        let own = own_share(self.ranks, self.rows, |&row| self.task.tokens(row));
        // Whoever has no row passes one that is another's for nothing: so it has gradients of the same parameters as others.
        let (own, is_idle) = if own.is_empty() { (&self.rows[..1], true) } else { (own, false) };
        let parts: Vec<&[usize]> = chunks(own, self.max_tokens, |&row| self.task.tokens(row)).collect();
        for (number, rows) in parts.iter().copied().enumerate() {
            self.stage.within(number, parts.len());
            let work = self.task.losses(rows, shared.map(|(_, value)| value));
            let (outputs, pass) = model.forward_training(&work.batch, self.pass);
            let micro = (work.then)(&outputs);
            drop(outputs);
            let loss = micro.losses.clone().sum();
            let loss = loss.div_scalar(self.rows.len() as f32);
            let loss = if is_idle { loss.mul_scalar(0.0) } else { loss };
            gradients.add(&model, loss, pass);
            done.push((rows, micro.detached()));
        }
        // Its prompts are no rows to share: the first rank's gradients have all of it.
        let term = self.consistency.filter(|_| self.ranks.is_first());
        let beside = term.map(|term| term.add(self.number, &model, self.pass, self.max_tokens, &mut gradients));
        let beside = beside.transpose()?.flatten();
        // The update is yet to come, and on a GPU most of the work.
        self.stage.within(parts.len(), parts.len());
        // Passes leave pieces, and parameters and their gradients are other pieces. Who keeps no gradients has no room for both.
        let is_short = self.pass.again == RunAgain::LayersAndHead;
        if is_short {
            give_back_freed_memory();
        }
        let mut metrics = BTreeMap::new();
        let model = optimizer.step(model, gradients.walk(), self.learning_rate, |squares| {
            let (rows, norm) = self.read(done, squares, is_idle)?;
            metrics = means(&rows);
            metrics.insert("grad_norm".into(), norm);
            Ok(norm)
        })?;
        if is_short {
            give_back_freed_memory();
        }
        metrics.extend(shared.map(|(name, value)| (name.to_owned(), value)));
        metrics.extend(beside.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)));
        metrics.insert("learning_rate".into(), self.learning_rate);
        Ok((model, metrics))
    }

    /// Every row's numbers and the gradient's norm, whose `squares` are given for each parameter. What an idle rank has done is
    /// another's.
    fn read(
        &self,
        done: Vec<(&[usize], MicroBatch)>,
        squares: Vec<Tensor<1>>,
        is_idle: bool,
    ) -> Result<(Vec<RowValues>, f64), TrainError> {
        let columns = done.iter().flat_map(|(_, micro)| micro.columns());
        let all: Vec<Tensor<1>> =
            columns.map(|(_, column)| column).chain(squares).map(|tensor| tensor.cast(DType::F32)).collect();
        let all = values(Tensor::cat(all, 0));
        let mut all = all.into_iter().map(f64::from);
        let mut described = vec![];
        for (rows, micro) in &done {
            let mut of: Vec<RowValues> = rows.iter().map(|&row| self.task.describe(row)).collect();
            for (name, _) in micro.columns() {
                for row in &mut of {
                    let value = all.next().expect("a number for each row of each column");
                    row.values.push((name, value));
                }
            }
            described.append(&mut of);
        }
        if self.ranks.is_many() {
            described = self.of_all(&described, is_idle);
        }
        for row in &described {
            let loss = row.values.iter().find(|(name, _)| *name == LOSS);
            if let Some((_, value)) = loss.filter(|(_, value)| !value.is_finite()) {
                return Err(TrainError::NotFinite { what: "the loss", value: *value, row: row.origin.clone() });
            }
        }
        let norm = all.sum::<f64>().sqrt();
        if !norm.is_finite() {
            let rows: Vec<&str> = described.iter().map(|row| row.origin.as_str()).collect();
            return Err(TrainError::NotFinite {
                what: "the gradient's norm",
                value: norm,
                row: format!("one of {}", rows.join("; ")),
            });
        }
        Ok((described, norm))
    }

    /// The rows of the batch with their numbers, of which this rank has made those of `own`.
    fn of_all(&self, own: &[RowValues], is_idle: bool) -> Vec<RowValues> {
        let names: Vec<&'static str> = own[0].values.iter().map(|(name, _)| *name).collect();
        let made = if is_idle { &own[..0] } else { own };
        let made = made.iter().flat_map(|row| row.values.iter().map(|(_, value)| *value));
        let all = merged(self.ranks, made.collect());
        let rows = self.rows.iter().zip(all.chunks(names.len()));
        rows.map(|(&row, values)| {
            let values = names.iter().copied().zip(values.iter().copied()).collect();
            RowValues { values, ..self.task.describe(row) }
        })
        .collect()
    }
}

/// What the losses of a batch share, under its name: made by all ranks, and known to all.
pub(crate) fn shared(
    task: &dyn Task,
    rows: &[usize],
    model: &CausalLm,
    ranks: &dyn Collective,
) -> Option<(&'static str, f64)> {
    let asked = task.shared(rows)?;
    let model = model.valid();
    let sizes: Vec<usize> = asked.work.iter().map(|work| work.batch.tokens()).collect();
    let own = shares(&sizes, ranks.size())[ranks.rank()].clone();
    let numbers = asked.work.into_iter().skip(own.start).take(own.len()).flat_map(|work| {
        let of = (work.then)(&model.forward(&work.batch));
        values(of).into_iter().map(f64::from).collect::<Vec<f64>>()
    });
    let numbers = merged(ranks, numbers.collect());
    Some((asked.name, (asked.of)(&numbers)))
}

/// What is minimized, in the log.
pub(crate) const LOSS: &str = "loss";
