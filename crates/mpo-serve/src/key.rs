//! The key that requests must carry.

use std::fmt;

/// A key of which only a hash is kept.
#[derive(Clone, Copy)]
pub struct ServerKey(blake3::Hash);

impl ServerKey {
    /// The key as clients send it.
    pub fn new(key: &str) -> Self {
        Self(blake3::hash(key.as_bytes()))
    }

    /// Whether a header `Authorization` carries it.
    pub(crate) fn is_in(&self, authorization: &[u8]) -> bool {
        let Some((scheme, key)) = authorization.split_at_checked(7) else {
            return false;
        };
        // Hashes are compared in constant time.
        scheme.eq_ignore_ascii_case(b"Bearer ") && blake3::hash(key.trim_ascii()) == self.0
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_opens() {
        let key = ServerKey::new("sk-1");
        assert!(key.is_in(b"Bearer sk-1") && key.is_in(b"bearer  sk-1"));
        for wrong in [&b""[..], b"Bearer", b"Bearer ", b"Bearer sk-", b"Bearer sk-12", b"Basic sk-1 ", b"sk-1"] {
            assert!(!key.is_in(wrong), "{}", wrong.escape_ascii());
        }
        assert_eq!(format!("{key:?}"), "ServerKey(…)");
    }
}
