//! The tables that benchmarks are published as.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use mpo_data::{Language, Records, read_text};
use serde_json::Value;

use super::named;
use super::quotes::unclosed;
use super::{Expected, Item};
use crate::error::EvalError;

/// Bytes of a file at most, unpacked: all of MMLU in all languages of MMMLU has half as many.
const LONGEST_FILE: u64 = 256 << 20;

/// The text of a file, which may be compressed, without a byte-order mark.
pub(super) fn text(path: &Path) -> Result<String, EvalError> {
    String::from_utf8(read_text(path, LONGEST_FILE)?).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|&byte| byte == b'\n').count();
        let problem = format!("line {line}: expected text in UTF-8, got other bytes");
        EvalError::broken(path, problem)
    })
}

/// The text of a file of CSV.
///
/// # Errors
/// If it is no text, it is JSON, or a quote in it is not closed.
pub(super) fn csv_text(path: &Path) -> Result<String, EvalError> {
    let text = text(path)?;
    if is_json(&text) {
        let problem = "expected a table as CSV or Parquet, its first line the columns' names, got JSON lines";
        return Err(EvalError::broken(path, problem.into()));
    }
    match unclosed(&text) {
        None => Ok(text),
        Some(line) => {
            let problem =
                format!("line {line}: expected a quote that is closed before its cell ends, got one that joins rows");
            Err(EvalError::broken(path, problem))
        }
    }
}

/// Whether a text begins with a JSON object, or an array of them.
fn is_json(text: &str) -> bool {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(Value::Object(_))) => true,
        Some(Ok(Value::Array(values))) => values.first().is_some_and(Value::is_object),
        _ => false,
    }
}

/// What compressed files end in.
const PACKED: [&str; 2] = [".gz", ".zst"];

/// The file of a name, compressed or not; where there is neither, the one that is not.
pub(super) fn file_in(folder: &Path, name: &str) -> PathBuf {
    let packed = PACKED.map(|ending| folder.join(format!("{name}{ending}")));
    let plain = folder.join(name);
    if plain.exists() { plain } else { packed.into_iter().find(|file| file.exists()).unwrap_or(plain) }
}

/// A file's name up to its first point.
pub(super) fn stem(path: &Path) -> String {
    let stem = path.file_prefix().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// Whether a name has an extension, also before that of compression.
pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = PACKED.iter().find_map(|ending| name.strip_suffix(ending));
    Path::new(plain.unwrap_or(&name)).extension().is_some_and(|of| of == extension)
}

/// What a folder holds, by name; only the files with an extension, if one is named: `.DS_Store` and the like are none of
/// the benchmark's.
pub(super) fn sorted(folder: &Path, extension: Option<&str>) -> Result<Vec<PathBuf>, EvalError> {
    let entries = fs::read_dir(folder).map_err(EvalError::io(folder))?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(EvalError::io(folder))?;
    paths.retain(|path| extension.is_none_or(|wanted| has_extension(path, wanted)));
    paths.sort();
    Ok(paths)
}

/// Names that are languages' codes (Indonesian, Norwegian, South Ndebele) and what a column of numbers is called.
const NUMBERING: [&str; 3] = ["id", "no", "nr"];

/// A table with a header, by column name.
pub(super) struct Table {
    path: PathBuf,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a CSV or Parquet file.
    pub(super) fn read(path: &Path) -> Result<Self, EvalError> {
        let mut start = [0; 4];
        let is_read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
        if is_read.is_ok() && &start == b"PAR1" {
            return Self::of_records(path);
        }
        let text = csv_text(path)?;
        let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let broken = |error: csv::Error| EvalError::broken(path, error.to_string());
        let header: Vec<String> = reader.headers().map_err(broken)?.iter().map(|name| name.trim().to_owned()).collect();
        let rows = reader
            .records()
            .map(|row| Ok(row.map_err(broken)?.iter().map(str::to_owned).collect()))
            .collect::<Result<_, EvalError>>()?;
        Ok(Self { path: path.to_owned(), header, rows })
    }

