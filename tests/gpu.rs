//! A GPU backend beside the CPU: parity with Transformers there, and numbers of one not taken for those of the other.
//!
//! Any Vulkan driver will do; the one that computes on the CPU is asked for, as it is everywhere the same. With the feature
//! `cuda` and `MPO_TEST_CUDA` set it is the first NVIDIA GPU.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use burn::tensor::{DType, Device};
use mpo_data::{Origin, Position};
use mpo_models::{CausalLm, LoraOptions, ModelConfig, NamedParameter, SaveOptions, WeightDtype};
use mpo_progress::Recorder;
use mpo_tests::golden::Golden;
use mpo_tests::{assert_close, gpu};
use mpo_trainer::memory::{Base, BaseModel};
use mpo_trainer::{AnswerToScore, Reference};

mpo_tests::test_fixtures!(assert_parity);

/// Which matrices of a frozen base stay bf16 depends on what they are stored in and on the device.
#[test]
fn a_frozen_base_is_planned_as_it_is_loaded() {
    let (model, config) = Golden::open("llama3rope").load(&Device::flex());
    let targets = vec!["all-linear".parse().unwrap()];
    let options = LoraOptions { rank: 2, alpha: 1.0, use_rslora: false, targets, seed: 0 };
    for dtype in [WeightDtype::F32, WeightDtype::F16, WeightDtype::BF16] {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("model");
        model.save(&dir, &config, &SaveOptions { dtype, ..SaveOptions::default() }).unwrap();
        let config = ModelConfig::from_dir(&dir).unwrap();
        for device in [Device::flex(), gpu()] {
            let (loaded, _) = CausalLm::load_frozen(&dir, &device.clone().autodiff()).unwrap();
            let loaded = loaded.with_adapter(&options, "base").unwrap();
            let expected = match BaseModel::of(&dir, &config, None, Some(&device)).unwrap().frozen {
                Base::F32 => DType::F32,
                Base::Bf16 => DType::BF16,
                Base::Nf4 { .. } => panic!("nobody asked for it"),
            };
            loaded.each_parameter(|NamedParameter { name, shape, values, .. }| {
                let is_of_base = shape.len() == 2 && !name.contains("lora_");
                assert!(!is_of_base || values.dtype() == expected, "{name}, {dtype:?} on {device:?}");
            });
        }
        let elsewhere = BaseModel::of(&dir, &config, None, None).unwrap().frozen;
        assert_eq!(elsewhere, if dtype == WeightDtype::BF16 { Base::Bf16 } else { Base::F32 });
    }
}

/// The same model, ids and folder: numbers of another device or type differ in their last bits.
#[test]
fn cached_reference_numbers_are_used_on_the_same_device_in_the_same_type_only() {
    let folder = tempfile::tempdir().unwrap();
    let (model, config) = Golden::open("llama3rope").load(&Device::flex());
    // In bf16, which a model that is not trained is kept in on the CPU.
    let stored = folder.path().join("model");
    model.save(&stored, &config, &SaveOptions::default()).unwrap();
    let (kept, _) = CausalLm::load_frozen(&stored, &Device::flex()).unwrap();
    let on = |device: &Device| CausalLm::load(&stored, device).unwrap().0;
    let origin = Origin { file: "rows".into(), position: Position::Line(1) };
    let cache = folder.path().join("reference");
    let computed_anew = |model: &CausalLm| {
        let recorder = Recorder::default();
        let mut reference = Reference::new(model, "hash", &cache, 1024, &recorder);
        let sums = reference.sums(&[AnswerToScore { prompt: &[1, 2], answer: &[3, 4], origin: &origin }]).unwrap();
        assert!(sums[0] < 0.0);
        // A stage begins where something is missing.
        recorder.texts() == ["reference"]
    };
    for model in [on(&Device::flex()), on(&gpu()), on(&Device::flex()), kept] {
        assert!(computed_anew(&model));
        assert!(!computed_anew(&model));
    }
}

fn assert_parity(name: &str) {
    let golden = Golden::open(name);
    let (model, _) = golden.load(&gpu().autodiff());
    for suffix in ["", "_padded"] {
        let batch = golden.batch(suffix);
        let (ours, training) = batch.run(&model);
        let theirs = batch.real_outputs();
        let close = |what: &str, ours: &[f32], theirs: &[f32]| {
            assert_close(&format!("{what}{suffix}"), ours, theirs, 1e-4);
        };
        close("hidden states", &ours.hidden_states, &theirs.hidden_states);
        close("logits", &ours.logits, &theirs.logits);
        close("log-prob sums", &training.log_prob_sums, &batch.training.log_prob_sums);
        assert_close(
            &format!("gradients{suffix}"),
            &[total(&training.gradient_norms)],
            &[total(&batch.training.gradient_norms)],
            1e-4,
        );
    }
}

/// The norm of all gradients as one vector.
fn total(norms: &BTreeMap<String, f64>) -> f64 {
    norms.values().map(|norm| norm * norm).sum::<f64>().sqrt()
}
