//! The allocator for programs that compute on the CPU.
//!
//! A training step asks for and frees gigabytes in pieces of megabytes. The system allocator, and mimalloc by default,
//! hand such pieces back to the kernel, which clears and maps them page by page when they are asked for again: a
//! quarter of a step's time (SmolLM2-135M on two cores, 1.7 against 1.3 s per row). A program opts in with
//! `#[global_allocator]` and a call of [`keep_freed_memory`].

use std::ffi::c_long;

pub use mimalloc::MiMalloc as Allocator;

/// `mi_option_purge_delay` of mimalloc 3: milliseconds before freed memory goes back to the kernel.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Longer than a step, so that one step's memory is the next one's; short enough to give back what a phase left.
const MILLISECONDS: c_long = 1_000;

/// Keeps freed memory at hand for a second. Call it first thing in `main`.
pub fn keep_freed_memory() {
    // SAFETY: sets an integer option of the allocator; allowed at any time from one thread.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, MILLISECONDS) };
}
