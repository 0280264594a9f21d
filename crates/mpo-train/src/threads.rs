//! The threads that compute: as many as there are cores, or as few as the system allows.

use std::env;
use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use rayon::{ThreadBuilder, ThreadPoolBuilder};

use crate::failure::Failure;

/// Threads left for other work where they are counted: signals, bars, requests.
const SPARE: usize = 2;

static ARE_SCARCE: AtomicBool = AtomicBool::new(false);

/// Whether fewer could be started than there are cores; then nothing that is only nice to have starts one.
pub(crate) fn are_scarce() -> bool {
    ARE_SCARCE.load(Ordering::Relaxed)
}

/// Starts them. Once, and before anything computes: else the first computation does it, and panics where it may not.
pub(crate) fn start() -> Result<(), Failure> {
    let asked = env::var("RAYON_NUM_THREADS").ok();
    let asked = asked.and_then(|text| text.parse().ok()).filter(|&n| n > 0);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut threads = waiting(asked.unwrap_or(cores));
    let pool = ThreadPoolBuilder::new();
    let built = match threads.len() {
        0 => pool.num_threads(1).use_current_thread().build_global(),
        count => pool
            .num_threads(count)
            .spawn_handler(|worker| {
                let thread = threads.pop();
                let gone = |_| io::Error::from(io::ErrorKind::Other);
                thread.map_or(Ok(()), |thread| thread.send(worker).map_err(gone))
            })
            .build_global(),
    };
    built.map_err(|error| {
        Failure::new(
            format!("expected to start threads to compute in, got: {error}"),
            "allow the process more of them (`ulimit -u`)",
        )
    })
}

/// Threads that wait for their work, at most so many, where a few more could be had. Those that come to be are certain; a
/// pool that cannot have all that it asks for has none.
fn waiting(wanted: usize) -> Vec<mpsc::Sender<ThreadBuilder>> {
    let start = |number| {
        let (sender, receiver) = mpsc::channel::<ThreadBuilder>();
        let work = move || receiver.recv().into_iter().for_each(ThreadBuilder::run);
        let thread = thread::Builder::new().name(format!("compute-{number}"));
        thread.spawn(work).map(|thread| (sender, thread))
    };
    let all = wanted + SPARE;
    let mut threads: Vec<_> = (0..all).map_while(|number| start(number).ok()).collect();
    ARE_SCARCE.store(threads.len() < all, Ordering::Relaxed);
    let spare = threads.split_off(threads.len().saturating_sub(SPARE));
    for (sender, thread) in spare {
        drop(sender);
        _ = thread.join();
    }
    threads.into_iter().map(|(sender, _)| sender).collect()
}
