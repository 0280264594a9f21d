//! The operations where there is no kernel for a type: the matrix is unpacked by the CPU.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{TensorData, read_sync};

use super::kernel::Nf4Kernel;
use super::layout::{Layout, Packed};

/// See [`Nf4Kernel::nf4_values`].
pub(super) fn values<B: Backend>(words: IntTensor<B>, floats: FloatTensor<B>, layout: Layout) -> FloatTensor<B> {
    let device = floats.device();
    let data = (read_sync(B::int_into_data(words)), read_sync(B::float_into_data(floats)));
    let (Ok(words), Ok(floats)) = data else { panic!("NF4: expected to read a packed matrix from its device") };
    let words = words.as_slice::<u32>().expect("words of 32 bits");
    let floats = floats.as_slice::<f32>().expect("floats of 32 bits");
    let mut values = vec![0.0; layout.elements()];
    Packed { words, floats, layout }.unpack(0, &mut values);
    B::float_from_data(TensorData::new(values, layout.shape), &device)
}

/// See [`Nf4Kernel::nf4_product`].
pub(super) fn product<B: Nf4Kernel>(
    x: FloatTensor<B>,
    words: IntTensor<B>,
    floats: FloatTensor<B>,
    layout: Layout,
) -> FloatTensor<B> {
    let weight = B::float_cast(B::nf4_values(words, floats, layout), x.dtype().into());
    B::float_matmul(x, B::float_swap_dims(weight, 0, 1))
}

/// See [`Nf4Kernel::nf4_input_grad`].
pub(super) fn input_grad<B: Nf4Kernel>(
    grad: FloatTensor<B>,
    words: IntTensor<B>,
    floats: FloatTensor<B>,
    layout: Layout,
) -> FloatTensor<B> {
    let weight = B::float_cast(B::nf4_values(words, floats, layout), grad.dtype().into());
    B::float_matmul(grad, weight)
}
