//! What a run writes that is large, and whether the disk has room for it.

use std::path::Path;

use mpo_trainer::memory::Tuning;
use mpo_trainer::{OptimizerState, SaveDtype, TrainConfig};

use crate::failure::Failure;
use crate::planning::{Plan, gigabytes};

/// Bytes that a run writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnDisk {
    /// Of a checkpoint: weights in f32, and moments.
    checkpoint: u64,
    /// How many checkpoints there are at most, while one is written and before an older one goes.
    at_once: u64,
    /// Of the trained model, or of the adapter.
    model: u64,
    /// Whether all weights are trained.
    is_full: bool,
}

impl OnDisk {
    pub(crate) fn of(plan: &Plan<'_>) -> Self {
        let TrainConfig { optimizer_state, merge, checkpoint_every, save_total_limit, .. } = plan.config;
        let whole = plan.planner.model.config.num_parameters();
        let (trained, is_full) = match plan.planned.storage.tuning {
            Tuning::Full => (whole, true),
            Tuning::Adapter { numbers, .. } => (numbers, false),
        };
        let number = match plan.config.save_dtype {
            SaveDtype::F16 | SaveDtype::Bf16 => 2,
            // It may come to f32.
            SaveDtype::F32 | SaveDtype::Auto => 4,
        };
        let moment = if *optimizer_state == OptimizerState::Bf16 { 2 } else { 4 };
        // The best one stays beside them.
        let kept = *save_total_limit as u64 + u64::from(plan.config.asks_for_best().is_some());
        Self {
            checkpoint: trained * (4 + 2 * moment),
            at_once: plan.planned.passes.steps.div_ceil(*checkpoint_every).min(kept + 1),
            model: if *merge { whole } else { trained } * number,
            is_full,
        }
    }

    /// Refuses a disk without room for a checkpoint and the model, and warns of one without room for all that are there at
    /// once; `free` is what it has, if that is known.
    pub(crate) fn check(&self, output: &Path, free: Option<u64>) -> Result<Option<String>, Failure> {
        let Self { checkpoint, at_once, model, is_full } = *self;
        let (Some(free), output) = (free, output.display()) else { return Ok(None) };
        let adapter = if is_full { ", or train an adapter (--adapter lora), which is small" } else { "" };
        if free < checkpoint + model {
            return Err(Failure::new(
                format!(
                    "{output}: expected room on the disk for a checkpoint of {} and the trained model of {}, got {}",
                    gigabytes(checkpoint),
                    gigabytes(model),
                    gigabytes(free)
                ),
                format!("free some space, or name an --output on another disk{adapter}; nothing was written"),
            ));
        }
        let all = at_once * checkpoint + model;
        Ok((free < all).then(|| {
            format!(
                "warning: the disk has room for {}, and {at_once} checkpoints that may be there at once and the trained model take \
                 {}; free some space, or set a higher checkpoint_every or a lower save_total_limit",
                gigabytes(free),
                gigabytes(all)
            )
        }))
    }
}

/// Bytes that are free where a path lies, or will lie; none where the system does not tell.
pub(crate) fn free(path: &Path) -> Option<u64> {
    let path = std::path::absolute(path).ok()?;
    free_in(path.ancestors().find(|folder| folder.exists())?)
}

