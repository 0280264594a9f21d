//! Tiny models, and a batch in which everything is wanted.

use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Distribution, Tensor};
use mpo_kernels::{HeadInputs, linear_kl};
use serde_json::json;

use super::CausalLm;
use crate::batch::{At, Batch, Layer, Outputs, Places};
use crate::{Initializer, LoraOptions, ModelConfig};

pub(super) const LAYERS: usize = 3;

/// A tiny model of every architecture of decoders alone, with a tied head and without.
pub(super) fn models() -> Vec<(String, CausalLm)> {
    made(configs())
}

/// Tiny encoder-decoders: T5's first version, and the next with a head of its own.
pub(super) fn behind() -> Vec<(String, CausalLm)> {
    let all = [("t5", true), ("mt5", false)].map(|(of, tied)| {
        let config = json!({
            "model_type": of, "vocab_size": 32, "d_model": 16, "d_ff": 32, "num_layers": 2, "num_decoder_layers": LAYERS,
            "num_heads": 4, "d_kv": 3, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 6,
            "tie_word_embeddings": tied,
        });
        (format!("{of}, tied {tied}"), ModelConfig::from_json(config).unwrap())
    });
    made(all.into())
}

/// Both.
pub(super) fn all_models() -> Vec<(String, CausalLm)> {
    models().into_iter().chain(behind()).collect()
}

fn made(configs: Vec<(String, ModelConfig)>) -> Vec<(String, CausalLm)> {
    let device = Device::flex().autodiff();
    let models = configs.into_iter().map(|(name, ModelConfig { decoder, .. })| {
        let mut weights = Initializer::new(decoder.norm.offset);
        let Ok(model) = seeded(|| CausalLm::new(decoder, &mut weights, &device));
        (name, model)
    });
    models.collect()
}

/// What `draw` makes of the same random numbers each time. The backend has one generator for the process, so tests that
/// run beside each other would take numbers from each other's.
fn seeded<T>(draw: impl FnOnce() -> T) -> T {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _held = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    Device::flex().seed(5);
    draw()
}

/// What they are.
pub(super) fn configs() -> Vec<(String, ModelConfig)> {
    // Of layers that slide and layers that do not, or that rotate and do not, there are both in all.
    let types = [
        ("llama", json!({})),
        ("qwen2", json!({})),
        ("qwen3", json!({})),
        ("gemma2", json!({})),
        ("gemma3_text", json!({})),
        ("smollm3", json!({ "no_rope_layer_interval": 2 })),
        ("olmo2", json!({})),
        ("phi3", json!({ "partial_rotary_factor": 0.5 })),
        ("cohere", json!({ "rope_theta": 10_000.0 })),
        ("cohere2", json!({ "sliding_window_pattern": 2 })),
    ];
    let all = types.into_iter().flat_map(|(of, own)| [(of, own.clone(), true), (of, own, false)]);
    all.map(|(of, own, tied)| {
        let mut config = json!({
            "model_type": of, "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": LAYERS,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "sliding_window": 3,
            "max_position_embeddings": 64, "query_pre_attn_scalar": 4, "tie_word_embeddings": tied, "pad_token_id": 7,
        });
        for (key, value) in own.as_object().unwrap() {
            config[key] = value.clone();
        }
        (format!("{of}, tied {tied}"), ModelConfig::from_json(config).unwrap())
    })
    .collect()
}

/// A batch in which everything is wanted: scores, states of the last layer and of one before, means, padding. Its
/// `number` decides the tokens.
pub(super) fn batch(number: u32) -> (Batch, impl Fn(&Outputs) -> Tensor<1>) {
    let mut batch = Batch::default();
    let opening = batch.prompt(&[1, 5 + number, 9]);
    let prompt = batch.prompt_from(opening, &[7, 11]);
    let chosen = batch.answer(prompt, &[4, 2 + number, 30]);
    let rejected = batch.answer(prompt, &[8, 2]);
    let padding = batch.padding(rejected, 7, 2);
    let scores = batch.want_scores([chosen, rejected]);
    let early = batch.want_states(Layer::Output(0), Places::Tokens(vec![At::Every(chosen)]));
    let last = batch.want_states(Layer::Last, Places::Means(vec![vec![prompt, rejected, padding]]));
    let loss = move |outputs: &Outputs| {
        let scores = outputs.scores(scores).sum.sum();
        let states = [early, last].map(|states| outputs.states(states).square().sum());
        states.into_iter().fold(scores, |sum, states| sum + states)
    };
    (batch, loss)
}

/// Scores, and how far the distributions at some states are from others, which are constants.
pub(super) fn batch_with_distributions(number: u32) -> (Batch, impl Fn(&Outputs) -> Tensor<1>) {
    let mut batch = Batch::default();
    let prompt = batch.prompt(&[1, 5 + number, 9]);
    let answers = [batch.answer(prompt, &[4, 2 + number, 30]), batch.answer(prompt, &[8, 2])];
    let scores = batch.want_scores(answers);
    let states = batch.want_states(Layer::Last, Places::Tokens(answers.map(At::Predicting).to_vec()));
    let loss = move |outputs: &Outputs| {
        let head = outputs.head();
        let policy = head.inputs(outputs.states(states));
        let constants = [policy.hidden.clone() * 0.5, policy.head.clone()];
        let [hidden, of_reference] = constants.map(|tensor| tensor.detach().set_require_grad(false));
        let reference = HeadInputs { hidden, head: of_reference };
        outputs.scores(scores).sum.sum() + linear_kl(policy, reference, head.softcap).sum()
    };
    (batch, loss)
}

/// What an adapter is made with.
pub(super) fn options(targets: &[&str]) -> LoraOptions {
    let targets = targets.iter().map(|target| {
        let Ok(target) = target.parse();
        target
    });
    LoraOptions { rank: 3, alpha: 5.0, use_rslora: false, targets: targets.collect(), seed: 1 }
}

/// The model with an adapter whose update is not zero.
pub(super) fn adapted(model: CausalLm, targets: &[&str]) -> CausalLm {
    let model = model.with_adapter(&options(targets), "../base").unwrap();
    seeded(|| {
        changed(model, |name, value| match name.ends_with("lora_b") {
            true => Tensor::random(value.dims(), Distribution::Normal(0.0, 0.1), &value.device()),
            false => value,
        })
    })
}

/// The model with every parameter as `f` has it, in the way that training changes them.
pub(super) fn changed(model: CausalLm, mut f: impl FnMut(&str, Tensor<1>) -> Tensor<1>) -> CausalLm {
    let mut all = vec![];
    model.each_parameter(|parameter| all.push((parameter.name, Some(parameter.values))));
    model.update(all, |name, value, _| f(name, value))
}
