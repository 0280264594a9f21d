//! What is asked of a template's source before the engine reads it: that it is no larger and no deeper than a template
//! is, and that what Jinja2 in Transformers has, and the engine has not or reads otherwise, is written in words it knows.

mod tokens;

use std::fmt::Write;

use tokens::{Token, formatted, looped_over, token_length, unescaped};

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
/// The filter that `format % values` is.
pub(super) const PERCENT: &str = "__percent__";
/// The method that gives what `.name` is, where maps have a method of that name.
pub(super) const ATTRIBUTE: &str = "__attribute__";
/// The filter of what a loop goes over.
pub(super) const ITEMS: &str = "__items__";
/// The methods of Python's maps.
const OF_MAPS: [&str; 11] =
    ["clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"];

/// What a variable is called that a block is kept in until it becomes an attribute.
const BLOCK: &str = "__block__";

/// The source as the engine can read it: the same lines, so that its errors name the right ones.
///
/// - `{% generation %}` and `{% endgeneration %}` become comments;
/// - `{% set ns.name = value %}` becomes a method of the namespace, which is ours: printing the engine's own one does not
///   end where it holds itself;
/// - `format % values` becomes a filter;
/// - `.items` and the like that are not called become a method: on a map, Python finds its own there, and no field;
/// - what a loop goes over becomes a filter of it: the engine loops over none, and does not count the characters of a text;
/// - escapes in literals that the engine does not know become what they stand for.
///
/// What has another meaning there, and cannot be written otherwise, is refused.
pub(super) fn prepare(source: &str) -> Result<String, String> {
    if source.len() > MAX_SOURCE {
        let got = source.len();
        return Err(format!("expected at most {MAX_SOURCE} bytes, got {got}: this is no chat template"));
    }
    let mut scan = Scan {
        source,
        prepared: String::with_capacity(source.len() + 64),
        blocks: vec![],
        chains: 0,
        macros: 0,
        at: 0,
    };
    scan.run()?;
    Ok(scan.prepared)
}

