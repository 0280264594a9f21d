use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use proptest::prelude::*;

use super::token_log_probs;
#[cfg(feature = "wgpu")]
use crate::testing::gpu;
use crate::testing::{Input, Random, check_gradients, check_kernel, everywhere, random};
use crate::vocabulary::IGNORED;
use crate::vocabulary::softmax::reference;
use crate::vocabulary::testing::{floats, targets};

fn check(logits: Random) {
    let [n, vocabulary] = [logits.shape()[0], logits.shape()[1]];
    for (softcap, ignore) in [(None, false), (Some(2.0), true)] {
        let targets = |t: &[Input]| targets(n, vocabulary, ignore, &t[0].device());
        check_kernel(
            &everywhere(),
            std::slice::from_ref(&logits),
            |t| token_log_probs(t[0].d2(), targets(t), softcap),
            |t| reference::token_log_probs(t[0].d2(), targets(t), softcap),
        );
    }
}

#[test]
fn by_hand() {
    // Logits (0, ln 3): probabilities 1/4 and 3/4.
    for case in everywhere().iter().filter(|case| case.dtype == DType::F32) {
        let row = [0.0, 3f32.ln()];
        let logits = Tensor::<2>::from_data([row, row, row], &case.device);
        let targets = Tensor::<1, Int>::from_data([0, 1, IGNORED], &case.device);
        let got = floats(token_log_probs(logits, targets, None));
        for (got, want) in got.iter().zip([0.25f32.ln(), 0.75f32.ln(), 0.0]) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }
}

#[test]
fn no_worse_than_the_composition() {
    for (n, vocabulary) in [(3, 47), (31, 123), (1, 1), (5, 1), (1, 2_500), (7, 4_099)] {
        check(random(&[n, vocabulary], 1));
    }
}

#[test]
fn the_largest_vocabulary() {
    check(random(&[2, 262_144], 1));
}

#[test]
fn peaked_rows_ties_and_large_logits() {
    for scale in [0.0, 30.0, 6_000.0] {
        check(random(&[9, 300], 1).scaled(scale));
    }
}

/// More rows than cubes, rows apart in memory, and columns apart.
#[test]
fn many_rows_and_strides() {
    for case in everywhere().iter().filter(|case| case.dtype == DType::F32) {
        let wide = random(&[70_000, 3], 1).on(&case.device).d2();
        let all = |logits: Tensor<2>| {
            let [n, vocabulary] = logits.dims();
            let targets = targets(n, vocabulary, true, &case.device);
            let ours = token_log_probs(logits.clone(), targets.clone(), None);
            let apart = ours - reference::token_log_probs(logits, targets, None);
            assert!(apart.abs().max().into_scalar::<f32>() < 1e-6, "{case:?}");
        };
        all(wide.clone());
        all(wide.narrow(0, 0, 50).transpose());
        // Halves of 256 bytes: what every device can look at in place.
        let wide = random(&[50, 128], 2).on(&case.device).d2();
        all(wide.clone().narrow(1, 0, 64));
        all(wide.narrow(1, 64, 64));
    }
}

/// Masks are often the least finite number in place of −∞.
#[test]
fn a_row_of_the_smallest_finite_number() {
    for case in everywhere().iter().filter(|case| case.dtype == DType::F32) {
        let logits = Tensor::<2>::full([1, 300], f32::MIN, &case.device);
        let got = floats(token_log_probs(logits, targets(1, 300, false, &case.device), None));
        assert!((got[0] + 300f32.ln()).abs() < 1e-5, "{case:?}: {got:?}");
    }
}

#[test]
fn gradient_is_the_finite_difference() {
    for softcap in [None, Some(1.5)] {
        check_gradients(&[random(&[4, 6], 3)], |t| {
            token_log_probs(t[0].d2(), targets(4, 6, true, &t[0].device()), softcap)
        });
    }
}

#[test]
fn nan_and_infinity_stay_in_their_rows() {
    for case in everywhere() {
        let device = case.device.clone().autodiff();
        let mut values = random(&[5, 300], 1).values();
        values[300 + 7] = f64::NAN;
        // A masked vocabulary: −∞ is a logit like any other.
        values[900..1_100].fill(f64::NEG_INFINITY);
        let data = TensorData::new(values, [5, 300]).convert_dtype(case.dtype);
        let logits = Tensor::<2>::from_data(data, (&device, case.dtype)).require_grad();
        let targets = Tensor::<1, Int>::from_data([1, 2, 3, 250, IGNORED], &device);
        let out = token_log_probs(logits.clone(), targets, None);
        let is_nan: Vec<bool> = floats(out.clone()).iter().map(|x| x.is_nan()).collect();
        assert_eq!(is_nan, [false, true, false, false, false], "{case:?}");
        let gradient = logits.grad(&out.sum().backward()).unwrap();
        let gradient = gradient.into_data().convert::<f32>().try_to_vec::<f32>().unwrap();
        let is_nan: Vec<bool> = gradient.chunks(300).map(|row| row.iter().any(|x| x.is_nan())).collect();
        assert_eq!(is_nan, [false, true, false, false, false], "{case:?}");
        assert!(gradient[1_200..].iter().all(|&x| x == 0.0), "{case:?}");
    }
}

#[test]
fn ignored_rows_are_zero_and_no_rows_give_nothing() {
    for case in everywhere() {
        let device = case.device.clone().autodiff();
        let logits = random(&[3, 50], 1).on(&device).d2().cast(case.dtype).require_grad();
        let out = token_log_probs(logits.clone(), Tensor::full([3], IGNORED, &device), None);
        assert_eq!(floats(out.clone()), [0.0; 3]);
        let gradient: f32 = logits.grad(&out.sum().backward()).unwrap().abs().sum().into_scalar();
        assert_eq!(gradient, 0.0);
        let empty = Tensor::<2>::zeros([0, 50], (&device, case.dtype));
        assert_eq!(token_log_probs(empty, Tensor::zeros([0], &device), None).dims(), [0]);
    }
}

#[test]
#[should_panic(expected = "targets in the vocabulary 0..4 or -100, got 4")]
fn a_target_outside_the_vocabulary_is_refused_on_the_cpu() {
    let device = Device::flex();
    token_log_probs(Tensor::zeros([1, 4], &device), Tensor::full([1], 4, &device), None);
}

#[cfg(feature = "wgpu")]
#[test]
fn a_target_outside_the_vocabulary_gives_nan_on_a_gpu() {
    let (device, _) = gpu().unwrap();
    let targets = Tensor::<1, Int>::from_data([4, -1, 3], &device);
    let got = floats(token_log_probs(Tensor::zeros([3, 4], &device), targets, None));
    assert!(got[0].is_nan() && got[1].is_nan() && got[2].is_finite(), "{got:?}");
}

#[test]
#[should_panic(expected = "logits [2, 4] and targets [3] must be [N, V] and [N]")]
fn shapes_that_do_not_fit_are_refused() {
    let device = Device::flex();
    token_log_probs(Tensor::zeros([2, 4], &device), Tensor::zeros([3], &device), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any shape, any values a model can make, any mixture of targets.
    #[test]
    fn any_shape_and_values(n in 1usize..40, vocabulary in 1usize..600, seed: u64, scale in 0.0..500.0f64) {
        check(random(&[n, vocabulary], seed).scaled(scale));
    }
}
