//! MPO, reward gap optimization (Zhao et al., ACL 2025, eq. 5–9). Not TRL's Mixed Preference Optimization.
//!
//! `L = mean (β·RG_target − RG_dominant)² + weight · mean retain(h, h_ref)`, where `RG_target` is the policy's gap in the
//! target language, `RG_dominant` the reference's in its dominant one (a constant), and `h` the policy's hidden state on
//! the dominant language, held at the reference's.

use burn::tensor::Tensor;

/// How the distance between hidden states is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainNorm {
    /// ‖h − h_ref‖² / elements, as the authors' code has it. Does not depend on the width of the model.
    Mean,
    /// ‖h − h_ref‖², as the paper writes it. At common learning rates this is stiff: its gradient is `hidden_size` times
    /// that of the mean, so one step overshoots by more than the last one mended.
    Squared,
}

/// `(β·RG_target − RG_dominant)²`, `[pairs]`; the gradient is `2β(β·RG_target − RG_dominant)·∇RG_target` (eq. 27).
pub fn gap_loss(target_gap: Tensor<1>, dominant_gap: Tensor<1>, beta: f64) -> Tensor<1> {
    (target_gap.mul_scalar(beta) - dominant_gap).square()
}

/// The distance of `hidden` `[rows, elements]` from `reference` of the same shape, `[rows]`.
pub fn retain_loss(hidden: Tensor<2>, reference: Tensor<2>, norm: RetainNorm) -> Tensor<1> {
    let [rows, _] = hidden.dims();
    let squares = (hidden - reference).square();
    match norm {
        RetainNorm::Mean => squares.mean_dim(1),
        RetainNorm::Squared => squares.sum_dim(1),
    }
    .reshape([rows])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;

    fn close(got: Tensor<1>, want: &[f32]) {
        let got = got.into_data().try_to_vec::<f32>().unwrap();
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }

    #[test]
    fn gap_by_hand() {
        // β 1.5: (1.5·2 − 1)² = 4, slope 2·1.5·2 = 6; (1.5·(−1) − 0.5)² = 4, slope 2·1.5·(−2) = −6
        let device = Device::flex().autodiff();
        let target = Tensor::<1>::from_data([2.0, -1.0], &device).require_grad();
        let dominant = Tensor::<1>::from_data([1.0, 0.5], &device);
        let loss = gap_loss(target.clone(), dominant, 1.5);
        let gradients = loss.clone().sum().backward();
        close(loss.inner(), &[4.0, 4.0]);
        close(target.grad(&gradients).unwrap(), &[6.0, -6.0]);
    }

    #[test]
    fn retain_by_hand() {
        // (1, 2) from (0, 0): 5 in all, 2.5 in the mean
        let device = Device::flex();
        let hidden = || Tensor::<2>::from_data([[1.0, 2.0]], &device);
        let origin = || Tensor::<2>::zeros([1, 2], &device);
        close(retain_loss(hidden(), origin(), RetainNorm::Squared), &[5.0]);
        close(retain_loss(hidden(), origin(), RetainNorm::Mean), &[2.5]);
    }
}