struct Scan<'s> {
    source: &'s str,
    prepared: String,
    /// The blocks that are open: with the attribute that a `set` block becomes.
    blocks: Vec<Option<(&'s str, &'s str)>>,
    /// How many `elif` the open `if` have.
    chains: usize,
    /// How many macros are open.
    macros: usize,
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
                    self.expression(&tag.tokens)?;
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
                return Ok(Tag { tokens, last: at, end });
            }
            let length = token_length(rest, next);
            match next {
                '(' | '[' | '{' => open += 1,
                ')' | ']' | '}' => open = open.saturating_sub(1),
                _ => {}
            }
            tokens.push(Token { text: &rest[..length], at });
            at += length;
            if tokens.len() > MAX_TOKENS || open > MAX_BRACKETS {
                let (line, what) = (self.line(at), "expected a tag of ordinary size");
                return Err(format!(
                    "line {line}: {what}, got one of more than {MAX_TOKENS} parts or {MAX_BRACKETS} open brackets"
                ));
            }
        }
        Ok(Tag { tokens, last: at, end: at })
    }

    fn block(&mut self) -> Result<(), String> {
        let tag = self.tag("%}")?;
        let word = |index: usize| tag.tokens.get(index).map_or("", |token| token.text);
        match word(0) {
            "raw" => {
                self.copy_to(tag.last);
                // Jinja2 keeps the break of a line behind it.
                self.prepared.push_str(if self.source[tag.last..tag.end].starts_with('-') { "-%}" } else { "+%}" });
                self.at = tag.end;
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
                self.expression(&tag.tokens[5..])?;
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
                        _ = write!(self.prepared, " %}}{{% do {name}.{SET_ATTRIBUTE}('{attribute}', {BLOCK}) ");
                        self.copy_to(tag.end);
                    }
                }
            }
            opening => {
                let is_assignment = tag.tokens.iter().any(|token| token.text == "=");
                match opening {
                    "macro" => {
                        self.check_macro(&tag)?;
                        self.macros += 1;
                        self.open(None, tag.end)?;
                    }
                    "if" | "for" | "call" | "filter" | "with" | "block" => {
                        self.open(None, tag.end)?;
                    }
                    "autoescape" => return Err(self.refused(tag.end, "autoescape is not known")),
                    "set" if !is_assignment => self.open(None, tag.end)?,
                    "elif" => {
                        self.chains += 1;
                        self.open(None, tag.end)?;
                        self.blocks.pop();
                    }
                    "endif" | "endfor" | "endmacro" | "endcall" | "endfilter" | "endwith" | "endblock" => {
                        self.blocks.pop();
                        self.macros = self.macros.saturating_sub(usize::from(opening == "endmacro"));
                        if self.blocks.is_empty() {
                            self.chains = 0;
                        }
                    }
                    _ => {}
                }
                match (opening, looped_over(&tag.tokens)) {
                    ("for", Some(over)) => {
                        let (before, rest) = tag.tokens.split_at(over.start);
                        let (over, rest) = rest.split_at(over.len());
                        self.expression(before)?;
                        self.copy_to(over[0].at);
                        self.prepared.push('(');
                        self.expression(over)?;
                        let last = over[over.len() - 1];
                        self.copy_to(last.at + last.text.len());
                        _ = write!(self.prepared, ")|{ITEMS}");
                        self.expression(rest)?;
                    }
                    _ => self.expression(&tag.tokens)?,
                }
                self.copy_to(tag.end);
            }
        }
        Ok(())
    }

    fn open(&mut self, block: Option<(&'s str, &'s str)>, at: usize) -> Result<(), String> {
        self.blocks.push(block);
        match self.blocks.len() + self.chains {
            depth if depth > MAX_BLOCKS => {
                Err(format!("line {}: expected at most {MAX_BLOCKS} open blocks and elif, got more", self.line(at)))
            }
            _ => Ok(()),
        }
    }

    /// The braces that the present tag begins with.
    fn opening(&self) -> &'s str {
        let rest = &self.source[self.at..];
        if rest[2..].starts_with(['-', '+']) { &rest[..3] } else { &rest[..2] }
    }

    /// Writes a tag as a comment with the same white space control.
    fn comment(&mut self, tag: &Tag<'s>) {
        let opening = self.opening().replace('%', "#");
        let closing = self.source[tag.last..tag.end].replace('%', "#");
        let between = &self.source[self.at + opening.len()..tag.last];
        _ = write!(self.prepared, "{opening}{between}{closing}");
        self.at = tag.end;
    }

    fn refused(&self, at: usize, problem: &str) -> String {
        format!("line {}: {problem}", self.line(at))
    }

    /// The engine gives a macro no default that is another of its parameters.
    fn check_macro(&self, tag: &Tag<'s>) -> Result<(), String> {
        let mut parameters = vec![];
        let mut in_default = false;
        // Behind `macro`, its name and the bracket.
        for pair in tag.tokens.windows(2).skip(2) {
            match (pair[0].text, pair[1].text) {
                (_, "=") => in_default = true,
                (_, ",") => in_default = false,
                (before, name) if in_default && before != "." && parameters.contains(&name) => {
                    let problem = format!("expected a default that is no parameter, got {name}");
                    return Err(self.refused(pair[1].at, &problem));
                }
                (_, name) if !in_default => parameters.push(name),
                _ => {}
            }
        }
        Ok(())
    }

    /// Copies an expression up to the last part that is written otherwise.
    fn expression(&mut self, tokens: &[Token<'s>]) -> Result<(), String> {
        let mut index = 0;
        while let Some(&token) = tokens.get(index) {
            let after = |more: usize| tokens.get(index + more).map_or("", |token| token.text);
            index += match token.text {
                text if token.is_text() && text.contains('\\') => {
                    self.copy_to(token.at);
                    let literal = unescaped(text).map_err(|problem| self.refused(token.at, &problem))?;
                    self.prepared.push_str(&literal);
                    self.at = token.at + text.len();
                    1
                }
                "." if index > 0 && OF_MAPS.contains(&after(1)) && after(2) != "(" => {
                    self.copy_to(token.at);
                    _ = write!(self.prepared, ".{ATTRIBUTE}('{}')", after(1));
                    self.at = tokens[index + 1].at + after(1).len();
                    2
                }
                "%" if let Some(end) = formatted(tokens, index) => {
                    self.copy_to(token.at);
                    _ = write!(self.prepared, "|{PERCENT}(");
                    let values = &tokens[index + 1..end];
                    self.at = token.at + 1;
                    self.expression(values)?;
                    let last = tokens[end - 1];
                    self.copy_to(last.at + last.text.len());
                    self.prepared.push(')');
                    end - index
                }
                "varargs" | "kwargs" if self.macros > 0 && (index == 0 || tokens[index - 1].text != ".") => {
                    let problem = format!("{} of a macro is not known", token.text);
                    return Err(self.refused(token.at, &problem));
                }
                _ => 1,
            };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_does_not_know_is_written_otherwise() {
        for (source, expected) in [
            ("{%- generation -%}a{% endgeneration %}", "{#- generation -#}a{# endgeneration #}"),
            ("{%- set ns.a = x, 'b' -%}", "{%- do ns.__set_attribute__('a', ( x, 'b' )) -%}"),
            (
                "{% set ns.a %}x{%- endset -%}y",
                "{% set __block__ %}x{%- endset  %}{% do ns.__set_attribute__('a', __block__) -%}y",
            ),
            ("{{ 'a' ~ '[%s]' % m.role | upper ~ b }}", "{{ 'a' ~ '[%s]' |__percent__( m.role | upper) ~ b }}"),
            ("{{ '%s-%s' % (a[1], b('x')) }}", "{{ '%s-%s' |__percent__( (a[1], b('x'))) }}"),
            (
                "{{ f[0](1) % x.y ~ a % 2 ~ 2 * a % b ~ (a) % b }}",
                "{{ f[0](1) |__percent__( x.y) ~ a % 2 ~ 2 * a % b ~ (a) |__percent__( b) }}",
            ),
            (
                "{% for a, b in x.items() if a in [1] %}{% endfor %}{%- for c in (x if y else z) recursive -%}{% endfor %}",
                "{% for a, b in (x.items())|__items__ if a in [1] %}{% endfor %}\
                 {%- for c in ((x if y else z))|__items__ recursive -%}{% endfor %}",
            ),
            (
                "{{ m.items ~ m.items() ~ m.item }}{% if m.keys %}{% endif %}",
                "{{ m.__attribute__('items') ~ m.items() ~ m.item }}{% if m.__attribute__('keys') %}{% endif %}",
            ),
            (r"{{ '\U0001F600\n\/\q' }}{% raw %}", r"{{ '😀\n\\/\q' }}{% raw +%}"),
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
            "a {# {{ '%s' % x }} #} {b} {% raw -%}{% generation %}{{ '%s' % x }}{% endraw %}",
            "{{ {'a': {'b': '}}'}} }}{{ 7 % 2 }}{{ x % 2 }}",
            "{% set a = 'x' %}{% set b %}{% if c %}{% endif %}{% endset %}",
            "{% set a, b = 1, 2 %}",
        ] {
            assert_eq!(prepare(source).unwrap(), source);
        }
    }

    #[test]
    fn what_means_something_else_to_the_engine_is_refused() {
        for (source, expected) in [
            ("a\n{% macro f(a, b=a) %}{% endmacro %}", "line 2: expected a default that is no parameter, got a"),
            ("{% macro f() %}{{ varargs }}{% endmacro %}", "varargs of a macro"),
            ("{% autoescape true %}", "autoescape"),
            (r"{{ '\N{DIGIT ONE}' }}", "names of characters"),
        ] {
            let problem = prepare(source).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        let fine = "{% set kwargs = 1 %}{{ kwargs }}{% macro f(a, b=m.a, c='a') %}{% endmacro %}";
        assert_eq!(prepare(fine).unwrap(), fine);
    }

    #[test]
    fn a_source_that_is_no_template_is_refused() {
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
