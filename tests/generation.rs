//! Generation: an answer does not depend on its batch, and greedy answers are those of Transformers.

#![allow(clippy::unwrap_used, missing_docs)]

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor};
use mpo_data::{Message, TemplateOptions, TextTokenizer};
use mpo_kernels::PackedLayout;
use mpo_models::{
    Answer, CausalLm, Engine, GenerateOptions, Generated, ModelConfig, Question, Sampling, SaveOptions, Stepped,
    WeightDtype, WeightSource, generate,
};
use serde::Deserialize;

fn options(batch_size: usize) -> GenerateOptions {
    GenerateOptions { max_new_tokens: 12, stop_ids: vec![], sampling: None, batch_size }
}

/// Prompts of one to 36 tokens.
fn prompts() -> Vec<Vec<u32>> {
    let folder = model();
    let tokenizer = TextTokenizer::from_dir(&folder, &TemplateOptions::default()).unwrap();
    let texts = [
        "How do I bake bread?",
        "চা কীভাবে বানাব?",
        "Ninapikaje wali na maharage kwa watu kumi?",
        "茶",
        "빵은 어떻게 굽나요?",
    ];
    let encoded = texts.iter().map(|text| tokenizer.encode_prompt(&[Message::user(*text)]).unwrap());
    encoded.chain([vec![5]]).collect()
}

/// The miniature's model: small, and a real one.
fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/mpo-train/miniature/model")
}

fn miniature() -> CausalLm {
    CausalLm::load(&model(), &Device::flex()).unwrap().0
}

fn run(model: &CausalLm, prompts: &[Vec<u32>], options: &GenerateOptions) -> Vec<Answer> {
    generate(model, prompts, options, |_| true).unwrap()
}

#[test]
fn a_batch_changes_nothing() {
    let (model, prompts) = (miniature(), prompts());
    let alone: Vec<Answer> =
        prompts.iter().flat_map(|prompt| run(&model, std::slice::from_ref(prompt), &options(1))).collect();
    assert!(alone.iter().all(|answer| answer.ids.len() == 12));
    for batch_size in [1, 2, 4, 64] {
        assert_eq!(run(&model, &prompts, &options(batch_size)), alone, "{batch_size}");
    }
    assert!(run(&model, &[], &options(2)).is_empty());
}

#[test]
fn an_answer_ends_where_the_model_ends_it() {
    let (model, prompts) = (miniature(), prompts());
    let whole = run(&model, &prompts, &options(3));
    let stop = whole[1].ids[4];
    let options = GenerateOptions { stop_ids: vec![stop], ..options(3) };
    for (answer, whole) in run(&model, &prompts, &options).iter().zip(&whole) {
        let end = whole.ids.iter().position(|&id| id == stop);
        assert_eq!(answer.ids, whole.ids[..end.unwrap_or(12)]);
        assert_eq!(answer.complete, end.is_some());
    }
}

#[test]
fn events_tell_every_token_and_every_answer_and_stop_it() {
    let (model, prompts) = (miniature(), prompts());
    let mut told = vec![vec![]; prompts.len()];
    let mut finished = vec![];
    let answers = generate(&model, &prompts, &options(2), |event| {
        match event {
            Generated::Token { prompt, id } => told[prompt].push(id),
            Generated::Answer { prompt, answer } => {
                assert_eq!(answer.ids, told[prompt]);
                finished.push(prompt);
            }
        }
        true
    })
    .unwrap();
    assert!(answers.iter().zip(&told).all(|(answer, told)| answer.ids == *told));
    finished.sort_unstable();
    assert_eq!(finished, [0, 1, 2, 3, 4, 5]);
    let mut tokens = 0;
    let stopped = generate(&model, &prompts, &options(1), |_| {
        tokens += 1;
        tokens < 5
    })
    .unwrap();
    assert_eq!(stopped[0].ids, answers[0].ids[..5]);
    assert!(stopped[1].ids.is_empty());
}

