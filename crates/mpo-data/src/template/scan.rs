//! What is asked of a template's source before the engine reads it: that it is no larger and no deeper than a template
//! is, and that three things which Jinja2 in Transformers has, and the engine has not, are said in words it knows.

use std::fmt::Write;

/// Bytes of a source; the longest public ones have 60 thousand.
const MAX_SOURCE: usize = 512 * 1024;
/// Tokens between two braces. The engine's parser and compiler descend once for each of a chain.
const MAX_TOKENS: usize = 5_000;
/// Brackets that are open at once.
const MAX_BRACKETS: usize = 100;
/// Blocks that are open at once; an `elif` opens one more.
const MAX_BLOCKS: usize = 500;

/// The method by which an attribute of a namespace is set.
pub(super) const SET_ATTRIBUTE: &str = "__set_attribute__";
/// The filter that `'text' % values` is.
pub(super) const PERCENT: &str = "__percent__";

/// What a variable is called that a block is kept in until it becomes an attribute.
const BLOCK: &str = "__block__";

/// The source as the engine can read it: the same lines, so that its errors name the right ones.
///
/// - `{% generation %}` and `{% endgeneration %}` become comments;
/// - `{% set ns.name = value %}` becomes a method of the namespace, which is ours: printing the engine's own one does not
///   end where it holds itself;
/// - `'text' % values` becomes a filter.
pub(super) fn prepare(source: &str) -> Result<String, String> {
    if source.len() > MAX_SOURCE {
        let got = source.len();
        return Err(format!(
            "expected at most {MAX_SOURCE} bytes, got {got}: this is no chat template"
        ));
    }
    let mut scan = Scan {
        source,
        prepared: String::with_capacity(source.len() + 64),
        blocks: vec![],
        chains: 0,
        at: 0,
    };
    scan.run()?;
    Ok(scan.prepared)
}

/// Parts of a tag.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Token<'s> {
    text: &'s str,
    at: usize,
}

impl Token<'_> {
    fn is_text(self) -> bool {
        self.text.starts_with(['\'', '"'])
    }

    fn is_operand(self) -> bool {
        self.is_text()
            || self
                .text
                .starts_with(|c: char| c == '_' || c.is_alphanumeric())
    }
}

struct Scan<'s> {
    source: &'s str,
    prepared: String,
    /// The blocks that are open: with the attribute that a `set` block becomes.
    blocks: Vec<Option<(&'s str, &'s str)>>,
    /// How many `elif` the open `if` have.
    chains: usize,
    at: usize,
}

impl<'s> Scan<'s> {
    fn run(&mut self) -> Result<(), String> {
        let source = self.source;
        while let Some(open) = source[self.at..].find('{').map(|found| self.at + found) {
            let Some(kind) = source[open + 1..].chars().next() else {
                break;
            };
            self.prepared.push_str(&source[self.at..open]);
            self.at = open;
            match kind {
                '#' => {
                    let end = source[open + 2..].find("#}").map(|end| open + 2 + end + 2);
                    self.copy_to(end.unwrap_or(source.len()));
                }
                '{' => {
                    let tag = self.tag("}}")?;
                    self.expression(&tag, 0)?;
                    self.copy_to(tag.end);
                }
                '%' => self.block()?,
                _ => self.copy_to(open + 1),
            }
        }
        self.prepared.push_str(&source[self.at..]);
        Ok(())
    }

    fn copy_to(&mut self, end: usize) {
        if self.at < end {
            self.prepared.push_str(&self.source[self.at..end]);
            self.at = end;
        }
    }

    fn line(&self, at: usize) -> usize {
        self.source[..at].matches('\n').count() + 1
    }

