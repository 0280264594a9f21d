//! What a run takes, as its user is told: before it starts, and by `plan`.

use std::time::Instant;

use burn::tensor::{Device, Tensor};
use mpo_kernels::linear;
use mpo_models::memory;
use mpo_progress::Counted;
use mpo_trainer::TrainConfig;
use mpo_trainer::memory::{Part, Planned, Planner, Room, Storage, step_bytes, step_flops};

use crate::failure::Failure;

/// A run and what it takes.
pub(crate) struct Plan<'a> {
    pub(crate) planner: Planner<'a>,
    pub(crate) config: &'a TrainConfig,
    pub(crate) planned: Planned,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(planner: Planner<'a>, config: &'a TrainConfig) -> Self {
        Self { planned: planner.plan(config), planner, config }
    }

    /// Operations of the products of all steps.
    pub(crate) fn flops(&self) -> f64 {
        let Planned { storage, passes, .. } = &self.planned;
        step_flops(self.planner.model.config, passes, *storage) * passes.steps as f64
    }

    /// How many train one model together.
    pub(crate) fn ranks(&self) -> f64 {
        self.planner.machine.ranks as f64
    }

    /// Bytes that a rank gives to others in a step.
    pub(crate) fn sent(&self) -> f64 {
        let Planned { storage, passes, .. } = &self.planned;
        step_bytes(self.planner.model.config, passes, *storage)
    }

    /// What the run takes at its peak, and of how much.
    pub(crate) fn memory_line(&self) -> String {
        let peak = self.planned.estimate.peak();
        let on_device = peak.shares.iter().filter(|share| !share.on_host);
        let mut shares: Vec<(Part, u64)> = on_device.map(|share| (share.part, share.bytes)).collect();
        shares.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
        let largest: Vec<String> =
            shares.iter().take(3).map(|(part, bytes)| format!("{} {}", part.name(), gigabytes(*bytes))).collect();
        let again = if self.planned.storage.recompute { ", layers are run again" } else { "" };
        format!(
            "{:<10} {} at most{}: {}{again}{}",
            "memory",
            gigabytes(peak.on_device()),
            of(self.planner.machine.room),
            largest.join(", "),
            self.beside(),
        )
    }

    /// What the run takes of the machine's memory beside a GPU's.
    fn beside(&self) -> String {
        match self.planned.estimate.host_bytes() {
            0 => String::new(),
            bytes => format!("; beside the GPU {}{}", gigabytes(bytes), of(self.planner.machine.host)),
        }
    }

    /// Seconds that all steps take, at so many operations a second of each rank.
    pub(crate) fn seconds(&self, rate: f64) -> f64 {
        STEP_OVER_PRODUCTS * self.flops() / (rate * self.ranks())
    }

    /// How long all steps take, at so many operations a second.
    pub(crate) fn time_line(&self, rate: f64) -> String {
        format!(
            "{:<10} about {} for {} of {:.1} TFLOP of matrix products each, at {:.0} GFLOP/s as measured here",
            "time",
            duration(self.seconds(rate)),
            Counted(self.planned.passes.steps, "step"),
            self.flops() / self.planned.passes.steps.max(1) as f64 / 1e12,
            rate / 1e9,
        )
    }

    /// Refuses a run that can never fit, with what would.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let (machine, estimate) = (&self.planner.machine, &self.planned.estimate);
        let places = [
            (machine.room, estimate.bytes(), "memory"),
            (machine.host, estimate.host_bytes(), "memory beside the GPU"),
        ];
        let full =
            places.into_iter().filter(|(room, bytes, _)| room.can_never_have(*bytes) && !memory::is_overridden());
        let full = full.filter_map(|(room, bytes, place)| Some((room.total?, bytes, place)));
        let Some((total, bytes, place)) = full.into_iter().next() else {
            return Ok(());
        };
        let remedies = self.planner.remedies(self.config);
        let change = remedies
            .first()
            .filter(|remedy| remedy.fits)
            .map_or("choose a smaller model or a device with more memory".to_owned(), |remedy| {
                format!("it fits with {}", flags(&remedy.settings))
            });
        Err(Failure::new(
            format!(
                "expected a run that fits in {} of {place}, got one that takes {}",
                gigabytes(total),
                gigabytes(bytes)
            ),
            format!(
                "{change}; `mpo-train plan` shows what takes it, and --memory says that there is more; with {}=1 it is tried \
                 all the same",
                memory::OVERRIDE
            ),
        ))
    }

    /// What the user should know of a run that fits in the machine but not beside what else is in its memory now.
    pub(crate) fn warning(&self) -> Option<&'static str> {
        let fits = self.planner.machine.has_room_for(&self.planned.estimate);
        (!fits).then_some(
            "warning: that is more than is free; end other programs, or see `mpo-train plan` for what takes less",
        )
    }
}

