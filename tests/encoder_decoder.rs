//! Parity of encoder-decoders with Transformers: states, log-probabilities, gradients and greedy answers from the same weights.
//!
//! `peers/make_t5_golden.py` says how the numbers were made.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mpo_data::TokenizedRows;
use mpo_models::{
    Accumulator, Answer, At, Batch, CausalLm, GenerateOptions, GgufDtype, GgufOptions, Layer, ModelConfig, Outputs,
    Part, PassOptions, Places, RunAgain, SaveOptions, Scores, States, WeightDtype, generate, write_gguf,
};
use mpo_progress::Silent;
use mpo_tests::golden::Golden;
use mpo_tests::steps::{assert_same_steps, golden_rows, row_by_row, trained};
use mpo_tests::{apart, assert_close, floats};
use mpo_trainer::{HyperParameters, Recompute, StepEvent, TrainOptions};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

const MODELS: [&str; 3] = ["t5", "flan", "mt5"];

/// A prompt, and its answers in the order of their log-probabilities in the file.
struct Exchange {
    prompt: Vec<u32>,
    answers: Vec<Vec<u32>>,
}

fn exchanges(golden: &Golden) -> Vec<Exchange> {
    let of = |number: usize| -> Option<Exchange> {
        let prompt = golden.ids(&format!("prompt{number}"))?;
        let answers = (0..).map_while(|answer| golden.ids(&format!("answer{number}.{answer}"))).collect();
        Some(Exchange { prompt, answers })
    };
    (0..).map_while(of).collect()
}

/// Everything that is compared, asked of one batch.
struct Asked {
    batch: Batch,
    scores: Scores,
    /// By the names in the file.
    states: Vec<(String, States)>,
    tokens: usize,
}

impl Asked {
    fn new(exchanges: &[Exchange]) -> Self {
        let (mut batch, mut places, mut answers) = (Batch::default(), vec![], vec![]);
        for (p, Exchange { prompt, answers: all }) in exchanges.iter().enumerate() {
            let prompt = batch.prompt(prompt);
            places.push(("encoder", p.to_string(), At::Every(prompt)));
            for (a, ids) in all.iter().enumerate() {
                let answer = batch.answer(prompt, ids);
                places.push(("decoder", format!("{p}.{a}"), At::Predicting(answer)));
                answers.push(answer);
            }
        }
        let tokens = answers.iter().map(|&answer| batch.ids(answer).len()).sum();
        let scores = batch.want_scores(answers);
        let mut states = vec![];
        for (side, number, at) in places {
            for (name, layer) in [("first", Layer::Output(0)), ("last", Layer::Last)] {
                let of = batch.want_states(layer, Places::Tokens(vec![at]));
                states.push((format!("{side}_{name}{number}"), of));
            }
        }
        Self { batch, scores, states, tokens }
    }

    /// The mean negative log-likelihood over all answer tokens.
    fn loss(&self, outputs: &Outputs) -> Tensor<1> {
        outputs.scores(self.scores).sum.sum().neg().div_scalar(self.tokens as f32)
    }
}

#[test]
fn states_and_scores_are_those_of_transformers() {
    for name in MODELS {
        let golden = Golden::open(name);
        let (model, _) = golden.load(&Device::flex());
        let asked = Asked::new(&exchanges(&golden));
        let outputs = model.forward(&asked.batch);
        for (what, states) in &asked.states {
            assert_close(&format!("{name}: {what}"), &floats(outputs.states(*states)), &golden.floats(what), 2e-5);
            if let Some(number) = what.strip_prefix("decoder_last") {
                let what = format!("logits{number}");
                let logits = model.logits(outputs.states(*states));
                assert_close(&format!("{name}: {what}"), &floats(logits), &golden.floats(&what), 2e-5);
            }
        }
        let sums: Vec<f32> = serde_json::from_value(golden.numbers["logp_sums"].clone()).unwrap();
        for (our, their) in floats(outputs.scores(asked.scores).sum).iter().zip(&sums) {
            assert!((our - their).abs() <= 1e-4, "{name}: log-prob sum {our}, not {their}");
        }
    }
}

#[test]
fn gradients_are_those_of_transformers() {
    for name in MODELS {
        let golden = Golden::open(name);
        let (model, _) = golden.load(&Device::flex().autodiff());
        let asked = Asked::new(&exchanges(&golden));
        let norms: BTreeMap<String, f64> = serde_json::from_value(golden.numbers["grad_l2"].clone()).unwrap();
        let check = |how: &str, gradients: Vec<(String, Option<Tensor<1>>)>| {
            assert_eq!(gradients.len(), norms.len(), "{name}, {how}");
            for (part, gradient) in gradients {
                let gradient = floats(gradient.unwrap_or_else(|| panic!("{name}, {how}: {part} has no gradient")));
                let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
                assert_close(&format!("{name}, {how}: gradient of {part}"), &[norm], &[norms[&part]], 1e-4);
            }
        };
        let mut gradients = asked.loss(&model.forward(&asked.batch)).backward();
        check("in one graph", model.take_gradients(&mut gradients));
        for again in [RunAgain::Nothing, RunAgain::Layers, RunAgain::LayersAndHead] {
            let (outputs, pass) = model.forward_training(&asked.batch, PassOptions { again, head_memory: 0 });
            let mut accumulator = Accumulator::default();
            accumulator.add(&model, asked.loss(&outputs), pass);
            let (mut walk, mut parts) = (accumulator.walk(), vec![]);
            while let Some(part) = walk.next(&model) {
                parts.push(part);
            }
            check(&format!("{again:?}"), parts.into_iter().rev().flatten().collect());
        }
    }
}

