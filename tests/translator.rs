//! Parity of translators with Transformers: states, logits, log-probabilities, and what greedy and beam search find.
//!
//! `peers/make_m2m_golden.py` says how the numbers were made.

#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use mpo_models::{Answer, At, Batch, CausalLm, Layer, Places, TranslateOptions, Translator, translate};
use mpo_tests::golden::{Golden, fixtures};
use mpo_tests::{assert_close, floats};

fn open() -> (Golden, Translator) {
    let golden = Golden::open("m2m");
    let model = Translator::load(&golden.dir, &Device::flex()).unwrap();
    (golden, model)
}

fn texts(golden: &Golden) -> Vec<Vec<u32>> {
    (0..).map_while(|number| golden.ids(&format!("prompt{number}"))).collect()
}

#[test]
fn states_and_scores_are_those_of_transformers() {
    let (golden, model) = open();
    let (mut batch, mut wanted, mut answers) = (Batch::default(), vec![], vec![]);
    for (p, text) in texts(&golden).iter().enumerate() {
        let prompt = batch.prompt(text);
        wanted.push(("encoder", p.to_string(), At::Every(prompt)));
        for a in 0.. {
            let Some(ids) = golden.ids(&format!("answer{p}.{a}")) else { break };
            let answer = batch.answer(prompt, &ids);
            wanted.push(("decoder", format!("{p}.{a}"), At::Predicting(answer)));
            answers.push(answer);
        }
    }
    assert!(answers.len() > 4);
    let scores = batch.want_scores(answers);
    let mut states = vec![];
    for (side, number, at) in wanted {
        for (name, layer) in [("first", Layer::Output(0)), ("last", Layer::Last)] {
            let of = batch.want_states(layer, Places::Tokens(vec![at]));
            states.push((format!("{side}_{name}{number}"), of));
        }
    }
    let outputs = model.forward(&batch);
    for (what, states) in states {
        assert_close(&what, &floats(outputs.states(states)), &golden.floats(&what), 2e-5);
        if let Some(number) = what.strip_prefix("decoder_last") {
            let what = format!("logits{number}");
            assert_close(&what, &floats(model.logits(outputs.states(states))), &golden.floats(&what), 2e-5);
        }
    }
    let sums: Vec<f32> = serde_json::from_value(golden.numbers["logp_sums"].clone()).unwrap();
    for (our, their) in floats(outputs.scores(scores).sum).iter().zip(&sums) {
        assert!((our - their).abs() <= 1e-4, "log-prob sum {our}, not {their}");
    }
}

#[test]
fn greedy_and_beam_search_find_what_transformers_finds() {
    let (golden, model) = open();
    let (texts, end) = (texts(&golden), model.config().eos_token_ids[0]);
    for (name, search) in golden.numbers["searches"].as_object().unwrap() {
        let found: Vec<Vec<u32>> = serde_json::from_value(golden.numbers["found"][name]["tokens"].clone()).unwrap();
        let first = search["forced_bos_token_id"].as_u64().map(|id| id as u32);
        let expected: Vec<Answer> = found
            .into_iter()
            .map(|mut ids| {
                assert!(first.is_none_or(|first| ids.remove(0) == first));
                let complete = ids.last() == Some(&end);
                ids.truncate(ids.len() - usize::from(complete));
                Answer { ids, complete }
            })
            .collect();
        // One at a time, all at once, and so that texts take the places of others.
        for batch_size in [1, 2, 8] {
            let options = TranslateOptions {
                beams: search["num_beams"].as_u64().unwrap() as usize,
                length_penalty: search["length_penalty"].as_f64().unwrap_or(1.0),
                first,
                max_new_tokens: golden.numbers["new_tokens"].as_u64().unwrap() as usize,
                batch_size,
            };
            let mut told = 0;
            let answers = translate(&model, &texts, &options, |number, answer| {
                assert_eq!(*answer, expected[number], "{name}, {batch_size} at once");
                told += 1;
                true
            });
            assert_eq!(answers.unwrap(), expected, "{name}, {batch_size} at once");
            assert_eq!(told, texts.len());
        }
    }
}

#[test]
fn a_translator_is_not_read_as_a_model_to_be_trained() {
    let error = CausalLm::load(&fixtures().join("goldens/m2m"), &Device::flex()).unwrap_err();
    assert!(error.to_string().contains("got \"m2m_100\""), "{error}");
    assert!(error.hint().unwrap().contains("--translator nllb=FOLDER"), "{error:?}");
    let mt5 = fixtures().join("goldens/mt5");
    let error = Translator::load(&mt5, &Device::flex()).unwrap_err();
    assert!(error.to_string().contains("expected m2m_100"), "{error}");
}
