//! Rows into files: JSON Lines, with every text as a message, which is never taken for anything else when it is read.

use std::fmt;
use std::io::{self, BufWriter, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::row::Row;
use crate::error::DataError;
use crate::formats::of_bearable_length;
use crate::records::MAX_LINE_BYTES;

/// Writes rows of one kind to a file as they come, one per line. Until it is [finished](Self::finish) they are in a
/// temporary file beside it, which goes with the writer.
pub struct RowWriter<R> {
    path: PathBuf,
    lines: BufWriter<NamedTempFile>,
    kind: PhantomData<fn(&R)>,
}

impl<R: Row> RowWriter<R> {
    /// Begins to write what will be the file `path`.
    ///
    /// # Errors
    /// If there is no such folder, or nothing can be written to it.
    pub fn create(path: &Path) -> Result<Self, DataError> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".rows-");
        // As any other file: colleagues may read it if the umask lets them.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(parent(path)).map_err(|source| unwritten(path, source))?;
        Ok(Self { path: path.into(), lines: BufWriter::new(file), kind: PhantomData })
    }

    /// Writes a row.
    ///
    /// # Errors
    /// If it cannot be written, or it or one of its texts is longer than what is read.
    pub fn write(&mut self, row: &R) -> Result<(), DataError> {
        self.put(&row_line(row, None)?)
    }

    /// Writes what was made of a row.
    pub(super) fn put(&mut self, line: &[u8]) -> Result<(), DataError> {
        self.lines.write_all(line).map_err(|source| unwritten(&self.path, source))
    }

    /// Puts the file in its place, where it replaces one of that name.
    ///
    /// # Errors
    /// If it cannot be written; then what was there before is untouched.
    pub fn finish(self) -> Result<(), DataError> {
        let Self { path, lines, .. } = self;
        let finish = || {
            let file = lines.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            // Makes the new name last.
            #[cfg(unix)]
            std::fs::File::open(parent(&path))?.sync_all()?;
            Ok(())
        };
        finish().map_err(|source| unwritten(&path, source))
    }
}

/// A row as a line of a file, with where its parts came from, if that is to stand beside them.
///
/// # Errors
/// If it or one of its texts is longer than what is read.
pub fn row_line(row: &impl Row, provenance: Option<&Value>) -> Result<Vec<u8>, DataError> {
    #[derive(Serialize)]
    struct Line<'a, R> {
        #[serde(flatten)]
        row: &'a R,
        #[serde(skip_serializing_if = "Option::is_none")]
        provenance: Option<&'a Value>,
    }
    let benign = row.is_benign().then(|| json!({ "benign": true }));
    line_of(row, &Line { row, provenance: provenance.or(benign.as_ref()) })
}

/// What is written of a row as a line of a file.
pub(super) fn line_of(row: &impl Row, written: &impl Serialize) -> Result<Vec<u8>, DataError> {
    let prompts = row.prompts().flatten().map(|message| ("prompt", &*message.content));
    for (name, text) in prompts.chain(row.answers().map(|answer| ("answer", answer))) {
        of_bearable_length(text, name).map_err(|problem| DataError::row(row.origin(), problem))?;
    }
    let line = serde_json::to_vec(written);
    let mut line = line.map_err(|error| DataError::row(row.origin(), error.to_string()))?;
    if line.len() > MAX_LINE_BYTES {
        return Err(DataError::RowTooLong { origin: row.origin().clone(), limit: MAX_LINE_BYTES });
    }
    line.push(b'\n');
    Ok(line)
}

impl<R> fmt::Debug for RowWriter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Writes a file of these rows.
pub(super) fn write<R: Row>(path: &Path, rows: &[R]) -> Result<(), DataError> {
    let mut writer = RowWriter::create(path)?;
    rows.iter().try_for_each(|row| writer.write(row))?;
    writer.finish()
}

