//! From files of rows to checked rows and a report of what was dropped.

mod admit;
mod reading;
mod seen;
#[cfg(test)]
mod testing;

use std::num::NonZeroUsize;
use std::path::Path;

use mpo_progress::{Progress, Silent};

use crate::columns::Columns;
use crate::detect::Detector;
use crate::error::DataError;
use crate::files;
use crate::formats::Format;
use crate::language::Language;
use crate::records::{Fields, Records, Selection};
use crate::report::ReadReport;
use crate::rows::Rows;
use crate::splits;
use reading::Reading;

/// How to read a file. The default reads every row, and any malformed one is an error.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The dominant language. Default: what each row names, else that of most source prompts.
    pub dominant: Option<Language>,
    /// The languages that detection may answer with. Default: all that are built in.
    pub languages: Option<Vec<Language>>,
    /// The language of every row that names none, where rows have one side; of every target side where they have two.
    pub language: Option<Language>,
    /// Columns by other names than ours.
    pub columns: Columns,
    /// The split of a folder, of a data set on the hub, or of a file with several lists. Default: `train`.
    pub split: Option<String>,
    /// Stop after this many rows.
    pub max_rows: Option<NonZeroUsize>,
    /// A row whose language is less certain than this, from 0 to 1, is dropped.
    pub min_confidence: f64,
    /// Drop malformed rows and list them in the report, rather than stop at the first.
    pub skip_bad_rows: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            dominant: None,
            languages: None,
            language: None,
            columns: Columns::default(),
            split: None,
            max_rows: None,
            min_confidence: 0.3,
            skip_bad_rows: false,
        }
    }
}

/// What was read from a file.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The rows that were kept, in the order of the file.
    pub rows: Rows,
    /// What became of all rows.
    pub report: ReadReport,
}

/// Reads the rows of a file, a folder of files, or a data set on the hub, in any known format.
///
/// What cannot be parsed is an error, unless [`ReadOptions::skip_bad_rows`]; what can be parsed but is no preference
/// (an empty prompt, two equal answers, a language that cannot be told) is dropped and reported.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    read_watched(path, options, &Silent)
}

/// [`read()`] that reports its progress, from several threads.
pub fn read_watched(path: &Path, options: &ReadOptions, progress: &dyn Progress) -> Result<Dataset, DataError> {
    let stage = progress.begin("reading rows", None);
    let detector = Detector::new(options.languages.as_deref())?;
    let split = options.split.as_deref();
    let files = select(&Columns::default(), split, |selection| files::find(path, selection))?;
    let most_rows = files.iter().filter_map(|file| file.most_rows).min();
    let mut reading = Reading::new(options, most_rows, &*stage);
    for file in &files {
        let columns = options.columns.or(file.columns.clone());
        reading.needed = file.columns.needed();
        // The split of a folder has been found; only of a file that was named it is looked for within.
        let split = split.filter(|_| file.path == path);
        let records = select(&columns, split, |selection| Records::select(&file.path, selection));
        reading.report.files.push(file.path.clone());
        match records {
            Ok(records) => {
                if let Some(wanted) = split
                    && !records.are_of_a_list()
                {
                    check_split(&file.path, wanted)?;
                }
                reading.file(records, &columns, &file.tags)?;
            }
            // A shard may be empty.
            Err(DataError::Empty(_)) => {}
            Err(error) => return Err(error),
        }
    }
    reading.dataset(path, &detector)
}

/// Fails unless a file that has no splits is the one that was asked for.
fn check_split(file: &Path, wanted: &str) -> Result<(), DataError> {
    let split = files::split_of(file, wanted);
    let wanted_split = splits::of_word(wanted).unwrap_or(wanted);
    if [wanted, wanted_split].contains(&&*split) || wanted == "train" {
        Ok(())
    } else {
        Err(DataError::NoSplit { place: file.into(), wanted: wanted.into(), found: vec![split] })
    }
}

