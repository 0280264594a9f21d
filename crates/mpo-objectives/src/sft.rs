//! Supervised fine-tuning: `−mean log p(answer token)`, the prompt masked. A batch is the mean over its rows, so that a
//! short answer counts as much as a long one (Transformers takes the mean over all tokens of a batch).

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;

/// Mean negative log-likelihood a token of each answer, `[rows]`.
pub fn sft_loss(answers: &SequenceScore) -> Tensor<1> {
    answers.mean().neg()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;

    #[test]
    fn by_hand() {
        // Two tokens of −1 and −2: 1.5
        let device = Device::flex();
        let log_probs = Tensor::<1>::from_data([-1.0, -2.0], &device);
        let loss = sft_loss(&mpo_kernels::sequence_log_probs(log_probs, &[2]));
        assert_eq!(loss.into_data().try_to_vec::<f32>().unwrap(), [1.5]);
    }
}
