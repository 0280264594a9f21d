//! The linear map with a frozen weight in four bits: NF4 (Dettmers et al., 2023, QLoRA, arXiv:2305.14314).

mod autodiff;
mod composition;
#[cfg(feature = "cube")]
mod cube;
mod data;
pub(crate) mod kernel;
pub(crate) mod layout;
#[cfg(feature = "flex")]
mod native;
mod reference;

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

pub use data::{CODEBOOK, Nf4Data, Nf4Scales};
use kernel::Nf4Kernel;
use layout::Layout;

/// A matrix in NF4 on a device: 0.56 bytes a number, or 0.52 with quantized scales. It is never trained.
#[derive(Debug, Clone)]
pub struct Nf4 {
    words: Tensor<1, Int>,
    floats: Tensor<1>,
    layout: Layout,
}

impl Nf4 {
    /// The matrix of this shape, row-major, whose numbers are `data`. `device` may have autodiff or not.
    ///
    /// # Panics
    /// If `data` has not as many codes and scales as the shape asks for.
    pub fn new(data: &Nf4Data, shape: [usize; 2], device: &Device) -> Self {
        // Nothing is ever tracked, so that a model without autodiff has the same tensors.
        let device = device.clone().inner();
        let layout = Layout { shape, double: matches!(data.scales, Nf4Scales::Double { .. }) };
        let (words, floats) = layout.pack(data);
        let (word_count, float_count) = (words.len(), floats.len());
        Self {
            words: Tensor::from_data(TensorData::new(words, [word_count]), (&device, DType::U32)),
            floats: Tensor::from_data(TensorData::new(floats, [float_count]), (&device, DType::F32)),
            layout,
        }
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        self.layout.shape
    }

    /// Whether its scales are quantized too.
    pub fn is_double(&self) -> bool {
        self.layout.double
    }

    /// The whole matrix in f32, without autodiff.
    pub fn values(&self) -> Tensor<2> {
        let (words, floats) = (self.words.clone().into_dispatch(), self.floats.clone().into_dispatch());
        Tensor::from_dispatch(<Dispatch as Nf4Kernel>::nf4_values(words, floats, self.layout))
    }
}

/// `x · weightᵀ`: `x` `[rows, inputs]`, `weight` `[outputs, inputs]`, result `[rows, outputs]`.
///
/// The type of `x` says what is computed in, and is that of the result: the weight's f32 numbers are rounded to it for the
/// product, as [`linear`](crate::linear) does with a weight of another type, and its sums are those of [`linear`](crate::linear). On the CPU
/// the weight is unpacked a block at a time, on a GPU whole, and forgotten after the product, forward and backward.
///
/// Differentiable in `x`. The backward keeps the packed weight and nothing else.
///
/// # Panics
/// On other shapes.
pub fn linear_nf4(x: Tensor<2>, weight: &Nf4) -> Tensor<2> {
    let [_, inputs] = weight.shape();
    assert!(
        x.dims()[1] == inputs,
        "linear_nf4: expected x [rows, {inputs}] for a weight {:?}, got {:?}",
        weight.shape(),
        x.dims()
    );
    if crate::device::wants_reference() {
        return reference::linear_nf4(x, weight);
    }
    let (words, floats) = (weight.words.clone().into_dispatch(), weight.floats.clone().into_dispatch());
    Tensor::from_dispatch(<Dispatch as Nf4Kernel>::nf4_product(x.into_dispatch(), words, floats, weight.layout))
}

#[cfg(test)]
mod tests;
