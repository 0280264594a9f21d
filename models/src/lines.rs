//! Lines of JSON that say whether they are as they were written, for logs that grow line by line.

/// What stands before a line's checksum.
const CHECK: &str = ",\"check\":\"";
/// Digits of a checksum: enough for what a disk does by accident.
const DIGITS: usize = 16;

/// An object of JSON as a line with a checksum as its last key.
pub fn checked_line(object: &str) -> String {
    let body = object.strip_suffix('}').unwrap_or(object);
    format!("{body}{CHECK}{}\"}}\n", sum(body))
}

/// The object of such a line, without the checksum, if it is as it was written.
pub fn unchecked_line(line: &str) -> Option<String> {
    let (body, check) = line.trim_end().rsplit_once(CHECK)?;
    let is_whole = check.strip_suffix("\"}") == Some(&sum(body));
    is_whole.then(|| format!("{body}}}"))
}

fn sum(body: &str) -> String {
    blake3::hash(body.as_bytes()).to_hex()[..DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_and_every_flipped_bit_is_found() {
        let object = r#"{"event":"step","loss":0.25}"#;
        let line = checked_line(object);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["loss"], 0.25);
        assert_eq!(unchecked_line(&line).unwrap(), object);
        for at in 0..line.len() - 1 {
            for bit in 0..7 {
                let mut bad = line.clone().into_bytes();
                bad[at] ^= 1 << bit;
                let bad = String::from_utf8(bad).unwrap();
                assert_eq!(unchecked_line(&bad), None, "byte {at}, bit {bit}");
            }
        }
        assert_eq!(unchecked_line(object), None);
        assert_eq!(unchecked_line(&line[..line.len() - 4]), None);
    }
}
