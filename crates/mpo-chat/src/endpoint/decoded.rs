//! A text with its escapes undone, and where in the text each byte of that stands: JSON's `\/` and `\u002b`, HTML's `&#43;`
//! and `&amp;`, an address's `%2B`, a mail's `=2B`, a shell's `\053`, a letter of full width.

use std::ops::Range;

/// Escapes within escapes that are undone; nobody escapes more often.
const DEPTH: usize = 6;

/// Names that HTML has for the signs of ASCII.
#[rustfmt::skip]
const ENTITIES: [(&str, u8); 33] = [
    ("amp", b'&'), ("lt", b'<'), ("gt", b'>'), ("quot", b'"'), ("apos", b'\''), ("nbsp", b' '), ("excl", b'!'), ("num", b'#'),
    ("dollar", b'$'), ("percnt", b'%'), ("lpar", b'('), ("rpar", b')'), ("ast", b'*'), ("plus", b'+'), ("comma", b','),
    ("hyphen", b'-'), ("dash", b'-'), ("period", b'.'), ("sol", b'/'), ("colon", b':'), ("semi", b';'), ("equals", b'='),
    ("quest", b'?'), ("commat", b'@'), ("lbrack", b'['), ("bsol", b'\\'), ("rbrack", b']'), ("hat", b'^'), ("lowbar", b'_'),
    ("grave", b'`'), ("lbrace", b'{'), ("verbar", b'|'), ("rbrace", b'}'),
];

/// Bytes, and the part of the text that each stands for.
pub(super) struct Decoded {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    ends: Vec<u32>,
}

impl Decoded {
    /// The text as it is.
    fn plain(text: &str) -> Self {
        let count = u32::try_from(text.len()).unwrap_or(u32::MAX);
        Self {
            bytes: text.bytes().take(count as usize).collect(),
            starts: (0..count).collect(),
            ends: (1..=count).collect(),
        }
    }

    fn empty() -> Self {
        Self { bytes: vec![], starts: vec![], ends: vec![] }
    }

