//! What must not be shown, in whatever a server says and however it is written there.

use std::ops::Range;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::decoded::{Decoded, levels};

/// Shorter ones are words, such as the `none` that a server without keys is given: hiding these would garble answers.
const SHORTEST: usize = 6;

/// What stands in a secret's place.
const HIDDEN: &str = "[hidden]";

/// Keys and passwords, as bytes in lower case that are searched for: a server may write them in any.
#[derive(Clone, Default)]
pub(super) struct Secrets {
    /// In a text as it is.
    exact: Vec<Vec<u8>>,
    /// In one without white space and the like.
    bare: Vec<Vec<u8>>,
    /// The same, in base64: what is around them there has parts of them.
    encoded: Vec<Vec<u8>>,
}

impl Secrets {
    /// A key; a name and a password as an address has them, and as they are sent. A name without a password is a key.
    pub(super) fn new(key: Option<&str>, name: &str, password: Option<&str>) -> Self {
        let login = password.unwrap_or(name);
        let mut secrets = Self::default();
        secrets.and(key.unwrap_or_default());
        secrets.and(login);
        secrets
    }

    /// Another secret, as it is and as it is sent.
    pub(super) fn and(&mut self, secret: &str) {
        for level in levels(secret) {
            self.add(&level);
        }
    }

    fn add(&mut self, secret: &Decoded) {
        let plain = secret.bytes();
        if plain.len() < SHORTEST {
            return;
        }
        self.exact.push(plain.to_ascii_lowercase());
        let hex: String = plain.iter().map(|byte| format!("{byte:02x}")).collect();
        self.bare.push(hex.into_bytes());
        self.bare.push(secret.bare().bytes().to_ascii_lowercase());
        self.bare.retain(|secret| secret.len() >= SHORTEST);
        // Wherever it stands in what is encoded: a password comes behind a name, and a key behind `Bearer`.
        let encoded = (0..3).flat_map(|before| base64(plain, before));
        self.encoded.extend(encoded.map(|text| bare(&text)));
        self.encoded.retain(|secret| secret.len() >= SHORTEST);
    }

    /// A text with nothing secret in it.
    pub(super) fn hide(&self, text: String) -> String {
        if self.exact.is_empty() {
            return text;
        }
        let mut found: Vec<(Range<usize>, bool)> = vec![];
        for level in levels(&text) {
            let bare = level.bare();
            find(&self.exact, &level, |place| found.push((place, false)));
            find(&self.bare, &bare, |place| found.push((place, false)));
            find(&self.encoded, &bare, |place| found.push((place, true)));
        }
        found.sort_by_key(|(place, _)| place.start);
        let (mut hidden, mut end) = (String::new(), 0);
        for (mut place, is_encoded) in found {
            if is_encoded && place.end > end {
                // The letter behind has bits of the secret.
                let behind = text.as_bytes()[place.end..].iter();
                place.end += behind.take_while(|byte| is_base64(**byte)).count();
            }
            // Characters are hidden as a whole.
            let start = text.floor_char_boundary(place.start);
            if start >= end {
                hidden += &text[end..start];
                hidden += HIDDEN;
            }
            end = end.max(text.ceil_char_boundary(place.end));
        }
        hidden + &text[end..]
    }
}

/// Tells the places of secrets in a text.
fn find(secrets: &[Vec<u8>], text: &Decoded, mut found: impl FnMut(Range<usize>)) {
    let bytes = text.bytes().to_ascii_lowercase();
    for secret in secrets {
        let mut windows = bytes.windows(secret.len()).enumerate();
        while let Some((at, _)) = windows.find(|(_, window)| *window == &secret[..]) {
            found(text.place(at..at + secret.len()));
        }
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte)
}

/// What of a secret's base64 is the same whatever comes before it (so many bytes, and any number of threes) and behind it;
/// in both alphabets.
fn base64(secret: &[u8], before: usize) -> [String; 2] {
    let mut bytes = vec![0; before];
    bytes.extend(secret);
    let text = BASE64_STANDARD.encode(&bytes);
    // Six bits a letter: those that share bits with a neighbour vary.
    let text = &text[(before * 8).div_ceil(6)..bytes.len() * 8 / 6];
    [text.to_owned(), text.replace('+', "-").replace('/', "_")]
}

