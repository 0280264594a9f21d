//! One model trained by several ranks, which are threads here: what it comes to does not depend on how many there are.

#![allow(clippy::unwrap_used, missing_docs)]

mod small;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use burn::tensor::Device;
use mpo_collective::{Alone, Collective, among_threads};
use mpo_models::{CausalLm, LoraOptions, LoraTarget};
use mpo_objectives::OBJECTIVES;
use mpo_progress::Silent;
use mpo_trainer::{
    Event, HeldOut, Identity, Kind, OptimizerState, Reference, RunFolder, TrainError, TrainOptions, Trainer, Watch,
    build_task,
};
use safetensors::SafeTensors;
use small::{How, Model, Stopping, Trained, distance, rows};

/// Rows of a batch.
const BATCH: usize = 3;

/// A row at a time, so that three ranks with one row each add up what one process does.
const HOW: How = How { state: OptimizerState::Device, recompute: false, micro_batch: 1, max_grad_norm: 0.1 };

const MODEL: Model = Model { fixture: "llama3rope", tied: true };

/// What is trained, and how.
#[derive(Clone, Copy)]
struct Case {
    model: Model,
    how: How,
    method: &'static str,
    /// Whether an adapter is trained, over frozen weights.
    adapter: bool,
    /// After how many steps the last rank asks to stop.
    stop: Option<u64>,
}

const CASE: Case = Case { model: MODEL, how: HOW, method: "mpo", adapter: false, stop: None };

impl Case {
    fn options(self, output: &Path) -> TrainOptions {
        let options = TrainOptions { method: self.method.parse().ok(), eval_every: Some(2), ..TrainOptions::default() };
        options.or(self.how.options(output))
    }

    /// What a rank begins with: of an adapter only the first one's counts.
    fn begin(self, rank: usize) -> (CausalLm, mpo_models::ModelConfig) {
        let (model, config) = self.model.on(&Device::flex().autodiff());
        let target: LoraTarget = "q_proj".parse().unwrap();
        let targets = vec![target];
        let options = LoraOptions { rank: 2, alpha: 4.0, use_rslora: false, targets, seed: rank as u64 };
        (if self.adapter { model.with_adapter(&options, "base").unwrap() } else { model }, config)
    }

    /// What one rank comes to, in a folder that is the run's if it is the first.
    fn train_among(self, ranks: &dyn Collective, folder: &Path) -> Result<Trained, TrainError> {
        let own = tempfile::tempdir().unwrap();
        let folder = if ranks.is_first() { folder } else { own.path() };
        let (model, model_config) = self.begin(ranks.rank());
        let config = self.options(folder).resolve().unwrap();
        let reference = folder.join("reference");
        let progress = Stopping::default();
        let mut cache = Reference::new(&model, "hash", &reference, 1024, &progress).among(ranks);
        let objective = config.objective().unwrap();
        let task = build_task(&*objective, rows(), &config, 0, &mut cache)?;
        let rows = rows();
        let watch = Watch { rows: &rows, trained_on: true, sampler: None };
        let held_out = HeldOut::new(&*objective, watch, &config, 0, &mut cache, &Silent)?;
        drop(cache);
        assert!(ranks.is_first() || !reference.exists(), "the first rank alone writes");
        let path = folder.join("run");
        let run = match path.exists() {
            true => RunFolder::open(&path, Kind::Train)?,
            false => RunFolder::create(&path, Kind::Train, Identity::default())?,
        };
        let trainer = Trainer {
            task: &*task,
            consistency: None,
            config: &config,
            run: &run,
            model_config: &model_config,
            model_hash: "hash",
            dominant: None,
            recompute: self.how.recompute,
            held_out: Some(held_out),
        };
        let mut steps = vec![];
        let is_last = ranks.rank() + 1 == ranks.size();
        let trained = trainer.run_among(ranks, model, &progress, &mut |event| {
            let metrics = match event {
                Event::Step(step) => {
                    progress.0.store(is_last && self.stop == Some(step.step), Ordering::Relaxed);
                    &step.metrics
                }
                Event::Measured(measured) => &measured.metrics,
                _ => return,
            };
            steps.push(metrics.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect());
        });
        let checkpoints = path.join("checkpoints").exists();
        assert_eq!(checkpoints, ranks.is_first(), "the first rank alone writes");
        run.keep();
        let mut weights = vec![];
        trained?.model.each_parameter(|parameter| {
            weights.push((parameter.name, parameter.values.into_data().try_to_vec::<f32>().unwrap()));
        });
        Ok((weights, steps))
    }

    /// What so many ranks come to that go on with what is in a folder.
    fn go_on(self, size: usize, folder: &Path) -> Vec<Result<Trained, TrainError>> {
        among_threads(size, |ranks| self.train_among(ranks, folder))
    }

    /// The same of a run of its own: that of one rank, for all have the same.
    fn train(self, size: usize) -> Trained {
        let folder = tempfile::tempdir().unwrap();
        let mut all: Vec<Trained> = self.go_on(size, folder.path()).into_iter().map(Result::unwrap).collect();
        let first = all.swap_remove(0);
        assert!(all.iter().all(|other| *other == first), "the same on all ranks");
        first
    }

