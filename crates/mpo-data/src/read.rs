//! From files of rows to checked pairs and a report of what was left out.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;

use crate::columns::Columns;
use crate::detect::{Detection, Detector};
use crate::error::DataError;
use crate::files;
use crate::formats::{AnswerDraft, Draft, DraftSide, Format, PairDraft, Row, Tags, Unfit, advice, deciding};
use crate::language::Language;
use crate::pair::{BilingualPair, MonolingualPair, Origin, PairProblem, PreferencePair, UnpairedAnswer};
use crate::records::{Fields, Record, Records, Selection};
use crate::report::{ReadReport, Side, Warning, WarningKind};
use crate::seen::{self, Seen, SeenSide};
use crate::splits;
use crate::text::visible;

/// Below this a detector's opinion about an answer is not worth a warning.
const SURE: f64 = 0.8;

/// The memory that the rows of a data set may take: 1 GiB. A compressed file of a kilobyte may ask for any.
const MOST_BYTES: usize = 1 << 30;

/// What helps where detection does not.
const NAME_IT: &str = "name it with --language, or in a column `language`";

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
    /// Stop after so many rows.
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

/// The pairs of a file, by how many languages its rows have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pairs {
    /// Every row has a dominant and a target side.
    Bilingual(Vec<BilingualPair>),
    /// Every row has one side.
    Monolingual(Vec<MonolingualPair>),
    /// Every row has one answer.
    Unpaired(Vec<UnpairedAnswer>),
}

impl Pairs {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Bilingual(rows) => rows.len(),
            Self::Monolingual(rows) => rows.len(),
            Self::Unpaired(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What was read from a file.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The rows that were kept, in the order of the file.
    pub rows: Pairs,
    /// What became of all rows.
    pub report: ReadReport,
}

/// How far reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadProgress {
    /// So many rows are read.
    Rows(usize),
    /// The languages of so many of the texts are told.
    Languages {
        /// Done.
        done: usize,
        /// All.
        of: usize,
    },
}

/// [`ReadProgress`] is told each time that so much more is done.
const TELL_EVERY: usize = 100;

/// Reads the rows of a file, a folder of files, or a data set on the hub, in any known format.
///
/// What cannot be parsed is an error, unless [`ReadOptions::skip_bad_rows`]; what can be parsed but is no preference
/// (an empty prompt, two equal answers, a language that cannot be told) is dropped and reported.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    read_watched(path, options, &|_| {})
}

/// [`read`], which `watch` is told of on the way, from several threads.
pub fn read_watched(
    path: &Path,
    options: &ReadOptions,
    watch: &(dyn Fn(ReadProgress) + Sync),
) -> Result<Dataset, DataError> {
    let detector = Detector::new(options.languages.as_deref())?;
    let split = options.split.as_deref();
    let files = select(&Columns::default(), split, |selection| files::find(path, selection))?;
    let most_rows = files.iter().filter_map(|file| file.most_rows).min();
    let mut reading = Reading::new(options, most_rows, watch);
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
    match [wanted, wanted_split].contains(&&*split) || wanted == "train" {
        true => Ok(()),
        false => Err(DataError::NoSplit { place: file.into(), wanted: wanted.into(), found: vec![split] }),
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

/// A row as it was written, and where.
struct Drafted {
    origin: Origin,
    draft: Draft,
    oddities: Vec<WarningKind>,
}

/// What was read so far.
struct Reading<'a> {
    options: &'a ReadOptions,
    watch: &'a (dyn Fn(ReadProgress) + Sync),
    /// Rows that are read at most.
    most_rows: usize,
    /// Columns that the description of the set names and without which a row is no preference.
    needed: Columns,
    format: Option<Format>,
    /// What the first row of no known format was.
    unknown: Option<DataError>,
    /// Columns that the user named and that no row so far has; none before the first.
    missing: Option<BTreeSet<String>>,
    rows: Vec<Drafted>,
    /// The memory that these may still take.
    left: usize,
    report: ReadReport,
}

impl<'a> Reading<'a> {
    fn new(options: &'a ReadOptions, most_rows: Option<usize>, watch: &'a (dyn Fn(ReadProgress) + Sync)) -> Self {
        let most = options.max_rows.map_or(usize::MAX, NonZeroUsize::get);
        Self {
            options,
            watch,
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
    fn file(&mut self, mut records: Records<'_>, columns: &Columns, tags: &Tags) -> Result<(), DataError> {
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
                (self.watch)(ReadProgress::Rows(self.report.read));
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

    fn dataset(self, path: &Path, detector: &Detector) -> Result<Dataset, DataError> {
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
                        (self.watch)(ReadProgress::Languages { done, of });
                    }
                });
                let judge = Judge::new(self.options, detector, &self.rows, &seen, self.report);
                Ok(judge.dataset(self.rows, &seen, format))
            }
        }
    }
}