/// Selects among lists of rows with columns by these names.
fn select<T>(columns: &Columns, split: Option<&str>, select: impl FnOnce(&Selection<'_>) -> T) -> T {
    let is_row = |fields: &Fields| {
        let mut fields = fields.clone();
        columns.rename(&mut fields);
        Format::of(&fields).is_some()
    };
    select(&Selection { split, is_row: &is_row })
}

#[cfg(test)]
mod tests {
    use mpo_progress::Recorder;
    use proptest::prelude::*;

    use super::reading::TELL_EVERY;
    use super::testing::{ANSWER, ENGLISH, REFUSAL, SWAHILI, authors_row, bilingual_row, load, load_bytes};
    use super::*;

    #[test]
    fn files_without_rows_or_with_strange_ones_are_refused() {
        for file in ["", "\u{feff}", "[]", " \n "] {
            assert!(matches!(load(file, &ReadOptions::default()), Err(DataError::Empty(_))), "{file:?}");
        }
        let error = load(r#"{"score": 1, "text": "a"}"#, &ReadOptions::default()).unwrap_err();
        assert!(matches!(&error, DataError::UnknownFormat { keys, .. } if keys == &["score", "text"]), "{error}");
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path(), &ReadOptions::default()), Err(DataError::NoDataFiles { .. })));
        let missing = read(&folder.path().join("none"), &ReadOptions::default()).unwrap_err();
        assert_eq!(missing.hint().unwrap(), "check the path");
    }

    #[test]
    fn texts_in_a_chat_format_are_warned_of_once() {
        let row = |prompt: &str| {
            serde_json::json!({ "language": "en", "prompt": prompt, "chosen": ANSWER, "rejected": REFUSAL }).to_string()
        };
        let chat = format!("<|im_start|>user\n{ENGLISH}<|im_end|>\n<|im_start|>assistant\n");
        let file = [row(ENGLISH), row(&chat), row("[INST] Why? [/INST]"), row(&chat)].join("\n");
        let report = load(&file, &ReadOptions::default()).unwrap().report;
        assert_eq!((report.kept, report.warnings.len()), (4, 3));
        let shown = report.to_string();
        assert_eq!(shown.matches("<|im_start|>").count(), 1, "{shown}");
        assert!(shown.contains("give the turns as messages: 2, first at f, line 2"), "{shown}");
        assert!(shown.contains("`[INST]` in a text"), "{shown}");
    }

    #[test]
    fn a_file_is_one_split() {
        let dir = tempfile::tempdir().unwrap();
        let kept = |name: &str, split: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, bilingual_row()).unwrap();
            let options = ReadOptions { split: Some(split.into()), ..ReadOptions::default() };
            read(&path, &options).map(|dataset| dataset.report.kept)
        };
        assert_eq!(kept("rows.jsonl", "train").unwrap(), 1);
        assert_eq!(kept("test-00000-of-00002.jsonl", "test").unwrap(), 1);
        let error = kept("rows.jsonl", "nope").unwrap_err().to_string();
        assert!(error.ends_with("expected a split `nope`, got `train`"), "{error}");
    }

    #[test]
    fn reading_tells_how_far_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        let row = |number: usize| {
            serde_json::json!({ "prompt": format!("{ENGLISH} {number}"), "chosen": ANSWER, "rejected": REFUSAL })
                .to_string()
        };
        let rows: Vec<String> = (0..2 * TELL_EVERY).map(row).collect();
        std::fs::write(&path, rows.join("\n")).unwrap();
        let recorder = Recorder::default();
        read_watched(&path, &ReadOptions::default(), &recorder).unwrap();
        let heard = recorder.texts();
        let (rows, texts) = (2 * TELL_EVERY, 2 * TELL_EVERY + 1);
        for expected in [rows.to_string(), format!("languages of {TELL_EVERY}/{texts} texts")] {
            assert!(heard.contains(&expected), "{heard:?}");
        }
    }

    #[test]
    fn a_folder_of_shards_is_one_set() {
        let dir = tempfile::tempdir().unwrap();
        let row = |prompt: &str| {
            serde_json::json!({ "language": "en", "prompt": prompt, "chosen": "a", "rejected": "b" }).to_string()
        };
        for (name, text) in [
            ("train-00001-of-00003.jsonl", row("two")),
            ("train-00000-of-00003.jsonl", row("one")),
            ("train-00002-of-00003.jsonl", String::new()),
            ("test.json", format!(r#"{{"data": [{}]}}"#, row("three"))),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let prompts = |split: Option<&str>| {
            let options = ReadOptions { split: split.map(str::to_owned), ..ReadOptions::default() };
            let dataset = read(dir.path(), &options).unwrap();
            let Rows::Monolingual(pairs) = dataset.rows else { panic!() };
            let prompts = pairs.iter().map(|row| row.pair.prompt()[0].content.clone());
            (prompts.collect::<Vec<_>>().join(" "), dataset.report.files.len())
        };
        assert_eq!(prompts(None), ("one two".into(), 3));
        assert_eq!(prompts(Some("test")), ("three".into(), 1));
    }

    #[test]
    fn a_set_of_llama_factory_has_the_columns_its_description_names() {
        let dir = tempfile::tempdir().unwrap();
        let rows = serde_json::json!([{
            "talk": [{ "who": "person", "words": ENGLISH }],
            "good": { "who": "machine", "words": "a" },
            "bad": { "who": "machine", "words": "b" },
        }]);
        let info = serde_json::json!({ "mine": {
            "file_name": "rows.json", "ranking": true, "formatting": "sharegpt",
            "columns": { "messages": "talk", "chosen": "good", "rejected": "bad" },
            "tags": { "role_tag": "who", "content_tag": "words", "user_tag": "person", "assistant_tag": "machine" },
        } });
        std::fs::write(dir.path().join("rows.json"), rows.to_string()).unwrap();
        std::fs::write(dir.path().join("dataset_info.json"), info.to_string()).unwrap();
        for path in [dir.path().to_owned(), dir.path().join("rows.json"), dir.path().join("dataset_info.json")] {
            let dataset = read(&path, &ReadOptions::default()).unwrap();
            assert_eq!(dataset.report.kept, 1, "{}", path.display());
        }
        let rewrite = |from: &str, to: &str| {
            let text = info.to_string().replace(from, to);
            std::fs::write(dir.path().join("dataset_info.json"), text).unwrap();
            read(dir.path(), &ReadOptions::default())
        };
        let error = rewrite("\"good\"", "\"best\"").unwrap_err().to_string();
        assert!(error.ends_with("missing field `chosen`; there is no column `best`"), "{error}");
        let three = rows[0].to_string();
        std::fs::write(dir.path().join("rows.json"), format!("[{three},{three},{three}]")).unwrap();
        let report = rewrite("\"ranking\":true", "\"num_samples\":2").unwrap().report;
        assert_eq!(report.read, 2);
    }

    fn any_file() -> impl Strategy<Value = Vec<u8>> {
        let trl = serde_json::json!({ "prompt": "Q?", "chosen": "a", "rejected": "b", "language": "en" }).to_string();
        let valid = [authors_row(ENGLISH, SWAHILI), bilingual_row(), trl];
        let mutated = (0..valid.len(), any::<bool>(), prop::collection::vec((any::<u16>(), any::<u8>()), 0..8))
            .prop_map(move |(format, array, edits)| {
                let row = &valid[format];
                let mut file = if array { format!("[{row},{row}]") } else { format!("{row}\n{row}") }.into_bytes();
                for (at, byte) in edits {
                    let at = usize::from(at) % file.len();
                    file[at] = byte;
                }
                file
            });
        prop_oneof![prop::collection::vec(any::<u8>(), 0..200), mutated]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_file_panics(file in any_file(), skip_bad_rows in any::<bool>()) {
            let options = ReadOptions { skip_bad_rows, ..ReadOptions::default() };
            if let Ok(dataset) = load_bytes(&file, &options) {
                prop_assert_eq!(dataset.report.read, dataset.report.kept + dataset.report.dropped.len());
            }
        }
    }
}