#[test]
fn what_is_drawn_follows_from_the_seed() {
    let (model, prompts) = (miniature(), prompts());
    let drawn = |seed, batch_size| {
        let options = GenerateOptions {
            sampling: Some(Sampling::new(1.5, Some(50), 0.95, seed).unwrap()),
            ..options(batch_size)
        };
        run(&model, &prompts, &options)
    };
    let first = drawn(1, 2);
    assert_eq!(drawn(1, 5), first);
    assert_ne!(drawn(2, 2), first);
    assert_ne!(run(&model, &prompts, &options(2)), first);
    // So cold that only the most probable token is left.
    let cold = GenerateOptions { sampling: Some(Sampling::new(1e-6, None, 1.0, 3).unwrap()), ..options(2) };
    assert_eq!(run(&model, &prompts, &cold), run(&model, &prompts, &options(2)));
}

/// Weights that are all NaN.
struct Damaged;

impl WeightSource for Damaged {
    type Error = Infallible;

    fn tensor<const D: usize>(
        &mut self,
        _name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, Infallible> {
        Ok(Tensor::full(shape, f32::NAN, device))
    }
}

#[test]
fn a_model_whose_weights_are_no_numbers_says_nothing() {
    let config = ModelConfig::from_dir(&model()).unwrap().decoder;
    let Ok(damaged) = CausalLm::new(config, &mut Damaged, &Device::flex());
    let drawn = GenerateOptions { sampling: Some(Sampling::new(1.0, Some(50), 0.95, 1).unwrap()), ..options(2) };
    for options in [options(2), drawn] {
        let answers = generate(&damaged, &prompts(), &options, |_| true);
        let error = answers.unwrap_err();
        let message = error.to_string();
        assert_eq!(message, "expected finite logits, got NaN for prompt 1");
        assert!(error.hint().contains("diverged"));
    }
}

#[test]
fn a_frozen_model_computes_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (wide, config) = CausalLm::load(&model(), &Device::flex()).unwrap();
    let options_of_saving =
        SaveOptions { dtype: WeightDtype::BF16, copy_from: Some(&model()), ..SaveOptions::default() };
    wide.save(&dir.path().join("bf16"), &config, &options_of_saving).unwrap();
    let (rounded, _) = CausalLm::load(&dir.path().join("bf16"), &Device::flex()).unwrap();
    let (frozen, _) = CausalLm::load_frozen(&dir.path().join("bf16"), &Device::flex()).unwrap();
    assert_eq!(frozen.head().dtype(), DType::BF16);
    let prompts = prompts();
    assert_eq!(run(&frozen, &prompts, &options(3)), run(&rounded, &prompts, &options(3)));
    let tokens = prompts.concat();
    let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
    let scores = |model: &CausalLm| {
        let hidden = model.hidden_states(&tokens, &PackedLayout::sequences(&lengths));
        let rows: Vec<usize> = (0..tokens.len() - 1).collect();
        model.token_log_probs(hidden, &rows, &tokens[1..])
    };
    let apart: f32 = (scores(&frozen) - scores(&rounded)).abs().max().into_scalar();
    assert!(apart < 1e-4, "{apart}");
}

/// What a question's answer is, of at most twelve tokens.
fn question(model: usize, ids: &[u32], sampling: Option<Sampling>, top_log_probs: Option<usize>) -> Question {
    Question { model, ids: ids.to_vec(), max_new_tokens: 12, stop_ids: vec![], sampling, top_log_probs }
}

/// Asks questions, each from a step of its own on, and collects what comes until all have ended.
fn answers(engine: &mut Engine, models: &[CausalLm], questions: Vec<(usize, Question)>) -> Vec<Vec<Stepped>> {
    let mut told = vec![vec![]; questions.len()];
    let mut waiting: Vec<(usize, usize, Question)> =
        questions.into_iter().enumerate().map(|(number, (step, question))| (step, number, question)).collect();
    for step in 0.. {
        for (begins, number, question) in std::mem::take(&mut waiting) {
            let refused = if begins > step { Some(question) } else { engine.begin(number, question) };
            waiting.extend(refused.map(|question| (begins, number, question)));
        }
        engine.step(models).into_iter().for_each(|(number, stepped)| told[number].push(stepped));
        if waiting.is_empty() && engine.is_idle() {
            break;
        }
    }
    told
}