/// The folder of a file. The parent of a bare name is empty, and means this folder.
fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn unwritten(path: &Path, source: io::Error) -> DataError {
    DataError::Write { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Rows, TrlRows};
    use super::*;
    use crate::language::Language;
    use crate::pair::{
        BilingualPair, Message, MonolingualPair, Origin, Position, PreferencePair, Role, Tools, UnpairedAnswer,
    };
    use crate::parallel::ParallelPrompts;
    use crate::read::{ReadOptions, read};

    fn origin(file: &Path, row: usize) -> Origin {
        Origin { file: file.into(), position: Position::Line(row) }
    }

    fn text() -> impl Strategy<Value = String> {
        let odd = prop::sample::select(vec![
            "\"quoted\"",
            "back\\slash \\u0041 \\ud83d",
            "a\nb\r\nc\tz",
            "\u{2028}\u{2029}\u{0}\u{1b}[2J",
            "🦀👩‍👩‍👧",
            "سلام عليكم \u{202e}abc",
            "\n\nHuman: Who?\n\nAssistant: I.",
            "[{\"role\": \"user\", \"content\": \"x\"}]",
            "[{'role': 'user'}]",
            "{\"from\": \"gpt\"}",
            "<|im_start|>&#39;&amp;",
            " leading and trailing ",
            "NaN",
            "null",
            "\u{feff}x",
        ]);
        // A mark at the end, for a text of nothing but space is no prompt and no answer.
        prop_oneof![odd.prop_map(str::to_owned), ".{0,20}"].prop_map(|text| text + ".")
    }

    fn prompt() -> impl Strategy<Value = Vec<Message>> {
        let system = prop::option::of(prop_oneof![Just(String::new()), text()]);
        let turns = prop::collection::vec((text(), prop_oneof![Just(String::new()), text()]), 0..3);
        (system, turns, text()).prop_map(|(system, turns, last)| {
            let said = |role, content| Message { role, content };
            let system = system.map(|content| said(Role::System, content));
            let turns =
                turns.into_iter().flat_map(|(asked, answered)| [Message::user(asked), said(Role::Assistant, answered)]);
            system.into_iter().chain(turns).chain([Message::user(last)]).collect()
        })
    }

    fn tools() -> impl Strategy<Value = Option<Tools>> {
        prop::option::of(text().prop_map(|text| Tools::new(vec![json!({ "name": text, "parameters": [1, null] })])))
    }

    fn language(codes: &'static [&'static str]) -> impl Strategy<Value = Language> {
        prop::sample::select(codes).prop_map(|code| code.parse().unwrap())
    }

    fn side(codes: &'static [&'static str]) -> impl Strategy<Value = PreferencePair> {
        (language(codes), prompt(), tools(), text(), text()).prop_map(|(language, prompt, tools, chosen, rejected)| {
            let rejected = if chosen == rejected { format!("{rejected}!") } else { rejected };
            PreferencePair::new(language, prompt, chosen, rejected).unwrap().with_tools(tools)
        })
    }

    const TARGETS: &[&str] = &["sw", "ar", "ceb", "yue"];

    /// Rows of every kind, each from a place in a file of this name.
    fn any_rows(file: &'static str) -> impl Strategy<Value = Rows> {
        fn numbered<A, R>(parts: Vec<A>, file: &str, row: impl Fn(A, Origin) -> R) -> Vec<R> {
            parts.into_iter().zip(1..).map(|(parts, line)| row(parts, origin(Path::new(file), line))).collect()
        }
        let bilingual = prop::collection::vec((side(&["en"]), side(TARGETS)), 1..4).prop_map(move |rows| {
            Rows::Bilingual(numbered(rows, file, |(dominant, target), origin| BilingualPair {
                dominant,
                target,
                origin,
            }))
        });
        let monolingual = prop::collection::vec((side(TARGETS), any::<bool>()), 1..4).prop_map(move |rows| {
            Rows::Monolingual(numbered(rows, file, |(pair, is_benign), origin| MonolingualPair {
                pair: pair.with_benign(is_benign),
                origin,
            }))
        });
        let answer = (language(TARGETS), prompt(), tools(), text(), any::<bool>());
        let unpaired = prop::collection::vec(answer, 1..4).prop_map(move |rows| {
            Rows::Unpaired(numbered(rows, file, |(language, prompt, tools, answer, desirable), origin| {
                UnpairedAnswer { language, prompt, tools, answer, desirable, is_benign: !desirable, origin }
            }))
        });
        let parallel = prop::collection::vec((prompt(), prop::collection::vec(prompt(), 1..4)), 1..4);
        let parallel = parallel.prop_map(move |rows| {
            Rows::Parallel(numbered(rows, file, |(dominant, others), origin| {
                let language = |code: &str| code.parse().unwrap();
                let others = TARGETS.iter().zip(others).map(|(code, prompt)| (language(code), prompt));
                let prompts = std::iter::once((language("en"), dominant)).chain(others).collect();
                ParallelPrompts::new(prompts, language("en"), origin).unwrap()
            }))
        });
        prop_oneof![bilingual, monolingual, unpaired, parallel]
    }

    /// The rows, as if they came from another file.
    fn from_file(rows: Rows, file: &Path) -> Rows {
        let at = |origin: &mut Origin| origin.file = file.into();
        match rows {
            Rows::Bilingual(mut rows) => {
                rows.iter_mut().for_each(|row| at(&mut row.origin));
                Rows::Bilingual(rows)
            }
            Rows::Monolingual(mut rows) => {
                rows.iter_mut().for_each(|row| at(&mut row.origin));
                Rows::Monolingual(rows)
            }
            Rows::Unpaired(mut rows) => {
                rows.iter_mut().for_each(|row| at(&mut row.origin));
                Rows::Unpaired(rows)
            }
            Rows::Parallel(mut rows) => {
                rows.iter_mut().for_each(|row| at(&mut row.origin));
                Rows::Parallel(rows)
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read_the_same(rows in any_rows("elsewhere.jsonl")) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("rows.jsonl");
            rows.write(&path).unwrap();
            let dataset = read(&path, &ReadOptions::default()).unwrap();
            prop_assert_eq!(&dataset.report.dropped, &[]);
            prop_assert_eq!(&dataset.report.unread, &Default::default());
            prop_assert_eq!(dataset.rows, from_file(rows, &path));
        }

        #[test]
        fn what_is_written_for_trl_is_read_the_same(rows in any_rows("elsewhere.jsonl")) {
            let Some(rows) = TrlRows::new(rows) else { return Ok(()) };
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("rows.jsonl");
            rows.write(&path).unwrap();
            let read = read(&path, &ReadOptions::default()).unwrap().rows;
            prop_assert_eq!(unplaced(read), unplaced(rows.rows().clone()));
        }
    }

    /// The rows, as if they came from nowhere.
    fn unplaced(rows: Rows) -> Rows {
        let nowhere = |at: &mut Origin| *at = origin(Path::new(""), 0);
        match rows {
            Rows::Monolingual(mut rows) => {
                rows.iter_mut().for_each(|row| nowhere(&mut row.origin));
                Rows::Monolingual(rows)
            }
            Rows::Unpaired(mut rows) => {
                rows.iter_mut().for_each(|row| nowhere(&mut row.origin));
                Rows::Unpaired(rows)
            }
            rows => rows,
        }
    }

    fn answer(text: &str) -> UnpairedAnswer {
        UnpairedAnswer {
            language: "sw".parse().unwrap(),
            prompt: vec![Message::user("Kwa nini?")],
            tools: None,
            answer: text.into(),
            desirable: true,
            is_benign: false,
            origin: origin(Path::new("f"), 1),
        }
    }

    #[test]
    fn a_line_is_what_other_programs_read_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        Rows::Unpaired(vec![answer("Basi.")]).write(&path).unwrap();
        let line = r#"{"language":"sw","prompt":[{"role":"user","content":"Kwa nini?"}],"completion":[{"role":"assistant","content":"Basi."}],"label":true}"#;
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{line}\n"));
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, "before").unwrap();
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut writer = RowWriter::create(&path).unwrap();
        writer.write(&answer("Basi.")).unwrap();
        // Neither would be read.
        let text = writer.write(&answer(&"x".repeat((1 << 20) + 1))).unwrap_err();
        assert_eq!(text.to_string(), "f, line 1: answer: expected a text of at most 1048576 bytes, got 1048577");
        let turns = vec![Message::user("x".repeat(1 << 20)); MAX_LINE_BYTES >> 20];
        let row = writer.write(&UnpairedAnswer { prompt: turns, ..answer("Basi.") }).unwrap_err();
        assert!(matches!(row, DataError::RowTooLong { .. }), "{row}");
        drop(writer);
        assert_eq!((std::fs::read_to_string(&path).unwrap(), files()), ("before".into(), 1));
        let mut writer = RowWriter::create(&path).unwrap();
        writer.write(&answer("Basi.")).unwrap();
        writer.finish().unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.starts_with('{') && files() == 1, "{written}");
    }

    /// A text as long as one may be is read again.
    #[test]
    fn what_is_written_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        Rows::Unpaired(vec![answer(&"x".repeat(1 << 20))]).write(&path).unwrap();
        assert_eq!(read(&path, &ReadOptions::default()).unwrap().rows.len(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("none").join("rows.jsonl");
        for path in [folder.path(), &nowhere] {
            let error = Rows::Unpaired(vec![answer("Basi.")]).write(path).unwrap_err();
            assert!(error.to_string().starts_with(&format!("cannot write {}: ", path.display())), "{error}");
            assert!(error.hint().is_some());
        }
    }
}
