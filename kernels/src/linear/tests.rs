use std::slice;

use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::kernel::LinearKernel;
use super::{linear, reference};
use crate::testing::{Case, Input, check_gradients, check_kernel, everywhere, random};

const SHAPES: [(usize, usize, usize); 6] =
    [(1, 1, 1), (1, 40, 700), (3, 47, 31), (8, 33, 300), (31, 123, 7), (130, 64, 200)];

/// More rows of weights than are read at once.
const BLOCKS: (usize, usize, usize) = (20, 24, 2_500);

#[test]
fn no_worse_than_the_composition() {
    for (rows, inputs, outputs) in SHAPES {
        check_kernel(
            &everywhere(),
            &[random(&[rows, inputs], 1), random(&[outputs, inputs], 2)],
            |t| linear(t[0].d2(), t[1].d2()),
            |t| reference::linear(t[0].d2(), t[1].d2()),
        );
    }
}

/// A case, and a type that a weight can be stored in there beside rows of the case's.
fn mixed() -> Vec<(Case, DType)> {
    let pairs = |case: Case| case.stored().map(|stored| (case.clone(), stored)).collect::<Vec<_>>();
    everywhere().into_iter().flat_map(pairs).filter(|(case, stored)| case.dtype != *stored).collect()
}

#[test]
fn frozen_weights_of_another_type() {
    for (case, stored) in mixed() {
        for (rows, inputs, outputs) in SHAPES.into_iter().chain([BLOCKS]) {
            let weight = |t: &[Input]| random(&[outputs, inputs], 2).stored(&t[0].device(), stored).d2();
            check_kernel(
                slice::from_ref(&case),
                &[random(&[rows, inputs], 1)],
                |t| linear(t[0].d2(), weight(t)),
                |t| reference::linear(t[0].d2(), weight(t)),
            );
        }
    }
}

/// f32 parameters beside 16-bit rows.
#[test]
fn wider_weights_that_learn() {
    for (case, stored) in mixed().into_iter().filter(|(_, stored)| *stored == DType::F32) {
        for (rows, inputs, outputs) in SHAPES {
            check_kernel(
                slice::from_ref(&case),
                &[random(&[rows, inputs], 1), random(&[outputs, inputs], 2)],
                |t| linear(t[0].d2(), t[1].d2().cast(stored)),
                |t| reference::linear(t[0].d2(), t[1].d2().cast(stored)),
            );
        }
    }
}

/// Sums of 16-bit products reach an f32 weight as they are.
#[test]
fn the_gradient_of_an_f32_weight_is_not_rounded() {
    let (rows, inputs, outputs) = (300, 24, 40);
    for case in everywhere().into_iter().filter(|case| case.dtype != DType::F32) {
        let device = case.device.clone().autodiff();
        let tensor = |shape: &[usize], seed| random(shape, seed).stored(&device, case.dtype).d2();
        let (x, seed) = (tensor(&[rows, inputs], 1), tensor(&[rows, outputs], 3));
        let weight = random(&[outputs, inputs], 2).on(&device).d2().require_grad();
        let out = linear(x.clone(), weight.clone());
        assert_eq!(out.dtype(), case.dtype);
        let gradients = (out.cast(DType::F32) * seed.clone().cast(DType::F32)).sum().backward();
        let ours = weight.grad(&gradients).unwrap();
        assert_eq!((ours.dtype(), ours.dims()), (DType::F32, [outputs, inputs]));
        let values = |t: Tensor<2>| t.into_data().convert::<f64>().try_to_vec::<f64>().unwrap();
        let (x, seed, ours) = (values(x), values(seed), values(ours));
        for (at, ours) in ours.iter().enumerate() {
            let exact: f64 =
                (0..rows).map(|row| seed[row * outputs + at / inputs] * x[row * inputs + at % inputs]).sum();
            assert!((ours - exact).abs() < 1e-4, "{case:?} [{at}]: {ours} {exact}");
        }
    }
}

#[test]
fn no_rows_and_no_inputs() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        for (dtype, stored) in [(DType::F32, DType::F32), (DType::F32, DType::BF16), (DType::BF16, DType::F32)] {
            for [rows, inputs] in [[0, 3], [20, 0], [0, 0]] {
                let x = Tensor::<2>::zeros([rows, inputs], (&device, dtype));
                let out = linear(x, Tensor::zeros([2_000, inputs], (&device, stored)));
                assert_eq!((out.dims(), out.dtype()), ([rows, 2_000], dtype));
                assert_eq!(out.cast(DType::F32).abs().sum().into_scalar::<f32>(), 0.0);
            }
        }
    }
}

#[test]
fn reference_gradient_is_the_finite_difference() {
    check_gradients(&[random(&[3, 4], 3), random(&[5, 4], 4)], |t| reference::linear(t[0].d2(), t[1].d2()));
    check_gradients(&[random(&[3, 4], 3)], |t| {
        let weight = random(&[5, 4], 4).stored(&t[0].device(), DType::BF16);
        reference::linear(t[0].d2(), weight.d2())
    });
}

/// Neither an input for a weight that does not learn, nor a weight for an input that nothing leads to.
#[test]
fn nothing_is_saved_for_what_is_frozen() {
    type Tracking = Autodiff<Flex, NoCheckpointing>;
    let device = Default::default();
    let tensor = |learns: bool| {
        let tensor = Tracking::float_from_data(TensorData::new(vec![1f32; 400], [20, 20]), &device);
        if learns { Tracking::float_set_require_grad(tensor, true) } else { tensor }
    };
    for (x_learns, weight_learns) in [(false, false), (true, false), (false, true), (true, true)] {
        let (x, weight) = (tensor(x_learns), tensor(weight_learns));
        let out = Tracking::linear_product(x.clone(), weight.clone());
        let is_saved = |tensor: burn::backend::tensor::FloatTensor<Tracking>| {
            tensor.into_primitive().try_storage_mut::<f32>().is_none()
        };
        assert_eq!((is_saved(x), is_saved(weight)), (weight_learns, x_learns));
        drop(out);
    }
}

#[test]
#[should_panic(expected = "both or neither f64")]
fn f64_rows_beside_f32_weights_are_refused() {
    let device = Device::flex();
    linear(Tensor::zeros([2, 3], (&device, DType::F64)), Tensor::zeros([4, 3], &device));
}