#[cfg(unix)]
fn free_in(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    // Some file systems of a network say nothing.
    (disk.f_blocks > 0).then(|| disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free_in(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use mpo_models::ModelConfig;
    use mpo_trainer::TrainOptions;
    use mpo_trainer::memory::{Base, BaseModel, Hardware, Machine, Planner, RowSize};
    use serde_json::json;

    use super::*;

    /// What a run of four steps on 16 rows writes of a model of 1,000 × 100 + 100 numbers beside its layer.
    fn on_disk(options: TrainOptions) -> OnDisk {
        let minimal = TrainOptions {
            model: Some("m".into()),
            data: Some("d".into()),
            output: Some("o".into()),
            ..TrainOptions::default()
        };
        let config = options.or(minimal).resolve().unwrap();
        let model = ModelConfig::from_json(json!({
            "model_type": "llama", "vocab_size": 1_000, "hidden_size": 100, "intermediate_size": 200,
            "num_hidden_layers": 1, "num_attention_heads": 10, "num_key_value_heads": 10, "tie_word_embeddings": true,
        }))
        .unwrap();
        let model = BaseModel { config: &model.decoder, adapter: None, frozen: Base::F32 };
        let rows = [RowSize { tokens: 10, scored: 5, compared: 0, held: 0 }; 16];
        let machine = Machine::elsewhere(Hardware::Gpu);
        OnDisk::of(&Plan::new(Planner { model, rows: &rows, prompts: &[], machine, program: 0 }, &config))
    }

    #[test]
    fn a_run_writes_what_is_trained_its_moments_and_the_model() {
        // Embedding, four matrices of attention, three of the MLP, and three norms.
        let all = 1_000 * 100 + 4 * 100 * 100 + 3 * 100 * 200 + 3 * 100;
        let full = OnDisk { checkpoint: 12 * all, at_once: 1, model: 4 * all, is_full: true };
        assert_eq!(on_disk(TrainOptions::default()), full);
        let often = TrainOptions { checkpoint_every: Some(1), ..TrainOptions::default() };
        assert_eq!(on_disk(often.clone()), OnDisk { at_once: 3, ..full });
        let one = TrainOptions { save_total_limit: Some(1), ..often };
        assert_eq!(on_disk(one), OnDisk { at_once: 2, ..full });
        let small = TrainOptions {
            optimizer_state: "bf16".parse().ok(),
            save_dtype: "bf16".parse().ok(),
            ..TrainOptions::default()
        };
        assert_eq!(on_disk(small), OnDisk { checkpoint: 8 * all, model: 2 * all, ..full });
        // A rank of 2 has so many ends: four maps of 100 and 100, three of 100 and 200.
        let numbers = 2 * (4 * 200 + 3 * 300);
        let lora = TrainOptions { adapter: "lora".parse().ok(), lora_rank: Some(2), ..TrainOptions::default() };
        let adapter = OnDisk { checkpoint: 12 * numbers, at_once: 1, model: 4 * numbers, is_full: false };
        assert_eq!(on_disk(lora.clone()), adapter);
        assert_eq!(on_disk(TrainOptions { merge: Some(true), ..lora }), OnDisk { model: 4 * all, ..adapter });
    }

    #[test]
    fn a_disk_without_room_is_refused_and_one_with_little_is_told_of() {
        let on_disk = OnDisk { checkpoint: 6_000_000_000, at_once: 3, model: 2_000_000_000, is_full: true };
        let check = |free| on_disk.check(Path::new("runs/x"), free);
        let refused = check(Some(7_999_999_999)).unwrap_err();
        let expected =
            "runs/x: expected room on the disk for a checkpoint of 6.0 GB and the trained model of 2.0 GB, got 8.0 GB";
        assert_eq!(refused.to_string(), expected);
        assert!(refused.hint().unwrap().contains("--output on another disk, or train an adapter"));
        let warned = check(Some(8_000_000_000)).unwrap().unwrap();
        assert!(warned.starts_with("warning: the disk has room for 8.0 GB, and 3 checkpoints"), "{warned}");
        assert!(warned.contains("take 20.0 GB; free some space"), "{warned}");
        assert_eq!((check(Some(20_000_000_000)).unwrap(), check(None).unwrap()), (None, None));
        let adapter = OnDisk { is_full: false, ..on_disk }.check(Path::new("x"), Some(0)).unwrap_err();
        assert!(!adapter.hint().unwrap().contains("adapter"));
    }

    #[cfg(unix)]
    #[test]
    fn free_space_is_that_of_the_disk_where_a_folder_will_be() {
        let dir = tempfile::tempdir().unwrap();
        let here = free(dir.path()).unwrap();
        let below = free(&dir.path().join("not/yet/there")).unwrap();
        // Others write to it meanwhile.
        assert!(here > 0 && here.abs_diff(below) < here / 2 + 1_000_000_000, "{here} {below}");
        assert_eq!(free_in(&dir.path().join("not")), None);
    }
}
