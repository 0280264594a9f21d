//! What the tests of these operations share.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::IGNORED;

/// Targets that differ from row to row, the last column among them; every third ignored if asked.
pub(crate) fn targets(n: usize, vocabulary: usize, ignore: bool, device: &Device) -> Tensor<1, Int> {
    let id = |i: usize| {
        if ignore && i % 3 == 1 { IGNORED } else { ((i * 7 + vocabulary - 1) % vocabulary) as i32 }
    };
    Tensor::from_data(TensorData::new((0..n).map(id).collect::<Vec<_>>(), [n]), device)
}

pub(crate) fn floats(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}