/// Decides which drafts are preferences, and in which languages.
struct Judge<'a> {
    options: &'a ReadOptions,
    detector: &'a Detector,
    /// The language of every dominant side that names none.
    dominant: Option<Language>,
    report: ReadReport,
}

impl<'a> Judge<'a> {
    fn new(
        options: &'a ReadOptions,
        detector: &'a Detector,
        rows: &[Drafted],
        seen: &[Seen],
        report: ReadReport,
    ) -> Self {
        let sides = || {
            let rows = rows.iter().zip(seen);
            rows.filter_map(|(row, seen)| match &row.draft {
                Draft::Pair(pair) => Some((pair.dominant.as_ref()?, seen.dominant)),
                Draft::Answer(_) => None,
            })
        };
        let dominant = options.dominant.or_else(|| {
            let mut votes: BTreeMap<Language, usize> = BTreeMap::new();
            let languages = sides().filter_map(|(side, seen)| side.language.or_else(|| Some(seen.prompt?.language)));
            for language in languages {
                *votes.entry(language).or_default() += 1;
            }
            votes.into_iter().max_by_key(|(_, rows)| *rows).map(|(language, _)| language)
        });
        let report = ReadReport { dominant: dominant.filter(|_| sides().next().is_some()), ..report };
        Self { options, detector, dominant, report }
    }

    fn dataset(mut self, rows: Vec<Drafted>, seen: &[Seen], format: Option<Format>) -> Dataset {
        let (mut pairs, mut singles, mut answers) = (vec![], vec![], vec![]);
        for (row, seen) in rows.into_iter().zip(seen) {
            let Drafted { origin, draft, oddities: of_row } = row;
            let judged = match draft {
                Draft::Answer(draft) => self.judge_answer(draft, seen, &origin).map(|answer| {
                    let language = answer.language;
                    answers.push(answer);
                    (language, vec![])
                }),
                Draft::Pair(draft) => self.judge(draft, seen).map(|(dominant, target, oddities)| {
                    let language = target.language();
                    let origin = origin.clone();
                    match dominant {
                        Some(dominant) => pairs.push(BilingualPair { dominant, target, origin }),
                        None => singles.push(MonolingualPair { pair: target, origin }),
                    }
                    (language, oddities)
                }),
            };
            match judged {
                Ok((language, oddities)) => {
                    self.report.kept += 1;
                    *self.report.languages.entry(language).or_default() += 1;
                    let warn = |kind| Warning { origin: origin.clone(), kind };
                    let oddities = of_row.into_iter().chain(oddities);
                    self.report.warnings.extend(oddities.map(warn));
                }
                Err(reason) => self.report.drop_row(origin, reason),
            }
        }
        let rows = match format {
            Some(Format::Pairs) => Pairs::Monolingual(singles),
            Some(Format::Unpaired) => Pairs::Unpaired(answers),
            Some(Format::Authors | Format::Bilingual) | None => Pairs::Bilingual(pairs),
        };
        Dataset { rows, report: self.report }
    }

    fn judge_answer(&self, draft: AnswerDraft, seen: &Seen, origin: &Origin) -> Result<UnpairedAnswer, String> {
        if let Some(problem) = PairProblem::of_exchange(&draft.prompt, &draft.answer) {
            return Err(problem.to_string());
        }
        Ok(UnpairedAnswer {
            language: self.language(draft.language, seen.target)?,
            prompt: draft.prompt,
            tools: draft.tools,
            answer: draft.answer,
            desirable: draft.desirable,
            origin: origin.clone(),
        })
    }

    /// The pairs of a row and what is odd about them, or the reason to drop it.
    fn judge(
        &self,
        draft: PairDraft,
        seen: &Seen,
    ) -> Result<(Option<PreferencePair>, PreferencePair, Vec<WarningKind>), String> {
        let mut oddities = draft.oddities;
        let dominant = match draft.dominant {
            Some(side) => {
                complete(Side::Dominant, &side)?;
                let language = self.dominant_language(&side, seen.dominant, &mut oddities)?;
                Some(self.pair(Side::Dominant, language, side, seen.dominant, &mut oddities)?)
            }
            None => None,
        };
        complete(Side::Target, &draft.target)?;
        let language = self.language(draft.target.language, seen.target)?;
        if dominant.as_ref().is_some_and(|dominant| dominant.language() == language) {
            return Err(format!("both sides are in {language}"));
        }
        let target = self.pair(Side::Target, language, draft.target, seen.target, &mut oddities)?;
        Ok((dominant, target, oddities))
    }