#[test]
fn greedy_answers_are_those_of_transformers() {
    for name in MODELS {
        let golden = Golden::open(name);
        let (model, config) = golden.load(&Device::flex());
        let prompts: Vec<Vec<u32>> = exchanges(&golden).into_iter().map(|exchange| exchange.prompt).collect();
        let greedy: Vec<Vec<u32>> = serde_json::from_value(golden.numbers["greedy"].clone()).unwrap();
        let stop_ids = config.decoder.eos_token_ids.clone();
        for batch_size in [1, 8] {
            let options =
                GenerateOptions { max_new_tokens: 12, stop_ids: stop_ids.clone(), sampling: None, batch_size };
            let answers = generate(&model, &prompts, &options, |_| true).unwrap();
            let expected = greedy.iter().map(|ids| {
                let complete = stop_ids.contains(ids.last().unwrap());
                Answer { ids: ids[..ids.len() - usize::from(complete)].to_vec(), complete }
            });
            assert_eq!(answers, expected.collect::<Vec<_>>(), "{name}, {batch_size} at once");
        }
    }
}

#[test]
fn what_is_saved_is_what_was_read() {
    for name in MODELS {
        let golden = Golden::open(name);
        let (model, config) = golden.load(&Device::flex());
        // The form of Transformers 4 means what that of Transformers 5 does beside the weights.
        let older = serde_json::from_slice(&fs::read(golden.dir.join("config_v4.json")).unwrap()).unwrap();
        assert_eq!(ModelConfig::from_json(older).unwrap().decoder, config.decoder, "{name}");
        let folder = tempfile::tempdir().unwrap();
        // Of several files too.
        for (number, max_shard_bytes) in [usize::MAX, 50_000].into_iter().enumerate() {
            let dir = folder.path().join(number.to_string());
            let options = SaveOptions { dtype: WeightDtype::F32, max_shard_bytes, ..SaveOptions::default() };
            model.save(&dir, &config, &options).unwrap();
            let (again, reloaded) = CausalLm::load(&dir, &Device::flex()).unwrap();
            assert_eq!(reloaded, config, "{name}");
            let all = |model: &CausalLm| {
                let mut all = vec![];
                model.each_parameter(|parameter| all.push((parameter.name, floats(parameter.values))));
                all
            };
            assert!(all(&again) == all(&model), "{name}: weights changed");
        }
    }
}

#[test]
fn none_is_written_as_gguf() {
    let folder = tempfile::tempdir().unwrap();
    let options = GgufOptions { dtype: GgufDtype::F16, name: "mt5" };
    let error = write_gguf(&Golden::open("mt5").dir, &folder.path().join("mt5.gguf"), &options, &Silent).unwrap_err();
    assert!(error.to_string().contains("expected a decoder alone"), "{error}");
}

/// An answer's numbers depend neither on what stands beside it nor on how it is asked for.
#[test]
fn each_answer_is_scored_as_alone() {
    let golden = Golden::open("mt5");
    let (model, _) = golden.load(&Device::flex());
    let exchanges = exchanges(&golden);
    let asked = Asked::new(&exchanges);
    let together = floats(model.forward(&asked.batch).scores(asked.scores).sum);
    let mut alone = vec![];
    for Exchange { prompt, answers } in &exchanges {
        for answer in answers {
            let mut batch = Batch::default();
            // A prompt in two parts is the same prompt.
            let opening = batch.prompt(&prompt[..5]);
            let prompt = batch.prompt_from(opening, &prompt[5..]);
            let answer = batch.answer(prompt, answer);
            let scores = batch.want_scores([answer]);
            alone.extend(floats(model.forward(&batch).scores(scores).sum));
        }
    }
    assert_eq!(together, alone);
}

/// The token after a prompt is predicted where a whole answer's first token is.
#[test]
fn what_comes_next_is_predicted_by_the_decoder() {
    let golden = Golden::open("mt5");
    let (model, _) = golden.load(&Device::flex());
    let Exchange { prompt, answers } = &exchanges(&golden)[0];
    let mut batch = Batch::default();
    let prompt = batch.prompt(prompt);
    let next = batch.want_states(Layer::Last, Places::Tokens(vec![At::Next(prompt)]));
    let states = floats(model.forward(&batch).states(next));
    let width = model.config().hidden_size;
    assert_close("the first state", &states, &golden.floats("decoder_last0.0")[..width], 2e-5);
    assert!(!answers.is_empty());
}

