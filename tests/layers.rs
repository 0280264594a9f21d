//! Silhouettes and directions of harm by layer against scikit-learn and numpy (`tests/peers/make_layers.py`), to 1e-9 in f64.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use mpo_eval::{Layers, PromptLabels};
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
