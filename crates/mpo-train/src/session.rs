//! What a command has around it: a device, a terminal, and a user who may press Ctrl-C.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState, ProgressStyle};
use mpo_kernels::allocator::give_back_freed_memory;
use mpo_progress::{Progress, Stage};
use mpo_trainer::{Choice, DeviceChoice};

use crate::device;
use crate::failure::Failure;
use crate::paint::Paint;
use crate::signals;
use crate::threads;
use crate::visible;
use crate::way::Way;

/// How much of a bar is all of it.
const WHOLE: u64 = 10_000;

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
        Self::on_card(choice, 0, quiet)
    }

    /// The same with another device than the best one, where there are several: one of so many after it.
    pub(crate) fn on_card(choice: DeviceChoice, card: usize, quiet: bool) -> Result<Self, Failure> {
        let (taken, device) = device::select(choice, card)?;
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
        self.catch(move || _ = writeln!(io::stderr(), "\n{what}; once more to end at once"))
    }

    /// The same where another process says so.
    pub(crate) fn catch_interrupts_quietly(&self) -> Result<(), Failure> {
        self.catch(|| {})
    }

    fn catch(&self, say: impl Fn() + Send + 'static) -> Result<(), Failure> {
        let stop = Arc::clone(&self.stop);
        signals::listen(move || {
            if stop.swap(true, Ordering::Relaxed) {
                signals::end();
            }
            say();
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
            const WARNING: &str = "warning:";
            let mut text = visible::lines(&text);
            if text.starts_with(WARNING) {
                text.replace_range(..WARNING.len(), &Paint::on(&io::stderr()).fair(WARNING));
            }
            // A closed stderr leaves nobody to tell.
            self.without_bars(|| _ = writeln!(io::stderr(), "{text}"));
        }
    }

    fn begin(&self, what: &str, length: Option<usize>) -> Box<dyn Stage + '_> {
        give_back_freed_memory();
        // A sign of life for work that does not say how far it is.
        let (bar, template) = match length {
            Some(_) => (ProgressBar::new(WHOLE), "{prefix} {bar:16} {at}  {time}  {wide_msg}"),
            None => (ProgressBar::no_length(), "{spinner} {prefix} {elapsed} {msg}"),
        };
        let way = Arc::new(Mutex::new(Way::new(length.unwrap_or_default(), Instant::now())));
        let told = |tell: fn(&Way) -> String| {
            let way = Arc::clone(&way);
            // Memory takes whatever is written.
            move |_: &ProgressState, shown: &mut dyn fmt::Write| _ = shown.write_str(&tell(&lock(&way)))
        };
        let style = ProgressStyle::with_template(template).expect("the templates are constants");
        let style = style.with_key("at", told(Way::at)).with_key("time", told(|way| way.time(Instant::now())));
        // Gone when dropped: an error message must not stand in the middle of a bar.
        let bar = bar.with_style(style).with_prefix(what.to_owned()).with_finish(ProgressFinish::AndClear);
        let bar = self.bars.add(bar);
        if self.shows_bars() && !threads::are_scarce() {
            // A first step may take minutes, and so may any other.
            bar.tick();
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Box::new(Bar { bar, way, session: self })
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A stage of the work, as the terminal shows it.
struct Bar<'a> {
    bar: ProgressBar,
    way: Arc<Mutex<Way>>,
    session: &'a Session,
}

impl Drop for Bar<'_> {
    /// A stage has use for what it has freed; what comes after it has not.
    fn drop(&mut self) {
        give_back_freed_memory();
    }
}

impl Bar<'_> {
    /// Takes in how far the work is, and shows it.
    fn goes(&self, on: impl FnOnce(&mut Way)) {
        let mut way = lock(&self.way);
        on(&mut way);
        let share = way.share_of(WHOLE);
        // Drawn at once, and drawing asks for the way.
        drop(way);
        self.bar.set_position(share);
    }
}

fn lock(way: &Mutex<Way>) -> MutexGuard<'_, Way> {
    way.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage for Bar<'_> {
    fn advance(&self, parts: usize) {
        self.goes(|way| way.advance(parts, Instant::now()));
    }

    fn skip(&self, parts: usize) {
        self.goes(|way| way.skip(parts));
    }

    fn within(&self, done: usize, of: usize) {
        self.goes(|way| way.within(done, of));
    }

    fn left(&self, left: Option<Duration>) {
        self.goes(|way| way.tell(left, Instant::now()));
    }

    fn expect(&self, more: usize) {
        self.goes(|way| way.expect(more));
    }

    fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    fn is_stopped(&self) -> bool {
        self.session.is_stopped()
    }
}