/// Padding behind a prompt sees the prompt and is seen by nobody; its mean is over both.
#[test]
fn padding_behind_a_prompt_changes_no_other_state() {
    let golden = Golden::open("mt5");
    let (model, _) = golden.load(&Device::flex());
    let Exchange { prompt: ids, .. } = &exchanges(&golden)[1];
    let width = model.config().hidden_size;
    let states = |padded: usize, wanted: fn(Part, Part) -> Places| {
        let mut batch = Batch::default();
        let prompt = batch.prompt(ids);
        let padding = batch.padding(prompt, 0, padded);
        let states = batch.want_states(Layer::Last, wanted(prompt, padding));
        floats(model.forward(&batch).states(states))
    };
    let own: fn(Part, Part) -> Places = |prompt, _| Places::Tokens(vec![At::Every(prompt)]);
    let both: fn(Part, Part) -> Places = |prompt, padding| Places::Tokens(vec![At::Every(prompt), At::Every(padding)]);
    let mean: fn(Part, Part) -> Places = |prompt, padding| Places::Means(vec![vec![prompt, padding]]);
    assert_close("beside padding", &states(3, own), &golden.floats("encoder_last1"), 2e-5);
    let all = states(3, both);
    assert_eq!(all.len(), (ids.len() + 3) * width);
    let expected: Vec<f32> =
        (0..width).map(|column| all.iter().skip(column).step_by(width).sum::<f32>() / (ids.len() + 3) as f32).collect();
    assert_close("the mean", &states(3, mean), &expected, 1e-6);
    // Each row of padding stands at a place of its own.
    assert!(apart(&all[(ids.len() + 1) * width..(ids.len() + 2) * width], &all[ids.len() * width..][..width]) > 1e-3);
}

/// `peers/make_t5_steps.py` says how the numbers were made.
#[test]
fn steps_of_mpo_are_those_of_pytorch() {
    let golden = Golden::open("mt5");
    let steps: Value = serde_json::from_slice(&fs::read(golden.dir.join("steps.json")).unwrap()).unwrap();
    for (of, retain) in [("last_token", "last-token"), ("mean_pool", "mean-pool")] {
        for recompute in [Recompute::Off, Recompute::On] {
            let (_, seen) = train(&golden, &steps, retain, recompute);
            assert_eq!(seen.len(), 3);
            assert_same_steps(&format!("{of}, {recompute:?}"), &seen, steps[of].as_array().unwrap(), 1e-4);
        }
    }
}

/// Leaves a trained model and its logits in `MPO_SAVED`, for `tests/peers/check_saved_model.py` to load with Transformers.
#[test]
#[ignore = "needs MPO_SAVED"]
fn saved_for_transformers() {
    let golden = Golden::open("mt5");
    let folder = PathBuf::from(std::env::var("MPO_SAVED").unwrap());
    let steps: Value = serde_json::from_slice(&fs::read(golden.dir.join("steps.json")).unwrap()).unwrap();
    let (model, _) = train(&golden, &steps, "last-token", Recompute::On);
    let (_, config) = golden.load(&Device::flex());
    let options = SaveOptions {
        dtype: WeightDtype::F32,
        copy_from: Some(&golden.dir),
        overwrite: true,
        ..SaveOptions::default()
    };
    model.save(&folder.join("model"), &config, &options).unwrap();
    let Exchange { prompt, answers } = &exchanges(&golden)[0];
    let mut batch = Batch::default();
    let part = batch.prompt(prompt);
    let answer = batch.answer(part, &answers[0]);
    let states = batch.want_states(Layer::Last, Places::Tokens(vec![At::Predicting(answer)]));
    let model = model.valid();
    let logits = floats(model.logits(model.forward(&batch).states(states)));
    let (start, given) = (config.decoder.encoder.unwrap().start_token_id, answers[0].len());
    let before: Vec<u32> = [start].into_iter().chain(answers[0][..given - 1].iter().copied()).collect();
    let id_bytes = |ids: &[u32]| ids.iter().flat_map(|&id| i64::from(id).to_le_bytes()).collect::<Vec<u8>>();
    let (prompt_bytes, before_bytes) = (id_bytes(prompt), id_bytes(&before));
    let logit_bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).unwrap();
    let tensors = [
        ("input_ids", view(Dtype::I64, vec![1, prompt.len()], &prompt_bytes)),
        ("decoder_input_ids", view(Dtype::I64, vec![1, given], &before_bytes)),
        ("logits", view(Dtype::F32, vec![1, given, logits.len() / given], &logit_bytes)),
    ];
    safetensors::serialize_to_file(tensors, None, &folder.join("reference.safetensors")).unwrap();
}

/// The trained model, and what each step reports.
fn train(golden: &Golden, steps: &Value, retain: &str, recompute: Recompute) -> (CausalLm, Vec<StepEvent>) {
    let settings = json!({"retain": retain, "retain_scale": "mean", "pad_multiple": 8});
    let options = TrainOptions {
        hyper_parameters: HyperParameters(settings.as_object().unwrap().clone()),
        recompute: Some(recompute),
        ..row_by_row(1e-3)
    };
    let rows = TokenizedRows::Bilingual(golden_rows(&steps["rows"]));
    trained(golden.load(&Device::flex().autodiff()), rows, 0, options)
}
