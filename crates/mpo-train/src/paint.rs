//! Colour, where a terminal has it and its user wants it.

use std::env;
use std::ffi::OsStr;
use std::io::IsTerminal;

/// Paints words, or leaves them as they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    is_on: bool,
}

impl Paint {
    /// For what goes to `stream`.
    pub(crate) fn on(stream: &impl IsTerminal) -> Self {
        let (no_color, term) = (env::var_os("NO_COLOR"), env::var_os("TERM"));
        Self { is_on: has_color(stream.is_terminal(), no_color.as_deref(), term.as_deref()) }
    }

    /// What went well.
    pub(crate) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What did not, or not wholly.
    pub(crate) fn fair(self, text: &str) -> String {
        self.with("33", text)
    }

    /// What went wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// What to do next.
    pub(crate) fn hint(self, text: &str) -> String {
        self.with("36", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.is_on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// By <https://no-color.org>, and by whether the terminal is one that knows the codes: an old console of Windows names none.
fn has_color(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty) && term.is_some_and(|term| term != "dumb")
}

#[cfg(test)]
pub(crate) const PLAIN: Paint = Paint { is_on: false };
#[cfg(test)]
pub(crate) const COLORED: Paint = Paint { is_on: true };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_whose_user_wants_it() {
        let of = |is_terminal, no_color: Option<&str>, term: Option<&str>| {
            has_color(is_terminal, no_color.map(OsStr::new), term.map(OsStr::new))
        };
        assert!(of(true, None, Some("xterm")) && of(true, Some(""), Some("xterm")));
        for (is_terminal, no_color, term) in [
            (false, None, Some("xterm")),
            (true, Some("1"), Some("xterm")),
            (true, None, Some("dumb")),
            (true, None, None),
        ] {
            assert!(!of(is_terminal, no_color, term), "{no_color:?} {term:?}");
        }
    }

    #[test]
    fn what_is_painted_ends_as_it_was() {
        assert_eq!(COLORED.bad("error:"), "\u{1b}[1;31merror:\u{1b}[0m");
        assert_eq!(PLAIN.bad("error:"), "error:");
    }
}
