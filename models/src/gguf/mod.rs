//! GGUF, the one file in which llama.cpp and its relatives keep a model: its numbers, its configuration and its tokenizer.
//!
//! Reading, a file is described once as a folder in Hugging Face layout ([`describe`]) that has everything but the weights, so
//! that whatever reads a model's folder reads it. [`Checkpoint`](crate::Checkpoint) takes the weights from the file itself,
//! tensor by tensor. Writing, [`write_gguf`] goes the other way: names, values and order of rows are those of llama.cpp's
//! `convert_hf_to_gguf.py`.
//!
//! The format is small, and read and written here: the one crate for its blocks, `ggml-quants`, has `todo!()` for the K types.
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod architecture;
mod blocks;
mod config;
mod convert;
mod describe;
mod header;
mod hyperparameters;
mod merging;
mod metadata;
mod tensors;
#[cfg(test)]
mod tests;
mod tokenizer;
mod types;
mod value;
mod write;

pub use convert::{GgufDtype, GgufOptions, write_gguf};
pub(crate) use describe::{SOURCE_FILE, describe, describes, file_in, source};
pub(crate) use tensors::{Entry, Stored, entries};

/// What every file begins with.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";

/// Where the numbers of a tensor may begin: at multiples of this, where the file does not say another.
const ALIGNMENT: usize = 32;
