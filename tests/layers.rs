//! Silhouettes and directions of harm by layer against scikit-learn and numpy (`tests/peers/make_layers.py`), to 1e-9 in f64, and
//! classifiers of harm.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::slice;

use mpo_eval::{HarmFit, HarmOptions, HarmSplit, Layers, PromptLabels};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    dominant: String,
    labels: Vec<Label>,
    layers: Vec<Layer>,
    bottleneck: usize,
}

#[derive(Deserialize)]
struct Label {
    language: String,
    meaning: Option<usize>,
    r#unsafe: bool,
}

#[derive(Deserialize)]
struct Layer {
    states: Vec<f64>,
    meaning: f64,
    language: f64,
    cosines: BTreeMap<String, f64>,
}

#[test]
fn layers_are_those_of_scikit_learn() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/layers.json")).unwrap();
    let labels = fixture.labels.iter().map(|of| PromptLabels {
        language: of.language.parse().unwrap(),
        meaning: of.meaning,
        is_unsafe: of.r#unsafe,
    });
    let labels: Vec<PromptLabels> = labels.collect();
    let states = fixture.layers.iter().map(|layer| layer.states.clone());
    let found = Layers::new(&labels, states, fixture.dominant.parse().ok());
    assert_eq!(found.bottleneck, Some(fixture.bottleneck));
    assert_eq!(found.silhouettes.len(), fixture.layers.len());
    for (at, (found_of, wanted)) in found.silhouettes.iter().zip(&fixture.layers).enumerate() {
        let close = |what: &str, got: f64, want: f64| {
            assert!((got - want).abs() <= 1e-9, "layer {at}, {what}: got {got}, want {want}");
        };
        close("meaning", found_of.meaning, wanted.meaning);
        close("language", found_of.language, wanted.language);
        let cosines = found.directions.iter().map(|of| (of.language.code().to_owned(), of.cosines[at]));
        let cosines: BTreeMap<String, f64> = cosines.collect();
        assert!(cosines.keys().eq(wanted.cosines.keys()), "{cosines:?}");
        for (language, cosine) in &cosines {
            close(language, *cosine, wanted.cosines[language]);
        }
    }
}

#[derive(Deserialize)]
struct Classified {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    ridge: f64,
    harmful: Vec<bool>,
    states: Vec<f32>,
    weight: Vec<f64>,
    bias: f64,
    log_odds: Vec<f64>,
}

/// `tests/peers/make_harm.py`: log-odds to 1e-7, as scikit-learn stops there.
#[test]
fn classifiers_of_harm_are_those_of_scikit_learn() {
    let fixture: Classified = serde_json::from_str(include_str!("fixtures/harm.json")).unwrap();
    for case in fixture.cases {
        let label = |&is_unsafe: &bool| PromptLabels { language: "en".parse().unwrap(), meaning: None, is_unsafe };
        let labels: Vec<PromptLabels> = case.harmful.iter().map(label).collect();
        let (count, width) = (labels.len(), case.weight.len());
        let split = HarmSplit { rest: (0..count).collect(), held_out: vec![] };
        let options = HarmOptions { layer: Some(1), ridge: case.ridge, ..HarmOptions::default() };
        let found = HarmFit::of_states(&labels, slice::from_ref(&case.states), &split, &options).unwrap();
        let close = |what: &str, got: f64, want: f64| {
            assert!(
                (got - want).abs() <= 1e-7 * want.abs().max(1.0),
                "{count} × {width}, {what}: got {got}, want {want}"
            );
        };
        close("bias", found.head.bias, case.bias);
        assert_eq!(found.head.weight.len(), width);
        for (got, want) in found.head.weight.iter().zip(&case.weight) {
            close("weight", *got, *want);
        }
        for (state, want) in case.states.chunks_exact(width).zip(&case.log_odds) {
            close("log-odds", found.head.log_odds(state), *want);
        }
    }
}
