//! Every objective against numbers made by an implementation of its own, `tests/peers/make_objectives.py`: losses and
//! gradients, at ordinary scores and at the ends of the range, in f64 to 1e-9 and in f32 to 1e-5.

#![allow(clippy::unwrap_used, missing_docs)]

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use mpo_kernels::SequenceScore;
use mpo_objectives::{
    BilingualLoss, BilingualScores, CrossedLoss, Loss, OBJECTIVES, PairScore, Settings, UnpairedScore, sft_losses,
};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    objective: String,
    settings: Settings,
    inputs: Map<String, Value>,
    losses: Vec<f64>,
    gradients: Map<String, Value>,
}

fn floats(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap()).collect()
}

/// The inputs of a case as tensors of one type.
struct Inputs<'a> {
    of: &'a Case,
    dtype: FloatDType,
    tracked: Vec<(String, Tensor<1>)>,
}

impl Inputs<'_> {
    fn tensor(&self, name: &str) -> Tensor<1> {
        if let Some((_, tensor)) = self.tracked.iter().find(|(tracked, _)| tracked == name) {
            return tensor.clone();
        }
        constant(&self.of.inputs[name], self.dtype)
    }

    fn score(&self, sum: &str, tokens: &str) -> SequenceScore {
        SequenceScore { sum: self.tensor(sum), tokens: self.tensor(tokens) }
    }

    /// The pair whose scores' names begin with `of`, and those of its tokens with `tokens`.
    fn pair(&self, of: &str, tokens: &str) -> PairScore {
        let score = |answer: &str| self.score(&format!("{of}{answer}"), &format!("{tokens}{answer}_tokens"));
        PairScore { chosen: score("chosen"), rejected: score("rejected") }
    }
}

fn constant(values: &Value, dtype: FloatDType) -> Tensor<1> {
    let values = floats(values);
    let count = values.len();
    let device = Device::flex().autodiff();
    Tensor::from_data(TensorData::new(values, [count]), (&device, DType::from(dtype)))
}

fn numbers(tensor: Tensor<1>) -> Vec<f64> {
    let data = tensor.without_autodiff().into_data().convert::<f64>();
    data.try_to_vec().unwrap()
}

/// Losses and the gradients that the case names.
fn evaluate(case: &Case, dtype: FloatDType) -> (Vec<f64>, Vec<(String, Vec<f64>)>) {
    let tracked = case.gradients.keys().map(|name| (name.clone(), constant(&case.inputs[name], dtype).require_grad()));
    let inputs = Inputs { of: case, dtype, tracked: tracked.collect() };
    let definition = OBJECTIVES.iter().find(|one| one.name == case.objective);
    let objective = definition.unwrap().objective(&case.settings).unwrap();
    let losses = match objective.loss() {
        Loss::Demonstrations(loss) => loss.losses(&inputs.score("chosen", "chosen_tokens")),
        Loss::Pairs(loss) => loss.losses(&inputs.pair("", "")),
        Loss::ReferencedPairs(loss) => loss.losses(&inputs.pair("", ""), &inputs.pair("reference_", "")),
        Loss::Unpaired(loss) => {
            let score = |sum: Tensor<1>| SequenceScore { tokens: sum.ones_like(), sum };
            let labels = case.inputs["labels"].as_array().unwrap().iter();
            let answers = UnpairedScore {
                policy: score(inputs.tensor("scores")),
                reference: score(inputs.tensor("reference")),
                desirable: labels.map(|label| label.as_bool().unwrap()).collect(),
            };
            let ratios = inputs.tensor("mismatched") - inputs.tensor("mismatched_reference");
            loss.losses(&answers, loss.reference_point(&numbers(ratios)))
        }
        Loss::Bilingual(loss) => bilingual(loss, &inputs),
        Loss::Crossed(loss) => crossed(loss, &inputs),
        Loss::Parallel(_) => panic!("tests/states.rs has those of states"),
    };
    let losses = match objective.sft_weight() {
        0.0 => losses,
        weight => sft_losses(losses, &inputs.score("chosen", "chosen_tokens"), weight),
    };
    let gradients = losses.clone().sum().backward();
    let slopes = inputs.tracked.iter().map(|(name, tensor)| {
        let gradient = tensor.grad(&gradients).expect("a gradient arrives");
        (name.clone(), numbers(gradient))
    });
    (numbers(losses), slopes.collect())
}

fn bilingual(loss: &dyn BilingualLoss, inputs: &Inputs<'_>) -> Tensor<1> {
    let needs = loss.needs();
    let scores = BilingualScores {
        target: inputs.pair("", ""),
        dominant: needs.dominant.then(|| inputs.pair("dominant_", "dominant_")),
        reference_target: needs.reference_target.then(|| inputs.pair("reference_", "")),
        reference: needs.reference.map(|_| inputs.pair("reference_dominant_", "dominant_")),
        held: None,
    };
    loss.losses(&scores).losses
}

fn crossed(loss: &dyn CrossedLoss, inputs: &Inputs<'_>) -> Tensor<1> {
    let scores = |of: &str| -> Vec<SequenceScore> {
        let score = |at: usize| inputs.score(&format!("{of}{at}"), &format!("tokens{at}"));
        (0..loss.answers().len()).map(score).collect()
    };
    loss.losses(&scores("answer"), &scores("reference")).losses
}

fn compare(tolerance: impl Fn(f64) -> f64, dtype: FloatDType) {
    let text = include_str!("fixtures/objectives.json");
    let fixture: Fixture = serde_json::from_str(text).unwrap();
    let mut seen: Vec<&str> = vec![];
    for (number, case) in fixture.cases.iter().enumerate() {
        seen.push(&case.objective);
        let check = |what: &str, got: &[f64], want: &[f64]| {
            assert_eq!(got.len(), want.len());
            for (i, (got, want)) in got.iter().zip(want).enumerate() {
                assert!(
                    (got - want).abs() <= tolerance(*want),
                    "case {number}, {} {:?}, {what} {i}: got {got:e}, want {want:e}",
                    case.objective,
                    case.settings
                );
            }
        };
        let (losses, gradients) = evaluate(case, dtype);
        check("loss", &losses, &case.losses);
        for (name, gradient) in gradients {
            check(&name, &gradient, &floats(&case.gradients[&name]));
        }
    }
    for definition in OBJECTIVES {
        let objective = definition.objective(&Settings::new()).unwrap();
        let is_of_states = matches!(objective.loss(), Loss::Parallel(_));
        assert!(is_of_states || seen.contains(&definition.name), "no case of {}", definition.name);
    }
}

#[test]
fn in_f64() {
    compare(|want| 1e-9 * want.abs(), FloatDType::F64);
}

/// What is small beside one has lost its digits in the sums already.
#[test]
fn in_f32() {
    compare(|want| 1e-5 * want.abs().max(1.0), FloatDType::F32);
}
