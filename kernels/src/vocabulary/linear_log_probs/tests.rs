use burn::tensor::{DType, Device, Int, Tensor};
use proptest::prelude::*;

use super::{linear_token_log_probs, reference};
use crate::testing::{Case, Input, Random, check_gradients, check_kernel, everywhere, random};
use crate::vocabulary::IGNORED;
use crate::vocabulary::testing::{floats, targets};

fn check(cases: &[Case], hidden: Random, head: Random) {
    let (n, vocabulary) = (hidden.shape()[0], head.shape()[0]);
    for (softcap, ignore) in [(None, false), (Some(2.0), true)] {
        let targets = |t: &[Input]| targets(n, vocabulary, ignore, &t[0].device());
        check_kernel(
            cases,
            &[hidden.clone(), head.clone()],
            |t| linear_token_log_probs(t[0].d2(), t[1].d2(), targets(t), softcap),
            |t| reference::linear_token_log_probs(t[0].d2(), t[1].d2(), targets(t), softcap),
        );
    }
}

#[test]
fn by_hand() {
    // Logits (0, ln 3): probabilities 1/4 and 3/4.
    for case in everywhere().iter().filter(|case| case.dtype == DType::F32) {
        let hidden = Tensor::<2>::from_data([[1.0], [1.0]], &case.device);
        let head = Tensor::<2>::from_data([[0.0], [3f32.ln()]], &case.device);
        let targets = Tensor::<1, Int>::from_data([0, 1], &case.device);
        let got = floats(linear_token_log_probs(hidden, head, targets, None));
        assert!((got[0] - 0.25f32.ln()).abs() < 1e-6 && (got[1] - 0.75f32.ln()).abs() < 1e-6, "{got:?}");
    }
}

#[test]
fn no_worse_than_the_composition() {
    for (n, width, vocabulary) in [(1, 1, 1), (1, 3, 2), (3, 47, 31), (31, 123, 47), (5, 7, 2_500), (600, 8, 33)] {
        check(&everywhere(), random(&[n, width], 1), random(&[vocabulary, width], 2));
    }
}

#[test]
fn large_logits() {
    check(&everywhere(), random(&[9, 16], 1).scaled(50.0), random(&[300, 16], 2).scaled(30.0));
}

/// More logits than a quarter of software Vulkan's largest buffer holds.
#[test]
fn several_tiles() {
    let cases = everywhere();
    let f32_only: Vec<Case> = cases.into_iter().filter(|case| case.dtype == DType::F32).collect();
    check(&f32_only, random(&[300, 4], 1), random(&[70_011, 4], 2));
}

#[test]
fn nan_stays_in_its_row() {
    for case in everywhere() {
        let hidden = random(&[4, 8], 1).on(&case.device).d2();
        let poison = Tensor::<2>::full([1, 1], f32::NAN, &case.device);
        let hidden = hidden.slice_assign([1..2, 3..4], poison).cast(case.dtype);
        let head = random(&[50, 8], 2).on(&case.device).d2().cast(case.dtype);
        let targets = targets(4, 50, false, &case.device);
        let got = floats(linear_token_log_probs(hidden, head, targets, None));
        let nan: Vec<bool> = got.iter().map(|x| x.is_nan()).collect();
        assert_eq!(nan, [false, true, false, false], "{case:?}");
    }
}

#[test]
fn ignored_rows_are_zero_and_no_rows_give_nothing() {
    for case in everywhere() {
        let device = case.device.clone().autodiff();
        let input = |shape, seed| random(shape, seed).on(&device).d2().cast(case.dtype).require_grad();
        let (hidden, head) = (input(&[3, 4], 1), input(&[50, 4], 2));
        let all = Tensor::full([3], IGNORED, &device);
        let out = linear_token_log_probs(hidden.clone(), head.clone(), all, None);
        assert_eq!(floats(out.clone()), [0.0; 3]);
        let gradients = out.sum().backward();
        for input in [hidden, head] {
            let gradient: f32 = input.grad(&gradients).unwrap().abs().sum().into_scalar();
            assert_eq!(gradient, 0.0);
        }
        let out = linear_token_log_probs(
            Tensor::zeros([0, 4], (&device, case.dtype)),
            Tensor::zeros([5, 4], (&device, case.dtype)),
            Tensor::<1, Int>::zeros([0], &device),
            None,
        );
        assert_eq!(out.dims(), [0]);
    }
}

#[test]
fn gradient_is_the_finite_difference() {
    for softcap in [None, Some(1.5)] {
        check_gradients(&[random(&[4, 4], 3), random(&[6, 4], 4)], |t| {
            let targets = targets(4, 6, true, &t[0].device());
            linear_token_log_probs(t[0].d2(), t[1].d2(), targets, softcap)
        });
    }
}

#[test]
#[should_panic(expected = "hidden [2, 4], head [5, 3] and targets [2]")]
fn shapes_that_do_not_fit_are_refused() {
    let device = Device::flex();
    linear_token_log_probs(
        Tensor::zeros([2, 4], &device),
        Tensor::zeros([5, 3], &device),
        Tensor::zeros([2], &device),
        None,
    );
}

#[test]
#[should_panic(expected = "one type, got F32 and F16")]
fn mixed_types_are_refused() {
    let device = Device::flex();
    linear_token_log_probs(
        Tensor::zeros([2, 4], &device),
        Tensor::zeros([5, 4], (&device, DType::F16)),
        Tensor::zeros([2], &device),
        None,
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_shape(n in 1usize..40, width in 1usize..40, vocabulary in 1usize..1_500, seed: u64) {
        check(
            &crate::testing::native(),
            random(&[n, width], seed),
            random(&[vocabulary, width], seed.wrapping_add(1)),
        );
    }
}
