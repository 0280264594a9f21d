//! What would make a run fit.

use serde::Serialize;

use super::{Planner, Tuning};
use crate::settings::{AdapterKind, Choice, Recompute, TrainConfig};

/// Settings that take less memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// Keys and values.
    pub settings: Vec<(&'static str, String)>,
    /// The most bytes in the device's memory with them.
    pub bytes: u64,
    /// Whether that fits.
    pub fits: bool,
}

/// A setting that takes less memory. One that another kind of memory pays for is added here.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// Layers are run again: more time, the same numbers.
    Recompute,
    /// Rows pass through the model one at a time: the same numbers but for roundings, and more time on a GPU.
    MicroBatch(usize),
    /// An adapter is trained in place of the weights: another model.
    Adapter,
}

impl Change {
    fn setting(self) -> (&'static str, String) {
        match self {
            Self::Recompute => ("recompute", Recompute::On.to_string()),
            Self::MicroBatch(tokens) => ("micro_batch_tokens", tokens.to_string()),
            Self::Adapter => ("adapter", AdapterKind::Lora.name().to_owned()),
        }
    }

    fn apply(self, config: TrainConfig) -> TrainConfig {
        match self {
            Self::Recompute => TrainConfig { recompute: Recompute::On, ..config },
            Self::MicroBatch(tokens) => TrainConfig { micro_batch_tokens: tokens, ..config },
            Self::Adapter => TrainConfig { adapter: Some(AdapterKind::Lora), ..config },
        }
    }
}

impl Planner<'_> {
    /// Settings with which a run that does not fit would, those that change least first; if there are none, those that take
    /// least.
    pub fn remedies(&self, config: &TrainConfig) -> Vec<Remedy> {
        // A row is the least that passes through the model at once.
        let row = self.rows.iter().map(|row| row.tokens).max().unwrap_or(1);
        let again = (config.recompute == Recompute::Off).then_some(Change::Recompute);
        let smaller = (row < config.micro_batch_tokens).then_some(Change::MicroBatch(row));
        let adapter = (self.model.tuning(config) == Tuning::Full).then_some(Change::Adapter);
        let mut tried: Vec<Remedy> = vec![];
        for changes in [
            [again, None, None],
            [smaller, None, None],
            [again, smaller, None],
            [adapter, None, None],
            [adapter, again, None],
            [adapter, again, smaller],
        ] {
            let remedy = self.with(config, changes.into_iter().flatten());
            if !remedy.settings.is_empty() && tried.iter().all(|other| other.settings != remedy.settings) {
                tried.push(remedy);
            }
        }
        if tried.iter().any(|remedy| remedy.fits) {
            tried.retain(|remedy| remedy.fits);
        } else {
            tried.sort_by_key(|remedy| remedy.bytes);
            tried.truncate(1);
        }
        tried
    }

    fn with(&self, config: &TrainConfig, changes: impl Iterator<Item = Change> + Clone) -> Remedy {
        let changed = changes.clone().fold(config.clone(), |config, change| change.apply(config));
        let bytes = self.plan(&changed).estimate.bytes();
        Remedy { settings: changes.map(Change::setting).collect(), bytes, fits: self.machine.room.has(bytes) }
    }
}
