//! What Python says of characters.

/// The zeros of the decimal systems outside ASCII; the other digits follow each.
const ZEROS: [u32; 36] = [
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0de6, 0x0e50,
    0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50,
    0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
];

/// Whether it is a digit of a decimal system.
pub(super) fn is_decimal(c: char) -> bool {
    let code = u32::from(c);
    c.is_ascii_digit() || ZEROS.iter().any(|&zero| (zero..zero + 10).contains(&code))
}

/// The same, or one that is raised, lowered or in a circle.
pub(super) fn is_digit(c: char) -> bool {
    let is_other = matches!(
        c,
        '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉' | '①'..='⑨' | '⑴'..='⑼' | '⒈'..='⒐' | '⓪' | '⓵'..='⓽' | '⓿'
            | '❶'..='❾' | '➀'..='➈' | '➊'..='➒'
    );
    is_other || is_decimal(c)
}

/// Whether it has a value as a number, those of Chinese among them.
pub(super) fn is_numeric(c: char) -> bool {
    c.is_numeric() || "〇零一二三四五六七八九十百千万萬億亿兆壹贰叁肆伍陆柒捌玖拾佰仟廿卅卌".contains(c)
}

/// Whether `repr` writes it as it is.
pub(super) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        (' '..='~').contains(&c)
    } else {
        // Rust's rule is Python's, but for marks that begin a text.
        format!("x{c}").escape_debug().nth(1) != Some('\\')
    }
}

/// A character as the first of a word.
pub(super) fn titled(c: char) -> impl Iterator<Item = char> {
    let mut upper = c.to_uppercase();
    let first = upper.next();
    first.into_iter().chain(upper.flat_map(char::to_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_of_the_classes_that_python_says() {
        for (c, decimal, digit, numeric, printable) in [
            ('7', true, true, true, true),
            ('٣', true, true, true, true),
            ('²', false, true, true, true),
            ('½', false, false, true, true),
            ('一', false, false, true, true),
            ('a', false, false, false, true),
            ('\u{a0}', false, false, false, false),
            ('\u{200c}', false, false, false, false),
            ('é', false, false, false, true),
        ] {
            let got = (is_decimal(c), is_digit(c), is_numeric(c), is_printable(c));
            assert_eq!(got, (decimal, digit, numeric, printable), "{c:?}");
        }
        assert_eq!(titled('ß').collect::<String>(), "Ss");
    }
}
