//! What would make a run fit.

use serde::Serialize;

use super::{Base, Hardware, Planner, Tuning};
use crate::settings::{AdapterKind, Choice, OptimizerState, QuantizationChoice, Recompute, TrainConfig};

/// Settings that take less memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// Keys and values.
    pub settings: Vec<(&'static str, String)>,
    /// The most bytes in the device's memory with them.
    pub bytes: u64,
    /// The most in the machine's memory beside a GPU's.
    pub host_bytes: u64,
    /// Whether that fits.
    pub fits: bool,
}

/// A setting that takes less memory. One that another kind of memory pays for is added here.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    /// Layers are run again: more time, the same numbers.
    Recompute,
    /// Rows pass through the model one at a time: the same numbers but for roundings, and more time on a GPU.
    MicroBatch(usize),
    /// The optimizer works in the host's memory: more time, the same numbers but for roundings. Or its moments are bf16: other
    /// numbers.
    OptimizerState(OptimizerState),
    /// An adapter is trained in place of the weights: another model.
    Adapter,
    /// The weights beside it are stored in four bits: another model, and another reference.
    Quantization,
}

impl Change {
    fn setting(self) -> (&'static str, String) {
        match self {
            Self::Recompute => ("recompute", Recompute::On.to_string()),
            Self::MicroBatch(tokens) => ("micro_batch_tokens", tokens.to_string()),
            Self::OptimizerState(state) => ("optimizer_state", state.to_string()),
            Self::Adapter => ("adapter", AdapterKind::Lora.name().to_owned()),
            Self::Quantization => ("quantization", QuantizationChoice::Nf4.name().to_owned()),
        }
    }

    fn apply(self, config: TrainConfig) -> TrainConfig {
        match self {
            Self::Recompute => TrainConfig { recompute: Recompute::On, ..config },
            Self::MicroBatch(tokens) => TrainConfig { micro_batch_tokens: tokens, ..config },
            Self::OptimizerState(state) => TrainConfig { optimizer_state: state, ..config },
            Self::Adapter => TrainConfig { adapter: Some(AdapterKind::Lora), ..config },
            Self::Quantization => TrainConfig { quantization: Some(QuantizationChoice::Nf4), ..config },
        }
    }
}

impl Planner<'_> {
    /// Settings with which a run that does not fit would, those that cost its user least first, and none that do more than
    /// others that fit; if there are none, those that take least.
    pub fn remedies(&self, config: &TrainConfig) -> Vec<Remedy> {
        let mut fitting: Vec<(Vec<Change>, Remedy)> = vec![];
        let mut least: Option<Remedy> = None;
        for changes in self.changes(config) {
            if fitting.iter().any(|(fewer, _)| fewer.iter().all(|change| changes.contains(change))) {
                continue;
            }
            let remedy = self.with(config, &changes);
            if remedy.fits {
                fitting.push((changes, remedy));
            } else if least.as_ref().is_none_or(|least| remedy.bytes < least.bytes) {
                least = Some(remedy);
            }
        }
        if fitting.is_empty() {
            return least.into_iter().collect();
        }
        fitting.into_iter().map(|(_, remedy)| remedy).collect()
    }

    /// What may be changed, the cheapest first: what costs time alone, then that beside the optimizer's state, then beside an
    /// adapter, then beside one of weights in four bits.
    fn changes(&self, config: &TrainConfig) -> Vec<Vec<Change>> {
        // A row is the least that passes through the model at once.
        let row = self.rows.iter().map(|row| row.tokens).max().unwrap_or(1);
        let again = (config.recompute == Recompute::Off).then_some(Change::Recompute);
        let smaller = (row < config.micro_batch_tokens).then_some(Change::MicroBatch(row));
        let is = |state| config.optimizer_state == state;
        let host =
            (self.machine.hardware == Hardware::Gpu && !is(OptimizerState::Host)).then_some(OptimizerState::Host);
        let bf16 = (self.machine.has_bf16 && is(OptimizerState::Device)).then_some(OptimizerState::Bf16);
        let states = [host, bf16].into_iter().flatten().map(|state| vec![Change::OptimizerState(state)]);
        let adapter = (self.model.tuning(config) == Tuning::Full).then_some(Change::Adapter);
        // That of a new adapter, beside which they are not so yet.
        let packs = (adapter.is_some() || config.adapter.is_some())
            && !matches!(self.model.frozen, Base::Nf4 { .. })
            && config.quantization.is_none()
            && !config.merge;
        let packed = packs.then(|| adapter.into_iter().chain([Change::Quantization]).collect());
        let mut all = vec![];
        for large in [vec![]].into_iter().chain(states).chain(adapter.map(|adapter| vec![adapter])).chain(packed) {
            for small in [[None, None], [again, None], [smaller, None], [again, smaller]] {
                let changes: Vec<Change> = large.iter().copied().chain(small.into_iter().flatten()).collect();
                if !changes.is_empty() && !all.contains(&changes) {
                    all.push(changes);
                }
            }
        }
        all
    }

    fn with(&self, config: &TrainConfig, changes: &[Change]) -> Remedy {
        let changed = changes.iter().fold(config.clone(), |config, change| change.apply(config));
        let planned = self.plan(&changed);
        let settings = changes.iter().map(|change| change.setting()).chain(planned.settled(&changed)).collect();
        let estimate = &planned.estimate;
        let (bytes, host_bytes) = (estimate.bytes(), estimate.host_bytes());
        Remedy { settings, bytes, host_bytes, fits: self.machine.has_room_for(estimate) }
    }
}
