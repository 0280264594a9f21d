//! A tokenizer as `tokenizer.json` and its companions have it, and as the metadata of a file has it.

mod kinds;
mod pieces;
mod read;
mod special;
mod write;

pub(super) use read::files;
pub(super) use write::put;

/// What pieces begin words with.
const SPACE: &str = "▁";

/// What a token is, by the numbers of the format.
mod token_type {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const UNUSED: i32 = 5;
    pub(super) const BYTE: i32 = 6;
}

/// The name of an id that no token has.
fn unused(id: usize) -> String {
    format!("[PAD{id}]")
}