/// Of base64, what [`Decoded::bare`] leaves, in lower case.
fn bare(text: &str) -> Vec<u8> {
    let left = text.bytes().filter(|byte| !b"+-".contains(byte));
    left.map(|byte| byte.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};

    use super::*;

    #[test]
    fn keys_and_passwords_are_hidden_in_every_form() {
        let secrets = Secrets::new(Some("sk-123456"), "me", Some("pa%40ss-word"));
        let text = "key sk-123456, pa%40ss-word, pa@ss-word, me";
        let hidden = secrets.hide(text.into());
        assert_eq!(hidden, "key [hidden], [hidden], [hidden], me");
        let token = Secrets::new(None, "token-1", None);
        assert_eq!(token.hide("a token-1".into()), "a [hidden]");
        let short = Secrets::new(Some("none"), "", None);
        assert_eq!(short.hide("none of it".into()), "none of it");
    }

    #[test]
    fn no_escape_and_no_encoding_shows_a_secret() {
        let key = "s/Kq+7é&Zx_w=9";
        let secrets = Secrets::new(Some(key), "me", Some("p%2Bss%20w/rd"));
        let json = serde_json::to_string(key).unwrap();
        for text in [
            json.replace('/', "\\/"),
            key.chars().map(|c| format!("\\u{:04X}", c as u32)).collect(),
            key.chars().map(|c| format!("&#{};", c as u32)).collect(),
            key.chars().map(|c| format!("&#x{:x};", c as u32)).collect(),
            key.bytes().map(|b| format!("%{b:02X}")).collect(),
            key.bytes().map(|b| format!("%25{b:02x}")).collect(),
            key.bytes().map(|b| format!("{b:02x}")).collect(),
            key.bytes().map(|b| format!("{b:02X}:")).collect(),
            key.bytes().map(|b| format!("{b:02x} ")).collect(),
            key.bytes().map(|b| format!("={b:02X}")).collect(),
            key.replace('/', "=2F").replace('+', "=\r\n+"),
            key.bytes().map(|b| format!("\\{b:03o}")).collect(),
            key.to_ascii_uppercase(),
            key.to_ascii_lowercase(),
            key.chars().map(full_width).collect(),
            key.replace('&', "&amp;").replace('+', "&plus;"),
            key.replace('+', " "),
            key.replace('+', "%2b").replace('&', "%26"),
            key.replace("Kq", "K\\nq"),
            key.replace("Kq", "K\u{1b}[0mq"),
            key.replace("Kq", "K\u{200b}q\\"),
            key.chars().map(|c| format!("{c}\n")).collect(),
            "p+ss w/rd".into(),
            "p%2Bss+w%2Frd".into(),
            "p%2bss%20w\\/rd".into(),
        ] {
            let hidden = secrets.hide(format!("bad key: {text}, sorry"));
            let rest = hidden.replace("[hidden]", "").replace(['"', '\n', '\\', ':', ' '], "");
            assert_eq!(rest, "badkey,sorry", "{text}");
        }
        for before in ["", "B", "me", "Bearer "] {
            let login = format!("{before}{key} ");
            for encoded in
                [BASE64_STANDARD.encode(&login), BASE64_STANDARD_NO_PAD.encode(&login), BASE64_URL_SAFE.encode(&login)]
            {
                let hidden = secrets.hide(encoded.clone());
                // Nothing behind it; a letter before it shares bits with what is before.
                let letters = hidden.strip_suffix("[hidden]").map(str::len);
                assert!(letters.is_some_and(|letters| letters <= before.len() * 2 + 2), "{hidden}");
            }
        }
        let sent = BASE64_STANDARD.encode("me:p+ss w/rd");
        assert!(secrets.hide(format!("Basic {sent}")).contains("[hidden]"));
    }

    fn full_width(character: char) -> char {
        match character {
            '!'..='~' => char::from_u32(character as u32 + 0xFEE0).unwrap(),
            other => other,
        }
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        let secrets = Secrets::new(Some("sk-123456"), "", None);
        for text in ["sk-12345 &amp; \\u0041 100 % \u{1b}[31m", "sk-123 456 is found, sk-12 is not", "", "é"] {
            let expected = text.replace("sk-123 456", "[hidden]");
            assert_eq!(secrets.hide(text.into()), expected);
        }
    }

    #[test]
    fn megabytes_of_escapes_take_no_time_to_speak_of() {
        let secrets = Secrets::new(Some("sk-123456"), "me", Some("pass-word"));
        let began = std::time::Instant::now();
        for text in ["%25", "\\", "&amp;", "sk-12345"] {
            _ = secrets.hide(text.repeat((4 << 20) / text.len()));
        }
        // Seconds, even beside other programs; with the square of the length it would be hours.
        assert!(began.elapsed().as_secs() < 200, "{:?}", began.elapsed());
    }
}