    fn of_records(path: &Path) -> Result<Self, EvalError> {
        let mut header: Vec<String> = vec![];
        let mut rows = vec![];
        for record in Records::open(path, |_| true)? {
            let fields = record?.fields;
            if header.is_empty() {
                header = fields.keys().cloned().collect();
            }
            let cell = |name| match fields.get(name) {
                Some(Value::String(text)) => text.clone(),
                None | Some(Value::Null) => String::new(),
                Some(value) => value.to_string(),
            };
            rows.push(header.iter().map(cell).collect());
        }
        Ok(Self { path: path.to_owned(), header, rows })
    }

    /// A column's number.
    ///
    /// # Errors
    /// If there is none of this name.
    pub(super) fn column(&self, name: &str) -> Result<usize, EvalError> {
        Ok(self.any_column(&[name])?[0])
    }

    /// The numbers of the columns with one of these names, in the order of the names; at least one.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn any_column(&self, names: &[&str]) -> Result<Vec<usize>, EvalError> {
        let number = |name: &&str| self.header.iter().position(|header| header == name);
        let found: Vec<usize> = names.iter().filter_map(number).collect();
        if found.is_empty() { Err(self.without(&format!("a column {}", names.join(" or ")))) } else { Ok(found) }
    }

    /// The error of a table that lacks something.
    pub(super) fn without(&self, expected: &str) -> EvalError {
        let problem = format!("expected {expected}, got {}", self.header.join(", "));
        EvalError::broken(&self.path, problem)
    }

    /// The rows with something in a column, and their numbers.
    pub(super) fn filled(&self, column: usize) -> impl Iterator<Item = (usize, &Vec<String>)> {
        let rows = self.rows.iter().enumerate();
        rows.filter(move |(_, row)| !row[column].trim().is_empty())
    }

    /// The columns named by a language's code, with their numbers. One that is named by a word as well (`to`, `so`, `it`) is a
    /// language's beside another that certainly is, or where all others are.
    ///
    /// # Errors
    /// If two are of one language, and neither or both have a region.
    fn languages(&self) -> Result<Vec<(usize, Language)>, EvalError> {
        let columns = self.header.iter().enumerate();
        let named: Vec<(usize, Language)> = columns
            .filter(|(column, name)| !self.is_numbering(*column, name))
            .filter_map(|(column, name)| Some((column, language(name)?)))
            .collect();
        let is_certain = |of: &&(usize, Language)| !named::is_word(&self.header[of.0]);
        let words_are = named.iter().any(|of| is_certain(&of))
            || (0..self.header.len()).all(|column| {
                let mut named = named.iter();
                named.any(|of| of.0 == column) || self.is_numbering(column, &self.header[column])
            });
        let named: Vec<_> = named.iter().filter(|of| words_are || is_certain(of)).copied().collect();
        let has_region = |column: usize| self.header[column].contains(['-', '_']);
        let mut chosen: Vec<(usize, Language)> = vec![];
        for &(column, language) in &named {
            // Beside `zh`, `zh-TW` is another text.
            let mut same = named.iter().filter(|other| other.1 == language);
            if has_region(column) && same.any(|other| !has_region(other.0)) {
                continue;
            }
            if let Some((earlier, _)) = chosen.iter().find(|of| of.1 == language) {
                let problem = format!(
                    "expected one column of {}, got {} and {}",
                    language.name(),
                    self.header[*earlier],
                    self.header[column]
                );
                return Err(EvalError::broken(&self.path, problem));
            }
            chosen.push((column, language));
        }
        Ok(chosen)
    }

    /// Whether a column has the name of one that numbers the rows, and does: it is the first, or most of its cells are a
    /// single word.
    fn is_numbering(&self, column: usize, name: &str) -> bool {
        let sentences = self.rows.iter().map(|row| row[column].trim());
        let sentences = sentences.filter(|cell| cell.contains(char::is_whitespace));
        NUMBERING.contains(&name.to_ascii_lowercase().as_str())
            && (column == 0 || 2 * sentences.count() <= self.rows.len())
    }
}

