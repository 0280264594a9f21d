//! What a command has around it: a device, a terminal, and a user who may press Ctrl-C.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burn::tensor::Device;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use mpo_trainer::DeviceChoice;

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
}

impl Session {
    /// Takes the device, and says which if the choice was left to the program.
    pub(crate) fn new(choice: DeviceChoice, quiet: bool) -> Result<Self, Failure> {
        let (taken, device) = device::select(choice)?;
        let session = Self { device, quiet, stop: Arc::default() };
        if taken != choice {
            session.note(format_args!("computing on {}", device::name(taken)));
        }
        Ok(session)
    }

    /// From here on the first Ctrl-C (or SIGTERM, or SIGHUP) asks to stop, and the second ends the process at once.
    pub(crate) fn catch_interrupts(&self) -> Result<(), Failure> {
        let stop = Arc::clone(&self.stop);
        signals::listen(move || {
            if stop.swap(true, Ordering::Relaxed) {
                signals::end();
            }
            _ = writeln!(io::stderr(), "\nstopping after the present step; once more to end at once");
        })
    }

    /// Whether the user has asked to stop.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Nothing is at work that could be stopped: the next Ctrl-C that is caught ends the process.
    pub(crate) fn idle(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Something is at work: the next Ctrl-C that is caught stops it, and no more.
    pub(crate) fn busy(&self) {
        self.stop.store(false, Ordering::Relaxed);
    }

    /// Tells the user something that is no result.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            // A closed stderr leaves nobody to tell.
            _ = writeln!(io::stderr(), "{}", visible::lines(&text));
        }
    }

    /// A bar over `length` of something, which only a terminal shows.
    pub(crate) fn bar(&self, what: &'static str, length: usize) -> ProgressBar {
        self.styled(ProgressBar::new(length as u64), what, "{prefix} {wide_bar} {pos}/{len} {msg} {eta} left")
    }

    /// A bar without an estimate of the time left, for work that makes its own.
    pub(crate) fn bar_with_message(&self, what: &'static str) -> ProgressBar {
        self.styled(ProgressBar::new(0), what, "{prefix} {wide_bar} {pos}/{len} {msg}")
    }

    /// A sign of life for work that does not say how far it is.
    pub(crate) fn spinner(&self, what: &'static str) -> ProgressBar {
        self.styled(ProgressBar::no_length(), what, "{spinner} {prefix} {elapsed} {msg}")
    }

    /// Whether notes are read but bars cannot be shown: stderr goes to a file or another program.
    pub(crate) fn notes_only(&self, bar: &ProgressBar) -> bool {
        !self.quiet && bar.is_hidden()
    }

    fn styled(&self, bar: ProgressBar, what: &'static str, template: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(template).expect("the templates are constants");
        let bar = match self.quiet {
            true => ProgressBar::hidden(),
            false => bar,
        };
        // Gone when dropped: an error message must not stand in the middle of a bar.
        let bar = bar.with_style(style).with_prefix(what).with_finish(ProgressFinish::AndClear);
        if !bar.is_hidden() && !threads::are_scarce() {
            // A first step may take minutes, and so may any other.
            bar.tick();
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        bar
    }
}
