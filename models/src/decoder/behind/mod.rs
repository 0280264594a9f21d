//! What models have alike that are an encoder and a decoder: a batch goes through both, and the decoder attends to what the encoder
//! made.

mod going;
mod lowered;
mod memory;

pub(crate) use going::Going;
pub(super) use lowered::{Found, Lowered};
pub(super) use memory::Memory;
