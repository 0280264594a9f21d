//! The parts of a tag, and which of them belong together.

use std::ops::Range;

/// A part of a tag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Token<'s> {
    pub(super) text: &'s str,
    pub(super) at: usize,
}

impl Token<'_> {
    pub(super) fn is_text(self) -> bool {
        self.text.starts_with(['\'', '"'])
    }

    fn is_operand(self) -> bool {
        self.is_text() || self.text.starts_with(|c: char| c == '_' || c.is_alphanumeric())
    }
}

/// The length of the token that `rest` begins with.
pub(super) fn token_length(rest: &str, first: char) -> usize {
    match first {
        '\'' | '"' => {
            let mut escaped = false;
            for (at, next) in rest.char_indices().skip(1) {
                match next {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    quote if quote == first => return at + 1,
                    _ => {}
                }
            }
            rest.len()
        }
        word if word == '_' || word.is_alphanumeric() => {
            let is_end = |c: char| c != '_' && !c.is_alphanumeric();
            let length = rest.find(is_end).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(length);
            let is_exponent = word.starts_with(|c: char| c.is_ascii_digit())
                && word.ends_with(['e', 'E'])
                && word[..length - 1].bytes().all(|c| c.is_ascii_digit() || c == b'_');
            match behind.strip_prefix(['-', '+']) {
                Some(digits) if is_exponent && digits.starts_with(|c: char| c.is_ascii_digit()) => {
                    length + 1 + digits.find(is_end).unwrap_or(digits.len())
                }
                _ => length,
            }
        }
        _ => ["==", "!=", "<=", ">=", "**", "//"]
            .iter()
            .find(|operator| rest.starts_with(**operator))
            .map_or(first.len_utf8(), |operator| operator.len()),
    }
}

/// The tokens of what a loop goes over, in those of its tag.
pub(super) fn looped_over(tokens: &[Token<'_>]) -> Option<Range<usize>> {
    let start = tokens.iter().position(|token| token.text == "in")? + 1;
    let mut open = 0_usize;
    let end = tokens[start..].iter().position(|token| {
        match token.text {
            "(" | "[" | "{" => open += 1,
            ")" | "]" | "}" => open = open.saturating_sub(1),
            _ => {}
        }
        open == 0 && matches!(token.text, "if" | "recursive")
    });
    let over = start..end.map_or(tokens.len(), |end| start + end);
    (!over.is_empty()).then_some(over)
}

/// One past the values of the `%` at a token, if it is to be a filter: behind a text, or where either side may be one. There
/// a filter binds as `%` does, unless a factor or a sign stands before.
pub(super) fn formatted(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let end = operand_end(tokens, at + 1)?;
    let first = operand_start(tokens, at)?;
    let is_number = |token: &Token<'_>| token.text.starts_with(|c: char| c.is_ascii_digit());
    let is_of_numbers = is_number(&tokens[first]) || is_number(&tokens[at + 1]);
    let before = first.checked_sub(1).map_or("", |before| tokens[before].text);
    let binds_closer = matches!(before, "*" | "/" | "//" | "%" | "**" | "-" | "+");
    (tokens[at - 1].is_text() || !is_of_numbers && !binds_closer).then_some(end)
}

/// The first token of the operand that ends before a token.
fn operand_start(tokens: &[Token<'_>], end: usize) -> Option<usize> {
    let mut at = end.checked_sub(1)?;
    loop {
        match tokens[at].text {
            ")" | "]" => {
                at = opening(tokens, at)?;
                // What is called or indexed stands before.
                match at.checked_sub(1) {
                    Some(before) if tokens[before].is_operand() || matches!(tokens[before].text, ")" | "]") => {
                        at = before;
                        continue;
                    }
                    _ => return Some(at),
                }
            }
            _ if tokens[at].is_operand() => {}
            _ => return None,
        }
        match at.checked_sub(1) {
            Some(before) if matches!(tokens[before].text, "." | "|") => at = before.checked_sub(1)?,
            _ => return Some(at),
        }
    }
}

/// The bracket that opens what the one at a token closes.
fn opening(tokens: &[Token<'_>], end: usize) -> Option<usize> {
    let mut open = 0_usize;
    for at in (0..=end).rev() {
        match tokens[at].text {
            ")" | "]" | "}" => open += 1,
            "(" | "[" | "{" => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// A literal whose escapes are those that the engine knows.
pub(super) fn unescaped(literal: &str) -> Result<String, String> {
    let mut out = String::with_capacity(literal.len());
    let mut rest = literal;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let Some(kind) = after.chars().next() else {
            out.push('\\');
            return Ok(out);
        };
        let (written, length) = match kind {
            'U' => {
                let code = after.get(1..9).and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let c = code.and_then(char::from_u32);
                (c.ok_or("expected the eight digits of a character behind \\U")?.to_string(), 9)
            }
            // The line goes on.
            '\n' => (String::new(), 1),
            'a' => ("\u{7}".into(), 1),
            'v' => ("\u{b}".into(), 1),
            // Which the engine makes one slash of.
            '/' => ("\\\\/".into(), 1),
            'N' => return Err("names of characters behind \\N are not known".into()),
            kind => (format!("\\{kind}"), kind.len_utf8()),
        };
        out += &written;
        rest = &after[length..];
    }
    Ok(out + rest)
}

/// One past the operand that begins at a token: a name or text, brackets behind it, attributes and filters.
fn operand_end(tokens: &[Token<'_>], start: usize) -> Option<usize> {
    let mut at = match tokens.get(start)? {
        token if token.text == "-" => return operand_end(tokens, start + 1),
        token if token.is_operand() => start + 1,
        token if matches!(token.text, "(" | "[" | "{") => matching(tokens, start)? + 1,
        _ => return None,
    };
    while let Some(token) = tokens.get(at) {
        at = match token.text {
            "." | "|" => at + 2,
            "(" | "[" => matching(tokens, at)? + 1,
            _ => break,
        };
    }
    (at <= tokens.len()).then_some(at)
}

/// The bracket that closes the one at a token.
fn matching(tokens: &[Token<'_>], start: usize) -> Option<usize> {
    let mut open = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text {
            "(" | "[" | "{" => open += 1,
            ")" | "]" | "}" => {
                open = open.checked_sub(1)?;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}