    fn dominant_language(
        &self,
        side: &DraftSide,
        seen: SeenSide,
        oddities: &mut Vec<WarningKind>,
    ) -> Result<Language, String> {
        match (side.language, self.options.dominant) {
            (Some(found), Some(expected)) if found != expected => {
                return Err(format!("the dominant side is in {found}, expected {expected}"));
            }
            (Some(language), _) => return Ok(language),
            _ => {}
        }
        let expected = self.dominant.ok_or("dominant: the language of the prompt cannot be told")?;
        // The format has one dominant language; a sentence that looks like another is no reason to lose a row.
        if let Some(seen) = seen.prompt
            && self.contradicts(seen, expected)
        {
            oddities.push(WarningKind::PromptLanguage { expected, found: seen.language });
        }
        Ok(expected)
    }

    /// The language that a row names, else that of all that name none, else that of its prompt.
    fn language(&self, named: Option<Language>, seen: SeenSide) -> Result<Language, String> {
        if let Some(language) = named.or(self.options.language) {
            return Ok(language);
        }
        match seen.prompt {
            Some(seen) if seen.confidence >= self.options.min_confidence => Ok(seen.language),
            Some(Detection { language, confidence }) => {
                Err(format!("the language of the prompt is uncertain, {language} at {confidence:.2}: {NAME_IT}"))
            }
            None => Err(format!("the language of the prompt is none that detection knows: {NAME_IT}")),
        }
    }

    fn pair(
        &self,
        name: Side,
        language: Language,
        side: DraftSide,
        seen: SeenSide,
        oddities: &mut Vec<WarningKind>,
    ) -> Result<PreferencePair, String> {
        if let Some(seen) = seen.chosen
            && self.contradicts(seen, language)
        {
            oddities.push(WarningKind::ChosenLanguage { side: name, expected: language, found: seen.language });
        }
        let pair = PreferencePair::new(language, side.prompt, side.chosen, side.rejected);
        let pair = pair.map_err(|problem| named(name, problem))?;
        Ok(pair.with_tools(side.tools))
    }

    /// Only a detector that could have answered `expected` can say that a text is not in it.
    fn contradicts(&self, seen: Detection, expected: Language) -> bool {
        seen.language != expected && seen.confidence >= SURE && self.detector.knows(expected)
    }
}

/// An empty prompt has no language, and that it is empty is the better reason.
fn complete(name: Side, side: &DraftSide) -> Result<(), String> {
    match PairProblem::find(&side.prompt, &side.chosen, &side.rejected) {
        Some(problem) => Err(named(name, problem)),
        None => Ok(()),
    }
}

