//! The rows of files as they are written, each parsed in the format of the first.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;

use mpo_progress::Stage;

use super::admit::Admission;
use super::{Dataset, ReadOptions, seen};
use crate::columns::Columns;
use crate::detect::Detector;
use crate::error::DataError;
use crate::formats::{Draft, Format, Row, Tags, Unfit, advice, deciding};
use crate::pair::Origin;
use crate::records::{Record, Records};
use crate::report::{ReadReport, WarningKind};
use crate::text::visible;

/// The memory that the rows of a data set may take: 1 GiB. A compressed file of a kilobyte may ask for any.
const MOST_BYTES: usize = 1 << 30;

/// Progress is reported each time that this many more are done.
pub(super) const TELL_EVERY: usize = 100;

/// A row as it was written, and where.
pub(super) struct Drafted {
    pub(super) origin: Origin,
    pub(super) draft: Draft,
    pub(super) oddities: Vec<WarningKind>,
}

/// What was read so far.
pub(super) struct Reading<'a> {
    options: &'a ReadOptions,
    stage: &'a dyn Stage,
    /// Rows that are read at most.
    most_rows: usize,
    /// Columns that the description of the set names and without which a row is no preference.
    pub(super) needed: Columns,
    format: Option<Format>,
    /// The error of the first row of no known format.
    unknown: Option<DataError>,
    /// Columns that the user named and that no row so far has; none before the first.
    missing: Option<BTreeSet<String>>,
    rows: Vec<Drafted>,
    /// The bytes of memory that rows may still take.
    left: usize,
    pub(super) report: ReadReport,
}

impl<'a> Reading<'a> {
    pub(super) fn new(options: &'a ReadOptions, most_rows: Option<usize>, stage: &'a dyn Stage) -> Self {
        let most = options.max_rows.map_or(usize::MAX, NonZeroUsize::get);
        Self {
            options,
            stage,
            most_rows: most_rows.map_or(most, |rows| rows.min(most)),
            needed: Columns::default(),
            format: None,
            unknown: None,
            missing: None,
            rows: vec![],
            left: MOST_BYTES,
            report: ReadReport::default(),
        }
    }

    /// Reads the rows of one file, up to the limit.
    pub(super) fn file(&mut self, mut records: Records<'_>, columns: &Columns, tags: &Tags) -> Result<(), DataError> {
        while self.report.read < self.most_rows {
            let Some(record) = records.next() else { break };
            let row = record.and_then(|record| self.row(record, columns, tags));
            match row {
                Ok(()) => self.report.read += 1,
                Err(error) if self.options.skip_bad_rows && error.is_of_row() => {
                    self.report.read += 1;
                    self.drop_bad(error);
                }
                Err(error) => return Err(error),
            }
            if self.report.read.is_multiple_of(TELL_EVERY) {
                self.stage.say(&self.report.read.to_string());
            }
        }
        Ok(())
    }

    /// Parses a row in the format that the first row of a known one decides.
    fn row(&mut self, record: Record, columns: &Columns, tags: &Tags) -> Result<(), DataError> {
        let Record { origin, mut fields, surrogates } = record;
        let mut lacks = self.options.columns.missing(&fields);
        lacks.extend(self.needed.missing(&fields));
        match &mut self.missing {
            Some(missing) => missing.retain(|column| lacks.contains(column)),
            None => self.missing = Some(lacks),
        }
        columns.rename(&mut fields);
        let format = match self.format.or_else(|| Format::of(&fields)) {
            Some(format) => *self.format.insert(format),
            None => {
                return Err(DataError::UnknownFormat {
                    origin,
                    keys: fields.keys().cloned().collect(),
                    advice: advice(&fields),
                });
            }
        };
        let mut row = Row::new(fields, tags);
        match format.parse(&mut row) {
            Ok(draft) => {
                let used = size_of::<Drafted>() + origin.file.as_os_str().len() + draft.bytes();
                let Some(left) = self.left.checked_sub(used) else {
                    return Err(DataError::TooMuchText { origin, limit: MOST_BYTES });
                };
                self.left = left;
                let unread: Vec<String> = row.unread().collect();
                let decides = deciding(&unread).filter(|_| columns.order_answers());
                let decides = decides.map(|column| WarningKind::Decides { column: column.clone() });
                self.report.leave_unread(unread.into_iter());
                let marker = draft.chat_marker();
                let marker = marker.map(|marker| WarningKind::ChatFormat { marker });
                let surrogate = (surrogates > 0).then_some(WarningKind::LoneSurrogate);
                let oddities = surrogate.into_iter().chain(decides).chain(marker);
                self.rows.push(Drafted { origin, draft, oddities: oddities.collect() });
            }
            Err(Unfit::NoPreference(reason)) => self.report.drop_row(origin, reason),
            Err(Unfit::Malformed(problem)) => {
                return Err(DataError::row(&origin, self.with_missing_columns(problem)));
            }
            Err(Unfit::Elsewhere(problem)) => {
                let problem = visible(&problem);
                return Err(DataError::AnswersElsewhere { origin, problem });
            }
            Err(Unfit::Missing(field)) => {
                let problem = self.with_missing_columns(format!("missing field `{field}`"));
                return Err(DataError::MissingField {
                    origin,
                    problem: visible(&problem),
                    field,
                    columns: row.unread().collect(),
                });
            }
        }
        Ok(())
    }

