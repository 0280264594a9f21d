//! What must not be shown, in whatever a server says.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Shorter ones are words, such as the `none` that a server without keys is given: hiding these would garble answers.
const SHORTEST: usize = 6;

/// What stands in a secret's place.
const HIDDEN: &str = "[hidden]";

/// Keys and passwords.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// A key; a name and a password as an address has them, and as they are sent. A name without a password is a key.
    pub(super) fn new(key: Option<&str>, name: &str, password: Option<&str>) -> Self {
        let mut secrets: Vec<String> = key.map(str::to_owned).into_iter().collect();
        let login = password.unwrap_or(name);
        let plain = percent_decoded(login);
        let sent = match password {
            Some(_) => format!("{}:{plain}", percent_decoded(name)),
            None => format!("{plain}:"),
        };
        if !login.is_empty() {
            secrets.extend([login.to_owned(), plain, BASE64_STANDARD.encode(sent)]);
        }
        secrets.retain(|secret| secret.len() >= SHORTEST);
        // One may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// A text with nothing secret in it.
    pub(super) fn hide(&self, text: String) -> String {
        let hide = |text: String, secret: &String| match text.contains(secret.as_str()) {
            true => text.replace(secret.as_str(), HIDDEN),
            false => text,
        };
        self.0.iter().fold(text, hide)
    }
}

/// What `%40` and the like stand for.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = vec![];
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let byte = hex
            .and_then(|hex| str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_passwords_are_hidden_in_every_form() {
        let secrets = Secrets::new(Some("sk-123456"), "me", Some("pa%40ss-word"));
        let sent = BASE64_STANDARD.encode("me:pa@ss-word");
        let text = format!("key sk-123456, pa%40ss-word, pa@ss-word, Basic {sent}, me");
        assert_eq!(
            secrets.hide(text),
            "key [hidden], [hidden], [hidden], Basic [hidden], me"
        );
        let token = Secrets::new(None, "token-1", None);
        assert_eq!(token.hide("a token-1".into()), "a [hidden]");
        let short = Secrets::new(Some("none"), "", None);
        assert_eq!(short.hide("none of it".into()), "none of it");
    }
}
