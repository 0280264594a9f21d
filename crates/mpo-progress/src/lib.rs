//! How long work says how far it is, and how it is asked to stop: one trait for all crates.
//!
//! Whoever has a terminal, a window or a log implements [`Progress`]. Whoever wants to hear nothing passes [`Silent`].
//!
//! ```
//! use mpo_progress::{Progress, Silent};
//!
//! /// The sum of the numbers; none if it was stopped.
//! fn sum(numbers: &[u64], progress: &dyn Progress) -> Option<u64> {
//!     let stage = progress.begin("adding", Some(numbers.len()));
//!     let mut sum = 0;
//!     for number in numbers {
//!         if stage.is_stopped() {
//!             return None;
//!         }
//!         sum += number;
//!         stage.advance(1);
//!     }
//!     progress.note(&format_args!("added {} numbers", numbers.len()));
//!     Some(sum)
//! }
//!
//! assert_eq!(sum(&[1, 2, 3], &Silent), Some(6));
//! ```

use std::fmt::{self, Display};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many of something, in words: `1 step`, `2 steps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted(pub u64, pub &'static str);

impl Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        write!(f, "{count} {what}{}", if *count == 1 { "" } else { "s" })
    }
}

/// Who is told of long work, and may stop it.
pub trait Progress: Sync {
    /// Something that the user is to know and that is no result, in a line or several.
    fn note(&self, text: &dyn Display);

    /// A stage of the work begins, of `length` parts if that is known. It ends when the value is dropped.
    fn begin(&self, what: &str, length: Option<usize>) -> Box<dyn Stage + '_>;

    /// Whether the work is to stop.
    fn is_stopped(&self) -> bool;
}

/// Work under way.
pub trait Stage: Sync {
    /// So many more parts are done.
    fn advance(&self, parts: usize);

    /// So many parts were done by an earlier process: they say nothing about how fast this one is.
    fn skip(&self, parts: usize) {
        self.advance(parts);
    }

    /// So many pieces of the part under way are done, of those that it has.
    fn within(&self, _done: usize, _of: usize) {}

    /// How long the rest takes, as whoever works knows better than by counting parts; none if it cannot be said yet.
    fn left(&self, _left: Option<Duration>) {}

    /// There are so many more parts than was known at first.
    fn expect(&self, _more: usize) {}

    /// How the work is going, in a few words that take the place of those before.
    fn say(&self, _text: &str) {}

    /// Whether the work is to stop; asked often.
    fn is_stopped(&self) -> bool;
}

/// Tells nobody and is never stopped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn note(&self, _text: &dyn Display) {}

    fn begin(&self, _what: &str, _length: Option<usize>) -> Box<dyn Stage + '_> {
        Box::new(Self)
    }

    fn is_stopped(&self) -> bool {
        false
    }
}

impl Stage for Silent {
    fn advance(&self, _parts: usize) {}

    fn is_stopped(&self) -> bool {
        false
    }
}

/// Keeps what it is told and is never stopped: for tests, and for programs that show it later.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    /// Every note, every stage's name, and every word that a stage said, in their order.
    pub fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, text: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

impl Progress for Recorder {
    fn note(&self, text: &dyn Display) {
        self.keep(text.to_string());
    }

    fn begin(&self, what: &str, _length: Option<usize>) -> Box<dyn Stage + '_> {
        self.keep(what.to_owned());
        Box::new(RecorderStage(self))
    }

    fn is_stopped(&self) -> bool {
        false
    }
}

struct RecorderStage<'a>(&'a Recorder);

impl Stage for RecorderStage<'_> {
    fn advance(&self, _parts: usize) {}

    fn say(&self, text: &str) {
        self.0.keep(text.to_owned());
    }

    fn is_stopped(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_thing_is_no_plural() {
        assert_eq!([0, 1, 2].map(|count| Counted(count, "step").to_string()), ["0 steps", "1 step", "2 steps"]);
    }
}
