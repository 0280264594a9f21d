//! Values in JSON with a checksum of themselves, so that what a disk or an editor changed is found.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::lines::{checked_line, unchecked_line};

/// A value, an object in JSON, as a line with a checksum.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn seal(value: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(checked_line(&serde_json::to_string(value)?))
}

/// A sealed value; one without a checksum, as the first versions wrote them, is taken as it is. The error is what is wrong
/// with it.
///
/// # Errors
/// If it was changed since, or is another kind of value.
pub fn unseal<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let text = str::from_utf8(text).map_err(|error| error.to_string())?;
    let object = match unchecked_line(text) {
        Some(object) => object,
        None if text.contains("\"check\"") => {
            return Err("bytes that were changed since: their checksum is another".into());
        }
        None => text.to_owned(),
    };
    serde_json::from_str(&object).map_err(|error| error.to_string())
}

/// The value of a line that another program wrote, whatever its checksum says: somebody meant it. Such a line has spaces
/// between its values, of which ours have none; one that a disk changed has a single one at most.
pub fn rewritten<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let mut spaces = 0;
    let (mut in_text, mut escaped) = (false, false);
    for &byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b' ' => spaces += usize::from(!in_text),
            _ => {}
        }
    }
    match spaces {
        0 | 1 => None,
        _ => serde_json::from_slice(line).ok(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Thing {
        text: String,
        number: f64,
        maybe: Option<u8>,
    }

    #[test]
    fn every_flipped_byte_is_found_or_changes_nothing() {
        let thing = Thing { text: "mkate 🍞 \"\u{1b}".into(), number: 0.1 + 0.2, maybe: None };
        let line = seal(&thing).unwrap();
        assert_eq!(unseal::<Thing>(line.as_bytes()).unwrap(), thing);
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut changed = line.clone().into_bytes();
                changed[at] ^= 1 << bit;
                if let Ok(read) = unseal::<Thing>(&changed) {
                    assert_eq!(read, thing, "byte {at}, bit {bit}");
                }
                assert!(rewritten::<Thing>(&changed).is_none(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn what_another_program_wrote_was_meant() {
        let line = br#"{"text": "b", "number": 2.0, "maybe": null, "check": "0123456789abcdef"}"#;
        assert!(unseal::<Thing>(line).is_err());
        assert_eq!(rewritten::<Thing>(line).unwrap().text, "b");
    }

    #[test]
    fn lines_of_the_first_versions_are_read() {
        let thing: Thing = unseal(br#"{"text": "a", "number": 1, "maybe": 2}"#).unwrap();
        assert_eq!(thing.maybe, Some(2));
    }
}
