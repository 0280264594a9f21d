use std::slice;

use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Device, Tensor, TensorData};

use super::data::{BLOCK, SCALE_BLOCK};
use super::kernel::Nf4Kernel;
use super::layout::Layout;
use super::{Nf4, Nf4Data, linear_nf4, reference};
use crate::testing::{Input, check_gradients, check_kernel, everywhere, random};
use crate::{FEW_ROWS, linear};

/// Rows, inputs and outputs: rows of the weight that begin within a byte, a word and a block.
const SHAPES: [(usize, usize, usize); 7] =
    [(1, 1, 1), (1, 40, 700), (3, 47, 31), (FEW_ROWS, 33, 300), (31, 123, 7), (130, 64, 200), (20, 24, 2_500)];

fn data(outputs: usize, inputs: usize, double: bool) -> (Nf4Data, Vec<f32>) {
    let weights: Vec<f32> = random(&[outputs, inputs], 2).values().iter().map(|&x| x as f32).collect();
    let data = Nf4Data::quantize(&weights, double);
    let values = data.values(weights.len());
    (data, values)
}

fn dense(values: &[f32], outputs: usize, inputs: usize, like: &Input) -> Tensor<2> {
    let data = TensorData::new(values.to_vec(), [outputs, inputs]).convert_dtype(like.dtype());
    Tensor::from_data(data, (&like.device().inner(), like.dtype()))
}

/// The same numbers from every device, to the bit; a GPU may fuse the sum of double quantization into its product.
#[test]
fn values_are_those_of_the_format() {
    for double in [false, true] {
        for (_, inputs, outputs) in SHAPES.into_iter().chain([(0, 129, 260), (0, 256, 80)]) {
            let (data, want) = data(outputs, inputs, double);
            for case in everywhere() {
                for device in [case.device.clone(), case.device.clone().autodiff()] {
                    let values = Nf4::new(&data, [outputs, inputs], &device).values();
                    assert_eq!(values.dims(), [outputs, inputs]);
                    let got = values.into_data().try_to_vec::<f32>().unwrap();
                    let is_exact = !double || crate::device::is_flex(&case.device);
                    let near = |(a, b): (&f32, &f32)| if is_exact { a == b } else { (a - b).abs() <= 1e-6 };
                    assert!(got.iter().zip(&want).all(near), "{case:?} {inputs} {outputs} {double}");
                }
            }
        }
    }
}

#[test]
fn no_worse_than_the_composition() {
    for double in [false, true] {
        for (rows, inputs, outputs) in SHAPES {
            let (data, _) = data(outputs, inputs, double);
            for case in everywhere() {
                let weight = Nf4::new(&data, [outputs, inputs], &case.device);
                check_kernel(
                    slice::from_ref(&case),
                    &[random(&[rows, inputs], 1)],
                    |t| linear_nf4(t[0].d2(), &weight),
                    |t| reference::linear_nf4(t[0].d2(), &Nf4::new(&data, [outputs, inputs], &t[0].device())),
                );
            }
        }
    }
}

/// Up to so many rows the products are the same as those of the unpacked matrix to the bit.
#[test]
fn few_rows_are_those_of_the_unpacked_matrix_to_the_bit() {
    let device = Device::flex();
    for (rows, inputs, outputs) in [(1, 47, 900), (5, 896, 300), (FEW_ROWS, 33, 300)] {
        let (data, values) = data(outputs, inputs, true);
        let x = random(&[rows, inputs], 1).on(&device);
        let floats = |out: Tensor<2>| out.into_data().try_to_vec::<f32>().unwrap();
        let ours = floats(linear_nf4(x.d2(), &Nf4::new(&data, [outputs, inputs], &device)));
        assert_eq!(ours, floats(linear(x.d2(), dense(&values, outputs, inputs, &x))));
    }
}

#[test]
fn the_gradient_is_the_finite_difference() {
    for double in [false, true] {
        let (data, _) = data(5, 13, double);
        for linear in [linear_nf4, reference::linear_nf4] {
            check_gradients(&[random(&[3, 13], 3)], |t| linear(t[0].d2(), &Nf4::new(&data, [5, 13], &t[0].device())));
        }
    }
}

#[test]
fn no_rows_and_no_inputs() {
    for [rows, inputs] in [[0, 3], [20, 0], [0, 0]] {
        for device in [Device::flex(), Device::flex().autodiff()] {
            let (data, _) = data(2_000, inputs, false);
            let x = Tensor::<2>::zeros([rows, inputs], &device);
            let out = linear_nf4(x, &Nf4::new(&data, [2_000, inputs], &device));
            assert_eq!(out.dims(), [rows, 2_000]);
            assert_eq!(out.abs().sum().into_scalar::<f32>(), 0.0);
        }
    }
}

/// Weights that are no numbers are not made into some.
#[test]
fn what_is_not_finite_stays_so() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for double in [false, true] {
            for (count, at) in [(BLOCK, 3), (BLOCK + 10, BLOCK + 2), (BLOCK * SCALE_BLOCK * 2, 5)] {
                let mut weights = vec![0.5; count];
                weights[at] = odd;
                let values = Nf4Data::quantize(&weights, double).values(count);
                assert!(!values[at].is_finite(), "{odd} {double} {count}: {}", values[at]);
            }
        }
    }
}

/// The backward needs the packed matrix, and the output of an input that nothing leads to needs nothing.
#[test]
fn the_input_is_not_saved() {
    type Tracking = Autodiff<Flex, NoCheckpointing>;
    let device = Default::default();
    let x = Tracking::float_from_data(TensorData::new(vec![1f32; 400], [20, 20]), &device);
    let x = Tracking::float_set_require_grad(x, true);
    let layout = Layout { shape: [20, 20], double: false };
    let (words, floats) = layout.pack(&data(20, 20, false).0);
    let words = Flex::int_from_data(TensorData::new(words, [50]), &device);
    let floats = Tracking::float_from_data(TensorData::new(floats, [7]), &device);
    let out = Tracking::nf4_product(x.clone(), words, floats, layout);
    assert!(out.is_tracked());
    assert!(x.into_primitive().try_storage_mut::<f32>().is_some(), "nothing else holds the input");
    drop(out);
}

#[test]
#[should_panic(expected = "linear_nf4: expected x [rows, 3]")]
fn another_width_is_refused() {
    let device = Device::flex();
    let (data, _) = data(2, 3, false);
    linear_nf4(Tensor::zeros([2, 4], &device), &Nf4::new(&data, [2, 3], &device));
}

#[test]
#[should_panic(expected = "NF4: expected 3 bytes of codes and 1 scales")]
fn too_few_codes_are_refused() {
    let (data, _) = data(2, 2, false);
    Nf4::new(&data, [2, 3], &Device::flex());
}
