use std::slice;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{HeadInputs, linear_kl, reference};
use crate::testing::{Case, Input, check_gradients, check_kernel, everywhere, random};
use crate::vocabulary::testing::floats;

fn inputs(t: &[Input]) -> (HeadInputs, HeadInputs) {
    (HeadInputs { hidden: t[0].d2(), head: t[1].d2() }, fixed(&t[0], t[1].d2().dims()[0]))
}

/// A reference of another hidden size, always the same.
fn fixed(like: &Input, vocabulary: usize) -> HeadInputs {
    let tokens = like.d2().dims()[0];
    let tensor = |shape: &[usize], seed| random(shape, seed).beside(like).d2();
    HeadInputs { hidden: tensor(&[tokens, 5], 8), head: tensor(&[vocabulary, 5], 9) }
}

fn check(cases: &[Case], n: usize, width: usize, vocabulary: usize, scale: f64) {
    for softcap in [None, Some(2.0)] {
        check_kernel(
            cases,
            &[random(&[n, width], 1).scaled(scale), random(&[vocabulary, width], 2)],
            |t| {
                let (policy, reference) = inputs(t);
                linear_kl(policy, reference, softcap)
            },
            |t| {
                let (policy, fixed) = inputs(t);
                reference::linear_kl(policy, fixed, softcap)
            },
        );
    }
}

#[test]
fn by_hand() {
    // p = (1/4, 3/4), q = (1/2, 1/2): KL = ln(1/2)/4 + 3/4 ln(3/2) = 0.130812
    for case in everywhere().iter().filter(|case| case.dtype == DType::F32) {
        let model = |logit: f32| HeadInputs {
            hidden: Tensor::from_data([[1.0]], &case.device),
            head: Tensor::from_data([[0.0], [logit]], &case.device),
        };
        let got = floats(linear_kl(model(3f32.ln()), model(0.0), None));
        assert!((got[0] - 0.130_812).abs() < 1e-6, "{got:?}");
        let same = floats(linear_kl(model(1.7), model(1.7), None));
        assert_eq!(same, [0.0], "{case:?}");
    }
}

#[test]
fn no_worse_than_the_composition() {
    for (n, width, vocabulary) in [(1, 1, 1), (3, 47, 31), (31, 12, 123), (5, 7, 2_500), (300, 4, 33)] {
        check(&everywhere(), n, width, vocabulary, 1.0);
    }
}

#[test]
fn peaked_and_flat_rows() {
    check(&everywhere(), 9, 16, 300, 20.0);
    check(&everywhere(), 9, 16, 300, 0.0);
}

#[test]
fn several_tiles() {
    let cases = everywhere();
    let f32_only: Vec<Case> = cases.into_iter().filter(|case| case.dtype == DType::F32).collect();
    check(&f32_only, 300, 4, 70_011, 1.0);
}

#[test]
fn gradient_is_the_finite_difference() {
    for softcap in [None, Some(1.5)] {
        check_gradients(&[random(&[3, 4], 3), random(&[6, 4], 4)], |t| {
            let (policy, reference) = inputs(t);
            linear_kl(policy, reference, softcap)
        });
    }
}

/// The policy's frozen and learning, the reference's always of it.
#[test]
fn heads_of_another_type() {
    for case in everywhere() {
        for stored in case.stored().filter(|stored| *stored != case.dtype) {
            for (n, width, vocabulary) in [(3, 47, 31), (5, 7, 2_500), (600, 4, 33)] {
                let reference = |t: &[Input]| {
                    let tensor = |shape: &[usize], seed, dtype| random(shape, seed).stored(&t[0].device(), dtype).d2();
                    HeadInputs { hidden: tensor(&[n, 5], 8, t[0].dtype()), head: tensor(&[vocabulary, 5], 9, stored) }
                };
                let frozen = |t: &[Input]| {
                    let head = random(&[vocabulary, width], 2).stored(&t[0].device(), stored).d2();
                    (HeadInputs { hidden: t[0].d2(), head }, reference(t))
                };
                let learning =
                    |t: &[Input]| (HeadInputs { hidden: t[0].d2(), head: t[1].d2().cast(stored) }, reference(t));
                fn kernel((policy, reference): (HeadInputs, HeadInputs)) -> Tensor<1> {
                    linear_kl(policy, reference, Some(2.0))
                }
                fn composition((policy, reference): (HeadInputs, HeadInputs)) -> Tensor<1> {
                    reference::linear_kl(policy, reference, Some(2.0))
                }
                let (hidden, head) = (random(&[n, width], 1), random(&[vocabulary, width], 2));
                check_kernel(
                    slice::from_ref(&case),
                    slice::from_ref(&hidden),
                    |t| kernel(frozen(t)),
                    |t| composition(frozen(t)),
                );
                // A narrower one would have its gradient rounded, which is not the kernel's error.
                if stored == DType::F32 {
                    check_kernel(
                        slice::from_ref(&case),
                        &[hidden, head],
                        |t| kernel(learning(t)),
                        |t| composition(learning(t)),
                    );
                }
            }
        }
    }
}

