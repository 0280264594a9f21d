//! How kernels are checked: against the composition in f64, on every device at hand and in every type it computes in,
//! and the composition against finite differences.

use std::io::{self, Write};
use std::sync::LazyLock;

use burn::tensor::{DType, Device, Tensor, TensorData};

/// A tensor to be made on any device in any precision, always with the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    shape: Vec<usize>,
    seed: u64,
    scale: f64,
}

pub(crate) fn random(shape: &[usize], seed: u64) -> Random {
    Random { shape: shape.to_vec(), seed, scale: 1.0 }
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
        let mut state = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let unit = (state >> 11) as f64 / (1u64 << 53) as f64;
            f64::from(((2.0 * unit - 1.0) * 3f64.sqrt() * self.scale) as f32)
        };
        (0..self.shape.iter().product::<usize>()).map(next).collect()
    }

    pub(crate) fn on(&self, device: &Device) -> Input {
        Input::new(self.values(), &self.shape, device, DType::F32)
    }

    /// Beside `like`, in its type, rounded so coarsely that every type has the same numbers.
    pub(crate) fn beside(&self, like: &Input) -> Input {
        self.stored(&like.device(), like.dtype())
    }

    /// The same as any type: what is stored so and asks for no gradient.
    pub(crate) fn stored(&self, device: &Device, dtype: DType) -> Input {
        let coarse = round(self.values(), DType::BF16);
        Input::new(coarse, &self.shape, device, dtype)
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
        Self { flat: Tensor::from_data(data, (device, dtype)), shape: shape.to_vec() }
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

/// Where a kernel is run, and in which type.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) device: Device,
    pub(crate) dtype: DType,
}

/// f32 on `flex`: where the native CPU kernels run.
pub(crate) fn native() -> Vec<Case> {
    let device = Device::flex();
    let dtype = DType::F32;
    vec![Case { device, dtype }]
}

/// Every type of 32 bits or fewer on `flex` and on a GPU. What a device lacks is said on the terminal once; what every such
/// device has must be there.
pub(crate) fn everywhere() -> Vec<Case> {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
        const TYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];
        // Each with the types that it must have.
        let devices = [Some((Device::flex(), &TYPES[..])), gpu()];
        let mut cases = vec![];
        for (device, required) in devices.into_iter().flatten() {
            for dtype in TYPES {
                if device.supports_dtype(dtype) {
                    cases.push(Case { device: device.clone(), dtype });
                    continue;
                }
                assert!(
                    !required.contains(&dtype),
                    "{device:?}: expected {dtype:?} to be tested, but the device lacks it"
                );
                // Not by `eprintln`, which is shown of failed tests only.
                writeln!(io::stderr(), "not tested: {dtype:?} on {device:?}, which lacks it").unwrap();
            }
        }
        cases
    });
    CASES.clone()
}

/// Whether Burn's products of f32 round their factors there, to TF32: then a composition of them is near and no nearer.
pub(crate) fn rounds_factors(device: &Device) -> bool {
    format!("{device:?}").contains("Cuda")
}

/// Software Vulkan, which is the same on every machine; with the feature `cuda` and `MPO_TEST_CUDA` set the first NVIDIA
/// GPU in its place. With it the types that it must have.
pub(crate) fn gpu() -> Option<(Device, &'static [DType])> {
    #[cfg(feature = "cuda")]
    if std::env::var_os("MPO_TEST_CUDA").is_some() {
        return Some((Device::cuda(0), &[DType::F32, DType::F16, DType::BF16]));
    }
    #[cfg(feature = "wgpu")]
    return Some((Device::wgpu(burn::tensor::DeviceKind::Cpu), &[DType::F32, DType::F16]));
    #[cfg(not(feature = "wgpu"))]
    None
}

impl Case {
    /// The types that weights can be stored in there.
    pub(crate) fn stored(&self) -> impl Iterator<Item = DType> {
        let device = self.device.clone();
        [DType::F32, DType::F16, DType::BF16].into_iter().filter(move |dtype| device.supports_dtype(*dtype))
    }

    fn exact() -> Self {
        Self { device: Device::flex(), dtype: DType::F64 }
    }
}

/// The numbers as `dtype` has them.
fn round(values: Vec<f64>, dtype: DType) -> Vec<f64> {
    let elements = values.len();
    TensorData::new(values, [elements]).convert_dtype(dtype).convert::<f64>().try_to_vec::<f64>().unwrap()
}