    fn push(&mut self, bytes: &[u8], start: u32, end: u32) {
        for &byte in bytes {
            self.bytes.push(byte);
            self.starts.push(start);
            self.ends.push(end);
        }
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The part of the text that some of the bytes stand for.
    pub(super) fn place(&self, of: Range<usize>) -> Range<usize> {
        self.starts[of.start] as usize..self.ends[of.end - 1] as usize
    }

    /// With each escape that is known undone once; nothing if there is none.
    fn undone(&self, escape: fn(&[u8]) -> Option<(Unit, usize)>) -> Option<Self> {
        let mut undone = Self::empty();
        let mut at = 0;
        while at < self.bytes.len() {
            let (unit, length) = escape(&self.bytes[at..]).unwrap_or((Unit::Byte(self.bytes[at]), 1));
            let (start, end) = (self.starts[at], self.ends[at + length - 1]);
            match unit {
                Unit::Byte(byte) => undone.push(&[byte], start, end),
                Unit::Char(character) => {
                    undone.push(character.encode_utf8(&mut [0; 4]).as_bytes(), start, end);
                }
            }
            at += length;
        }
        (undone.bytes.len() < self.bytes.len()).then_some(undone)
    }

    /// These bytes, and with their escapes undone, once and again.
    fn levels(self) -> Vec<Self> {
        let mut levels = vec![self];
        while levels.len() <= DEPTH
            && let Some(next) = levels.last().and_then(|level| level.undone(escape))
        {
            levels.push(next);
        }
        levels
    }

    /// Without what may stand within a word and changes nothing of it: white space, a plus in its place, controls and what
    /// switches colours, invisible characters, the backslash of an escape that is none, what stands between hexadecimal bytes or ends a mail's line.
    pub(super) fn bare(&self) -> Self {
        let mut bare = Self::empty();
        let mut at = 0;
        while at < self.bytes.len() {
            let passed = passed_over(&self.bytes[at..]);
            if passed == 0 {
                bare.push(&self.bytes[at..=at], self.starts[at], self.ends[at]);
            }
            at += passed.max(1);
        }
        bare
    }
}

/// A text as it is, and with its escapes undone, once and again. A mail's escapes may be none (`key=ab12`), so it is read
/// with and without them.
pub(super) fn levels(text: &str) -> Vec<Decoded> {
    let plain = Decoded::plain(text);
    let mail = plain.undone(quoted_printable);
    let readings = [Some(plain), mail].into_iter().flatten();
    readings.flat_map(Decoded::levels).collect()
}

enum Unit {
    /// A byte, perhaps one of several of a character.
    Byte(u8),
    Char(char),
}

/// The byte that a text begins with in a mail, as `=2B`, and its length.
fn quoted_printable(text: &[u8]) -> Option<(Unit, usize)> {
    let digits = text.strip_prefix(b"=")?.get(..2)?;
    Some((Unit::Byte(hex(digits)? as u8), 3))
}

/// The escape that a text begins with, and its length.
fn escape(text: &[u8]) -> Option<(Unit, usize)> {
    match text {
        [b'%', digits @ ..] => Some((Unit::Byte(hex(digits.get(..2)?)? as u8), 3)),
        [b'&', b'#', b'x' | b'X', rest @ ..] => numbered(rest, 16, b";", 3),
        [b'&', b'#', rest @ ..] => numbered(rest, 10, b";", 2),
        [b'&', rest @ ..] => {
            let end = rest.iter().take(8).position(|&byte| byte == b';')?;
            let name = str::from_utf8(&rest[..end]).ok()?.to_ascii_lowercase();
            let (_, byte) = ENTITIES.iter().find(|(known, _)| *known == name)?;
            Some((Unit::Byte(*byte), end + 2))
        }
        [b'\\', b'u', b'{', rest @ ..] => numbered(rest, 16, b"}", 3),
        [b'\\', b'u', rest @ ..] => {
            let first = hex(rest.get(..4)?)?;
            if let Some(character) = char::from_u32(first) {
                return Some((Unit::Char(character), 6));
            }
            // The first half of a pair.
            let second = hex(rest.get(4..10)?.strip_prefix(b"\\u")?)?;
            let mut pair = char::decode_utf16([first as u16, second as u16]);
            Some((Unit::Char(pair.next()?.ok()?), 12))
        }
        [b'\\', b'U', rest @ ..] => Some((Unit::Char(char::from_u32(hex(rest.get(..8)?)?)?), 10)),
        [b'\\', b'x', rest @ ..] => Some((Unit::Char(char::from_u32(hex(rest.get(..2)?)?)?), 4)),
        [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', ..] => {
            let digits = [high, middle, low].map(|digit| digit - b'0');
            Some((Unit::Byte(digits[0] * 64 + digits[1] * 8 + digits[2]), 4))
        }
        // U+FF01 to U+FF5E
        [0xEF, 0xBC, low @ 0x81..=0xBF, ..] => Some((Unit::Byte(low - 0x60), 3)),
        [0xEF, 0xBD, low @ 0x80..=0x9E, ..] => Some((Unit::Byte(low - 0x20), 3)),
        [b'\\', letter, ..] => {
            let byte = match letter {
                b'n' | b'r' | b't' | b'b' | b'f' => b'\n',
                b'"' | b'\'' | b'\\' | b'/' => *letter,
                _ => return None,
            };
            Some((Unit::Byte(byte), 2))
        }
        _ => None,
    }
}

/// A character by its number, which something ends.
fn numbered(text: &[u8], base: u32, end: &[u8], before: usize) -> Option<(Unit, usize)> {
    let length = text.iter().take(9).position(|&byte| end == [byte])?;
    let number = str::from_utf8(&text[..length]).ok()?;
    let number = u32::from_str_radix(number, base).ok()?;
    Some((Unit::Char(char::from_u32(number)?), before + length + 1))
}

fn hex(digits: &[u8]) -> Option<u32> {
    let are_digits = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = str::from_utf8(digits).ok().filter(|_| are_digits)?;
    u32::from_str_radix(digits, 16).ok()
}

/// How many bytes a text begins with that are no part of a word.
fn passed_over(text: &[u8]) -> usize {
    match text {
        // A colour or the like: digits up to a letter.
        [0x1B, b'[', rest @ ..] => {
            let end = rest.iter().take(16).position(u8::is_ascii_alphabetic);
            end.map_or(2, |end| end + 3)
        }
        [byte, ..] if byte.is_ascii_whitespace() || byte.is_ascii_control() => 1,
        [b'+' | b'\\' | b':' | b'-' | b'=', ..] => 1,
        // U+00AD, U+200B to U+200F, U+202A to U+202E, U+2060 to U+206F and U+FEFF
        [0xC2, 0xAD | 0xA0, ..] => 2,
        [0xE2, 0x80, 0x8B..=0x8F | 0xAA..=0xAE, ..] | [0xE2, 0x81, 0xA0..=0xAF, ..] => 3,
        [0xEF, 0xBB, 0xBF, ..] => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &str) -> String {
        let levels = levels(text);
        String::from_utf8(levels.last().unwrap().bytes().to_vec()).unwrap()
    }

    #[test]
    fn escapes_are_undone_whoever_wrote_them() {
        for (text, expected) in [
            (r"a\/b\u002bc\u{2b}\x2B", "a/b+c++"),
            (r"\ud83c\udf5e \U0001F35E", "🍞 🍞"),
            ("a&#43;b&#x2b;c&plus;d&amp;", "a+b+c+d&"),
            ("%2B%2b%C3%A9", "++é"),
            (r"\053 \x2b =2B", "+ + +"),
            ("＋ａ～", "+a~"),
            (r"\\u002b &amp;#43; %252B", "+ + +"),
            ("100 % \\q &none; %zz \\u12 &#;", "100 % \\q &none; %zz \\u12 &#;"),
            ("\\ud83c &#xD800; \\", "\\ud83c &#xD800; \\"),
        ] {
            assert_eq!(last(text), expected, "{text}");
        }
    }

    #[test]
    fn each_byte_knows_its_place() {
        let text = "x%2By";
        let levels = levels(text);
        assert_eq!(&text[levels[1].place(1..2)], "%2B");
        let text = "a \u{200B}b\u{1b}[31mc";
        let levels = super::levels(text);
        let bare = levels[0].bare();
        assert_eq!(bare.bytes(), b"abc");
        assert_eq!(&text[bare.place(0..3)], text);
    }
}