/// Of how much memory, as far as it is known.
fn of(room: Room) -> String {
    match (room.available, room.total) {
        (Some(free), _) => format!(" of {} that are free", gigabytes(free)),
        (None, Some(total)) => format!(" of {}", gigabytes(total)),
        (None, None) => String::new(),
    }
}

/// How much longer than its matrix products a step takes: a guess.
const STEP_OVER_PRODUCTS: f64 = 1.7;

/// Settings as flags.
pub(crate) fn flags(settings: &[(&str, String)]) -> String {
    let flags = settings.iter().map(|(key, value)| format!("--{} {value}", key.replace('_', "-")));
    flags.collect::<Vec<_>>().join(" ")
}

/// Operations a second of a product with a square matrix, both in the types of a run: the best of a few, in a tenth of a
/// second on the CPU.
pub(crate) fn product_rate(device: &Device, storage: Storage) -> f64 {
    const SIZE: usize = 1_024;
    let square = |dtype| Tensor::<2>::ones([SIZE, SIZE], (device, dtype));
    let (rows, weight) = (square(storage.precision.dtype()), square(storage.stored_dtype()));
    // The first one wakes the threads, or compiles a kernel.
    let seconds = (0..5).map(|_| {
        let began = Instant::now();
        let product = linear(rows.clone(), weight.clone());
        _ = product.slice([0..1, 0..1]).into_data();
        began.elapsed().as_secs_f64()
    });
    2.0 * (SIZE as f64).powi(3) / seconds.fold(f64::INFINITY, f64::min)
}

/// Bytes for people.
pub(crate) fn gigabytes(bytes: u64) -> String {
    let digits = if bytes < 100_000_000 { 2 } else { 1 };
    format!("{:.digits$} GB", bytes as f64 / 1e9)
}

/// Seconds for people.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        ..5_400.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use mpo_models::ModelConfig;
    use mpo_trainer::memory::{Base, BaseModel, Hardware, Machine, RowSize};
    use mpo_trainer::{OptimizerState, TrainOptions};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_lies_beside_a_gpu_must_fit_in_the_machine() {
        let options = TrainOptions {
            model: Some("m".into()),
            data: Some("d".into()),
            output: Some("o".into()),
            optimizer_state: Some(OptimizerState::Host),
            ..TrainOptions::default()
        };
        let config = options.resolve().unwrap();
        let model = ModelConfig::from_json(json!({
            "model_type": "llama", "vocab_size": 10_000, "hidden_size": 1_000, "intermediate_size": 1_000,
            "num_hidden_layers": 1, "num_attention_heads": 10, "num_key_value_heads": 10, "tie_word_embeddings": true,
        }))
        .unwrap();
        let model = BaseModel { config: &model.decoder, adapter: None, frozen: Base::F32 };
        let rows = [RowSize { tokens: 10, scored: 5, compared: 0, held: 0 }; 16];
        // 17 million parameters: 68 MB on the card, four times as much beside it.
        let checked = |host| {
            let machine = Machine { host: Room::of(host), ..Machine::elsewhere(Hardware::Gpu) };
            let planner = Planner { model, rows: &rows, prompts: &[], machine, program: 0 };
            let plan = Plan::new(planner, &config);
            (plan.check().map_err(|failure| failure.to_string()), plan.warning().is_some(), plan.memory_line())
        };
        let (fits, warned, line) = checked(1_000_000_000);
        assert!(fits.is_ok() && !warned && line.contains("; beside the GPU 0.3 GB of 1.0 GB"), "{line}");
        assert!(!line.contains("moments"), "{line}");
        let (refused, warned, _) = checked(100_000_000);
        let expected = "expected a run that fits in 0.1 GB of memory beside the GPU, got one that takes 0.3 GB";
        assert_eq!((refused.unwrap_err(), warned), (expected.to_owned(), true));
    }
}
