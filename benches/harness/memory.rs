//! Peak memory: of the heap by counting every allocation, of a device by what its pool has reserved, of the process as
//! the kernel saw it.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use burn::tensor::Device;
use mpo_kernels::allocator::Allocator;

/// The program's allocator, with a count of what is alive.
pub struct Counting;

static ALIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    PEAK.fetch_max(ALIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call is handed on unchanged; the counters are beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as the caller promised.
        unsafe { Allocator.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as the caller promised.
        unsafe { Allocator.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grown(size);
        ALIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promised.
        unsafe { Allocator.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promised.
        unsafe { Allocator.dealloc(pointer, layout) }
    }
}

/// The most memory that `work` had beyond what was alive before it, bytes: on a GPU what its pool reserved,
/// in whole pages and so too much for small shapes; else the heap (of a bench whose allocator is [`Counting`]).
pub fn peak_while(device: &Device, work: impl FnOnce()) -> u64 {
    device.memory_cleanup();
    device.sync().expect("the device answers");
    let pool = |device: &Device| device.memory_pool_usage();
    let before = (ALIVE.load(Relaxed), pool(device));
    PEAK.store(before.0, Relaxed);
    work();
    device.sync().expect("the device answers");
    match (before.1, pool(device)) {
        (Some(before), Some(after)) => after.bytes_reserved.saturating_sub(before.bytes_in_use),
        _ => (PEAK.load(Relaxed) - before.0) as u64,
    }
}

/// The most memory this process has had, bytes (Linux).
pub fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
