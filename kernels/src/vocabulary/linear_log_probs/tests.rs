use std::slice;

use burn::tensor::{DType, Device, Int, Tensor};
use proptest::prelude::*;

use super::{LinearLogProbs, linear_token_log_probs, reference};
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
            |t| linear_token_log_probs(t[0].d2(), t[1].d2(), targets(t), softcap, 0),
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
        let got = floats(linear_token_log_probs(hidden, head, targets, None, 0));
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
        let got = floats(linear_token_log_probs(hidden, head, targets, None, 0));
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
        let out = linear_token_log_probs(hidden.clone(), head.clone(), all, None, 0);
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
            0,
        );
        assert_eq!(out.dims(), [0]);
    }
}

#[test]
fn gradient_is_the_finite_difference() {
    for softcap in [None, Some(1.5)] {
        check_gradients(&[random(&[4, 4], 3), random(&[6, 4], 4)], |t| {
            let targets = targets(4, 6, true, &t[0].device());
            linear_token_log_probs(t[0].d2(), t[1].d2(), targets, softcap, 0)
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
        0,
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
        0,
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
                    |t| linear_token_log_probs(t[0].d2(), head(t), targets(t), Some(2.0), 0),
                    |t| reference::linear_token_log_probs(t[0].d2(), head(t), targets(t), Some(2.0)),
                );
                // A narrower one would have its gradient rounded, which is not the kernel's error.
                if stored == DType::F32 {
                    check_kernel(
                        slice::from_ref(&case),
                        &[random(&[n, width], 1), random(&[vocabulary, width], 2)],
                        |t| linear_token_log_probs(t[0].d2(), t[1].d2().cast(stored), targets(t), None, 0),
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
    let out = linear_token_log_probs(inputs[0].clone(), inputs[1].clone(), targets, None, 0);
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

/// Log-probs and both gradients with so many bytes of logits kept.
fn with_kept(shape: [usize; 3], softcap: Option<f64>, keep: usize) -> [Vec<f32>; 3] {
    let [n, width, vocabulary] = shape;
    let device = Device::flex().autodiff();
    let input = |rows, seed| random(&[rows, width], seed).on(&device).d2().require_grad();
    let (hidden, head) = (input(n, 1), input(vocabulary, 2));
    let targets = targets(n, vocabulary, true, &device);
    let out = linear_token_log_probs(hidden.clone(), head.clone(), targets, softcap, keep);
    let weights = random(&[n], 3).on(&device).d1();
    let gradients = (out.clone() * weights).sum().backward();
    let flat = |tensor: Tensor<2>| tensor.into_data().try_to_vec::<f32>().unwrap();
    [floats(out.inner()), flat(hidden.grad(&gradients).unwrap()), flat(head.grad(&gradients).unwrap())]
}

#[test]
fn what_is_kept_makes_no_difference_to_the_numbers() {
    // Runs of three tiles and a last one of two and a bit; runs shorter than a tile; more rows than a block has.
    for shape in [[7, 5, 9_001], [600, 8, 4_700], [31, 47, 123], [1, 1, 1]] {
        for softcap in [None, Some(2.0)] {
            let none = with_kept(shape, softcap, 0);
            let all = size_of::<f32>() * shape[0] * shape[2];
            for keep in [all / 3, all / 2, all, usize::MAX] {
                assert!(with_kept(shape, softcap, keep) == none, "{shape:?}, {softcap:?}, {keep} of {all} bytes");
            }
        }
    }
}

/// As many logits as fit, in whole tiles of every run, are taken for the backward as they are.
#[cfg(feature = "flex")]
#[test]
fn kept_logits_are_not_made_again() {
    use super::kernel::{LinearLogProbsKernel, Options};
    use crate::vocabulary::head::Wanted;
    use burn::backend::Flex;
    use burn::backend::ops::{FloatTensorOps, IntTensorOps};
    use burn::tensor::TensorData;

    const N: usize = 3;
    const VOCABULARY: usize = 9_001;
    let floats = |shape: [usize; 2], seed| {
        let values: Vec<f32> = random(&shape, seed).values().iter().map(|&x| x as f32).collect();
        Flex::float_from_data(TensorData::new(values, shape), &Default::default())
    };
    let numbers = |tensor| burn::tensor::read_sync(Flex::float_into_data(tensor)).unwrap().try_to_vec::<f32>().unwrap();
    let targets = || Flex::int_from_data(TensorData::new(vec![0i32, 9_000, 5], [N]), &Default::default());
    // Eleven runs of 768 columns and one of 553.
    for (bytes, columns) in [
        (0, 0),
        (4 * 12 * 256 * N - 1, 0),
        (4 * 12 * 256 * N, 12 * 256),
        (4 * 12 * 600 * N, 12 * 512),
        (4 * 12 * 768 * N, VOCABULARY),
    ] {
        let options = Options { softcap: None, keep: bytes };
        let inputs = || (floats([N, 8], 1), floats([VOCABULARY, 8], 2));
        let (hidden, head) = inputs();
        let (_, statistics, logits) = Flex::linear_token_log_probs(hidden, head, targets(), options);
        let kept = numbers(logits);
        assert_eq!(kept.len(), N * columns, "{bytes}");
        let poisoned = TensorData::new(vec![f32::NAN; kept.len()], [kept.len()]);
        let poisoned = Flex::float_from_data(poisoned, &Default::default());
        let (hidden, head) = inputs();
        let grad = Flex::float_from_data(TensorData::new(vec![1f32; N], [N]), &Default::default());
        let wanted = Wanted { hidden: false, head: true };
        let (_, head_grad) =
            Flex::linear_token_log_probs_backward(hidden, head, targets(), statistics, poisoned, grad, options, wanted);
        let rows = numbers(head_grad);
        let nan = rows.chunks(8).filter(|row| row.iter().all(|x| x.is_nan())).count();
        assert_eq!(nan, columns, "{bytes}");
        assert_eq!(rows.iter().filter(|x| x.is_nan()).count(), 8 * columns, "{bytes}");
    }
}

/// What a graph gives, and gradients by hand, the head's in slices on top of another.
#[test]
fn gradients_by_hand_are_those_of_the_graph() {
    for case in everywhere() {
        for (n, width, vocabulary, softcap) in
            [(5, 7, 2_500, None), (600, 8, 9_001, Some(2.0)), (31, 123, 47, None), (1, 1, 1, None)]
        {
            let device = case.device.clone().autodiff();
            let input = |rows, seed| random(&[rows, width], seed).on(&device).d2().cast(case.dtype);
            let (hidden, head) = (input(n, 1).require_grad(), input(vocabulary, 2).require_grad());
            let targets = targets(n, vocabulary, true, &device);
            let log_probs = linear_token_log_probs(hidden.clone(), head.clone(), targets.clone(), softcap, 0);
            let grad = random(&[n], 3).on(&device).d1();
            let gradients = (log_probs.clone() * grad.clone()).sum().backward();
            let expected = [hidden.grad(&gradients).unwrap(), head.grad(&gradients).unwrap()];

            let [hidden, head] = [hidden, head].map(Tensor::without_autodiff);
            let grad = grad.without_autodiff();
            let ours = LinearLogProbs::new(hidden, head.clone(), targets.without_autodiff(), softcap);
            let before = random(&[vocabulary, width], 4).on(&case.device).d2().cast(case.dtype);
            let slice = (vocabulary / 2).next_multiple_of(256).min(vocabulary);
            let slices = [0..slice, slice..vocabulary].map(|rows| {
                let sum = before.clone().slice([rows.clone()]);
                ours.add_head_gradient(sum, rows.start, head.clone(), grad.clone())
            });
            let head_gradient = Tensor::cat(slices.into_iter().filter(|slice| slice.dims()[0] > 0).collect(), 0);
            let hidden_gradient = ours.hidden_gradient(head, grad);
            let [of_hidden, of_head] = expected.map(Tensor::without_autodiff);
            let pairs = [
                (ours.log_probs().unsqueeze::<2>(), log_probs.without_autodiff().unsqueeze()),
                (hidden_gradient, of_hidden),
                (head_gradient, before + of_head),
            ];
            for (which, (ours, expected)) in pairs.into_iter().enumerate() {
                let flat = |tensor: Tensor<2>| tensor.into_data().convert::<f32>().try_to_vec::<f32>().unwrap();
                let (ours, expected) = (flat(ours), flat(expected));
                let what = format!("{case:?}, {n} {width} {vocabulary}, {which}");
                if case.dtype == DType::F32 && case.device == Device::flex() {
                    assert!(ours == expected, "{what}");
                } else {
                    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 2e-2 * (1.0 + b.abs());
                    assert!(ours.iter().zip(&expected).all(near), "{what}");
                }
            }
        }
    }
}

/// More than one tile's part of the head's gradient on software Vulkan, and an odd rest.
#[test]
fn a_heads_gradient_in_tiles_is_that_in_f64() {
    const SHAPE: [usize; 3] = [5, 128, 40_011];
    let [n, width, vocabulary] = SHAPE;
    let added = |case: &Case, first: usize| {
        let tensor = |shape: &[usize], seed| random(shape, seed).on(&case.device).d2().cast(case.dtype);
        let (hidden, head) = (tensor(&[n, width], 1), tensor(&[vocabulary, width], 2));
        let scored = LinearLogProbs::new(hidden, head.clone(), targets(n, vocabulary, true, &case.device), Some(2.0));
        let before = tensor(&[vocabulary, width], 4).slice([first..vocabulary]);
        let grad = random(&[n], 3).on(&case.device).d1().cast(case.dtype);
        let sum = scored.add_head_gradient(before, first, head, grad);
        sum.into_data().convert::<f64>().try_to_vec::<f64>().unwrap()
    };
    for first in [0, 20_480] {
        let exact = added(&Case { device: Device::flex(), dtype: DType::F64 }, first);
        for case in everywhere().iter().filter(|case| case.dtype == DType::F32) {
            let ours = added(case, first);
            assert_eq!(ours.len(), exact.len());
            let is_far = |(ours, exact): &(&f64, &f64)| (*ours - *exact).abs() > 1e-6 * (1.0 + exact.abs());
            let far = ours.iter().zip(&exact).find(is_far);
            assert_eq!(far, None, "{case:?}, from row {first}");
        }
    }
}

#[test]
#[should_panic(expected = "rows 3.. of a head [5, 4]")]
fn a_slice_outside_the_head_is_refused() {
    let device = Device::flex();
    let head = Tensor::zeros([5, 4], &device);
    let scored = LinearLogProbs::new(Tensor::zeros([1, 4], &device), head.clone(), Tensor::zeros([1], &device), None);
    scored.add_head_gradient(Tensor::zeros([3, 4], &device), 3, head, Tensor::zeros([1], &device));
}