    /// The tag that begins here, up to `close`; to the end of the source where that is missing, which the engine tells.
    fn tag(&self, close: &str) -> Result<Tag<'s>, String> {
        let start = self.at + 2;
        let mut tokens = vec![];
        let mut open = 0_usize;
        let mut at = start;
        if self.source[at..].starts_with(['-', '+']) {
            at += 1;
        }
        while let Some(next) = self.source[at..].chars().next() {
            if next.is_whitespace() {
                at += next.len_utf8();
                continue;
            }
            let rest = &self.source[at..];
            let trimmed = rest.strip_prefix(['-', '+']).unwrap_or(rest);
            if open == 0 && trimmed.starts_with(close) {
                let end = at + rest.len() - trimmed.len() + close.len();
                return Ok(Tag {
                    tokens,
                    last: at,
                    end,
                });
            }
            let length = token_length(rest, next);
            match next {
                '(' | '[' | '{' => open += 1,
                ')' | ']' | '}' => open = open.saturating_sub(1),
                _ => {}
            }
            tokens.push(Token {
                text: &rest[..length],
                at,
            });
            at += length;
            if tokens.len() > MAX_TOKENS || open > MAX_BRACKETS {
                let (line, what) = (self.line(at), "expected a tag of ordinary size");
                return Err(format!(
                    "line {line}: {what}, got one of more than {MAX_TOKENS} parts or {MAX_BRACKETS} open brackets"
                ));
            }
        }
        Ok(Tag {
            tokens,
            last: at,
            end: at,
        })
    }

    fn block(&mut self) -> Result<(), String> {
        let tag = self.tag("%}")?;
        let word = |index: usize| tag.tokens.get(index).map_or("", |token| token.text);
        match word(0) {
            "raw" => {
                self.copy_to(tag.end);
                let rest = &self.source[self.at..];
                let end = rest.find("endraw").map_or(rest.len(), |end| end);
                self.copy_to(self.at + end);
            }
            "generation" | "endgeneration" if tag.tokens.len() == 1 => self.comment(&tag),
            "set" if word(2) == "." && word(4) == "=" => {
                let (name, attribute) = (word(1), word(3));
                let value = tag.tokens[4].at + 1;
                // With the white space, for its line breaks.
                self.prepared.push_str(self.opening());
                _ = write!(self.prepared, " do {name}.{SET_ATTRIBUTE}('{attribute}', (");
                self.at = value;
                self.expression(&tag, 5)?;
                self.copy_to(tag.last);
                self.prepared.push_str(")) ");
                self.copy_to(tag.end);
            }
            "set" if word(2) == "." => {
                self.open(Some((word(1), word(3))), tag.end)?;
                self.prepared.push_str(self.opening());
                _ = write!(self.prepared, " set {BLOCK} ");
                self.at = tag.tokens.get(4).map_or(tag.last, |token| token.at);
                self.copy_to(tag.end);
            }
            "endset" => {
                let attribute = self.blocks.pop().flatten();
                match attribute {
                    None => self.copy_to(tag.end),
                    Some((name, attribute)) => {
                        self.copy_to(tag.last);
                        _ = write!(
                            self.prepared,
                            " %}}{{% do {name}.{SET_ATTRIBUTE}('{attribute}', {BLOCK}) "
                        );
                        self.copy_to(tag.end);
                    }
                }
            }
            opening => {
                let is_assignment = tag.tokens.iter().any(|token| token.text == "=");
                match opening {
                    "if" | "for" | "macro" | "call" | "filter" | "with" | "block" => {
                        self.open(None, tag.end)?;
                    }
                    "set" if !is_assignment => self.open(None, tag.end)?,
                    "elif" => {
                        self.chains += 1;
                        self.open(None, tag.end)?;
                        self.blocks.pop();
                    }
                    "endif" | "endfor" | "endmacro" | "endcall" | "endfilter" | "endwith"
                    | "endblock" => {
                        self.blocks.pop();
                        if self.blocks.is_empty() {
                            self.chains = 0;
                        }
                    }
                    _ => {}
                }
                self.expression(&tag, 0)?;
                self.copy_to(tag.end);
            }
        }
        Ok(())
    }

    fn open(&mut self, block: Option<(&'s str, &'s str)>, at: usize) -> Result<(), String> {
        self.blocks.push(block);
        match self.blocks.len() + self.chains {
            depth if depth > MAX_BLOCKS => Err(format!(
                "line {}: expected at most {MAX_BLOCKS} open blocks and elif, got more",
                self.line(at)
            )),
            _ => Ok(()),
        }
    }

    /// The braces that the present tag begins with.
    fn opening(&self) -> &'s str {
        let rest = &self.source[self.at..];
        match rest[2..].starts_with(['-', '+']) {
            true => &rest[..3],
            false => &rest[..2],
        }
    }

    /// Writes a tag as a comment with the same white space control.
    fn comment(&mut self, tag: &Tag<'s>) {
        let opening = self.opening().replace('%', "#");
        let closing = self.source[tag.last..tag.end].replace('%', "#");
        let between = &self.source[self.at + opening.len()..tag.last];
        _ = write!(self.prepared, "{opening}{between}{closing}");
        self.at = tag.end;
    }

    /// Copies a tag's expression up to its last `'text' % values`, which is written as a filter.
    fn expression(&mut self, tag: &Tag<'s>, from: usize) -> Result<(), String> {
        let tokens = &tag.tokens;
        for index in from.max(1)..tokens.len() {
            let inside_another = tokens[index].at < self.at;
            if inside_another || tokens[index].text != "%" || !tokens[index - 1].is_text() {
                continue;
            }
            let Some(end) = operand_end(tokens, index + 1) else {
                continue;
            };
            let (first, last) = (tokens[index + 1], tokens[end - 1]);
            // A tuple is a list of arguments.
            let inside = match first.text == "(" && matching(tokens, index + 1) == Some(end - 1) {
                true => first.at + 1..last.at,
                false => first.at..last.at + last.text.len(),
            };
            self.copy_to(tokens[index].at);
            let values = &self.source[inside];
            _ = write!(self.prepared, "|{PERCENT}({values})");
            self.at = last.at + last.text.len();
        }
        Ok(())
    }
}

