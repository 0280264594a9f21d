//! Memory that there is not enough of is an error in a sentence.

use std::alloc::{GlobalAlloc, Layout};
use std::io::{self, Write};

use mpo_kernels::allocator::Allocator as Inner;

/// The allocator of the program, which ends it where there is no memory left.
pub(crate) struct Allocator;

// SAFETY: every call goes to an allocator that keeps the contract, and what it gives is passed on if it is not null.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        checked(unsafe { Inner.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        checked(unsafe { Inner.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        checked(unsafe { Inner.realloc(pointer, layout, size) }, size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { Inner.dealloc(pointer, layout) }
    }
}

fn checked(pointer: *mut u8, size: usize) -> *mut u8 {
    if pointer.is_null() {
        // Nothing here asks for memory.
        _ = writeln!(
            io::stderr(),
            "error: expected {size} bytes of memory more, got none\n\
             hint: lower micro_batch_tokens or batch_size, or take a smaller model; a run goes on with --resume"
        );
        crate::signals::abandon();
    }
    pointer
}