    fn with_missing_columns(&self, problem: String) -> String {
        match self.missing_columns() {
            Some(columns) => format!("{problem}; there is no column {columns}"),
            None => problem,
        }
    }

    /// The columns that the user named and that no row has.
    fn missing_columns(&self) -> Option<String> {
        let missing = self.missing.as_ref().filter(|missing| !missing.is_empty())?;
        let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
        Some(names.join(", "))
    }

    fn drop_bad(&mut self, error: DataError) {
        let (origin, reason) = match &error {
            DataError::Row { origin, problem }
            | DataError::AnswersElsewhere { origin, problem }
            | DataError::MissingField { origin, problem, .. } => (origin, problem.clone()),
            DataError::InvalidUtf8 { origin, .. } => (origin, "not UTF-8".into()),
            DataError::RowTooLong { origin, limit } => (origin, format!("over {limit} bytes")),
            DataError::UnknownFormat { origin, .. } => (origin, "the keys of no known format".into()),
            _ => return,
        };
        self.report.drop_row(origin.clone(), reason);
        if matches!(error, DataError::UnknownFormat { .. }) {
            self.unknown.get_or_insert(error);
        }
    }

    pub(super) fn dataset(self, path: &Path, detector: &Detector) -> Result<Dataset, DataError> {
        let missing = self.missing_columns();
        match (self.format, self.unknown) {
            (None, Some(unknown)) => Err(unknown),
            _ if self.report.read == 0 => Err(DataError::Empty(path.into())),
            _ if let Some(columns) = missing => {
                Err(DataError::Columns(format!("{}: expected a column {columns}, got none in any row", path.display())))
            }
            (format, _) => {
                let drafts = self.rows.iter().map(|row| &row.draft);
                let seen = seen::look(detector, self.options.language, drafts, |done, of| {
                    if done.is_multiple_of(TELL_EVERY) {
                        self.stage.say(&format!("languages of {done}/{of} texts"));
                    }
                });
                let admission = Admission::new(self.options, detector, &self.rows, &seen, self.report);
                Ok(admission.dataset(self.rows, &seen, format))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mpo_progress::Silent;

    use super::super::select;
    use super::super::testing::{ANSWER, ENGLISH, REFUSAL, SWAHILI, bilingual, bilingual_row, load, reasons};
    use super::*;
    use crate::pair::{Message, Position};
    use crate::records::Selection;
    use crate::rows::Rows;

    #[test]
    fn rows_take_so_much_memory_and_no_more() {
        let tools = format!(r#""tools": ["{}"], "dominant""#, "t".repeat(999));
        let file = [bilingual_row(), bilingual_row()].join("\n");
        let file = file.replace(r#""dominant""#, &tools);
        let options = ReadOptions { skip_bad_rows: true, ..ReadOptions::default() };
        let records = || {
            let selection = |selection: &Selection<'_>| Records::of_bytes(Path::new("f"), file.as_bytes(), selection);
            select(&Columns::default(), None, selection).unwrap()
        };
        let read = |left| {
            let mut reading = Reading::new(&options, None, &Silent);
            reading.left = left;
            let read = reading.file(records(), &Columns::default(), &Tags::default());
            read.map(|()| left - reading.left)
        };
        let used = read(MOST_BYTES).unwrap();
        assert!(used > 2 * (2 * 999 + ENGLISH.len() + 2 * REFUSAL.len() + 2 * ANSWER.len()));
        assert!(read(used).is_ok());
        let error = read(used - 1).unwrap_err();
        assert!(
            matches!(&error, DataError::TooMuchText { origin, .. } if origin.position == Position::Line(2)),
            "{error}"
        );
    }

    #[test]
    fn all_dropped_rows_are_counted_and_the_first_are_listed() {
        let file = bilingual_row() + &"\n{}".repeat(1500);
        let options = ReadOptions { skip_bad_rows: true, ..ReadOptions::default() };
        let report = load(&file, &options).unwrap().report;
        assert_eq!((report.read, report.kept, report.dropped.len()), (1501, 1, 1000));
        let shown = report.to_string();
        assert!(shown.contains("dropped    1500\n"), "{shown}");
        assert!(shown.contains("  and 500 more\n"), "{shown}");
    }

    #[test]
    fn a_column_that_decides_which_answer_is_better_is_named() {
        for column in ["better_response_id", "winner", "labels", "preference"] {
            let row = serde_json::json!({ "prompt": ENGLISH, "a": REFUSAL, "b": ANSWER, column: 1 }).to_string();
            let error = load(&row, &ReadOptions::default()).unwrap_err();
            let hint = error.hint().unwrap();
            assert!(hint.contains(column) && !hint.contains("--columns"), "{hint}");
            let options = ReadOptions { columns: "chosen=a,rejected=b".parse().unwrap(), ..ReadOptions::default() };
            let report = load(&row, &options).unwrap().report;
            let decides = WarningKind::Decides { column: column.into() };
            assert_eq!(report.warnings[0].kind, decides);
            // What is chosen by its own name was ordered by whoever wrote it.
            let row = row.replace("\"a\"", "\"chosen\"").replace("\"b\"", "\"rejected\"");
            let report = load(&row, &ReadOptions::default()).unwrap().report;
            assert_eq!(report.warnings, []);
        }
    }

    #[test]
    fn trl_rows_plain_or_conversational_have_one_side() {
        let talk = r#"{"prompt":[{"role":"user","content":"Q?"}],"chosen":[{"role":"assistant","content":"a"}],
            "rejected":"b","language":"sw"}"#;
        let file = format!(
            "{}\n{}",
            serde_json::json!({ "prompt": ENGLISH, "chosen": REFUSAL, "rejected": ANSWER }),
            talk.replace('\n', "")
        );
        let dataset = load(&file, &ReadOptions::default()).unwrap();
        let Rows::Monolingual(rows) = &dataset.rows else { panic!("{:?}", dataset.rows) };
        assert_eq!((rows[0].pair.language().code(), rows[1].pair.language().code()), ("en", "sw"));
        assert_eq!(rows[1].pair.chosen(), "a");
    }

    #[test]
    fn unpaired_rows_have_one_answer_and_a_label() {
        let row = |prompt: &str, completion: &str, label: bool| serde_json::json!({ "prompt": prompt, "completion": completion, "label": label });
        let file =
            [row(SWAHILI, REFUSAL, true), row(ENGLISH, ANSWER, false), row(ENGLISH, " ", true), row("", ANSWER, true)];
        let file = file.map(|row| row.to_string()).join("\n");
        let dataset = load(&file, &ReadOptions::default()).unwrap();
        let Rows::Unpaired(rows) = &dataset.rows else { panic!("{:?}", dataset.rows) };
        let seen: Vec<_> = rows.iter().map(|row| (row.language.code(), row.desirable)).collect();
        assert_eq!(seen, [("sw", true), ("en", false)]);
        assert_eq!(rows[1].answer, ANSWER);
        assert_eq!(reasons(&dataset), ["f, line 3: the completion is empty", "f, line 4: the prompt is empty"]);
    }

    #[test]
    fn malformed_rows_stop_the_reading_and_are_named() {
        let good = bilingual_row();
        for (bad, expected) in [
            (r#"{"dominant": 3"#.to_owned(), "f, line 2: "),
            (good.replace("rejected", "refused"), "f, line 2: missing field `dominant.rejected`"),
            (good.replace("\"jv\"", "\"xx\""), "f, line 2: target.language: expected a language, got `xx`"),
            (good.replace(&format!("\"{ENGLISH}\""), "7"), "f, line 2: dominant.prompt: expected a string or a list"),
            ("[".repeat(200_000), "f, line 2: "),
        ] {
            let file = format!("{good}\n{bad}\n{good}");
            let error = load(&file, &ReadOptions::default()).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
            let skipping = ReadOptions { skip_bad_rows: true, ..ReadOptions::default() };
            let report = load(&file, &skipping).unwrap().report;
            assert_eq!((report.read, report.kept, report.dropped.len()), (3, 2, 1));
        }
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let file = format!("{0}\n{0}\nnot json", bilingual_row());
        let options = ReadOptions { max_rows: NonZeroUsize::new(2), ..ReadOptions::default() };
        assert_eq!(load(&file, &options).unwrap().report.read, 2);
    }

    #[test]
    fn columns_get_their_names_and_a_file_its_language() {
        let rows = format!("ask,good,bad,score\n\"{ENGLISH}\",{0},{1},3\nKwa nini?,{0},{1},4\n", "Sawa.", "La.");
        let options = ReadOptions {
            columns: "prompt=ask,chosen=good,rejected=bad".parse().unwrap(),
            language: "Swahili".parse().ok(),
            ..ReadOptions::default()
        };
        let dataset = load(&rows, &options).unwrap();
        let Rows::Monolingual(pairs) = &dataset.rows else { panic!("{:?}", dataset.rows) };
        assert!(pairs.iter().all(|row| row.pair.language().code() == "sw"));
        assert_eq!(pairs[1].pair.prompt(), [Message::user("Kwa nini?")]);
        assert_eq!(dataset.report.unread, BTreeMap::from([("score".into(), 2)]));
        assert!(dataset.report.to_string().ends_with("not read   columns score\n"));

        let options =
            ReadOptions { columns: "prompt=aks,chosen=good,rejected=bad".parse().unwrap(), ..ReadOptions::default() };
        let error = load(&rows, &options).unwrap_err().to_string();
        assert_eq!(error, "f, row 1: missing field `prompt`; there is no column `aks`");
        let options = ReadOptions { columns: "system=note".parse().unwrap(), ..ReadOptions::default() };
        let error = load(&bilingual_row(), &options).unwrap_err().to_string();
        assert!(error.contains("expected a column `note`, got none"), "{error}");
    }

    #[test]
    fn a_flat_table_has_two_sides() {
        let header =
            "dominant.prompt,dominant.chosen,dominant.rejected,sw.prompt,sw.chosen,target.rejected,target.language";
        let table = format!("{header}\n{ENGLISH},a,b,{SWAHILI},c,d,swa\n");
        let options = ReadOptions {
            columns: "target.prompt=sw.prompt,target.chosen=sw.chosen".parse().unwrap(),
            ..ReadOptions::default()
        };
        let dataset = load(&table, &options).unwrap();
        let row = &bilingual(&dataset)[0];
        assert_eq!((row.target.language().code(), row.target.chosen()), ("sw", "c"));
        assert_eq!(row.dominant.language().code(), "en");
    }

    #[test]
    fn what_python_writes_is_read() {
        let row = format!(r#"{{"prompt": "{ENGLISH}", "chosen": "a \ud83d", "rejected": "b", "score": NaN}}"#);
        let dataset = load(&row, &ReadOptions::default()).unwrap();
        let Rows::Monolingual(pairs) = &dataset.rows else { panic!("{:?}", dataset.rows) };
        assert_eq!(pairs[0].pair.chosen(), "a \u{FFFD}");
        let kinds: Vec<_> = dataset.report.warnings.iter().map(|warning| &warning.kind).collect();
        assert_eq!(kinds, [&WarningKind::LoneSurrogate]);
        let needed = r#"{"prompt": NaN, "chosen": "a", "rejected": "b"}"#;
        let error = load(needed, &ReadOptions::default()).unwrap_err().to_string();
        assert_eq!(error, "f, line 1: prompt: expected a value, got null");
    }

    #[test]
    fn what_names_say_does_not_reach_a_terminal() {
        let esc = "\\u001b[2J";
        for row in [
            format!(r#"{{"{esc}": 1}}"#),
            format!(r#"{{"prompt": "q", "chosen": [{{"role": "{esc}"}}], "rejected": "b"}}"#),
            format!(r#"{{"prompt": "q", "chosen": "a", "rejected": "b", "language": "{esc}"}}"#),
        ] {
            let error = load(&row, &ReadOptions::default()).unwrap_err().to_string();
            assert!(error.contains("\\u{1b}[2J") && !error.contains('\u{1b}'), "{error}");
        }
        let row = format!(r#"{{"prompt": "{ENGLISH}", "chosen": "a", "rejected": "b", "{esc}": 1}}"#);
        let report = load(&row, &ReadOptions::default()).unwrap().report.to_string();
        assert!(report.contains("columns \\u{1b}[2J"), "{report}");
    }

    #[test]
    fn a_column_by_another_name_is_named_in_the_hint() {
        let row = serde_json::json!({ "ask": ENGLISH, "chosen": ANSWER, "worse": REFUSAL, "id": 1 });
        let error = load(&row.to_string(), &ReadOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "f, line 1: missing field `rejected`");
        let hint = error.hint().unwrap();
        assert!(hint.contains("--columns rejected=NAME: the row also has ask, worse, id"), "{hint}");
        let skipping = ReadOptions { skip_bad_rows: true, ..ReadOptions::default() };
        let report = load(&row.to_string(), &skipping).unwrap().report;
        assert_eq!((report.read, report.kept), (1, 0));
        let nemo = serde_json::json!({ "prompt": ENGLISH, "chosen_response": ANSWER, "rejected_response": REFUSAL });
        assert_eq!(load(&nemo.to_string(), &ReadOptions::default()).unwrap().report.kept, 1);
    }
}
