//! A batch comes to what its sequences come to one by one, whatever is wanted of it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use mpo_kernels::PackedLayout;
use mpo_models::{At, Batch, CausalLm, Checkpoint, Layer, Places};

const PROMPT: [u32; 5] = [5, 17, 200, 31, 9];
const CHOSEN: [u32; 3] = [40, 41, 7];
const REJECTED: [u32; 2] = [77, 8];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/mpo-train/miniature/model")
}

fn miniature(device: &Device) -> CausalLm {
    CausalLm::load(&folder(), device).unwrap().0
}

/// The last layer's states of a sequence by itself.
fn alone(model: &CausalLm, ids: &[u32]) -> Tensor<2> {
    model.hidden_states(ids, &PackedLayout::sequences(&[ids.len()]))
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.without_autodiff().into_data();
    data.try_to_vec().unwrap()
}

fn assert_near(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-5 * want.abs().max(1.0), "{got} {want}");
    }
}

#[test]
fn scores_of_answers_that_share_a_prompt() {
    let model = miniature(&Device::flex());
    let mut batch = Batch::default();
    // Something else stands before them, and their prompt comes in two parts.
    let other = batch.prompt(&[3, 4]);
    batch.answer(other, &[6]);
    let opening = batch.prompt(&PROMPT[..3]);
    let prompt = batch.prompt_from(opening, &PROMPT[3..]);
    let chosen = batch.answer(prompt, &CHOSEN);
    let rejected = batch.answer(prompt, &REJECTED);
    let one = batch.want_scores([rejected]);
    let both = batch.want_scores([chosen, rejected]);
    let outputs = model.forward(&batch);
    let want = [&CHOSEN[..], &REJECTED].map(|answer| {
        let ids = [&PROMPT[..], answer].concat();
        let rows: Vec<usize> = (PROMPT.len() - 1..ids.len() - 1).collect();
        let log_probs = model.token_log_probs(alone(&model, &ids), &rows, answer);
        floats(log_probs).iter().sum::<f32>()
    });
    assert_near(&floats(outputs.scores(both).sum), &want);
    assert_eq!(floats(outputs.scores(both).tokens), [3.0, 2.0]);
    assert_near(&floats(outputs.scores(one).sum), &want[1..]);
}

#[test]
fn states_at_tokens_and_their_means() {
    let model = miniature(&Device::flex());
    let mut batch = Batch::default();
    let prompt = batch.prompt(&PROMPT);
    let answer = batch.answer(prompt, &CHOSEN);
    let padding = batch.padding(answer, 0, 2);
    let mut want = |places| batch.want_states(Layer::Last, places);
    let tokens = want(Places::Tokens(vec![At::Last(prompt), At::Predicting(answer), At::Every(answer)]));
    let means = want(Places::Means(vec![vec![prompt, answer], vec![padding]]));
    let outputs = model.forward(&batch);
    let width = model.config().hidden_size;
    let all = floats(alone(&model, &[&PROMPT[..], &CHOSEN].concat()));
    let row = |row: usize| &all[row * width..(row + 1) * width];
    let rows = [4, 4, 5, 6, 5, 6, 7].map(row);
    assert_near(&floats(outputs.states(tokens)), &rows.concat());
    let mean: Vec<f32> = (0..width).map(|i| (0..8).map(|of| row(of)[i]).sum::<f32>() / 8.0).collect();
    let got = floats(outputs.states(means));
    assert_near(&got[..width], &mean);
    assert_eq!(got.len(), 2 * width);
}

#[test]
fn a_layer_alone_is_the_same_as_among_others() {
    let model = miniature(&Device::flex());
    let last = model.config().num_layers - 1;
    let of = |layers: &[Layer]| {
        let mut batch = Batch::default();
        let prompt = batch.prompt(&PROMPT);
        let places = || Places::Tokens(vec![At::Every(prompt)]);
        let wanted: Vec<_> = layers.iter().map(|&layer| batch.want_states(layer, places())).collect();
        let outputs = model.forward(&batch);
        wanted.into_iter().map(|of| floats(outputs.states(of))).collect::<Vec<_>>()
    };
    let all = of(&[Layer::Output(0), Layer::Last, Layer::Output(last)]);
    assert_eq!(of(&[Layer::Output(0)])[0], all[0]);
    // By itself the prompt is a batch of few rows, which are summed in another order.
    assert_near(&all[1], &floats(alone(&model, &PROMPT)));
    assert_ne!(all[0], all[2]);
    // The final norm by hand: its weight, and rows divided by their root mean square.
    let width = model.config().hidden_size;
    let weights = Checkpoint::open(&folder()).unwrap();
    let weight = weights.tensor_f32("model.norm.weight", &[width]).unwrap();
    let normed = all[2].chunks_exact(width).flat_map(|row| {
        let mean = row.iter().map(|x| x * x).sum::<f32>() / width as f32;
        let rms = (mean + model.config().norm.eps as f32).sqrt();
        let weight = weight.iter();
        row.iter().zip(weight).map(move |(x, weight)| x / rms * weight).collect::<Vec<f32>>()
    });
    assert_near(&all[1], &normed.collect::<Vec<f32>>());
}

#[test]
fn gradients_reach_the_layers_below_a_state_and_no_others() {
    let model = miniature(&Device::flex().autodiff());
    let mut batch = Batch::default();
    let prompt = batch.prompt(&PROMPT);
    let places = Places::Tokens(vec![At::Last(prompt)]);
    let states = batch.want_states(Layer::Output(0), places);
    let loss = model.forward(&batch).states(states).square().sum();
    let gradients = model.take_gradients(&mut loss.backward());
    let reached = |of: &str| {
        let mut gradients = gradients.iter().filter(|(name, _)| name.contains(of));
        gradients.any(|(_, gradient)| gradient.is_some())
    };
    assert!(reached("layers.0.") && reached("embed_tokens"));
    assert!(!reached("layers.1.") && !reached("model.norm"));
}
