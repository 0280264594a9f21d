//! What a command has around it: a device, a terminal, and a user who may press Ctrl-C.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burn::tensor::Device;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use mpo_kernels::allocator::give_back_freed_memory;
use mpo_progress::{Progress, Stage};
use mpo_trainer::{Choice, DeviceChoice};

use crate::device;
use crate::failure::Failure;
use crate::signals;
use crate::threads;
use crate::visible;

/// The surroundings of one command.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where to compute; without autodiff.
    pub(crate) device: Device,
    /// Whether errors are all that may go to stderr.
    pub(crate) quiet: bool,
    stop: Arc<AtomicBool>,
    bars: MultiProgress,
}

impl Session {
    /// Takes the device, and says which if the choice was left to the program.
    pub(crate) fn new(choice: DeviceChoice, quiet: bool) -> Result<Self, Failure> {
        let (taken, device) = device::select(choice)?;
        let bars = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bars = MultiProgress::with_draw_target(bars);
        let session = Self { device, quiet, stop: Arc::default(), bars };
        if taken != choice {
            session.note(&format_args!("computing on {}", taken.name()));
        }
        Ok(session)
    }

    /// From here on the first Ctrl-C (or SIGTERM, or SIGHUP) asks to stop, and the second ends the process at once.
    pub(crate) fn catch_interrupts(&self) -> Result<(), Failure> {
        self.catch_interrupts_with("stopping after the present step")
    }

    /// The same where `what` says what the first does.
    pub(crate) fn catch_interrupts_with(&self, what: &'static str) -> Result<(), Failure> {
        let stop = Arc::clone(&self.stop);
        signals::listen(move || {
            if stop.swap(true, Ordering::Relaxed) {
                signals::end();
            }
            _ = writeln!(io::stderr(), "\n{what}; once more to end at once");
        })
    }

    /// Nothing is at work that could be stopped: the next Ctrl-C that is caught ends the process.
    pub(crate) fn idle(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Something is at work: the next Ctrl-C that is caught stops it, and no more.
    pub(crate) fn busy(&self) {
        self.stop.store(false, Ordering::Relaxed);
    }

    /// Does something to the terminal while no bar is on it.
    pub(crate) fn without_bars<T>(&self, deed: impl FnOnce() -> T) -> T {
        self.bars.suspend(deed)
    }

    /// Whether bars are on the terminal; else stderr goes to a file or another program, or nobody wants any.
    pub(crate) fn shows_bars(&self) -> bool {
        !self.bars.is_hidden()
    }
}

impl Progress for Session {
    fn note(&self, text: &dyn Display) {
        if !self.quiet {
            // A closed stderr leaves nobody to tell.
            self.without_bars(|| _ = writeln!(io::stderr(), "{}", visible::lines(&text)));
        }
    }

    fn begin(&self, what: &str, length: Option<usize>) -> Box<dyn Stage + '_> {
        give_back_freed_memory();
        // A sign of life for work that does not say how far it is.
        let (bar, template) = match length {
            Some(length) => (ProgressBar::new(length as u64), "{prefix} {wide_bar} {pos}/{len} {msg} {eta} left"),
            None => (ProgressBar::no_length(), "{spinner} {prefix} {elapsed} {msg}"),
        };
        let style = ProgressStyle::with_template(template).expect("the templates are constants");
        // Gone when dropped: an error message must not stand in the middle of a bar.
        let bar = bar.with_style(style).with_prefix(what.to_owned()).with_finish(ProgressFinish::AndClear);
        let bar = self.bars.add(bar);
        if self.shows_bars() && !threads::are_scarce() {
            // A first step may take minutes, and so may any other.
            bar.tick();
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Box::new(Bar { bar, session: self })
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A stage of the work, as the terminal shows it.
struct Bar<'a> {
    bar: ProgressBar,
    session: &'a Session,
}

impl Drop for Bar<'_> {
    /// A stage has use for what it has freed; what comes after it has not.
    fn drop(&mut self) {
        give_back_freed_memory();
    }
}

impl Stage for Bar<'_> {
    fn advance(&self, parts: usize) {
        self.bar.inc(parts as u64);
    }

    fn skip(&self, parts: usize) {
        self.advance(parts);
        self.bar.reset_eta();
    }

    fn expect(&self, more: usize) {
        self.bar.inc_length(more as u64);
    }

    fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    fn is_stopped(&self) -> bool {
        self.session.is_stopped()
    }
}
