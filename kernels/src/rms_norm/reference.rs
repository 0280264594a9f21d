//! The plain composition.

use burn::tensor::Tensor;

pub(super) fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64, offset: f32) -> Tensor<2> {
    let inverse_rms = x.clone().square().mean_dim(1).add_scalar(eps).sqrt().recip();
    x * inverse_rms * weight.add_scalar(offset).unsqueeze::<2>()
}