fn ids_of(told: &[Stepped]) -> Vec<u32> {
    let id = |stepped: &Stepped| match stepped {
        Stepped::Token(token) | Stepped::LastToken(token) => Some(token.id),
        Stepped::Ended | Stepped::Broken(_) => None,
    };
    told.iter().filter_map(id).collect()
}

#[test]
fn questions_that_come_at_any_time_with_settings_of_their_own_are_answered_as_if_alone() {
    let (model, prompts) = (miniature(), prompts());
    let sampling = Sampling::new(1.2, Some(50), 0.9, 7).unwrap();
    let greedy = run(&model, &prompts, &options(1));
    let alone = |prompt: &Vec<u32>| {
        let options = GenerateOptions { sampling: Some(sampling), ..options(1) };
        run(&model, std::slice::from_ref(prompt), &options).remove(0)
    };
    let drawn: Vec<Answer> = prompts.iter().map(alone).collect();
    let questions = || {
        let both = [(None, None), (Some(sampling), Some(3)), (None, Some(0)), (Some(sampling), None)];
        let of = |(number, prompt): (usize, &Vec<u32>)| {
            both.map(|(sampling, top)| (number * 3, question(0, prompt, sampling, top))).to_vec()
        };
        prompts.iter().enumerate().flat_map(of).collect::<Vec<_>>()
    };
    let longest = questions().iter().map(|(_, question)| question.room()).max().unwrap();
    for (most, tokens) in [(1, longest), (3, 2 * longest + 5), (100, 5000)] {
        let mut engine = Engine::new(most, tokens);
        let told = answers(&mut engine, std::slice::from_ref(&model), questions());
        for (number, told) in told.iter().enumerate() {
            let (prompt, kind) = (number / 4, number % 4);
            let expected = if kind % 2 == 0 { &greedy[prompt] } else { &drawn[prompt] };
            assert_eq!(ids_of(told), expected.ids, "{most} {number}");
            assert!(matches!(told.last(), Some(Stepped::LastToken(_))));
        }
    }
}

#[test]
fn log_probabilities_are_those_of_scoring() {
    let (model, prompts) = (miniature(), prompts());
    let questions = prompts.iter().map(|prompt| (0, question(0, prompt, None, Some(3)))).collect();
    let told = answers(&mut Engine::new(4, 1000), std::slice::from_ref(&model), questions);
    for (prompt, told) in prompts.iter().zip(told) {
        let ids = ids_of(&told);
        let tokens = [&prompt[..], &ids].concat();
        let hidden = model.hidden_states(&tokens, &PackedLayout::sequences(&[tokens.len()]));
        let rows: Vec<usize> = (prompt.len() - 1..tokens.len() - 1).collect();
        let scored = model.token_log_probs(hidden, &rows, &ids).into_data().try_to_vec::<f32>().unwrap();
        for (stepped, scored) in told.iter().zip(scored) {
            let (Stepped::Token(token) | Stepped::LastToken(token)) = stepped else { panic!("{stepped:?}") };
            let got = token.log_probs.as_ref().unwrap();
            assert!((got.chosen - scored).abs() < 1e-4, "{} {scored}", got.chosen);
            assert_eq!((got.top[0], got.top.len()), ((token.id, got.chosen), 3));
            assert!(got.top.is_sorted_by(|a, b| a.1 >= b.1));
        }
    }
}