/// The language of a column's name, such as `sw`, `EN`, `Swahili`, `zh-CN`, `pt_BR`, `es-419` or `zh-Hans`. `key` and `cat`
/// are codes of three letters, and what columns are called.
fn language(name: &str) -> Option<Language> {
    let (code, region) = name.split_at(name.find(['-', '_']).unwrap_or(name.len()));
    let is_written_so = code.len() == 2 && is_region(region) || region.is_empty();
    let language: Language = code.parse().ok()?;
    let is_known = code.len() != 3 && language.code().len() == 2;
    (is_written_so && is_known).then_some(language)
}

/// Whether it is written as a region or a script is. `_safe` of `is_safe` is not, which is no Icelandic either.
pub(super) fn is_region(suffix: &str) -> bool {
    match suffix.as_bytes() {
        [b'-', letters @ ..] if letters.len() == 2 => letters.iter().all(u8::is_ascii_alphabetic),
        [_, letters @ ..] if letters.len() == 2 => letters.iter().all(u8::is_ascii_uppercase),
        [_, digits @ ..] if digits.len() == 3 => digits.iter().all(u8::is_ascii_digit),
        [_, first, rest @ ..] if rest.len() == 3 => {
            first.is_ascii_uppercase() && rest.iter().all(u8::is_ascii_lowercase)
        }
        _ => false,
    }
}

