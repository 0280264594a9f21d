//! How kernels are checked: against the composition in f64, and the composition against finite differences.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// A tensor to be made on any device in any precision, always with the same numbers.
#[derive(Clone)]
pub(crate) struct Random {
    shape: Vec<usize>,
    seed: u64,
    scale: f64,
}

pub(crate) fn random(shape: &[usize], seed: u64) -> Random {
    Random {
        shape: shape.to_vec(),
        seed,
        scale: 1.0,
    }
}

impl Random {
    pub(crate) fn scaled(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Uniform in ±√3 · scale (so of unit variance), exactly representable in f32.
    pub(crate) fn values(&self) -> Vec<f64> {
        let mut state = self
            .seed
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(1);
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let unit = (state >> 11) as f64 / (1u64 << 53) as f64;
            f64::from(((2.0 * unit - 1.0) * 3f64.sqrt() * self.scale) as f32)
        };
        (0..self.shape.iter().product::<usize>())
            .map(next)
            .collect()
    }

    pub(crate) fn on(&self, device: &Device) -> Input {
        Input::new(self.values(), &self.shape, device, DType::F32)
    }
}

/// A tensor of any rank, and itself in the rank asked for.
#[derive(Clone)]
pub(crate) struct Input {
    flat: Tensor<1>,
    shape: Vec<usize>,
}

impl Input {
    fn new(values: Vec<f64>, shape: &[usize], device: &Device, dtype: DType) -> Self {
        let data = TensorData::new(values.clone(), [values.len()]).convert_dtype(dtype);
        Self {
            flat: Tensor::from_data(data, (device, dtype)),
            shape: shape.to_vec(),
        }
    }

    pub(crate) fn d1(&self) -> Tensor<1> {
        self.flat.clone()
    }

    pub(crate) fn d2(&self) -> Tensor<2> {
        self.flat.clone().reshape([self.shape[0], self.shape[1]])
    }

    pub(crate) fn device(&self) -> Device {
        self.flat.device()
    }

    pub(crate) fn dtype(&self) -> DType {
        self.flat.dtype()
    }
}

/// The output and, for a fixed random weighting of it, the gradients of all inputs, in f64.
fn run<const D: usize>(
    inputs: &[Random],
    dtype: DType,
    f: impl Fn(&[Input]) -> Tensor<D>,
) -> Vec<Vec<f64>> {
    let device = Device::flex().autodiff();
    let inputs: Vec<Input> = inputs
        .iter()
        .map(|input| {
            let input = Input::new(input.values(), &input.shape, &device, dtype);
            Input {
                flat: input.flat.require_grad(),
                ..input
            }
        })
        .collect();
    let out = f(&inputs);
    let weights = Input::new(
        random(&out.dims(), 99).values(),
        &out.dims(),
        &device,
        dtype,
    )
    .flat;
    let elements = weights.dims()[0];
    let mut gradients = (out.clone().reshape([elements]) * weights).sum().backward();
    let numbers = |t: Tensor<1>| t.into_data().convert::<f64>().try_to_vec::<f64>().unwrap();
    let mut results = vec![numbers(out.reshape([elements]).inner())];
    for input in &inputs {
        results.push(numbers(
            input
                .flat
                .grad_remove(&mut gradients)
                .expect("a gradient reaches every input"),
        ));
    }
    results
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// The kernel in f32 is no further from the f64 composition than twice the f32 composition, output and gradients.
pub(crate) fn check_native<const D: usize>(
    inputs: &[Random],
    kernel: impl Fn(&[Input]) -> Tensor<D>,
    composition: impl Fn(&[Input]) -> Tensor<D>,
) {
    let exact = run(inputs, DType::F64, &composition);
    let plain = run(inputs, DType::F32, &composition);
    let ours = run(inputs, DType::F32, &kernel);
    for (i, ((exact, plain), ours)) in exact.iter().zip(&plain).zip(&ours).enumerate() {
        let size = exact.iter().map(|x| x * x).sum::<f64>().sqrt();
        // A floor for results that are zero but for rounding, or that the composition happens to get exactly.
        let allowed = 2.0 * distance(plain, exact) + 1e-6 * size + 1e-6;
        let error = distance(ours, exact);
        assert!(
            error <= allowed,
            "result {i}: error {error:e}, allowed {allowed:e}, size {size:e}"
        );
    }
}

/// The gradients in f64 are the central differences of the function.
pub(crate) fn check_gradients<const D: usize>(
    inputs: &[Random],
    f: impl Fn(&[Input]) -> Tensor<D>,
) {
    const STEP: f64 = 1e-5;
    let device = Device::flex();
    let gradients = run(inputs, DType::F64, &f);
    let value = |values: &[Vec<f64>]| -> f64 {
        let tensors: Vec<Input> = inputs
            .iter()
            .zip(values)
            .map(|(input, values)| Input::new(values.clone(), &input.shape, &device, DType::F64))
            .collect();
        let out = f(&tensors);
        let weights = random(&out.dims(), 99).values();
        let out = out.into_data().try_to_vec::<f64>().unwrap();
        out.iter().zip(weights).map(|(x, w)| x * w).sum()
    };
    let mut values: Vec<Vec<f64>> = inputs.iter().map(Random::values).collect();
    for which in 0..inputs.len() {
        for at in 0..values[which].len() {
            let centre = values[which][at];
            values[which][at] = centre + STEP;
            let above = value(&values);
            values[which][at] = centre - STEP;
            let below = value(&values);
            values[which][at] = centre;
            let (difference, gradient) = ((above - below) / (2.0 * STEP), gradients[which + 1][at]);
            assert!(
                (difference - gradient).abs() <= 1e-6 * (1.0 + difference.abs()),
                "input {which}, element {at}: finite difference {difference}, gradient {gradient}"
            );
        }
    }
}
