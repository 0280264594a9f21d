//! Whether the quotes of a table are closed where they should be: else a cell goes on over rows, and nothing tells.

/// What is wrong with a quote, and the line that it opens in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) problem: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a cell.
    Start,
    /// In a cell without quotes around it, where a quote is a sign like others.
    Bare,
    Quoted,
    /// After a quote within a quoted cell: its end, or the first half of a quote that is meant.
    Quote,
    /// After the end of a quoted cell.
    End,
}

/// Follows the bytes of a table.
pub(super) struct Quotes {
    delimiter: u8,
    place: Place,
    /// Of the byte to come.
    line: usize,
    /// Of the last quote that opened.
    opened: usize,
}

impl Quotes {
    pub(super) fn new(delimiter: u8) -> Self {
        Self { delimiter, place: Place::Start, line: 1, opened: 1 }
    }

    /// The line of a quote that is still open.
    pub(super) fn open(&self) -> Option<usize> {
        (self.place == Place::Quoted).then_some(self.opened)
    }

    /// Follows some bytes; what is wrong, and how many bytes are before the one that shows it.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Option<(usize, Fault)> {
        bytes.iter().position(|byte| !self.takes(*byte)).map(|at| {
            let problem = "expected a separator or the end of the line after the closing quote of the cell that begins here, got \
                           more text";
            let line = self.opened;
            (at, Fault { line, problem })
        })
    }

    /// What is wrong where the table ends.
    pub(super) fn end(&self) -> Option<Fault> {
        let line = self.open()?;
        let problem = "expected a closing quote of the cell that begins here, got the end of the file";
        Some(Fault { line, problem })
    }

    fn takes(&mut self, byte: u8) -> bool {
        let next = match (self.place, byte) {
            (Place::Quoted, b'"') => Place::Quote,
            (Place::Quote, b'"') | (Place::Quoted, _) => Place::Quoted,
            (_, b'\n' | b'\r') => Place::Start,
            (_, byte) if byte == self.delimiter => Place::Start,
            (Place::Start, b'"') => {
                self.opened = self.line;
                Place::Quoted
            }
            (Place::Start | Place::Bare, _) => Place::Bare,
            (Place::Quote | Place::End, b' ' | b'\t') => Place::End,
            (Place::Quote | Place::End, _) => return false,
        };
        self.place = next;
        self.line += usize::from(byte == b'\n');
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of the first fault, and what of the text is before it.
    fn fault(text: &str) -> Option<(usize, &str)> {
        let mut quotes = Quotes::new(b',');
        match quotes.follow(text.as_bytes()) {
            Some((at, fault)) => Some((fault.line, &text[..at])),
            None => quotes.end().map(|fault| (fault.line, text)),
        }
    }

    #[test]
    fn a_quote_is_closed_before_a_separator_or_the_end_of_a_line() {
        for text in
            ["a,b\n1,\"x\"\n", "a,b\r\n\"x, \"\"y\"\"\nz\",1\r\n", "\"\",\"\"", "5\" nail,it's \"so\"\n\"a\" ,b", ""]
        {
            assert_eq!(fault(text), None, "{text}");
        }
        let joined = "a,b\n1,\"x\n2,\"y\"\n";
        assert_eq!(fault(joined), Some((2, "a,b\n1,\"x\n2,\"")));
        assert_eq!(fault("\"he said \"no\" twice\""), Some((1, "\"he said \"")));
        assert_eq!(fault("a\n\n\"b\n\n"), Some((3, "a\n\n\"b\n\n")));
    }
}
