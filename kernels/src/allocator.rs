//! The allocator for programs that compute on the CPU.
//!
//! A training step asks for and frees gigabytes in pieces of megabytes. The system allocator, and mimalloc by default,
//! hand such pieces back to the kernel, which clears and maps them page by page when they are asked for again: a
//! quarter of a step's time. A program opts in with `#[global_allocator]` and a call of [`keep_freed_memory`], and calls
//! [`give_back_freed_memory`] where one phase of its work ends and another begins, which has no use for what the first left.

use std::ffi::c_long;

pub use mimalloc::MiMalloc as Allocator;

/// `mi_option_purge_delay` of mimalloc 3: milliseconds before freed memory goes back to the kernel.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// All that is free goes back at once, when this time has passed since the first of it was freed: whatever the length of a step,
/// its memory is cleared again no more than once in ten minutes.
const MILLISECONDS: c_long = 600_000;

/// Keeps freed memory at hand for minutes. Call it first thing in `main`.
pub fn keep_freed_memory() {
    // SAFETY: sets an integer option of the allocator; allowed at any time from one thread.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, MILLISECONDS) };
}

/// Gives all memory that is free back to the kernel now, that which the threads of the pool keep for themselves included.
pub fn give_back_freed_memory() {
    #[cfg(feature = "flex")]
    rayon::broadcast(|_| collect());
    collect();
}

fn collect() {
    // SAFETY: allowed at any time from any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
