//! A page, as far as the tests read Markdown: its headings, its links, its blocks of code.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the book's pages.
pub(crate) const BOOK: &str = "docs";
/// Pages beside the book's.
const OTHERS: [&str; 5] =
    ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benches/peers/README.md", "tests/peers/lm_eval/README.md"];

/// The repository's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A page.
pub(crate) struct Page {
    /// Its path from the repository's folder.
    pub(crate) path: PathBuf,
    /// Its lines, empty where there are blocks of code.
    pub(crate) prose: String,
    /// The same with an `x` for each character of code within a line, where brackets are no links.
    outside: String,
    pub(crate) blocks: Vec<Block>,
}

/// A block of code.
pub(crate) struct Block {
    /// The first word behind its fence.
    pub(crate) language: String,
    /// The number of its first line.
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn read(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let text = fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(path, &text)
    }

    fn parse(path: PathBuf, text: &str) -> Self {
        let (mut prose, mut blocks) = (String::new(), vec![]);
        let mut open: Option<Block> = None;
        for (number, line) in text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(info), None) => {
                    let language = info.split([' ', ',']).next().unwrap_or_default().to_owned();
                    open = Some(Block { language, line: number + 2, text: String::new() });
                }
                (None, Some(block)) => block.text += &format!("{line}\n"),
                (None, None) => prose += line,
            }
            prose.push('\n');
        }
        assert!(open.is_none(), "{}: a block of code without an end", path.display());
        Self { path, outside: without_spans(&prose), prose, blocks }
    }

    /// Every page.
    pub(crate) fn all() -> Vec<Self> {
        OTHERS.iter().map(Path::new).map(Self::read).chain(Self::of_book()).collect()
    }

    /// Those of the book.
    pub(crate) fn of_book() -> Vec<Self> {
        let mut paths = vec![];
        collect(&root().join(BOOK), &mut paths);
        paths.sort();
        paths.iter().map(|path| Self::read(path.strip_prefix(root()).unwrap())).collect()
    }

    pub(crate) fn is_in_book(&self) -> bool {
        self.path.starts_with(BOOK)
    }

    /// The names by which links find headings, as GitHub and mdBook make them: letters and digits in lower case, hyphens for
    /// spaces, and a number for a heading that is there again.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        let headings = headings.filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
        let anchor = |heading: &str| {
            let letters = heading.trim().to_lowercase();
            let anchor: String = letters
                .chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    '-' | '_' => Some(c),
                    _ => c.is_alphanumeric().then_some(c),
                })
                .collect();
            let times = seen.entry(anchor.clone()).or_default();
            *times += 1;
            if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
        };
        headings.map(anchor).collect()
    }

    /// Where its links and pictures lead to, each with the number of its line.
    pub(crate) fn links(&self) -> Vec<(usize, &str)> {
        let places = self.outside.match_indices("](").map(|(at, mark)| at + mark.len());
        let link = |at: usize| {
            let line = self.outside[..at].matches('\n').count() + 1;
            Some((line, self.outside[at..].split_once(')')?.0))
        };
        places.filter_map(link).collect()
    }

    /// What is written as code within its lines.
    pub(crate) fn spans(&self) -> Vec<&str> {
        // Every second part of a paragraph lies between two marks.
        self.prose.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2)).collect()
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}

fn without_spans(text: &str) -> String {
    let (mut out, mut is_code) = (String::new(), false);
    for line in text.split_inclusive('\n') {
        // A span ends with its paragraph at the latest.
        is_code &= !line.trim().is_empty();
        for c in line.chars() {
            is_code ^= c == '`';
            out.push(if is_code && !c.is_whitespace() { 'x' } else { c });
        }
    }
    out
}

#[test]
fn a_page_is_read_as_it_is_shown() {
    let text = "# A `b` page: c!\nSee [one](a.md) and\n[`t[0](x)`](b.md#c).\n\n## A b page c\n```sh extra\nls [x](y)\n```\n![p](q.svg)\n";
    let page = Page::parse("p.md".into(), text);
    assert_eq!(page.anchors(), ["a-b-page-c", "a-b-page-c-1"]);
    assert_eq!(page.spans(), ["b", "t[0](x)"]);
    assert_eq!(page.links(), [(2, "a.md"), (3, "b.md#c"), (9, "q.svg")]);
    let [block] = &page.blocks[..] else { panic!() };
    assert_eq!((&*block.language, block.line, &*block.text), ("sh", 7, "ls [x](y)\n"));
}