fn named(side: Side, problem: PairProblem) -> String {
    format!("{side}: {problem}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pair::{Message, Position};

    const ENGLISH: &str = "How do I bake bread without an oven at home?";
    const SWAHILI: &str = "Ninawezaje kuoka mkate bila kutumia tanuri nyumbani kwangu?";
    const REFUSAL: &str = "I am sorry, but I cannot help you with that request.";
    const ANSWER: &str = "Use a heavy pan with a lid over a low fire and wait.";

    fn load(file: &str, options: &ReadOptions) -> Result<Dataset, DataError> {
        load_bytes(file.as_bytes(), options)
    }

    fn authors_row(source: &str, target: &str) -> String {
        let turn = |from: &str, value: &str| serde_json::json!({ "from": from, "value": value });
        serde_json::json!({
            "source_conversations": [turn("human", source)],
            "source_chosen": turn("gpt", REFUSAL),
            "source_rejected": turn("gpt", ANSWER),
            "target_conversations": [turn("human", target)],
            "target_chosen": turn("gpt", "Samahani, siwezi kukusaidia na ombi hilo kwa sababu si salama."),
            "target_rejected": turn("gpt", "Tumia sufuria nzito yenye kifuniko."),
        })
        .to_string()
    }

    fn bilingual_row() -> String {
        let side = |language: &str, prompt: &str| serde_json::json!({ "language": language, "prompt": prompt, "chosen": REFUSAL, "rejected": ANSWER });
        serde_json::json!({ "dominant": side("en", ENGLISH), "target": side("jv", "Piye carane gawe roti?") })
            .to_string()
    }

    fn load_bytes(file: &[u8], options: &ReadOptions) -> Result<Dataset, DataError> {
        let path = Path::new("f");
        let records = select(&options.columns, None, |selection| Records::of_bytes(path, file, selection))?;
        let mut reading = Reading::new(options, None, &|_| {});
        reading.file(records, &options.columns, &Tags::default())?;
        reading.dataset(path, &Detector::new(options.languages.as_deref())?)
    }

    fn bilingual(dataset: &Dataset) -> &[BilingualPair] {
        match &dataset.rows {
            Pairs::Bilingual(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    fn reasons(dataset: &Dataset) -> Vec<String> {
        dataset.report.dropped.iter().map(|row| format!("{}: {}", row.origin, row.reason)).collect()
    }

    #[test]
    fn authors_rows_get_their_languages_from_the_prompts() {
        let file = format!(
            "[{},\n{}]",
            authors_row(ENGLISH, SWAHILI),
            authors_row("Why don&#39;t you bake your own bread at home?", SWAHILI)
        );
        let dataset = load(&file, &ReadOptions::default()).unwrap();
        let (rows, report) = (bilingual(&dataset), &dataset.report);
        assert_eq!((report.read, report.kept, report.dominant.unwrap().code()), (2, 2, "en"));
        assert_eq!(report.languages, BTreeMap::from([("sw".parse().unwrap(), 2)]));
        assert_eq!(rows[1].dominant.prompt()[0].content, "Why don't you bake your own bread at home?");
        assert_eq!(rows[1].origin.position, Position::Row(2));
        let cleaned: Vec<_> = report.warnings.iter().filter(|w| w.kind == WarningKind::EntitiesCleaned).collect();
        assert_eq!((cleaned.len(), cleaned[0].origin.position), (1, Position::Row(2)));
    }

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
            let mut reading = Reading::new(&options, None, &|_| {});
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
    fn a_column_that_decides_which_answer_is_better_is_not_passed_over() {
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
    fn rows_that_are_no_preference_are_dropped_by_name() {
        let good = authors_row(ENGLISH, SWAHILI);
        let same = good.replace(ANSWER, REFUSAL);
        let file = [good, authors_row(ENGLISH, " "), same, authors_row(ENGLISH, ENGLISH)].join("\n");
        let dataset = load(&file, &ReadOptions::default()).unwrap();
        let expected = [
            "f, line 2: target: the prompt is empty",
            "f, line 3: dominant: the chosen and the rejected answer are the same",
            "f, line 4: both sides are in en",
        ];
        assert_eq!((reasons(&dataset), dataset.report.kept), (expected.map(String::from).to_vec(), 1));
        assert!(dataset.report.to_string().contains(expected[0]));
    }

    #[test]
    fn an_answer_in_another_language_is_kept_with_a_warning() {
        let row = authors_row(ENGLISH, SWAHILI)
            .replace("Samahani, siwezi kukusaidia na ombi hilo kwa sababu si salama.", &format!("{REFUSAL} Sorry."));
        let report = load(&row, &ReadOptions::default()).unwrap().report;
        let (expected, found) = ("sw".parse().unwrap(), "en".parse().unwrap());
        assert_eq!(report.kept, 1);
        assert_eq!(report.warnings[0].kind, WarningKind::ChosenLanguage { side: Side::Target, expected, found });
    }

    #[test]
    fn named_languages_are_believed_and_checked_against_the_expected() {
        let dataset = load(&bilingual_row(), &ReadOptions::default()).unwrap();
        let rows = bilingual(&dataset);
        assert_eq!((rows[0].dominant.language().code(), rows[0].target.language().code()), ("en", "jv"));
        let options = ReadOptions { dominant: Some("zh".parse().unwrap()), ..ReadOptions::default() };
        let dataset = load(&bilingual_row(), &options).unwrap();
        assert_eq!(reasons(&dataset), ["f, line 1: the dominant side is in en, expected zh"]);
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
        let Pairs::Monolingual(rows) = &dataset.rows else { panic!("{:?}", dataset.rows) };
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
        let Pairs::Unpaired(rows) = &dataset.rows else { panic!("{:?}", dataset.rows) };
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
        let Pairs::Monolingual(pairs) = &dataset.rows else { panic!("{:?}", dataset.rows) };
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
        let Pairs::Monolingual(pairs) = &dataset.rows else { panic!("{:?}", dataset.rows) };
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

    #[test]
    fn texts_in_a_chat_format_are_told_of_once() {
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
        let heard = std::sync::Mutex::new(Vec::new());
        let watch = |progress| heard.lock().unwrap().push(progress);
        read_watched(&path, &ReadOptions::default(), &watch).unwrap();
        let heard = heard.into_inner().unwrap();
        let of = 2 * TELL_EVERY + 1;
        for expected in [ReadProgress::Rows(2 * TELL_EVERY), ReadProgress::Languages { done: TELL_EVERY, of }] {
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
            let Pairs::Monolingual(pairs) = dataset.rows else { panic!() };
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
