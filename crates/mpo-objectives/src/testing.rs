//! What the tests of objectives share.

use burn::tensor::{DType, Device, Tensor, TensorData};
use mpo_kernels::SequenceScore;

use crate::PairScore;

/// A constant `[n]` in f64.
pub(crate) fn constant(values: &[f64]) -> Tensor<1> {
    let data = TensorData::new(values.to_vec(), [values.len()]);
    Tensor::from_data(data, (&Device::flex().autodiff(), DType::F64))
}

/// Numbers of a tensor.
pub(crate) fn numbers(tensor: Tensor<1>) -> Vec<f64> {
    tensor.inner().into_data().try_to_vec().unwrap()
}

/// Scores of these sums and token counts.
pub(crate) fn score(sum: &[f64], tokens: &[f64]) -> SequenceScore {
    scored(constant(sum), tokens)
}

pub(crate) fn scored(sum: Tensor<1>, tokens: &[f64]) -> SequenceScore {
    SequenceScore { sum, tokens: constant(tokens) }
}

/// One pair: sums and token counts of both answers.
pub(crate) fn pair(chosen: (f64, f64), rejected: (f64, f64)) -> PairScore {
    PairScore { chosen: score(&[chosen.0], &[chosen.1]), rejected: score(&[rejected.0], &[rejected.1]) }
}

const TOKENS: [[f64; 3]; 2] = [[2.0, 7.0, 30.0], [3.0, 7.0, 11.0]];

/// Three pairs under a reference.
pub(crate) fn reference() -> PairScore {
    PairScore { chosen: score(&[-6.0, -20.0, -45.0], &TOKENS[0]), rejected: score(&[-7.0, -20.0, -12.0], &TOKENS[1]) }
}

/// Gradients of a loss on three pairs against central differences; the second pair equals that of [`reference`], and
/// its answers equal each other.
pub(crate) fn check_pair_gradients(loss: impl Fn(&PairScore) -> Tensor<1>) {
    let sums: [&[f64]; 2] = [&[-4.0, -20.0, -60.0], &[-9.0, -20.0, -8.0]];
    check_gradients(&sums, |sums| {
        loss(&PairScore { chosen: scored(sums[0].clone(), &TOKENS[0]), rejected: scored(sums[1].clone(), &TOKENS[1]) })
    });
}

/// Equal to a relative 1e-12.
pub(crate) fn check(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        let apart = (got - want).abs();
        assert!(apart <= 1e-12 * want.abs(), "got {got}, want {want}");
    }
}

/// Values of an elementwise function and its slopes.
pub(crate) fn f64s<const N: usize>(x: [f64; N], f: impl Fn(Tensor<1>) -> Tensor<1>) -> (Vec<f64>, Vec<f64>) {
    let x = constant(&x).require_grad();
    let y = f(x.clone());
    let gradients = y.clone().sum().backward();
    let slopes = x.grad(&gradients).unwrap();
    (numbers(y), slopes.into_data().try_to_vec::<f64>().unwrap())
}

/// Every gradient of Σ `f` against central differences.
pub(crate) fn check_gradients(inputs: &[&[f64]], f: impl Fn(&[Tensor<1>]) -> Tensor<1>) {
    let tracked: Vec<_> = inputs.iter().map(|x| constant(x).require_grad()).collect();
    let gradients = f(&tracked).sum().backward();
    let total = |which: usize, element: usize, by: f64| {
        let shifted: Vec<_> = inputs
            .iter()
            .enumerate()
            .map(|(i, values)| {
                let mut values = values.to_vec();
                if i == which {
                    values[element] += by;
                }
                constant(&values)
            })
            .collect();
        numbers(f(&shifted).sum())[0]
    };
    for (which, (values, tensor)) in inputs.iter().zip(&tracked).enumerate() {
        let gradient = tensor.grad(&gradients).expect("the input is used");
        let gradient = gradient.into_data().try_to_vec::<f64>().unwrap();
        for (element, got) in gradient.iter().enumerate() {
            let step = 1e-5 * values[element].abs().max(1e-2);
            let want = (total(which, element, step) - total(which, element, -step)) / (2.0 * step);
            assert!(
                (got - want).abs() <= 1e-6 * want.abs().max(1e-3),
                "input {which}, element {element}: got {got}, want {want}"
            );
        }
    }
}
