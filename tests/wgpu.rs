//! Parity with Transformers on a GPU backend: our plain compositions in place of the native CPU kernels.
//!
//! Any Vulkan driver will do; the one that computes on the CPU is asked for, as it is everywhere the same.

#![allow(clippy::unwrap_used)]

mod golden;

use std::collections::BTreeMap;

use burn::tensor::{Device, DeviceKind};
use golden::{Golden, assert_close};

#[test]
fn llama() {
    assert_parity("llama3rope");
}

#[test]
fn gemma2() {
    assert_parity("gemma2");
}

fn assert_parity(name: &str) {
    let golden = Golden::open(name);
    let (model, _) = golden.load(&Device::wgpu(DeviceKind::Cpu).autodiff());
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
