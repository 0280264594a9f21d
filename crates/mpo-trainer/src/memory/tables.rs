//! The tables of an audit of the engine, by the program: what the paper's models take on a card.

use mpo_models::{DecoderConfig, Precision};

use super::testing::{PLAIN, gemma_9b, llama_8b, lora, passes, qwen_7b};
use super::*;
use crate::settings::OptimizerState;

const GB: f64 = 1e9;

/// Weights, gradients and moments on the card, of a pass among several.
fn state(model: &DecoderConfig, passes: &Passes, storage: Storage) -> f64 {
    let estimate = Estimate::of(model, passes, storage, Hardware::Gpu, 0);
    let end = estimate.phases.iter().find(|phase| phase.name == PhaseName::LayersEnd).unwrap();
    let kept = [Part::Weights, Part::Gradients, Part::OptimizerState];
    let of_state = end.shares.iter().filter(|share| !share.on_host && kept.contains(&share.part));
    of_state.map(|share| share.bytes).sum::<u64>() as f64 / GB
}

#[test]
fn full_fine_tuning() {
    let one = passes(1, 1);
    let several = Passes { accumulates: true, ..one };
    let bf16 = Storage { recompute: true, precision: Precision::Bf16, ..PLAIN };
    let half = Storage { optimizer_state: OptimizerState::Bf16, ..bf16 };
    let host = Storage { optimizer_state: OptimizerState::Host, ..bf16 };
    for (passes, storage, expected) in [
        // 20 and 16 bytes a parameter.
        (&several, PLAIN, [161.0, 152.0, 185.0]),
        (&one, PLAIN, [128.0, 122.0, 148.0]),
        // 8, and the gradient of the embedding or the head.
        (&one, half, [64.2 + 2.1, 60.9 + 2.2, 73.9 + 3.7]),
        // 4, and the gradients of the embedding, of a head of its own and of a layer.
        (&one, host, [32.1 + 5.1, 30.5 + 5.3, 37.0 + 4.5]),
    ] {
        for (model, expected) in [llama_8b(), qwen_7b(), gemma_9b()].iter().zip(expected) {
            let got = state(model, passes, storage);
            assert!((got - expected).abs() < 1.0, "{storage:?}: expected {expected} GB, got {got}");
        }
    }
}

/// What lies on the card beside weights, gradients and moments: 4,096 packed tokens in bf16, layers run again. The residual
/// stream is f32, which the audit counts as bf16.
#[test]
fn activations_and_head() {
    let bf16 = Storage { recompute: true, precision: Precision::Bf16, ..PLAIN };
    let work = |model: &DecoderConfig, storage| {
        let estimate = Estimate::of(model, &passes(4_096, 2_000), storage, Hardware::Gpu, 0);
        let beside = |phase: &Phase| {
            let of = [Part::Activations, Part::Layer, Part::Head];
            phase.shares.iter().filter(|share| of.contains(&share.part)).map(|share| share.bytes).sum::<u64>()
        };
        estimate.phases.iter().map(beside).max().unwrap() as f64 / GB
    };
    for model in [llama_8b(), qwen_7b(), gemma_9b()] {
        // Without the head's gradient of 1 to 2 GB.
        let bytes = work(&model, bf16);
        assert!((2.0..6.0).contains(&bytes), "{bytes}");
        let kept = work(&model, Storage { recompute: false, ..bf16 });
        assert!((18.0..35.0).contains(&kept), "{kept}");
    }
}

#[test]
fn adapters_of_rank_16() {
    let adapter = |model: &DecoderConfig, base| {
        let numbers = parameters::adapter(model, &lora(16, "all-linear"));
        Storage { recompute: true, precision: Precision::Bf16, tuning: Tuning::Adapter { numbers, base }, ..PLAIN }
    };
    for (model, base, expected) in [
        (qwen_7b(), Base::Bf16, 18.0),
        (llama_8b(), Base::Bf16, 19.0),
        (gemma_9b(), Base::Bf16, 22.5),
        (llama_8b(), Base::Nf4 { rest_is_bf16: true }, 9.0),
    ] {
        let estimate = Estimate::of(&model, &passes(4_096, 2_000), adapter(&model, base), Hardware::Gpu, 0);
        // The residual stream is f32, which the audit counts as bf16: a gigabyte more.
        let without_pools = (estimate.bytes() as f64 - 0.5 * GB) / 1.1;
        let got = without_pools / GB;
        assert!((got - expected).abs() < 1.5, "expected {expected} GB, got {got}");
    }
}
