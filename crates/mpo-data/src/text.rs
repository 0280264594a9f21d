//! Texts from outside, fit to be shown.

/// The text with its control characters, breaks of lines and marks of direction spelled out, so that a terminal obeys none
/// of them.
pub fn visible(text: &str) -> String {
    let is_bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for next in text.chars() {
        match next {
            next if is_bad(next) => shown.extend(next.escape_default()),
            next => shown.push(next),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_seen_and_not_obeyed() {
        assert_eq!(visible("a\u{1b}[2J\u{7}b\u{9b}é あ"), "a\\u{1b}[2J\\u{7}b\\u{9b}é あ");
        assert_eq!(visible("\u{202e}x\n"), "\\u{202e}x\\n");
    }
}
