//! Losses on hidden states of one prompt in several languages against numbers of PyTorch and numpy in f64, made by
//! `tests/peers/make_states.py`: values and gradients to 1e-9, and the projections of LENS to 1e-10 against those of two
//! singular value decompositions.

#![allow(clippy::unwrap_used, missing_docs)]

use burn::tensor::{DType, Device, Tensor, TensorData};
use mpo_objectives::{Consistency, LanguageSpaces, Loss, OBJECTIVES, ParallelStates, PromptStates, Settings};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    consistency: Vec<ConsistencyCase>,
    lens: Vec<LensCase>,
}

/// Numbers of a few states.
type States = Vec<Vec<f64>>;

#[derive(Deserialize)]
struct ConsistencyCase {
    kind: String,
    temperature: f64,
    /// Of each prompt.
    states: Vec<States>,
    losses: Vec<f64>,
    shared: Vec<f64>,
    gradients: Vec<States>,
}

#[derive(Deserialize)]
struct LensCase {
    settings: Settings,
    means: States,
    probes: States,
    agnostic: States,
    specific: States,
    languages: Vec<Vec<usize>>,
    policy: Vec<States>,
    reference: Vec<States>,
    policy_means: States,
    reference_means: States,
    losses: Vec<f64>,
    policy_gradients: Vec<States>,
    mean_gradients: States,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/states.json")).unwrap()
}

/// Equal to a tolerance beside the largest of them.
fn check(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(0.0f64, |scale, want| scale.max(want.abs()));
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance * scale, "{what}, {at}: got {got:e}, want {want:e}");
    }
}

#[test]
fn consistency_is_that_of_pytorch() {
    for (number, case) in fixture().consistency.iter().enumerate() {
        let of = match case.kind.as_str() {
            "singular-value" => Consistency::SingularValue { temperature: case.temperature },
            "cosine" => Consistency::Cosine,
            "contrast" => Consistency::Contrast { temperature: case.temperature },
            other => panic!("{other}"),
        };
        let prompts: Vec<PromptStates> =
            case.states.iter().map(|states| PromptStates::new(states.len(), &states.concat())).collect();
        let made = of.losses(&prompts);
        let what = format!("case {number}, {of:?}");
        let (losses, shared): (Vec<f64>, Vec<f64>) = made.iter().map(|one| (one.loss, one.shared)).unzip();
        check(&format!("{what}: losses"), &losses, &case.losses, 1e-9);
        check(&format!("{what}: shared"), &shared, &case.shared, 1e-9);
        for (one, gradient) in made.iter().zip(&case.gradients) {
            check(&format!("{what}: gradient"), &one.gradient, &gradient.concat(), 1e-9);
        }
    }
}

#[test]
fn the_spaces_of_lens_are_those_of_two_singular_value_decompositions() {
    for (number, case) in fixture().lens.iter().enumerate() {
        let spaces = LanguageSpaces::new(&case.means).unwrap();
        assert_eq!(spaces.languages(), case.means.len());
        for ((probe, agnostic), specific) in case.probes.iter().zip(&case.agnostic).zip(&case.specific) {
            let got = spaces.projections(probe);
            check(&format!("case {number}: agnostic"), &got[0], agnostic, 1e-10);
            check(&format!("case {number}: specific"), &got[1], specific, 1e-10);
        }
    }
}

#[test]
fn lens_is_that_of_pytorch() {
    let lens = OBJECTIVES.iter().find(|one| one.name == "lens").unwrap();
    for (number, case) in fixture().lens.iter().enumerate() {
        let matrix = |states: &[Vec<f64>]| {
            let data = TensorData::new(states.concat(), [states.len(), states[0].len()]);
            Tensor::<2>::from_data(data, (&Device::flex().autodiff(), DType::F64))
        };
        let [policy, means] = [matrix(&case.policy.concat()), matrix(&case.policy_means)].map(Tensor::require_grad);
        let states = ParallelStates {
            policy: policy.clone(),
            reference: matrix(&case.reference.concat()),
            policy_means: means.clone(),
            reference_means: matrix(&case.reference_means),
            languages: case.languages.clone(),
        };
        let objective = lens.objective(&case.settings).unwrap();
        let Loss::Parallel(loss) = objective.loss() else { panic!("a loss on prompts") };
        let losses = loss.losses(&states, &LanguageSpaces::new(&case.means).unwrap()).losses;
        let gradients = losses.clone().sum().backward();
        let numbers = |tensor: Tensor<1>| tensor.without_autodiff().into_data().try_to_vec::<f64>().unwrap();
        let of = |tensor: &Tensor<2>| {
            let gradient = tensor.grad(&gradients).unwrap();
            let count = gradient.shape().num_elements();
            numbers(gradient.reshape([count]))
        };
        check(&format!("case {number}: losses"), &numbers(losses), &case.losses, 1e-9);
        check(&format!("case {number}: states"), &of(&policy), &case.policy_gradients.concat().concat(), 1e-9);
        check(&format!("case {number}: means"), &of(&means), &case.mean_gradients.concat(), 1e-9);
    }
}
