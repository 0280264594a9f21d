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

/// What a run is planned from.
#[derive(Debug, Clone, Copy)]
pub struct Planner<'a> {
    /// The model that it begins with.
    pub model: BaseModel<'a>,
    /// How much of each row passes through it.
    pub rows: &'a [RowSize],
    /// What it is trained on.
    pub machine: Machine,
    /// Bytes in the machine's memory before anything is loaded.
    pub program: u64,
}

impl Planner<'_> {
    /// What a run with these settings takes. Layers are run again where it would not fit otherwise, if that is left open.
    pub fn plan(&self, config: &TrainConfig) -> Planned {
        let (passes, tuning) = (Passes::of(self.rows, config), self.model.tuning(config));
        let planned = |recompute| {
            let storage = Storage::of(config, tuning, recompute);
            let estimate = Estimate::of(self.model.config, &passes, storage, self.machine.hardware, self.program);
            Planned { storage, passes, estimate }
        };
        match config.recompute {
            Recompute::On => planned(true),
            Recompute::Off => planned(false),
            Recompute::Auto => {
                let kept = planned(false);
                if self.machine.has_room_for(&kept.estimate) { kept } else { planned(true) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::llama_8b;
    use super::super::{Base, Hardware, Room};
    use super::*;
    use crate::settings::TrainOptions;

    /// Eight rows of 1,000 tokens at once, on a card with so much memory.
    fn planned(gigabytes: u64, recompute: Recompute) -> (Planned, Vec<(Vec<&'static str>, bool)>) {
        let options =
            TrainOptions { recompute: Some(recompute), micro_batch_tokens: Some(8_000), ..TrainOptions::minimal() };
        let config = options.resolve().unwrap();
        let rows = [RowSize { tokens: 1_000, scored: 500, compared: 0, held: 0 }; 16];
        let machine = Machine { hardware: Hardware::Gpu, room: Room::of(gigabytes * 1_000_000_000) };
        let model = llama_8b();
        let model = BaseModel { config: &model, adapter: None, frozen: Base::Bf16 };
        let planner = Planner { model, rows: &rows, machine, program: 0 };
        let remedies = planner.remedies(&config).into_iter();
        let remedies = remedies.map(|remedy| (remedy.settings.iter().map(|(key, _)| *key).collect(), remedy.fits));
        (planner.plan(&config), remedies.collect())
    }

    #[test]
    fn layers_are_run_again_where_they_would_not_fit() {
        // Everything: some 180 GB with what layers computed, 155 without.
        for (gigabytes, choice, again) in [
            (300, Recompute::Auto, false),
            (170, Recompute::Auto, true),
            (100, Recompute::Auto, true),
            (100, Recompute::Off, false),
            (300, Recompute::On, true),
        ] {
            let (planned, _) = planned(gigabytes, choice);
            assert_eq!(planned.storage.recompute, again, "{gigabytes} {choice}");
        }
    }

    #[test]
    fn what_would_fit_is_named() {
        let (_, remedies) = planned(170, Recompute::Off);
        let [first, ..] = &remedies[..] else { panic!("no remedy") };
        assert_eq!(first, &(vec!["recompute"], true));
        // 16 bytes a parameter do not fit, and an adapter does.
        let (_, remedies) = planned(80, Recompute::Auto);
        assert_eq!(remedies[0], (vec!["adapter"], true));
        // The smallest of all does not.
        let (_, remedies) = planned(10, Recompute::Off);
        assert_eq!(remedies, [(vec!["adapter", "recompute", "micro_batch_tokens"], false)]);
    }
}
