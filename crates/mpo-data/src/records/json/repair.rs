//! What Python writes into JSON and strict parsers refuse: `NaN`, infinities and halves of surrogate pairs.

/// A text that a strict parser may read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repaired {
    pub(super) text: String,
    /// Halves of surrogate pairs that became U+FFFD.
    pub(super) surrogates: usize,
}

/// Writes `NaN` and infinities as `null`, and lone surrogates as U+FFFD; none if there is nothing of the kind.
pub(super) fn repair(text: &str) -> Option<Repaired> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut surrogates = 0;
    let mut changed = false;
    while let Some(quote) = rest.find('"') {
        let (outside, string) = rest.split_at(quote);
        changed |= copy_numbers(outside, &mut out);
        out.push('"');
        rest = copy_string(&string[1..], &mut out, &mut surrogates);
    }
    changed |= copy_numbers(rest, &mut out);
    (changed || surrogates > 0).then_some(Repaired { text: out, surrogates })
}

/// Copies what stands between strings, and says whether `NaN` or an infinity was in it.
fn copy_numbers(text: &str, out: &mut String) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let mut changed = false;
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let (before, word) = rest.split_at(start);
        let (word, after) = word.split_at(word.find(|c| !is_part(c)).unwrap_or(word.len()));
        let none = match word {
            "NaN" | "Infinity" | "-Infinity" => true,
            // More than the greatest double, which Python reads as an infinity.
            number => number.len() > 3 && number.parse::<f64>().is_ok_and(f64::is_infinite),
        };
        out.push_str(before);
        out.push_str(if none { "null" } else { word });
        changed |= none;
        rest = after;
    }
    out.push_str(rest);
    changed
}

/// Copies a string, from after its opening quote to after its closing one, and returns what follows.
fn copy_string<'a>(text: &'a str, out: &mut String, surrogates: &mut usize) -> &'a str {
    let mut rest = text;
    while let Some(end) = rest.find(['"', '\\']) {
        out.push_str(&rest[..end]);
        rest = &rest[end..];
        if let Some(behind) = rest.strip_prefix('"') {
            out.push('"');
            return behind;
        }
        let length = match unit(rest) {
            Some(0xD800..=0xDBFF) if matches!(unit(&rest[6..]), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                *surrogates += 1;
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            Some(_) => 6,
            None => rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out.push_str(rest);
    ""
}

/// The UTF-16 unit that a text begins with an escape of.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let all_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all_hex.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_infinities_and_lone_surrogates_are_repaired() {
        for (text, expected, surrogates) in [
            (r#"{"a":NaN}"#, r#"{"a":null}"#, 0),
            (r#"[NaN, -Infinity,Infinity]"#, "[null, null,null]", 0),
            (r#"{"a":1e999,"b":-2E+400}"#, r#"{"a":null,"b":null}"#, 0),
            (r#"{"NaN":"NaN","b":NaN}"#, r#"{"NaN":"NaN","b":null}"#, 0),
            (r#"{"a":"x\"NaN\\","b":NaN}"#, r#"{"a":"x\"NaN\\","b":null}"#, 0),
            (r#""é\ud83dx""#, r#""é\ufffdx""#, 1),
            (r#""\uDE00\ud83d\ude00\uD83D""#, r#""\ufffd\ud83d\ude00\ufffd""#, 2),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#, 1),
            (r#""\ud83d\n""#, r#""\ufffd\n""#, 1),
        ] {
            let expected = Repaired { text: expected.into(), surrogates };
            assert_eq!(repair(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_needs_no_repair_is_left_to_the_parser() {
        for text in [
            r#"{"a":1.5e3,"NaN":"\ud83d\ude00","b":[true,null]}"#,
            r#"{"a":NaNs}"#,
            r#"{"a":"\\ud83d"}"#,
            "\"\\",
            "\"\\u",
            "\"\\ué",
            "",
        ] {
            assert_eq!(repair(text), None, "{text}");
        }
    }
}
