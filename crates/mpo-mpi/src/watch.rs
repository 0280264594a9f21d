//! Signs of life: every rank gives one to the next each second, in a thread that nothing else waits for.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mpi::topology::{Process, SimpleCommunicator};
use mpi::traits::{Communicator, Destination, Source};

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// After how long without one a rank is taken for dead.
const SILENCE: Duration = Duration::from_secs(30);

/// What is said each second, and what is said last.
const ALIVE: u8 = 0;
const LAST: u8 = 1;

/// The thread.
pub(crate) struct Watch {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Line>,
}

/// A communicator that nobody but the thread uses.
struct Line(SimpleCommunicator);

// SAFETY: MPI was begun with support for calls from several threads at once, without which there is no watch.
unsafe impl Send for Line {}

impl Line {
    fn neighbour(&self, distance: i32) -> Process<'_> {
        let (rank, size) = (self.0.rank(), self.0.size());
        self.0.process_at_rank((rank + size + distance) % size)
    }

    fn say(&self, what: u8) {
        self.neighbour(1).send(&what);
    }

    /// Whether anything was said since it was asked last.
    fn is_heard(&self) -> bool {
        let mut is_heard = false;
        while let Some((message, _)) = self.neighbour(-1).immediate_matched_probe() {
            let (_, _): (u8, _) = message.matched_receive();
            is_heard = true;
        }
        is_heard
    }
}

impl Watch {
    /// Begins on all ranks of `world`.
    pub(crate) fn begin(world: &SimpleCommunicator) -> Self {
        let (line, is_over) = (Line(world.duplicate()), Arc::new(AtomicBool::new(false)));
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            watch(&line, &ends);
            line
        });
        Self { is_over, thread }
    }

    /// Ends on all ranks, each of which has come so far.
    pub(crate) fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        let Ok(line) = self.thread.join() else {
            return;
        };
        // Nothing that was said may be on its way when MPI ends.
        line.say(LAST);
        while line.neighbour(-1).receive::<u8>().0 != LAST {}
    }
}

fn watch(line: &Line, is_over: &AtomicBool) {
    let mut heard = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        line.say(ALIVE);
        // Asked first: this process may have been stopped itself, with signs that it has yet to hear.
        if line.is_heard() {
            heard = Instant::now();
        }
        if heard.elapsed() > SILENCE {
            lost(line.neighbour(-1));
        }
        thread::park_timeout(EVERY);
    }
}

/// Ends this process, by which the launcher ends all others.
fn lost(rank: Process<'_>) -> ! {
    let seconds = SILENCE.as_secs();
    // A closed stderr leaves nobody to tell.
    _ = writeln!(
        io::stderr(),
        "error: expected a sign of life from rank {} every second, got none for {seconds} s\n\
         hint: look after the machine that it runs on, and continue with --resume",
        rank.rank()
    );
    // SAFETY: ends the process without what would wait for the rank that is gone.
    unsafe { libc::_exit(1) }
}