#[test]
fn models_share_a_batch_and_what_breaks_one_leaves_the_other() {
    let (model, prompts) = (miniature(), prompts());
    let config = ModelConfig::from_dir(&self::model()).unwrap().decoder;
    let Ok(damaged) = CausalLm::new(config, &mut Damaged, &Device::flex());
    let models = [model, damaged];
    let questions = [0, 1, 0, 1].iter().zip(&prompts).map(|(&of, prompt)| (of, question(of, prompt, None, None)));
    let told = answers(&mut Engine::new(4, 1000), &models, questions.collect());
    let alone = run(&models[0], &prompts, &options(1));
    for number in [0, 2] {
        assert_eq!(ids_of(&told[number]), alone[number].ids);
        assert!(matches!(told[number + 1][..], [Stepped::Broken(got)] if got.is_nan()));
    }
}

#[test]
fn a_question_that_is_given_up_leaves_its_place_to_others() {
    let (model, prompts) = (miniature(), prompts());
    let models = std::slice::from_ref(&model);
    let question = |prompt: usize| question(0, &prompts[prompt], None, None);
    let mut engine = Engine::new(1, 100);
    assert!(engine.begin(0, question(0)).is_none());
    assert_eq!(engine.step(models).len(), 1);
    let refused = engine.begin(1, question(1)).unwrap();
    assert_eq!(refused, question(1));
    engine.end(0);
    assert!(engine.is_idle() && engine.step(models).is_empty());
    assert_eq!(ids_of(&answers(&mut engine, models, vec![(0, refused)])[0]), run(&model, &prompts, &options(1))[1].ids);
    // More than there is room for at all.
    assert!(engine.begin(2, Question { max_new_tokens: 200, ..question(0) }).is_some());
}

/// What Transformers generates, by `tests/peers/make_generation.py`.
#[derive(Deserialize)]
struct Fixture {
    stop_ids: Vec<u32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    language: String,
    text: String,
    prompt_ids: Vec<u32>,
    ids: Vec<u32>,
    /// How far the second logit is below the first, at every token.
    gaps: Vec<f64>,
}

/// `MPO_MODELS=… cargo test --release --workspace --test generation -- --ignored --nocapture`, with the folder of
/// `smollm2-135m/`, `qwen2.5-0.5b/` and `gemma3-270m/`.
#[test]
#[ignore = "needs MPO_MODELS"]
fn greedy_answers_are_those_of_transformers() {
    let models = PathBuf::from(std::env::var("MPO_MODELS").expect("MPO_MODELS is not set"));
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for name in ["smollm2-135m", "qwen2.5-0.5b", "gemma3-270m"] {
        let text = std::fs::read(fixtures.join(format!("generation-{name}.json"))).unwrap();
        let fixture: Fixture = serde_json::from_slice(&text).unwrap();
        let folder = models.join(name);
        let (model, _) = CausalLm::load_frozen(&folder, &Device::flex()).unwrap();
        let prompts: Vec<_> = fixture.cases.iter().map(|case| case.prompt_ids.clone()).collect();
        let of = |batch_size| {
            let options =
                GenerateOptions { max_new_tokens: 64, stop_ids: fixture.stop_ids.clone(), sampling: None, batch_size };
            run(&model, &prompts, &options)
        };
        let (alone, together) = (of(1), of(8));
        let (mut same, mut ties) = (0, 0);
        for (case, answers) in fixture.cases.iter().zip(alone.iter().zip(&together)) {
            for answer in [answers.0, answers.1] {
                let pairs = answer.ids.iter().zip(&case.ids);
                let different = pairs.enumerate().find(|(_, (ours, theirs))| ours != theirs);
                match different {
                    Some((at, _)) => {
                        let gap = case.gaps[at];
                        println!("{name} {} differs at {at}, gap {gap}: {}", case.language, case.text);
                        assert!(gap < 1e-4, "{name}: {}", case.text);
                        ties += 1;
                    }
                    None => {
                        assert_eq!(answer.ids.len(), case.ids.len(), "{name}: {}", case.text);
                        same += 1;
                    }
                }
            }
        }
        println!("{name}: {same} answers the same, {ties} apart at a tie");
    }
}
