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

/// An empty vector with room for so many elements, for what stays from the beginning of training to its end: weights, moments.
///
/// Linux fills the allocator's memory with pages of 2 MiB, and so gives a whole one to the end of a tensor, whose rest is mostly
/// nobody's. There this asks for small ones.
pub fn lasting<T>(elements: usize) -> Vec<T> {
    let vector = Vec::with_capacity(elements);
    small_pages_at_end(vector.as_ptr() as usize + vector.capacity() * size_of::<T>(), elements * size_of::<T>());
    vector
}

/// Of an allocation of so many bytes that ends there, and in which nothing has been written yet.
#[cfg(target_os = "linux")]
fn small_pages_at_end(end: usize, bytes: usize) {
    const HUGE: usize = 2 << 20;
    let last = end - end % HUGE;
    if bytes >= HUGE / 4 && last < end {
        let last = std::ptr::with_exposed_provenance_mut(last);
        // SAFETY: says of what size pages are to be that are yet to be made. What lies there stays as it is, whosesoever it is.
        unsafe { libc::madvise(last, HUGE, libc::MADV_NOHUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn small_pages_at_end(_end: usize, _bytes: usize) {}

fn collect() {
    // SAFETY: allowed at any time from any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_a_vector_like_any_other() {
        for elements in [0, 1, 1 << 17, (1 << 20) + 12_345] {
            let mut vector = lasting::<f32>(elements);
            assert!(vector.is_empty() && vector.capacity() >= elements);
            let before = vector.as_ptr();
            vector.resize(elements, 1.5);
            assert!(vector.iter().all(|x| *x == 1.5) && vector.as_ptr() == before, "{elements}");
        }
        assert_eq!(lasting::<()>(3).len(), 0);
    }
}