    fn alone(self) -> Trained {
        let folder = tempfile::tempdir().unwrap();
        self.train_among(&Alone, folder.path()).unwrap()
    }

    /// How far so many ranks come from what one process does, as a part of what it moves.
    fn apart(self, size: usize) -> f64 {
        distance(&self.train(size), &self.alone(), &self.begin(0).0)
    }
}

#[test]
fn a_row_a_rank_is_one_process_to_the_bit() {
    let check = |model: Model, how: How| {
        let case = Case { model, how, ..CASE };
        assert!(case.train(BATCH) == case.alone(), "{}, tied {}, {}", model.fixture, model.tied, how.state);
    };
    Model::all().for_each(|model| check(model, HOW));
    use OptimizerState::{Bf16, Host};
    for tied in [true, false] {
        let model = Model { tied, ..MODEL };
        // Clipped, not clipped although it could be, and never.
        check(model, How { max_grad_norm: 1e6, recompute: true, ..HOW });
        check(model, How { max_grad_norm: 0.0, ..HOW });
        check(model, How { state: Host, ..HOW });
        check(model, How { state: Bf16, recompute: true, ..HOW });
    }
}

/// An encoder's tokens and a decoder's give the embedding a gradient each.
#[test]
fn so_it_is_with_an_encoder_before_the_decoder() {
    for tied in [true, false] {
        for recompute in [false, true] {
            let case = Case { model: Model { fixture: "mt5", tied }, how: How { recompute, ..HOW }, ..CASE };
            assert!(case.train(BATCH) == case.alone(), "tied {tied}, {recompute}");
        }
    }
}

#[test]
fn so_it_is_with_every_method() {
    for definition in OBJECTIVES {
        let case = Case { method: definition.name, ..CASE };
        assert!(case.train(BATCH) == case.alone(), "{}", definition.name);
    }
}

#[test]
fn so_it_is_with_adapters() {
    for recompute in [false, true] {
        let case = Case { adapter: true, how: How { recompute, ..HOW }, ..CASE };
        let (ranks, alone) = (case.train(BATCH), case.alone());
        assert!(ranks == alone, "{recompute}");
        let start = case.begin(0).0;
        let mut changed = vec![];
        let mut after = alone.0.iter();
        start.each_parameter(|parameter| {
            let (_, values) = after.next().unwrap();
            let is_as_before = *values == parameter.values.into_data().try_to_vec::<f32>().unwrap();
            changed.push((parameter.name, !is_as_before));
        });
        assert!(changed.iter().all(|(name, has_changed)| *has_changed == name.contains(".adapter.")), "{changed:?}");
    }
}

/// Sums are in another order then; four ranks are more than there are rows in a batch.
#[test]
fn any_number_of_ranks_ends_near_one_process() {
    for how in [How { micro_batch: 1024, ..HOW }, How { micro_batch: 1024, recompute: true, ..HOW }] {
        for size in [1, 2, 3, 4] {
            let apart = Case { how, ..CASE }.apart(size);
            assert!(apart < 1e-4, "{size}: {apart:e}");
        }
    }
}

#[test]
fn a_run_goes_on_with_any_number_of_ranks() {
    for state in [OptimizerState::Device, OptimizerState::Host, OptimizerState::Bf16] {
        let case = Case { how: How { state, ..HOW }, ..CASE };
        let (whole, folder) = (case.alone(), tempfile::tempdir().unwrap());
        let mut steps = vec![];
        for (size, stop) in [(BATCH, Some(1)), (2, Some(3)), (4, Some(4)), (1, None)] {
            let mut all = Case { stop, ..case }.go_on(size, folder.path());
            match (all.swap_remove(0), stop) {
                (Err(TrainError::Interrupted), Some(_)) => {}
                (Ok(ended), None) => steps = vec![ended],
                (other, _) => panic!("{state} {size}: {other:?}"),
            }
            assert!(all.iter().all(|other| matches!(other, Err(TrainError::Interrupted))), "all stop if one does");
        }
        let apart = distance(&steps[0], &whole, &case.begin(0).0);
        assert!(apart < 1e-4, "{state}: {apart:e}");
    }
}

/// A checkpoint of ranks is one as a process by itself writes it.
#[test]
fn what_three_ranks_leave_is_what_one_leaves() {
    let at = |size: usize| {
        let folder = tempfile::tempdir().unwrap();
        let case = Case { stop: Some(2), ..CASE };
        for end in case.go_on(size, folder.path()) {
            assert!(matches!(end, Err(TrainError::Interrupted)));
        }
        let checkpoint = folder.path().join("run/checkpoints/step-2");
        ["optimizer.safetensors", "model/model.safetensors"].map(|file| tensors(&checkpoint.join(file)))
    };
    assert!(at(BATCH) == at(1));
}

/// The tensors in a file by name; what it says beside them stands in no order.
fn tensors(file: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = std::fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors.iter().map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec())).collect()
}
