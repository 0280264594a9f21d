//! log p(target | prefix) straight from hidden states: the head, the log-softmax and the gather as one operation.
//!
//! Never more than a tile of logits is alive, forward or backward. The backward takes one gradient a token and knows
//! nothing of objectives: a sequence's sum hands every token the same one, its mean that divided by the length.

mod autodiff;
mod chunked;
mod kernel;
#[cfg(feature = "flex")]
mod native;
#[cfg(test)]
mod reference;

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};
use kernel::LogProbKernel;

/// `log_softmax(softcap(hidden · headᵀ))[i, targets[i]]`.
///
/// `hidden` `[tokens, hidden_size]`, `head` `[vocabulary, hidden_size]`, `targets` `[tokens]` with values in
/// `0..vocabulary`, result `[tokens]`. With `softcap` c (Gemma 2), logits z become c · tanh(z / c) first.
/// Differentiable in `hidden` and `head`; both gradients need the logits again and make them again.
pub fn linear_token_log_probs(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
    softcap: Option<f64>,
) -> Tensor<1> {
    let ([tokens, width], [_, head_width], [count]) = (hidden.dims(), head.dims(), targets.dims());
    assert!(
        width == head_width && tokens == count,
        "linear_token_log_probs: hidden {:?}, head {:?} and targets {:?} must be [N, H], [V, H] and [N]",
        hidden.dims(),
        head.dims(),
        targets.dims()
    );
    if tokens == 0 {
        return hidden.sum_dim(1).reshape([0]);
    }
    let (log_probs, _) = <Dispatch as LogProbKernel>::linear_token_log_probs(
        hidden.into_dispatch(),
        head.into_dispatch(),
        targets.into_dispatch(),
        softcap,
    );
    Tensor::from_dispatch(log_probs)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int, Tensor, TensorData};

    use super::{linear_token_log_probs, reference};
    use crate::testing::{Random, check_gradients, check_native, random};

    fn targets(n: usize, vocabulary: usize, device: &Device) -> Tensor<1, Int> {
        let ids: Vec<i32> = (0..n)
            .map(|i| ((i * 7 + vocabulary - 1) % vocabulary) as i32)
            .collect();
        Tensor::from_data(TensorData::new(ids, [n]), device)
    }

    #[test]
    fn by_hand() {
        // Logits (0, ln 3): probabilities 1/4 and 3/4.
        let device = Device::flex();
        let hidden = Tensor::<2>::from_data([[1.0], [1.0]], &device);
        let head = Tensor::<2>::from_data([[0.0], [3f32.ln()]], &device);
        let targets = Tensor::<1, Int>::from_data([0, 1], &device);
        let got = linear_token_log_probs(hidden, head, targets, None)
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert!(
            (got[0] - 0.25f32.ln()).abs() < 1e-6 && (got[1] - 0.75f32.ln()).abs() < 1e-6,
            "{got:?}"
        );
    }

    fn check(hidden: Random, head: Random) {
        let (n, vocabulary) = (hidden.shape()[0], head.shape()[0]);
        for softcap in [None, Some(2.0)] {
            check_native(
                &[hidden.clone(), head.clone()],
                |t| {
                    linear_token_log_probs(
                        t[0].d2(),
                        t[1].d2(),
                        targets(n, vocabulary, &t[0].device()),
                        softcap,
                    )
                },
                |t| {
                    reference::log_probs(
                        t[0].d2(),
                        t[1].d2(),
                        targets(n, vocabulary, &t[0].device()),
                        softcap,
                    )
                },
            );
        }
    }

    #[test]
    fn no_worse_than_the_composition() {
        for (n, width, vocabulary) in [
            (1, 1, 1),
            (1, 3, 2),
            (3, 47, 31),
            (31, 123, 47),
            (5, 7, 2_500),
            (600, 8, 33),
        ] {
            check(random(&[n, width], 1), random(&[vocabulary, width], 2));
        }
    }

    #[test]
    fn large_logits() {
        check(
            random(&[9, 16], 1).scaled(50.0),
            random(&[300, 16], 2).scaled(50.0),
        );
    }

    #[test]
    fn nan_stays_in_its_row() {
        let device = Device::flex();
        let mut values = random(&[4, 8], 1).values();
        values[8] = f64::NAN;
        let hidden = Tensor::<2>::from_data(TensorData::new(values, [4, 8]), &device)
            .cast(burn::tensor::DType::F32);
        let head = random(&[50, 8], 2).on(&device).d2();
        let got = linear_token_log_probs(hidden, head, targets(4, 50, &device), None);
        let nan: Vec<bool> = got
            .into_data()
            .try_to_vec::<f32>()
            .unwrap()
            .iter()
            .map(|x| x.is_nan())
            .collect();
        assert_eq!(nan, [false, true, false, false]);
    }

    #[test]
    fn no_tokens() {
        let device = Device::flex();
        let out = linear_token_log_probs(
            Tensor::zeros([0, 4], &device),
            Tensor::zeros([5, 4], &device),
            Tensor::<1, Int>::zeros([0], &device),
            None,
        );
        assert_eq!(out.dims(), [0]);
    }

    #[test]
    fn gradient_is_the_finite_difference() {
        for softcap in [None, Some(1.5)] {
            check_gradients(&[random(&[3, 4], 3), random(&[6, 4], 4)], |t| {
                linear_token_log_probs(t[0].d2(), t[1].d2(), targets(3, 6, &t[0].device()), softcap)
            });
        }
    }
}
