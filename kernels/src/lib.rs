//! The numerical heart of `mpo-train`: every operation whose plain composition would cost memory or time.
//!
//! One folder per kernel. In it, `mod.rs` holds the public function and its contract, `kernel.rs` the trait that backends
//! implement, `native.rs` the version for Burn's CPU backend `flex`, `cube.rs` the CubeCL version for every GPU,
//! `autodiff.rs` how the gradient flows, and `reference.rs` the plain composition of Burn operations (differentiable, any
//! backend, any type), which tests compare with. What has no kernel for a tensor's type runs the reference; the
//! operations on the vocabulary have a tiled `composition.rs` for it.
//!
//! Training and scoring meet the vocabulary in [`linear_token_log_probs`] and [`linear_kl`], so logits
//! `[tokens, vocabulary]` are never stored:
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use mpo_kernels::{linear_token_log_probs, sequence_log_probs};
//!
//! let device = Device::flex().autodiff();
//! // The hidden states of five tokens, and a head on a vocabulary of seven.
//! let hidden = Tensor::<2>::ones([5, 4], &device).require_grad();
//! let head = Tensor::<2>::ones([7, 4], &device);
//! let targets = Tensor::<1, Int>::from_data([0, 1, 2, 3, 4], &device);
//! let log_probs = linear_token_log_probs(hidden.clone(), head, targets, None, 0);
//!
//! // Two answers, of three tokens and of two; every token of the vocabulary is equally likely.
//! let score = sequence_log_probs(log_probs, &[3, 2]);
//! let means = score.mean().into_data().try_to_vec::<f32>().unwrap();
//! assert!(means.iter().all(|mean| (mean + 7f32.ln()).abs() < 1e-6));
//!
//! let gradients = score.sum.sum().backward();
//! assert_eq!(hidden.grad(&gradients).unwrap().dims(), [5, 4]);
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adamw;
pub mod allocator;
mod attention;
mod backward;
mod embedding;
mod glu;
mod linear;
mod nf4;
mod rms_norm;
mod rope;
mod vocabulary;

#[cfg(feature = "persistence")]
mod compiled;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod device;
mod gradient;
#[cfg(any(feature = "flex", feature = "cube"))]
mod pieces;
#[cfg(feature = "cube")]
mod product;
mod zeros;

pub use adamw::{AdamWStep, SQUARES_BLOCK, adamw_step, squared_l2_norm, squared_l2_norm_of, unrounded_squares};
pub use attention::{AttentionOptions, DistanceBias, PackedLayout, Segment, attention, biased_attention};
pub use backward::backward_from;
#[cfg(feature = "persistence")]
pub use compiled::keep_compiled;
pub use device::{DeviceMemory, device_kind, device_memory, device_name, host, use_reference};
pub use embedding::{add_rows, take_rows, write_rows};
pub use glu::{Activation, gated_linear_unit};
pub use linear::{FEW_ROWS, linear, linear_widens};
pub use nf4::{CODEBOOK, Nf4, Nf4Data, Nf4Scales, linear_nf4};
pub use rms_norm::rms_norm;
pub use rope::{RotaryTables, rotary_embedding};
pub use vocabulary::{
    HeadInputs, IGNORED, LinearLogProbs, SequenceScore, argmax, linear_kl, linear_token_log_probs, sequence_log_probs,
    token_log_probs,
};
pub use zeros::zeros;

#[cfg(test)]
mod testing;
#[cfg(all(test, feature = "flex", feature = "wgpu"))]
mod unfused;
