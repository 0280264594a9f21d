//! Quotes in CSV that join rows: of a table of questions, nobody would miss those that are swallowed.

/// Where the reader is in a row.
enum At {
    /// A cell begins.
    Start,
    /// In a cell without quotes, or behind those of one.
    Bare,
    /// In a quoted cell.
    Quoted,
    /// Behind a quote in a quoted cell: its end, or the first of two.
    Quote,
}

/// The line of a quote that is not closed where a cell ends, though another line does before that: at the end of the text,
/// or at a quote in the middle of a later cell.
pub(super) fn unclosed(text: &str) -> Option<usize> {
    let (mut at, mut line, mut opened) = (At::Start, 1, 1);
    for byte in text.bytes() {
        at = match (at, byte) {
            (At::Start, b'"') => {
                opened = line;
                At::Quoted
            }
            (At::Quoted, b'"') => At::Quote,
            (At::Quote, b'"') | (At::Quoted, _) => At::Quoted,
            (_, b',' | b'\n' | b'\r') => At::Start,
            (At::Quote, byte) if !byte.is_ascii_whitespace() && line > opened => {
                return Some(opened);
            }
            (At::Quote, b' ') => At::Quote,
            (_, _) => At::Bare,
        };
        line += usize::from(byte == b'\n');
    }
    matches!(at, At::Quoted).then_some(opened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::testing::read;

    #[test]
    fn a_quote_that_joins_rows_is_found_where_it_opens() {
        for (text, line) in [
            ("id,en\n1,\"a\n2,b\n", Some(2)),
            ("id,en\n1,a\n2,\"b\n3,\"c\"\n4,d\n", Some(3)),
            ("id,\"en\n", Some(1)),
            ("id,en\r\n1,\"a \"\" b\r\n2,c\"\r\n3,\"d\" \r\n", None),
            ("id,en\n1,a \"b\n2,5\" c\n3,\"\"\n", None),
            ("id,en\n1,\"a\" b\n2,\"c\"\"\"\n", None),
            ("", None),
        ] {
            assert_eq!(unclosed(text), line, "{text}");
        }
    }

    #[test]
    fn a_quote_that_is_not_closed_is_an_error_with_its_line() {
        for (name, file, text) in [
            ("multijail", "m.csv", "id,en\n1,a\n2,\"b\n3,c\n"),
            ("multijail", "m.csv", "id,en\n1,a\n2,\"b\n3,\"c\"\n4,d\n"),
            ("mmlu", "mmlu_SW-KE.csv", "Question,A,B,C,D,Answer,Subject\nT?,1,2,3,4,A,art\n\"U?,1,2,3,4,B,art\n"),
        ] {
            let error = read(name, file, text).unwrap_err();
            assert!(error.contains("line 3: expected a quote that is closed"), "{error}");
        }
    }
}
