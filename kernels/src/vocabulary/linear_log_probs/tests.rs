use std::slice;

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
#[should_panic(expected = "both f64 or neither, got F64 and F32")]
fn f64_beside_another_type_is_refused() {
    let device = Device::flex();
    linear_token_log_probs(
        Tensor::zeros([2, 4], (&device, DType::F64)),
        Tensor::zeros([5, 4], &device),
        Tensor::zeros([2], &device),
        None,
    );
}

/// Frozen, and learning.
#[test]
fn heads_of_another_type() {
    for case in everywhere() {
        for stored in case.stored().filter(|stored| *stored != case.dtype) {
            for (n, width, vocabulary) in [(3, 47, 31), (600, 8, 33), (5, 7, 2_500)] {
                let head = |t: &[Input]| random(&[vocabulary, width], 2).stored(&t[0].device(), stored).d2();
                let targets = |t: &[Input]| targets(n, vocabulary, true, &t[0].device());
                check_kernel(
                    slice::from_ref(&case),
                    &[random(&[n, width], 1)],
                    |t| linear_token_log_probs(t[0].d2(), head(t), targets(t), Some(2.0)),
                    |t| reference::linear_token_log_probs(t[0].d2(), head(t), targets(t), Some(2.0)),
                );
                // A narrower one would have its gradient rounded, which is not the kernel's error.
                if stored == DType::F32 {
                    check_kernel(
                        slice::from_ref(&case),
                        &[random(&[n, width], 1), random(&[vocabulary, width], 2)],
                        |t| linear_token_log_probs(t[0].d2(), t[1].d2().cast(stored), targets(t), None),
                        |t| reference::linear_token_log_probs(t[0].d2(), t[1].d2().cast(stored), targets(t), None),
                    );
                }
            }
        }
    }
}

/// Log-probs, and the gradients of hidden states and head where they learn.
fn run(hidden: Tensor<2>, head: Tensor<2>, learn: [bool; 2]) -> (Vec<f32>, [Option<Vec<f32>>; 2]) {
    let inputs = [hidden, head].map(Tensor::autodiff);
    let [n, _] = inputs[0].dims();
    let [vocabulary, _] = inputs[1].dims();
    let learning = |i: usize| if learn[i] { inputs[i].clone().require_grad() } else { inputs[i].clone() };
    let inputs = [learning(0), learning(1)];
    let targets = targets(n, vocabulary, true, &inputs[0].device());
    let out = linear_token_log_probs(inputs[0].clone(), inputs[1].clone(), targets, None);
    let gradients = out.clone().sum().backward();
    let gradient = |input: &Tensor<2>| {
        let gradient = input.grad(&gradients)?.cast(DType::F32);
        Some(gradient.into_data().try_to_vec().unwrap())
    };
    (floats(out.inner()), inputs.each_ref().map(gradient))
}

/// What is frozen changes nothing for the other, to the bit.
#[test]
fn each_gradient_by_itself() {
    for case in everywhere() {
        let tensor = |shape: &[usize], seed| random(shape, seed).on(&case.device).d2().cast(case.dtype);
        let inputs = || (tensor(&[40, 12], 1), tensor(&[700, 12], 2));
        let alone = |learn| {
            let (hidden, head) = inputs();
            run(hidden, head, learn)
        };
        let (log_probs, [Some(hidden), Some(head)]) = alone([true, true]) else { panic!("two gradients") };
        assert_eq!(alone([true, false]), (log_probs.clone(), [Some(hidden), None]), "{case:?}");
        assert_eq!(alone([false, true]), (log_probs, [None, Some(head)]), "{case:?}");
    }
}

#[test]
fn a_bf16_head_is_its_f32_copy_to_the_bit() {
    let device = Device::flex();
    let hidden = random(&[40, 12], 1).on(&device).d2();
    let head = random(&[700, 12], 2).stored(&device, DType::BF16).d2();
    let widened = run(hidden.clone(), head.clone().cast(DType::F32), [true, false]);
    assert_eq!(run(hidden, head, [true, false]), widened);
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
