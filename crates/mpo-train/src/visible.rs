//! Text from outside, fit for a terminal: nothing in it moves the cursor, changes colours or turns the reading order round.

use std::fmt::{Display, Write};

use mpo_data::visible;

/// A text on one line: line breaks are spelled out too, so that none passes for a line of ours.
pub(crate) fn line(text: &impl Display) -> String {
    visible(&text.to_string())
}

/// A text of several lines. Marks that hint at a direction stay, for they belong to Arabic and Hebrew.
pub(crate) fn lines(text: &impl Display) -> String {
    let stays = |c| matches!(c, '\n' | '\t' | '\u{061C}' | '\u{200E}' | '\u{200F}');
    let mut shown = String::new();
    for piece in text.to_string().split_inclusive(stays) {
        let body = piece.trim_end_matches(stays);
        shown += &visible(body);
        shown += &piece[body.len()..];
    }
    shown
}

/// JSON with the same meaning: what JSON leaves as it is stands only inside its strings.
pub(crate) fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let acts = || visible(character.encode_utf8(&mut [0; 4])).len() != character.len_utf8();
        match character {
            '\n' | ' '..='~' => shown.push(character),
            // Memory takes whatever is written.
            _ if acts() => _ = write!(shown, "\\u{:04x}", u32::from(character)),
            _ => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_spelled_out() {
        for (text, expected) in [
            ("مرحبا, naïve 日本 ক্\u{200D}ষ", "مرحبا, naïve 日本 ক্\u{200D}ষ"),
            ("\u{1b}[2J\u{7}\u{9b}31m", "\\u{1b}[2J\\u{7}\\u{9b}31m"),
            ("a\u{202E}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("x\r", "x\\r"),
        ] {
            assert_eq!(line(&text), expected);
            assert_eq!(lines(&text), expected);
        }
        assert_eq!(line(&"a\nerror: b\tc"), "a\\nerror: b\\tc");
        let several = "a\n\tb\u{200F}!\n\n";
        assert_eq!(lines(&several), several);
    }

    #[test]
    fn json_says_the_same() {
        let value = serde_json::json!({"a": "\u{9b}31m\u{202e}\u{1b}[0m\n日本", "b": 1});
        let shown = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!shown.contains(['\u{9b}', '\u{202e}', '\u{1b}']), "{shown}");
        assert!(shown.contains("日本"), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
