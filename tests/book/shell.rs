//! The commands of a block, as far as a shell's language is used in the documentation.

use std::collections::HashMap;
use std::mem::take;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// The line of the text that it begins in, from zero.
    pub(crate) line: usize,
    /// Its name and arguments, without what is set for it and without the files that it reads and writes.
    pub(crate) words: Vec<String>,
}

/// The commands of a text, in their order.
pub(crate) fn commands(text: &str) -> Vec<Command> {
    let mut reader = Reader::default();
    reader.read(text);
    reader.end_command();
    reader.commands
}

#[derive(Default)]
struct Reader {
    line: usize,
    /// The line that the present command began in.
    began: usize,
    word: Option<String>,
    words: Vec<String>,
    /// Whether the next word is a file to read or write.
    is_file: bool,
    /// What ends the text that follows this line and is no command.
    until: Option<String>,
    variables: HashMap<String, String>,
    commands: Vec<Command>,
}

impl Reader {
    fn read(&mut self, text: &str) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\\' => {
                    let next = rest.chars().next().unwrap_or_default();
                    rest = &rest[next.len_utf8().min(rest.len())..];
                    match next {
                        '\n' => self.line += 1,
                        _ => self.push(next),
                    }
                }
                '\'' | '"' => {
                    let (quoted, after) = rest.split_once(c).expect("a quote has an end");
                    self.line += quoted.matches('\n').count();
                    quoted.chars().for_each(|c| self.push(c));
                    // An empty text is a word, too.
                    self.word.get_or_insert_default();
                    rest = after;
                }
                '#' if self.word.is_none() => rest = rest.find('\n').map_or("", |end| &rest[end..]),
                '$' => {
                    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                    match self.variables.get(&rest[..end]).cloned() {
                        Some(value) => value.split_whitespace().for_each(|word| {
                            self.end_word();
                            self.word = Some(word.to_owned());
                        }),
                        None => format!("${}", &rest[..end]).chars().for_each(|c| self.push(c)),
                    }
                    rest = &rest[end..];
                }
                '<' | '>' => {
                    self.end_word();
                    self.is_file = true;
                    if let Some(after) = rest.strip_prefix("<") {
                        let (delimiter, after) = after.split_once('\n').expect("a line behind it");
                        self.until = Some(delimiter.trim_matches('\'').to_owned());
                        (self.is_file, rest) = (false, after);
                        self.end_command();
                        rest = self.skip(rest);
                    }
                }
                '\n' | ';' | '|' | '&' => {
                    self.line += usize::from(c == '\n');
                    self.end_command();
                }
                _ if c.is_whitespace() => self.end_word(),
                _ => self.push(c),
            }
        }
    }

    /// Passes over a text that is no command.
    fn skip<'a>(&mut self, text: &'a str) -> &'a str {
        let end = self.until.take().unwrap_or_default();
        self.line += 1;
        let mut rest = text;
        while let Some((line, after)) = rest.split_once('\n') {
            self.line += 1;
            rest = after;
            if line == end {
                break;
            }
        }
        rest
    }

    fn push(&mut self, c: char) {
        if self.word.is_none() && self.words.is_empty() {
            self.began = self.line;
        }
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if !take(&mut self.is_file) {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        let words = take(&mut self.words);
        let is_set = |word: &&String| word.split_once('=').is_some_and(|(name, _)| is_name(name));
        let set: Vec<String> = words.iter().take_while(is_set).cloned().collect();
        if set.len() < words.len() {
            self.commands.push(Command { line: self.began, words: words[set.len()..].to_vec() });
        } else {
            let set = set.iter().filter_map(|word| word.split_once('='));
            self.variables.extend(set.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[test]
fn a_block_is_read_as_a_shell_does() {
    let text = "a --x 'b c'   # not this; nor this\n\
                KEY=… d \\\n  -e \"f\ng\" > out.txt | h\n\
                python3 - <<'PY'\nnot; this\nPY\n\
                shared=\"--i j\n  --k\"\n\
                l m=n $shared $unknown '' < in.txt\n";
    let read: Vec<(usize, Vec<String>)> = commands(text).into_iter().map(|one| (one.line, one.words)).collect();
    let words = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        read,
        [
            (0, words("a|--x|b c")),
            (1, words("d|-e|f\ng")),
            (3, words("h")),
            (4, words("python3|-")),
            (9, words("l|m=n|--i|j|--k|$unknown|")),
        ]
    );
}