/// What `f` makes of the inputs: the output and, for a fixed random weighting of it, the gradients of all inputs.
fn run<const D: usize>(
    case: &Case,
    inputs: &[(Vec<f64>, &[usize])],
    f: impl Fn(&[Input]) -> Tensor<D>,
    weights: impl Fn(usize) -> Vec<f64>,
) -> Vec<Vec<f64>> {
    let device = case.device.clone().autodiff();
    let inputs: Vec<Input> = inputs
        .iter()
        .map(|(values, shape)| {
            let input = Input::new(values.clone(), shape, &device, case.dtype);
            Input { flat: input.flat.require_grad(), ..input }
        })
        .collect();
    let out = f(&inputs);
    let elements = out.shape().num_elements();
    let out = out.reshape([elements]);
    let weights = Input::new(weights(elements), &[elements], &device, out.dtype()).flat;
    let mut gradients = (out.clone() * weights).sum().backward();
    let numbers = |t: Tensor<1>| t.into_data().convert::<f64>().try_to_vec::<f64>().unwrap();
    let mut results = vec![numbers(out.inner())];
    for input in &inputs {
        results.push(numbers(input.flat.grad_remove(&mut gradients).expect("a gradient reaches every input")));
    }
    results
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// A log-probability is a difference of logits several times its size, and each of those is rounded; a composition that is
/// nearer than its logits' rounding, as one of a single row can be, was lucky.
const SLACK: f64 = 12.0;

/// The kernel is no further from the composition in f64 than the composition in the kernel's own type is, output and
/// gradients, but for a factor of two and [`SLACK`] roundings of the result or of its weighting, whichever is larger (a
/// gradient is a difference of numbers of the weighting's size): the two round in different places.
pub(crate) fn check_kernel<const D: usize>(
    cases: &[Case],
    inputs: &[Random],
    kernel: impl Fn(&[Input]) -> Tensor<D>,
    composition: impl Fn(&[Input]) -> Tensor<D>,
) {
    assert!(!cases.is_empty(), "expected cases to check, got none");
    for case in cases {
        let inputs: Vec<(Vec<f64>, &[usize])> =
            inputs.iter().map(|input| (round(input.values(), case.dtype), input.shape())).collect();
        let weights = |elements: usize| round(random(&[elements], 99).values(), case.dtype);
        let exact = run(&Case::exact(), &inputs, &composition, weights);
        let plain = run(case, &inputs, &composition, weights);
        let ours = run(case, &inputs, &kernel, weights);
        let exact_elements = exact[0].len();
        for (i, ((exact, plain), ours)) in exact.iter().zip(&plain).zip(&ours).enumerate() {
            let norm = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
            let size = norm(exact).max(norm(&weights(exact_elements)));
            let rounding = match case.dtype {
                DType::F16 => 2f64.powi(-11),
                DType::BF16 => 2f64.powi(-8),
                _ => 2f64.powi(-24),
            };
            let plain = distance(plain, exact);
            // Where the composition overflows (a sum of 262,144 exponentials in f16), the kernel has to do without.
            let plain = if plain.is_finite() { plain } else { 0.0 };
            let allowed = 2.0 * plain + SLACK * rounding * size + f64::from(f32::MIN_POSITIVE);
            let error = distance(ours, exact);
            assert!(
                error <= allowed,
                "{:?} {:?}, result {i}: error {error:e}, the composition's {plain:e}, size {size:e}",
                case.device,
                case.dtype
            );
        }
    }
}

/// The gradients in f64 are the central differences of the function.
pub(crate) fn check_gradients<const D: usize>(inputs: &[Random], f: impl Fn(&[Input]) -> Tensor<D>) {
    const STEP: f64 = 1e-5;
    let exact = Case::exact();
    let mut values: Vec<Vec<f64>> = inputs.iter().map(Random::values).collect();
    let shapes: Vec<&[usize]> = inputs.iter().map(Random::shape).collect();
    let weights = |elements: usize| random(&[elements], 99).values();
    let pairs: Vec<_> = values.iter().cloned().zip(shapes.iter().copied()).collect();
    let gradients = run(&exact, &pairs, &f, weights);
    let value = |values: &[Vec<f64>]| -> f64 {
        let tensors: Vec<Input> = shapes
            .iter()
            .zip(values)
            .map(|(shape, values)| Input::new(values.clone(), shape, &exact.device, exact.dtype))
            .collect();
        let out = f(&tensors).into_data().try_to_vec::<f64>().unwrap();
        out.iter().zip(weights(out.len())).map(|(x, w)| x * w).sum()
    };
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
