//! The numerical heart of `mpo-train`: every operation whose plain composition would cost memory or time.
//!
//! One folder a kernel. In it, `mod.rs` holds the public function and its contract, `kernel.rs` the trait that backends
//! implement, `native.rs` the version for Burn's CPU backend `flex`, `cube.rs` the CubeCL version for every GPU,
//! `autodiff.rs` how the gradient flows, and `reference.rs` the plain composition of Burn operations (differentiable, any
//! backend, any type), which tests compare with. What has no kernel for a tensor's type runs the reference; the
//! operations on the vocabulary have a tiled `composition.rs` for it.
//!
//! Training and scoring meet the vocabulary in [`linear_log_probs`] and [`linear_kl`], so logits `[tokens, vocabulary]`
//! are never stored.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod adamw;
pub mod allocator;
pub mod attention;
pub mod glu;
pub mod linear;
pub mod linear_kl;
pub mod linear_log_probs;
pub mod rms_norm;
pub mod rope;
pub mod sequence_log_probs;
pub mod token_log_probs;

#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod device;
mod gradient;

pub use adamw::{AdamWStep, adamw_step, squared_l2_norm};
pub use attention::{AttentionOptions, PackedLayout, Segment, attention};
pub use device::use_reference;
pub use glu::{Activation, gated_linear_unit};
pub use linear::{linear, linear_widens};
pub use linear_kl::{HeadInputs, linear_kl};
pub use linear_log_probs::{LinearLogProbsOptions, linear_token_log_probs};
pub use rms_norm::rms_norm;
pub use rope::{RotaryTables, rotary_embedding};
pub use sequence_log_probs::{SequenceScore, sequence_log_probs};
pub use token_log_probs::{IGNORED, token_log_probs};

#[cfg(test)]
mod testing;
#[cfg(all(test, feature = "flex", feature = "wgpu"))]
mod unfused;