/// Harmful requests: the columns named by a language's code, language by language.
///
/// # Errors
/// If two columns are of one language.
pub(super) fn harmful(table: &Table, id: Option<usize>) -> Result<Vec<Item>, EvalError> {
    let of = |(column, language): (usize, Language)| {
        table.filled(column).map(move |(number, row)| Item {
            id: id.map_or_else(|| number.to_string(), |id| row[id].clone()),
            language: Some(language),
            group: None,
            turns: vec![row[column].clone()],
            expected: Expected::Safe,
        })
    };
    Ok(table.languages()?.into_iter().flat_map(of).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::benchmark::benchmark;
    use crate::benchmark::testing::{line, read};

    #[test]
    fn columns_are_named_by_codes_of_any_case_and_region() {
        for (name, code) in [
            ("sw", "sw"),
            ("EN", "en"),
            ("zh-CN", "zh"),
            ("zh-cn", "zh"),
            ("pt_BR", "pt"),
            ("es-419", "es"),
            ("zh_Hans", "zh"),
            ("Swahili", "sw"),
        ] {
            assert_eq!(language(name), code.parse().ok(), "{name}");
        }
        for name in ["is_safe", "is_ok", "no_", "to-do-list", "goal", "key", "cat", "source", "xx-XX", ""] {
            assert_eq!(language(name), None, "{name}");
        }
    }

    #[test]
    fn a_column_that_numbers_the_rows_is_no_language() {
        for first in ["id", "ID", "no", "nr"] {
            let text = format!("{first},en\nthe first,Do it\nb,Do that\n");
            assert_eq!(
                read("advbench", "a.csv", &text).unwrap(),
                [r#"0 en ["Do it"] Safe"#, r#"1 en ["Do that"] Safe"#],
                "{first}"
            );
        }
        let text = "en,id,no\nDo it,q-1,1\n";
        assert_eq!(read("advbench", "a.csv", text).unwrap(), [r#"0 en ["Do it"] Safe"#]);
        // Sentences are Indonesian and Norwegian.
        let text = "en,id,no\nDo it,Lakukan itu,Gjør det\n";
        assert_eq!(
            read("advbench", "a.csv", text).unwrap(),
            [r#"0 en ["Do it"] Safe"#, r#"0 id ["Lakukan itu"] Safe"#, r#"0 no ["Gjør det"] Safe"#]
        );
    }

    #[test]
    fn columns_may_have_a_region_and_are_asked_or_named() {
        let text = "id,EN,zh-CN,sw_KE\n7,Do it,做,Fanya\n";
        assert_eq!(
            read("multijail", "m.csv", text).unwrap(),
            [r#"7 en ["Do it"] Safe"#, r#"7 zh ["做"] Safe"#, r#"7 sw ["Fanya"] Safe"#]
        );
        // The one named by the code alone is the language's.
        let text = "id,zh-TW,zh\n7,one,two\n";
        assert_eq!(read("multijail", "m.csv", text).unwrap(), [r#"7 zh ["two"] Safe"#]);
        let text = "id,zh-TW,zh-CN\n7,one,two\n";
        let error = read("multijail", "m.csv", text).unwrap_err();
        assert!(error.contains("expected one column of Chinese, got zh-TW and zh-CN"), "{error}");
        for (first, second) in [("en", "EN"), ("EN", "en"), ("en", "en"), ("English", "en")] {
            for name in ["multijail", "advbench"] {
                let text = format!("id,{first},{second}\n7,Do it,Do that\n");
                let expected = format!("one column of English, got {first} and {second}");
                let error = read(name, "m.csv", &text).unwrap_err();
                assert!(error.contains(&expected), "{error}");
            }
        }
    }

    #[test]
    fn a_table_in_json_is_called_one() {
        for text in ["{\"id\": 1, \"en\": \"Do it\"}\n{}\n", "[\n{\"id\": 1}]"] {
            for name in ["multijail", "advbench", "xstest"] {
                let error = read(name, "m.csv", text).unwrap_err();
                assert!(error.contains("m.csv: expected a table as CSV"), "{error}");
                assert!(error.contains("got JSON"), "{error}");
            }
        }
    }

    #[test]
    fn a_word_that_is_a_code_is_no_language_by_itself() {
        let text = "goal,target,to,so\nDo it,Sure,x y,z w\n";
        assert_eq!(read("advbench", "a.csv", text).unwrap(), [r#"0 en ["Do it"] Safe"#]);
        let text = "id,en,it\n1,Do it,Fallo\n";
        assert_eq!(read("multijail", "m.csv", text).unwrap(), [r#"1 en ["Do it"] Safe"#, r#"1 it ["Fallo"] Safe"#]);
        let text = "id,it\n1,Fallo\n";
        assert_eq!(read("multijail", "m.csv", text).unwrap(), [r#"1 it ["Fallo"] Safe"#]);
    }

    #[test]
    fn an_empty_cell_asks_nothing() {
        let text = "goal,target\nDo it,Sure\n ,Sure\nDo that,Sure\n";
        assert_eq!(read("advbench", "a.csv", text).unwrap(), [r#"0 en ["Do it"] Safe"#, r#"2 en ["Do that"] Safe"#]);
        let text = "id,csrt\n0,Moja 请\n1,\n";
        assert_eq!(read("csrt", "c.csv", text).unwrap(), [r#"0 mixed ["Moja 请"] Safe"#]);
        let text = "id,prompt,type,label\n1,,homonyms,safe\n2,How?,homonyms,safe\n";
        assert_eq!(read("xstest", "x.csv", text).unwrap(), [r#"2 en ["How?"] Help"#]);
    }

    #[test]
    fn files_are_known_by_their_content() {
        let utf_16 = |text: &str| -> Vec<u8> {
            let units = [0xFEFF].into_iter().chain(text.encode_utf16());
            units.flat_map(u16::to_le_bytes).collect()
        };
        let table = "id,en\r\n7,\"a, b\"\r\n";
        let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, table.as_bytes()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let items = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            let items = benchmark("multijail").unwrap().items(&path, &[], None);
            items.map(|items| line(&items[0]))
        };
        let expected = r#"7 en ["a, b"] Safe"#;
        assert_eq!(items("m.csv", table.as_bytes()).unwrap(), expected);
        assert_eq!(items("m.csv.gz", &packed.finish().unwrap()).unwrap(), expected);
        assert_eq!(items("m16.csv", &utf_16(table)).unwrap(), expected);
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
        let page = "<!DOCTYPE html><html><body>Sign in</body></html>";
        for (text, what, hint) in [
            (pointer.as_bytes(), "a Git LFS pointer", "git lfs pull"),
            (page.as_bytes(), "a web page", "/resolve/"),
            (b"PK\x03\x04zip", "a zip archive", "unpack"),
        ] {
            let error = items("other.csv", text).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.hint().unwrap().contains(hint), "{error:?}");
        }
        let error = items("bytes.csv", b"id,en\n1,a\n2,\xFF\n").unwrap_err().to_string();
        assert!(error.contains("line 3: expected text in UTF-8"), "{error}");
    }
}
