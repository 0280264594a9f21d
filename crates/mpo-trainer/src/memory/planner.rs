//! From settings to what a run takes.

use super::{BaseModel, Estimate, Machine, Passes, RowSize, Storage};
use crate::settings::{Recompute, TrainConfig};

/// The run that settings ask for, where `auto` is settled by what fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// How it stores what it computes.
    pub storage: Storage,
    /// What passes through the model.
    pub passes: Passes,
    /// What it takes.
    pub estimate: Estimate,
}

impl Planned {
    /// What was settled that `config` leaves open and another machine, or more memory, would settle in another way.
    pub fn settled(&self, config: &TrainConfig) -> Option<(&'static str, String)> {
        let by_us = config.recompute == Recompute::Auto && self.storage.recompute;
        by_us.then(|| ("recompute", Recompute::On.to_string()))
    }
}

/// What a run is planned from.
#[derive(Debug, Clone, Copy)]
pub struct Planner<'a> {
    /// The model that it begins with.
    pub model: BaseModel<'a>,
    /// How much of each row passes through it.
    pub rows: &'a [RowSize],
    /// Tokens of each prompt that is held consistent beside them.
    pub prompts: &'a [usize],
    /// What it is trained on.
    pub machine: Machine,
    /// Bytes in the machine's memory before anything is loaded.
    pub program: u64,
}

impl Planner<'_> {
    /// What a run with these settings takes. Layers are run again where it would not fit otherwise, if that is left open.
    pub fn plan(&self, config: &TrainConfig) -> Planned {
        let ranks = self.machine.ranks;
        let (passes, tuning) = (Passes::of(self.rows, self.prompts, config, ranks), self.model.tuning(config));
        let planned = |recompute| {
            let storage = Storage::of(config, tuning, recompute).among(ranks);
            let estimate = Estimate::of(self.model.config, &passes, storage, self.machine.hardware, self.program);
            Planned { storage, passes, estimate }
        };
        match config.recompute {
            Recompute::On => planned(true),
            Recompute::Off => planned(false),
            Recompute::Auto => {
                let kept = planned(false);
                if self.machine.room.has(kept.estimate.bytes()) { kept } else { planned(true) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::llama_8b;
    use super::super::{Base, Hardware, Room};
    use super::*;
    use crate::settings::{OptimizerState, TrainOptions};

    /// Settings, and whether a run fits with them.
    type Offered = (Vec<(&'static str, String)>, bool);

    /// Eight rows of 1,000 tokens at once, on a card with so much memory in a machine with so much.
    fn planned([gigabytes, beside]: [u64; 2], options: TrainOptions) -> (Planned, Vec<Offered>) {
        let config = TrainOptions { micro_batch_tokens: Some(8_000), ..options }.or(TrainOptions::minimal());
        let config = config.resolve().unwrap();
        let rows = [RowSize { tokens: 1_000, scored: 500, compared: 0, held: 0 }; 16];
        let [room, host] = [gigabytes, beside].map(|gigabytes| Room::of(gigabytes * 1_000_000_000));
        let machine = Machine { room, host, ..Machine::elsewhere(Hardware::Gpu) };
        let model = llama_8b();
        let model = BaseModel { config: &model, adapter: None, frozen: Base::Bf16 };
        let planner = Planner { model, rows: &rows, prompts: &[], machine, program: 0 };
        let remedies = planner.remedies(&config).into_iter();
        (planner.plan(&config), remedies.map(|remedy| (remedy.settings, remedy.fits)).collect())
    }

    fn again(recompute: Recompute) -> TrainOptions {
        TrainOptions { recompute: Some(recompute), ..TrainOptions::default() }
    }

    fn set(key: &'static str, value: &str) -> (&'static str, String) {
        (key, value.to_owned())
    }

    #[test]
    fn layers_are_run_again_where_they_would_not_fit() {
        // Everything: some 180 GB with what layers computed, 155 without.
        for (gigabytes, choice, runs_again) in [
            (300, Recompute::Auto, false),
            (170, Recompute::Auto, true),
            (100, Recompute::Auto, true),
            (100, Recompute::Off, false),
            (300, Recompute::On, true),
        ] {
            let (planned, _) = planned([gigabytes, 1_000], again(choice));
            assert_eq!(planned.storage.recompute, runs_again, "{gigabytes} {choice}");
        }
    }

    #[test]
    fn what_would_fit_is_named() {
        let (_, remedies) = planned([170, 1_000], again(Recompute::Off));
        assert_eq!(remedies[0], (vec![set("recompute", "on")], true));
        // 16 bytes a parameter do not fit. 4 do, with 16 beside the card, and so do 8, and an adapter; what is settled for them
        // on the way is said too.
        let (_, remedies) = planned([90, 1_000], again(Recompute::Auto));
        let [host, bf16, adapter] = [("optimizer_state", "host"), ("optimizer_state", "bf16"), ("adapter", "lora")]
            .map(|(key, value)| (vec![set(key, value), set("recompute", "on")], true));
        assert_eq!(remedies, [host, bf16.clone(), adapter.clone()]);
        // The machine has to have room for what is beside the card.
        let (_, remedies) = planned([90, 100], again(Recompute::Auto));
        assert_eq!(remedies, [bf16, adapter]);
        let host = TrainOptions { optimizer_state: Some(OptimizerState::Host), ..again(Recompute::On) };
        let (_, remedies) = planned([90, 100], host.clone());
        assert_eq!(remedies, [(vec![set("adapter", "lora")], true)]);
        // Where an adapter does not fit, one beside weights in four bits may.
        let nf4 = [set("adapter", "lora"), set("quantization", "nf4"), set("recompute", "on")];
        let all = [&nf4[..], &[set("micro_batch_tokens", "1000")]].concat();
        let (_, remedies) = planned([12, 1_000], again(Recompute::Off));
        assert_eq!(remedies, [(all.clone(), true)]);
        // The smallest of all does not fit.
        let (_, remedies) = planned([6, 1_000], again(Recompute::Off));
        assert_eq!(remedies, [(all, false)]);
    }

    #[test]
    fn what_settings_leave_open_is_said_once_it_is_settled() {
        for (gigabytes, choice, said) in [
            (170, Recompute::Auto, Some(set("recompute", "on"))),
            (300, Recompute::Auto, None),
            (170, Recompute::On, None),
            (170, Recompute::Off, None),
        ] {
            let config = again(choice).or(TrainOptions::minimal()).resolve().unwrap();
            let (planned, _) = planned([gigabytes, 1_000], again(choice));
            assert_eq!(planned.settled(&config), said, "{gigabytes} {choice}");
        }
    }
}
