//! Where the optimizer keeps its state, and how often layers are run for it: what trained weights come to.

#![allow(clippy::unwrap_used, missing_docs)]

mod small;

use std::path::Path;
use std::sync::atomic::Ordering;

use burn::tensor::{Device, DeviceKind};
use mpo_progress::Silent;
use mpo_tests::gpu;
use mpo_trainer::{Event, Identity, Kind, OptimizerState, Reference, RunFolder, TrainError, Trainer, build_task};
use small::{How, Model, Stopping, Trained, distance, rows};

/// Trains in `folder`, from its checkpoint if it has one, to the end or until `stop` steps are taken.
fn train_in(folder: &Path, model: Model, how: How, device: &Device, stop: Option<u64>) -> Result<Trained, TrainError> {
    let (model, model_config) = model.on(&device.clone().autodiff());
    let config = how.options(folder).resolve().unwrap();
    let mut reference = Reference::new(&model, "hash", folder.join("reference"), 1024, &Silent);
    let objective = config.objective().unwrap();
    let task = build_task(&*objective, rows(), &config, 0, &mut reference).unwrap();
    drop(reference);
    let path = folder.join("run");
    let run = match path.exists() {
        true => RunFolder::open(&path, Kind::Train).unwrap(),
        false => RunFolder::create(&path, Kind::Train, Identity::default()).unwrap(),
    };
    let trainer = Trainer {
        task: &*task,
        consistency: None,
        config: &config,
        run: &run,
        model_config: &model_config,
        model_hash: "hash",
        dominant: None,
        recompute: how.recompute,
        held_out: None,
    };
    let (progress, mut steps) = (Stopping::default(), vec![]);
    let trained = trainer.run(model, &progress, &mut |event| {
        if let Event::Step(step) = event {
            steps.push(step.metrics.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect());
            progress.0.store(stop == Some(step.step), Ordering::Relaxed);
        }
    })?;
    let mut weights = vec![];
    trained.model.each_parameter(|parameter| {
        weights.push((parameter.name, parameter.values.into_data().try_to_vec::<f32>().unwrap()));
    });
    Ok((weights, steps))
}

fn train_on(device: &Device, model: Model, how: How) -> Trained {
    let folder = tempfile::tempdir().unwrap();
    train_in(folder.path(), model, how, device, None).unwrap()
}

fn train(model: Model, how: How) -> Trained {
    train_on(&Device::flex(), model, how)
}

#[test]
fn two_walks_through_the_layers_end_where_one_does() {
    use OptimizerState::{Bf16, Device};
    for model in Model::all() {
        // All rows at once and a row at a time; clipped, not clipped although it could be, and never.
        for (micro_batch, max_grad_norm) in [(1024, 0.1), (1, 0.1), (1, 1e6), (1, 0.0)] {
            let with = |state, recompute| train(model, How { state, recompute, micro_batch, max_grad_norm });
            let of = format!("{}, tied {}, {micro_batch}, {max_grad_norm}", model.fixture, model.tied);
            let (once, twice) = (with(Bf16, false), with(Bf16, true));
            assert!(once == twice, "{of}");
            assert_eq!(once.1.len(), 6);
            let (kept, rerun) = (with(Device, false), with(Device, true));
            assert!(kept == rerun, "{of}");
            assert!(kept.0 != once.0, "{of}: bf16 rounds");
        }
    }
}

#[test]
fn moments_in_bf16_end_near_those_in_f32() {
    for model in Model::all() {
        let with = |state| train(model, How { state, recompute: true, micro_batch: 1024, max_grad_norm: 1.0 });
        let start = model.on(&Device::flex()).0;
        let apart = distance(&with(OptimizerState::Bf16), &with(OptimizerState::Device), &start);
        assert!(apart > 0.0 && apart < 0.02, "{}: {apart}", model.fixture);
    }
}

#[test]
fn a_host_that_is_the_device_makes_no_difference() {
    for model in Model::all() {
        for (recompute, max_grad_norm) in [(true, 0.1), (false, 0.1), (true, 0.0)] {
            let with = |state| train(model, How { state, recompute, micro_batch: 1, max_grad_norm });
            assert!(with(OptimizerState::Host) == with(OptimizerState::Device), "{}, {recompute}", model.fixture);
        }
    }
}

#[test]
fn a_host_beside_a_gpu_ends_where_the_gpu_does() {
    let gpu = gpu();
    let model = Model { fixture: "llama3rope", tied: true };
    let with = |state| train_on(&gpu, model, How { state, recompute: true, micro_batch: 1024, max_grad_norm: 1.0 });
    let (host, device) = (with(OptimizerState::Host), with(OptimizerState::Device));
    let apart = distance(&host, &device, &model.on(&gpu).0);
    assert!(apart < 0.01, "{apart}");
}

#[test]
fn a_device_without_bf16_says_what_to_do() {
    let how = How { state: OptimizerState::Bf16, recompute: true, micro_batch: 1024, max_grad_norm: 1.0 };
    let folder = tempfile::tempdir().unwrap();
    let gpu = Device::wgpu(DeviceKind::Cpu);
    let error = train_in(folder.path(), Model { fixture: "llama3rope", tied: true }, how, &gpu, None).unwrap_err();
    let expected = "optimizer_state: expected device or host on a device without bf16, got bf16";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_run_that_is_resumed_ends_where_one_that_was_not_interrupted_does() {
    let model = Model { fixture: "qwen3", tied: true };
    for state in [OptimizerState::Device, OptimizerState::Host, OptimizerState::Bf16] {
        let how = How { state, recompute: true, micro_batch: 1, max_grad_norm: 0.1 };
        let whole = train(model, how);
        let folder = tempfile::tempdir().unwrap();
        let stopped = train_in(folder.path(), model, how, &Device::flex(), Some(4));
        assert!(matches!(stopped, Err(TrainError::Interrupted)));
        let (weights, steps) = train_in(folder.path(), model, how, &Device::flex(), None).unwrap();
        assert!(weights == whole.0, "{state}");
        assert!(steps == whole.1[4..], "{state}");
    }
}

#[test]
fn a_run_may_go_on_where_the_optimizer_works_elsewhere() {
    use OptimizerState::{Bf16, Device, Host};
    let model = Model { fixture: "qwen3", tied: true };
    let how = |state| How { state, recompute: true, micro_batch: 1, max_grad_norm: 0.1 };
    let flex = burn::tensor::Device::flex();
    let exact = train(model, how(Device)).0;
    for (first, second) in [(Device, Host), (Host, Device), (Device, Bf16), (Bf16, Host)] {
        let folder = tempfile::tempdir().unwrap();
        let stopped = train_in(folder.path(), model, how(first), &flex, Some(4));
        assert!(matches!(stopped, Err(TrainError::Interrupted)));
        let went_on = train_in(folder.path(), model, how(second), &flex, None);
        if first == Bf16 || second == Bf16 {
            // It would end elsewhere than either does.
            assert!(matches!(went_on, Err(TrainError::Changed { .. })), "{first}, then {second}");
        } else {
            assert!(went_on.unwrap().0 == exact, "{first}, then {second}");
        }
    }
}
