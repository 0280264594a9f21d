//! Parity with Transformers: the same outputs, log-probabilities and gradients from the same weights.
//!
//! `peers/make_golden.py` says how the numbers were made.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::Device;
use mpo_kernels::{PackedLayout, Segment};
use mpo_models::{CausalLm, KeyValueCache, ModelConfig, SaveOptions, WeightDtype};
use mpo_tests::assert_close;
use mpo_tests::golden::{self, Batch, Golden, Outputs, Training};
use safetensors::{Dtype, SafeTensors};

mpo_tests::test_fixtures!(assert_parity);

fn assert_parity(name: &str) {
    let golden = Golden::open(name);
    let (model, config) = golden.load(&Device::flex().autodiff());
    assert_same_config(&golden, &config);

    let whole = golden.batch("");
    assert_eq!(whole.lengths, [24, 24]);
    assert_same_results("whole", &whole, &model);
    assert_same_growing(&whole, &golden.load(&Device::flex()).0);

    let padded = golden.batch("_padded");
    assert_eq!(padded.lengths, [24, 17]);
    assert_same_results("padded", &padded, &model);
    assert_same_padding(&padded, &model);

    assert_round_trip(&golden, &model, &config);
}

/// The form of Transformers 4 means what that of Transformers 5 does.
fn assert_same_config(golden: &Golden, config: &ModelConfig) {
    let older = fs::read(golden.dir.join("config_v4.json")).unwrap();
    let older = ModelConfig::from_json(serde_json::from_slice(&older).unwrap()).unwrap();
    assert_eq!(older.decoder, config.decoder);
}

fn assert_same_results(case: &str, batch: &Batch, model: &CausalLm) {
    let (outputs, training) = batch.run(model);
    assert_same_outputs(case, &outputs, &batch.real_outputs());
    assert_same_training(case, &training, &batch.training);
}

fn assert_same_outputs(case: &str, ours: &Outputs, theirs: &Outputs) {
    let close = |what: &str, ours: &[f32], theirs: &[f32]| {
        assert_close(&format!("{case}: {what}"), ours, theirs, 2e-5);
    };
    close("hidden states", &ours.hidden_states, &theirs.hidden_states);
    close("logits", &ours.logits, &theirs.logits);
}

fn assert_same_training(case: &str, ours: &Training, theirs: &Training) {
    assert_eq!(ours.log_prob_sums.len(), theirs.log_prob_sums.len());
    for (our, their) in ours.log_prob_sums.iter().zip(&theirs.log_prob_sums) {
        let error = (our - their).abs();
        assert!(error <= 1e-4, "{case}: log-prob sum {our}, not {their}");
    }
    let names = |training: &Training| -> Vec<String> { training.gradient_norms.keys().cloned().collect() };
    assert_eq!(names(ours), names(theirs));
    for (name, their) in &theirs.gradient_norms {
        let what = format!("{case}: gradient of {name}");
        assert_close(&what, &[ours.gradient_norms[name]], &[*their], 1e-4);
    }
}

/// Both sequences side by side, their first tokens at once and then one after another beside a cache, as answers are made. They
/// are longer than a window.
fn assert_same_growing(batch: &Batch, model: &CausalLm) {
    const FIRST: usize = 5;
    let length = batch.lengths[0];
    let width = batch.outputs.hidden_states.len() / batch.tokens.len();
    let mut cache = KeyValueCache::new(batch.tokens.len());
    let (mut states, mut cached) = ([vec![], vec![]], 0);
    while cached < length {
        let next = if cached == 0 { FIRST } else { 1 };
        let segments = [0, length].map(|start| Segment {
            rows: start + cached..start + cached + next,
            context: if cached == 0 { vec![] } else { vec![start..start + cached] },
            attends_itself: true,
        });
        let tokens: Vec<u32> = segments.iter().flat_map(|one| batch.tokens[one.rows.clone()].to_vec()).collect();
        let layout = PackedLayout::in_cache(cache.rows(), segments.to_vec());
        let given = model.next_hidden_states(&tokens, &layout, &mut cache).into_data().try_to_vec::<f32>().unwrap();
        for (states, given) in states.iter_mut().zip(given.chunks(next * width)) {
            states.extend_from_slice(given);
        }
        cached += next;
    }
    assert_close("growing: hidden states", &states.concat(), &batch.outputs.hidden_states, 2e-5);
}

/// Transformers gives hidden states to padding too: each row attends to the real tokens before it and to no padding. A
/// sliding window counts from the padding row's own position, there as here, so the later rows see fewer tokens; the
/// padding is shorter than the window, for a row that saw nothing would be left to each implementation.
fn assert_same_padding(batch: &Batch, model: &CausalLm) {
    let mut segments = vec![];
    let length = batch.tokens.len() / batch.lengths.len();
    for (sequence, real) in batch.lengths.iter().enumerate() {
        let start = sequence * length;
        let (middle, end) = (start + real, start + length);
        segments.push(Segment { rows: start..middle, context: vec![], attends_itself: true });
        if middle < end {
            segments.push(Segment { rows: middle..end, context: vec![start..middle], attends_itself: false });
        }
    }
    let hidden_states = model.hidden_states(&batch.tokens, &PackedLayout::new(segments));
    let ours = golden::outputs(model, hidden_states);
    assert_same_outputs("with padding", &ours, &batch.outputs);

    // Padding is a few rows of many: its own error must not hide in theirs.
    let padding = |values: &[f32]| {
        let width = values.len() / batch.tokens.len();
        values[(length + batch.lengths[1]) * width..].to_vec()
    };
    let only = |outputs: &Outputs| Outputs {
        hidden_states: padding(&outputs.hidden_states),
        logits: padding(&outputs.logits),
    };
    assert_same_outputs("padding", &only(&ours), &only(&batch.outputs));
}

/// What is loaded and saved is, to the bit, what was in the file, and can be loaded again.
fn assert_round_trip(golden: &Golden, model: &CausalLm, config: &ModelConfig) {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("model");
    let options = SaveOptions { dtype: WeightDtype::F32, ..SaveOptions::default() };
    model.save(&saved, config, &options).unwrap();
    // Compared without printing: a difference would fill the screen with bytes.
    assert!(weights(&saved) == weights(&golden.dir), "weights changed");
    let (_, reloaded) = CausalLm::load(&saved, &Device::flex()).unwrap();
    assert_eq!(&reloaded, config);
}

/// Type, shape and bytes of every tensor in a folder.
fn weights(dir: &Path) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
    let file = fs::read(dir.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    tensors
        .iter()
        .map(|(name, tensor)| {
            let contents = (tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec());
            (name.to_owned(), contents)
        })
        .collect()
}