#[test]
fn each_gradient_by_itself() {
    for case in everywhere() {
        let device = case.device.clone().autodiff();
        let gradients = |learn: [bool; 2]| {
            let tensor = |shape: &[usize], seed, learns: bool| {
                let tensor = random(shape, seed).on(&device).d2().cast(case.dtype).detach();
                if learns { tensor.require_grad() } else { tensor }
            };
            let policy = HeadInputs { hidden: tensor(&[40, 12], 1, learn[0]), head: tensor(&[700, 12], 2, learn[1]) };
            let reference = HeadInputs { hidden: tensor(&[40, 5], 3, false), head: tensor(&[700, 5], 4, false) };
            let gradients = linear_kl(policy.clone(), reference, None).sum().backward();
            [policy.hidden, policy.head].map(|input| {
                let gradient = input.grad(&gradients)?.cast(DType::F32);
                Some(gradient.into_data().try_to_vec::<f32>().unwrap())
            })
        };
        let [hidden, head] = gradients([true, true]);
        assert!(hidden.is_some() && head.is_some());
        assert_eq!(gradients([true, false]), [hidden, None], "{case:?}");
        assert_eq!(gradients([false, true]), [None, head], "{case:?}");
    }
}

#[test]
fn a_masked_vocabulary_gives_finite_results() {
    // The second column is −∞ in both models: all that is left is (0, 1), and the same in both.
    for case in everywhere().iter().filter(|case| case.dtype == DType::F32) {
        let device = case.device.clone().autodiff();
        let head = Tensor::<2>::from_data([[0.0], [f32::NEG_INFINITY], [1.0]], &device);
        let hidden = Tensor::<2>::from_data([[1.0]], &device);
        let policy = HeadInputs { hidden: hidden.clone(), head: head.clone().require_grad() };
        let got = linear_kl(policy.clone(), HeadInputs { hidden, head }, None);
        assert_eq!(floats(got.clone()), [0.0], "{case:?}");
        let gradient = policy.head.grad(&got.sum().backward()).unwrap();
        assert!(!gradient.is_nan().any().into_scalar::<bool>(), "{case:?}");
    }
}

#[test]
fn tokens_of_probability_zero_add_nothing() {
    // One token is certain under the policy; the reference excludes another, far from it. KL = ln 399 = 5.988961.
    for case in everywhere().iter().filter(|case| case.dtype == DType::F32) {
        let model = |at: usize, logit: f32| {
            let mut logits = vec![0.0f32; 400];
            logits[at] = logit;
            HeadInputs {
                hidden: Tensor::from_data([[1.0]], &case.device),
                head: Tensor::from_data(TensorData::new(logits, [400, 1]), &case.device),
            }
        };
        let got = floats(linear_kl(model(0, 200.0), model(390, f32::NEG_INFINITY), None));
        assert!((got[0] - 5.988_961).abs() < 1e-5, "{case:?}: {got:?}");
    }
}

#[test]
fn nan_stays_in_its_row() {
    for case in everywhere() {
        let model = |poison: bool| {
            let hidden = random(&[3, 4], 1).on(&case.device).d2();
            let nan = Tensor::<2>::full([1, 1], f32::NAN, &case.device);
            let hidden = if poison { hidden.slice_assign([1..2, 2..3], nan) } else { hidden };
            HeadInputs {
                hidden: hidden.cast(case.dtype),
                head: random(&[40, 4], 2).on(&case.device).d2().cast(case.dtype),
            }
        };
        for (policy, reference) in [(true, false), (false, true)] {
            let got = floats(linear_kl(model(policy), model(reference), None));
            let nan: Vec<bool> = got.iter().map(|x| x.is_nan()).collect();
            assert_eq!(nan, [false, true, false], "{case:?}");
        }
    }
}

#[test]
#[should_panic(expected = "the reference's head must not ask for gradients")]
fn a_reference_that_asks_for_gradients_is_refused() {
    let device = Device::flex().autodiff();
    let model = || HeadInputs {
        hidden: Tensor::ones([2, 3], &device),
        head: Tensor::<2>::ones([5, 3], &device).require_grad(),
    };
    linear_kl(model(), model(), None);
}

#[test]
#[should_panic(expected = "must be ([N, H], [V, H]) and ([N, R], [V, R])")]
fn shapes_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let model =
        |vocabulary| HeadInputs { hidden: Tensor::ones([2, 3], &device), head: Tensor::ones([vocabulary, 3], &device) };
    linear_kl(model(5), model(6), None);
}
