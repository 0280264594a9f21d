//! Signals that ask to stop, as their senders expect them to be taken.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::failure::Failure;

/// Ctrl-C.
const INTERRUPT: u8 = 2;

/// The last one that was taken.
static TAKEN: AtomicU8 = AtomicU8::new(INTERRUPT);

/// What a process ends with that was asked to stop: 128 and the signal's number.
pub(crate) fn exit_code() -> u8 {
    128 + TAKEN.load(Ordering::Relaxed)
}

/// From here on `handler` is called for Ctrl-C and its like, in a thread of its own. What was ignored when the process
/// began, as under `nohup`, stays ignored.
pub(crate) fn listen(mut handler: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    let taken = move |signal: u8| {
        TAKEN.store(signal, Ordering::Relaxed);
        handler();
    };
    platform::listen(taken).map_err(|error| Failure::Message {
        message: format!("cannot listen for Ctrl-C: {error}"),
        hint: Some("allow the process another thread (`ulimit -u`)".into()),
    })
}

/// Ends the process at once.
pub(crate) fn end() -> ! {
    platform::end(exit_code().into())
}

/// Ends the process at once, as failed.
pub(crate) fn abandon() -> ! {
    platform::end(1)
}

/// A file that may not grow is an error of the write, and not the end of the process.
pub(crate) fn survive_file_limits() {
    platform::survive_file_limits();
}

#[cfg(unix)]
mod platform {
    use std::io;
    use std::mem::MaybeUninit;
    use std::ptr;
    use std::thread;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level;

    pub(super) fn listen(mut taken: impl FnMut(u8) + Send + 'static) -> io::Result<()> {
        let heeded = [SIGINT, SIGTERM, SIGHUP].into_iter();
        let mut signals = Signals::new(heeded.filter(|&signal| !is_ignored(signal)))?;
        let listen = move || {
            signals.forever().for_each(|signal| taken(u8::try_from(signal).unwrap_or_default()));
        };
        thread::Builder::new().name("signals".into()).spawn(listen).map(drop)
    }

    fn is_ignored(signal: i32) -> bool {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: asks for the present action and sets none; all zeros are a valid `sigaction`.
        unsafe {
            libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == 0
                && action.assume_init().sa_sigaction == libc::SIG_IGN
        }
    }

    pub(super) fn end(code: i32) -> ! {
        low_level::exit(code)
    }

    pub(super) fn survive_file_limits() {
        // SAFETY: sets a disposition and no handler, before there are other threads.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    }
}

#[cfg(not(unix))]
mod platform {
    use std::io;

    pub(super) fn listen(mut taken: impl FnMut(u8) + Send + 'static) -> io::Result<()> {
        ctrlc::set_handler(move || taken(super::INTERRUPT)).map_err(io::Error::other)
    }

    pub(super) fn end(code: i32) -> ! {
        std::process::exit(code)
    }

    pub(super) fn survive_file_limits() {}
}
