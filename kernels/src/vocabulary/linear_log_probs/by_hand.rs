//! The operation outside any graph, for whoever makes its gradients by hand.

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use super::assert_inputs;
use super::kernel::{LinearLogProbsKernel, Options};
use crate::vocabulary::head::Wanted;

/// A forward of [`linear_token_log_probs`](crate::linear_token_log_probs), and what its gradients are made from: that of the
/// hidden states now, and that of the head, which is as large as the head, when there is room for it. All without autodiff.
#[derive(Debug, Clone)]
pub struct LinearLogProbs {
    hidden: Tensor<2>,
    targets: Tensor<1, Int>,
    softcap: Option<f64>,
    log_probs: Tensor<1>,
    statistics: Tensor<2>,
}

impl LinearLogProbs {
    /// The forward, of one token at least.
    ///
    /// # Panics
    /// As [`linear_token_log_probs`](crate::linear_token_log_probs), or without tokens.
    pub fn new(hidden: Tensor<2>, head: Tensor<2>, targets: Tensor<1, Int>, softcap: Option<f64>) -> Self {
        assert_inputs(&hidden, &head, &targets, softcap);
        assert!(hidden.dims()[0] > 0, "LinearLogProbs: expected tokens, got none");
        let (log_probs, statistics, _) = <Dispatch as LinearLogProbsKernel>::linear_token_log_probs(
            hidden.clone().into_dispatch(),
            head.into_dispatch(),
            targets.clone().into_dispatch(),
            Options { softcap, keep: 0 },
        );
        Self {
            hidden,
            targets,
            softcap,
            log_probs: Tensor::from_dispatch(log_probs),
            statistics: Tensor::from_dispatch(statistics),
        }
    }

    /// `[tokens]`, nats.
    pub fn log_probs(&self) -> Tensor<1> {
        self.log_probs.clone()
    }

    /// The gradient of the hidden states `[tokens, hidden_size]`, from that of the log-probs `[tokens]`.
    pub fn hidden_gradient(&self, head: Tensor<2>, grad: Tensor<1>) -> Tensor<2> {
        let (hidden, _) = <Dispatch as LinearLogProbsKernel>::linear_token_log_probs_backward(
            self.hidden.clone().into_dispatch(),
            head.into_dispatch(),
            self.targets.clone().into_dispatch(),
            self.statistics.clone().into_dispatch(),
            Tensor::<1>::zeros([0], &self.hidden.device()).into_dispatch(),
            grad.into_dispatch(),
            Options { softcap: self.softcap, keep: 0 },
            Wanted { hidden: true, head: false },
        );
        Tensor::from_dispatch(hidden)
    }

    /// `sum` `[rows, hidden_size]` with the gradient of the head's rows from `first` on added, from that of the log-probs
    /// `[tokens]`; in place where nothing else holds `sum`.
    ///
    /// # Panics
    /// If the head has no such rows, or `sum` is of another type or width.
    pub fn add_head_gradient(&self, sum: Tensor<2>, first: usize, head: Tensor<2>, grad: Tensor<1>) -> Tensor<2> {
        let ([rows, width], [vocabulary, head_width]) = (sum.dims(), head.dims());
        assert!(
            first + rows <= vocabulary && width == head_width && sum.dtype() == head.dtype(),
            "add_head_gradient: expected rows {first}.. of a head {:?} {:?}, got {:?} {:?}",
            head.dims(),
            head.dtype(),
            sum.dims(),
            sum.dtype()
        );
        let sum = <Dispatch as LinearLogProbsKernel>::add_linear_token_log_probs_head_grad(
            sum.into_dispatch(),
            first,
            self.hidden.clone().into_dispatch(),
            head.into_dispatch(),
            self.targets.clone().into_dispatch(),
            self.statistics.clone().into_dispatch(),
            grad.into_dispatch(),
            self.softcap,
        );
        Tensor::from_dispatch(sum)
    }
}