struct Tag<'s> {
    tokens: Vec<Token<'s>>,
    /// Where its closing braces begin, their white space control included.
    last: usize,
    end: usize,
}

/// The length of the token that `rest` begins with.
fn token_length(rest: &str, first: char) -> usize {
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
        word if word == '_' || word.is_alphanumeric() => rest
            .find(|c: char| c != '_' && !c.is_alphanumeric())
            .unwrap_or(rest.len()),
        _ => ["==", "!=", "<=", ">=", "**", "//"]
            .iter()
            .find(|operator| rest.starts_with(**operator))
            .map_or(first.len_utf8(), |operator| operator.len()),
    }
}

/// One past the operand that begins at a token: a name or text, brackets behind it, attributes and filters.
fn operand_end(tokens: &[Token<'_>], start: usize) -> Option<usize> {
    let mut at = match tokens.get(start)? {
        token if token.is_operand() => start + 1,
        token if matches!(token.text, "(" | "[") => matching(tokens, start)? + 1,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_does_not_know_is_said_otherwise() {
        for (source, expected) in [
            (
                "{%- generation -%}a{% endgeneration %}",
                "{#- generation -#}a{# endgeneration #}",
            ),
            (
                "{%- set ns.a = x, 'b' -%}",
                "{%- do ns.__set_attribute__('a', ( x, 'b' )) -%}",
            ),
            (
                "{% set ns.a %}x{%- endset -%}y",
                "{% set __block__ %}x{%- endset  %}{% do ns.__set_attribute__('a', __block__) -%}y",
            ),
            (
                "{{ 'a' ~ '[%s]' % m.role | upper ~ b }}",
                "{{ 'a' ~ '[%s]' |__percent__(m.role | upper) ~ b }}",
            ),
            (
                "{{ '%s-%s' % (a[1], b('x')) }}",
                "{{ '%s-%s' |__percent__(a[1], b('x')) }}",
            ),
        ] {
            assert_eq!(prepare(source).unwrap(), expected);
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for source in [
            "",
            "{",
            "{{",
            "{% set",
            "a {# {{ '%s' % x }} #} {b} {% raw %}{% generation %}{{ '%s' % x }}{% endraw %}",
            "{{ {'a': {'b': '}}'}} }}{{ 7 % 2 }}{{ x % 2 }}",
            "{% set a = 'x' %}{% set b %}{% if c %}{% endif %}{% endset %}",
            "{% set a, b = 1, 2 %}",
        ] {
            assert_eq!(prepare(source).unwrap(), source);
        }
    }

    #[test]
    fn what_no_template_is_is_refused() {
        for source in [
            "x".repeat(MAX_SOURCE + 1),
            format!("{{{{ {}1 }}}}", "1+".repeat(20_000)),
            format!("{{{{ x{} }}}}", "|upper".repeat(20_000)),
            format!("{{{{ {}1 }}}}", "(".repeat(20_000)),
            "{% if a %}".repeat(20_000),
            format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(20_000)),
        ] {
            assert!(prepare(&source).is_err());
        }
    }
}
