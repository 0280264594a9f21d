//! From a file of rows to checked pairs and a report of what was left out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::path::Path;

use crate::detect::{Detection, Detector};
use crate::error::DataError;
use crate::formats::{AnswerDraft, Draft, DraftSide, Format, PairDraft};
use crate::language::Language;
use crate::pair::{
    BilingualPair, Message, MonolingualPair, Origin, PairProblem, PreferencePair, Role,
    UnpairedAnswer,
};
use crate::report::{ReadReport, Side, Warning, WarningKind};
use crate::rows::{RawRow, RowReader};

/// Below this a detector's opinion about an answer is not worth a warning.
const SURE: f64 = 0.8;

/// How to read a file. The default reads every row, and any malformed one is an error.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The dominant language. Default: what each row names, else that of most source prompts.
    pub dominant: Option<Language>,
    /// The languages that detection may answer with. Default: all that are built in.
    pub languages: Option<Vec<Language>>,
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

/// Reads a JSONL file or a JSON array of rows in any known format.
///
/// What cannot be parsed is an error, unless [`ReadOptions::skip_bad_rows`]; what can be parsed but is no preference
/// (an empty prompt, two equal answers, a language that cannot be told) is dropped and reported.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let io_error = |source| DataError::Io {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(io_error)?;
    if file.metadata().map_err(io_error)?.is_dir() {
        return Err(DataError::IsDirectory(path.into()));
    }
    read_from(path, BufReader::new(file), options)
}

fn read_from(
    path: &Path,
    source: impl BufRead,
    options: &ReadOptions,
) -> Result<Dataset, DataError> {
    let detector = Detector::new(options.languages.as_deref())?;
    let mut rows = RowReader::new(path, source)?;
    let mut format = None;
    let mut drafts = Vec::new();
    let mut report = ReadReport::default();
    while options.max_rows.is_none_or(|max| report.read < max.get()) {
        let Some(row) = rows.next_row()? else { break };
        report.read += 1;
        match parse(&row, &mut format) {
            Ok(draft) => drafts.push((row.origin, draft)),
            Err(error @ (DataError::Row { .. } | DataError::InvalidUtf8 { .. }))
                if options.skip_bad_rows =>
            {
                let reason = match error {
                    DataError::Row { problem, .. } => problem,
                    _ => "not UTF-8".into(),
                };
                report.drop_row(row.origin, reason);
            }
            Err(error) => return Err(error),
        }
    }
    if report.read == 0 {
        return Err(DataError::Empty(path.into()));
    }
    Ok(Judge::new(options, &detector, &drafts, report).dataset(drafts, format))
}

/// Parses a row in the file's format, which the first row that is an object decides.
fn parse(row: &RawRow, format: &mut Option<Format>) -> Result<Draft, DataError> {
    let known = match *format {
        Some(known) => known,
        None => *format.insert(Format::of(row)?),
    };
    known.parse(row)
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
        drafts: &[(Origin, Draft)],
        report: ReadReport,
    ) -> Self {
        let sides = || {
            drafts.iter().filter_map(|(_, draft)| match draft {
                Draft::Pair(pair) => pair.dominant.as_ref(),
                Draft::Answer(_) => None,
            })
        };
        let dominant = options.dominant.or_else(|| {
            let mut votes: BTreeMap<Language, usize> = BTreeMap::new();
            for language in sides().filter_map(|side| {
                side.language
                    .or_else(|| Some(detect(detector, &side.prompt)?.language))
            }) {
                *votes.entry(language).or_default() += 1;
            }
            votes
                .into_iter()
                .max_by_key(|(_, rows)| *rows)
                .map(|(language, _)| language)
        });
        let report = ReadReport {
            dominant: dominant.filter(|_| sides().next().is_some()),
            ..report
        };
        Self {
            options,
            detector,
            dominant,
            report,
        }
    }

    fn dataset(mut self, drafts: Vec<(Origin, Draft)>, format: Option<Format>) -> Dataset {
        let (mut pairs, mut singles, mut answers) = (vec![], vec![], vec![]);
        for (origin, draft) in drafts {
            let judged = match draft {
                Draft::Answer(draft) => self.judge_answer(draft, &origin).map(|answer| {
                    let language = answer.language;
                    answers.push(answer);
                    (language, vec![])
                }),
                Draft::Pair(draft) => self.judge(draft).map(|(dominant, target, oddities)| {
                    let language = target.language();
                    let origin = origin.clone();
                    match dominant {
                        Some(dominant) => pairs.push(BilingualPair {
                            dominant,
                            target,
                            origin,
                        }),
                        None => singles.push(MonolingualPair {
                            pair: target,
                            origin,
                        }),
                    }
                    (language, oddities)
                }),
            };
            match judged {
                Ok((language, oddities)) => {
                    self.report.kept += 1;
                    *self.report.languages.entry(language).or_default() += 1;
                    let warn = |kind| Warning {
                        origin: origin.clone(),
                        kind,
                    };
                    self.report.warnings.extend(oddities.into_iter().map(warn));
                }
                Err(reason) => self.report.drop_row(origin, reason),
            }
        }
        let rows = match format {
            Some(Format::Trl) => Pairs::Monolingual(singles),
            Some(Format::Unpaired) => Pairs::Unpaired(answers),
            Some(Format::Authors | Format::Bilingual) | None => Pairs::Bilingual(pairs),
        };
        Dataset {
            rows,
            report: self.report,
        }
    }

    fn judge_answer(&self, draft: AnswerDraft, origin: &Origin) -> Result<UnpairedAnswer, String> {
        if let Some(problem) = PairProblem::of_exchange(&draft.prompt, &draft.answer) {
            return Err(problem.to_string());
        }
        Ok(UnpairedAnswer {
            language: self.language(draft.language, &draft.prompt)?,
            prompt: draft.prompt,
            answer: draft.answer,
            desirable: draft.desirable,
            origin: origin.clone(),
        })
    }

    /// The pairs of a row and what is odd about them, or the reason to drop it.
    fn judge(
        &self,
        draft: PairDraft,
    ) -> Result<(Option<PreferencePair>, PreferencePair, Vec<WarningKind>), String> {
        let mut oddities = Vec::new();
        if draft.cleaned {
            oddities.push(WarningKind::EntitiesCleaned);
        }
        let dominant = match draft.dominant {
            Some(side) => {
                complete(Side::Dominant, &side)?;
                let language = self.dominant_language(&side, &mut oddities)?;
                Some(self.pair(Side::Dominant, language, side, &mut oddities)?)
            }
            None => None,
        };
        complete(Side::Target, &draft.target)?;
        let language = self.language(draft.target.language, &draft.target.prompt)?;
        if dominant
            .as_ref()
            .is_some_and(|dominant| dominant.language() == language)
        {
            return Err(format!("both sides are in {language}"));
        }
        let target = self.pair(Side::Target, language, draft.target, &mut oddities)?;
        Ok((dominant, target, oddities))
    }

    fn dominant_language(
        &self,
        side: &DraftSide,
        oddities: &mut Vec<WarningKind>,
    ) -> Result<Language, String> {
        match (side.language, self.options.dominant) {
            (Some(found), Some(expected)) if found != expected => {
                return Err(format!(
                    "the dominant side is in {found}, expected {expected}"
                ));
            }
            (Some(language), _) => return Ok(language),
            _ => {}
        }
        let expected = self
            .dominant
            .ok_or("dominant: the language of the prompt cannot be told")?;
        // The format has one dominant language; a sentence that looks like another is no reason to lose a row.
        if let Some(seen) = detect(self.detector, &side.prompt)
            && self.contradicts(seen, expected)
        {
            oddities.push(WarningKind::PromptLanguage {
                expected,
                found: seen.language,
            });
        }
        Ok(expected)
    }

    /// The language that a row names, else that of its prompt.
    fn language(&self, named: Option<Language>, prompt: &[Message]) -> Result<Language, String> {
        if let Some(language) = named {
            return Ok(language);
        }
        match detect(self.detector, prompt) {
            Some(seen) if seen.confidence >= self.options.min_confidence => Ok(seen.language),
            Some(Detection {
                language,
                confidence,
            }) => Err(format!(
                "the language of the prompt is uncertain: {language} at {confidence:.2}"
            )),
            None => Err("the language of the prompt cannot be told".into()),
        }
    }

    fn pair(
        &self,
        name: Side,
        language: Language,
        side: DraftSide,
        oddities: &mut Vec<WarningKind>,
    ) -> Result<PreferencePair, String> {
        if let Some(seen) = self.detector.detect(&side.chosen)
            && self.contradicts(seen, language)
        {
            oddities.push(WarningKind::ChosenLanguage {
                side: name,
                expected: language,
                found: seen.language,
            });
        }
        PreferencePair::new(language, side.prompt, side.chosen, side.rejected)
            .map_err(|p| named(name, p))
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

/// The language of the last thing the user says: answers may be in another, which is what the data is about.
fn detect(detector: &Detector, prompt: &[Message]) -> Option<Detection> {
    let last = prompt
        .iter()
        .rev()
        .find(|message| message.role == Role::User)?;
    detector.detect(&last.content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pair::Position;

    const ENGLISH: &str = "How do I bake bread without an oven at home?";
    const SWAHILI: &str = "Ninawezaje kuoka mkate bila kutumia tanuri nyumbani kwangu?";
    const REFUSAL: &str = "I am sorry, but I cannot help you with that request.";
    const ANSWER: &str = "Use a heavy pan with a lid over a low fire and wait.";

    fn load(file: &str, options: &ReadOptions) -> Result<Dataset, DataError> {
        read_from(Path::new("f"), file.as_bytes(), options)
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
        serde_json::json!({ "dominant": side("en", ENGLISH), "target": side("jv", "Piye carane gawe roti?") }).to_string()
    }

    fn bilingual(dataset: &Dataset) -> &[BilingualPair] {
        match &dataset.rows {
            Pairs::Bilingual(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    fn reasons(dataset: &Dataset) -> Vec<String> {
        dataset
            .report
            .dropped
            .iter()
            .map(|row| format!("{}: {}", row.origin, row.reason))
            .collect()
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
        assert_eq!(
            (report.read, report.kept, report.dominant.unwrap().code()),
            (2, 2, "en")
        );
        assert_eq!(
            report.languages,
            BTreeMap::from([("sw".parse().unwrap(), 2)])
        );
        assert_eq!(
            rows[1].dominant.prompt()[0].content,
            "Why don't you bake your own bread at home?"
        );
        assert_eq!(rows[1].origin.position, Position::Row(2));
        let cleaned: Vec<_> = report
            .warnings
            .iter()
            .filter(|w| w.kind == WarningKind::EntitiesCleaned)
            .collect();
        assert_eq!(
            (cleaned.len(), cleaned[0].origin.position),
            (1, Position::Row(2))
        );
    }

    #[test]
    fn rows_that_are_no_preference_are_dropped_by_name() {
        let good = authors_row(ENGLISH, SWAHILI);
        let same = good.replace(ANSWER, REFUSAL);
        let file = [
            good,
            authors_row(ENGLISH, " "),
            same,
            authors_row(ENGLISH, ENGLISH),
        ]
        .join("\n");
        let dataset = load(&file, &ReadOptions::default()).unwrap();
        let expected = [
            "f, line 2: target: the prompt is empty",
            "f, line 3: dominant: the chosen and the rejected answer are the same",
            "f, line 4: both sides are in en",
        ];
        assert_eq!(
            (reasons(&dataset), dataset.report.kept),
            (expected.map(String::from).to_vec(), 1)
        );
        assert!(dataset.report.to_string().contains(expected[0]));
    }

    #[test]
    fn an_answer_in_another_language_is_kept_with_a_warning() {
        let row = authors_row(ENGLISH, SWAHILI).replace(
            "Samahani, siwezi kukusaidia na ombi hilo kwa sababu si salama.",
            &format!("{REFUSAL} Sorry."),
        );
        let report = load(&row, &ReadOptions::default()).unwrap().report;
        let (expected, found) = ("sw".parse().unwrap(), "en".parse().unwrap());
        assert_eq!(report.kept, 1);
        assert_eq!(
            report.warnings[0].kind,
            WarningKind::ChosenLanguage {
                side: Side::Target,
                expected,
                found
            }
        );
    }

    #[test]
    fn named_languages_are_believed_and_checked_against_the_expected() {
        let dataset = load(&bilingual_row(), &ReadOptions::default()).unwrap();
        let rows = bilingual(&dataset);
        assert_eq!(
            (
                rows[0].dominant.language().code(),
                rows[0].target.language().code()
            ),
            ("en", "jv")
        );
        let options = ReadOptions {
            dominant: Some("zh".parse().unwrap()),
            ..ReadOptions::default()
        };
        let dataset = load(&bilingual_row(), &options).unwrap();
        assert_eq!(
            reasons(&dataset),
            ["f, line 1: the dominant side is in en, expected zh"]
        );
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
        let Pairs::Monolingual(rows) = &dataset.rows else {
            panic!("{:?}", dataset.rows)
        };
        assert_eq!(
            (
                rows[0].pair.language().code(),
                rows[1].pair.language().code()
            ),
            ("en", "sw")
        );
        assert_eq!(rows[1].pair.chosen(), "a");
    }

    #[test]
    fn unpaired_rows_have_one_answer_and_a_label() {
        let row = |prompt: &str, completion: &str, label: bool| serde_json::json!({ "prompt": prompt, "completion": completion, "label": label });
        let file = [
            row(SWAHILI, REFUSAL, true),
            row(ENGLISH, ANSWER, false),
            row(ENGLISH, " ", true),
            row("", ANSWER, true),
        ];
        let file = file.map(|row| row.to_string()).join("\n");
        let dataset = load(&file, &ReadOptions::default()).unwrap();
        let Pairs::Unpaired(rows) = &dataset.rows else {
            panic!("{:?}", dataset.rows)
        };
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.language.code(), row.desirable))
            .collect();
        assert_eq!(seen, [("sw", true), ("en", false)]);
        assert_eq!(rows[1].answer, ANSWER);
        assert_eq!(
            reasons(&dataset),
            [
                "f, line 3: the completion is empty",
                "f, line 4: the prompt is empty"
            ]
        );
    }

    #[test]
    fn malformed_rows_stop_the_reading_and_are_named() {
        let good = bilingual_row();
        for (bad, expected) in [
            (r#"{"dominant": 3"#.to_owned(), "f, line 2: "),
            (
                good.replace("rejected", "refused"),
                "f, line 2: missing field `rejected`",
            ),
            (
                good.replace("\"jv\"", "\"xx\""),
                "f, line 2: expected an ISO 639-1 language code, got `xx`",
            ),
            (
                good.replace(&format!("\"{ENGLISH}\""), "7"),
                "f, line 2: expected a string or a list",
            ),
            ("[".repeat(200_000), "f, line 2: "),
        ] {
            let file = format!("{good}\n{bad}\n{good}");
            let error = load(&file, &ReadOptions::default()).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
            let skipping = ReadOptions {
                skip_bad_rows: true,
                ..ReadOptions::default()
            };
            let report = load(&file, &skipping).unwrap().report;
            assert_eq!((report.read, report.kept, report.dropped.len()), (3, 2, 1));
        }
    }

    #[test]
    fn files_without_rows_or_with_strange_ones_are_refused() {
        for file in ["", "\u{feff}", "[]", " \n "] {
            assert!(
                matches!(
                    load(file, &ReadOptions::default()),
                    Err(DataError::Empty(_))
                ),
                "{file:?}"
            );
        }
        let error = load(r#"{"score": 1, "text": "a"}"#, &ReadOptions::default()).unwrap_err();
        assert!(
            matches!(&error, DataError::UnknownFormat { keys, .. } if keys == &["score", "text"]),
            "{error}"
        );
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            read(folder.path(), &ReadOptions::default()),
            Err(DataError::IsDirectory(_))
        ));
        let missing = read(&folder.path().join("none"), &ReadOptions::default()).unwrap_err();
        assert_eq!(missing.hint().unwrap(), "check the path");
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let file = format!("{0}\n{0}\nnot json", bilingual_row());
        let options = ReadOptions {
            max_rows: NonZeroUsize::new(2),
            ..ReadOptions::default()
        };
        assert_eq!(load(&file, &options).unwrap().report.read, 2);
    }

    fn any_file() -> impl Strategy<Value = Vec<u8>> {
        let trl =
            serde_json::json!({ "prompt": "Q?", "chosen": "a", "rejected": "b", "language": "en" })
                .to_string();
        let valid = [authors_row(ENGLISH, SWAHILI), bilingual_row(), trl];
        let mutated = (
            0..valid.len(),
            any::<bool>(),
            prop::collection::vec((any::<u16>(), any::<u8>()), 0..8),
        )
            .prop_map(move |(format, array, edits)| {
                let row = &valid[format];
                let mut file = if array {
                    format!("[{row},{row}]")
                } else {
                    format!("{row}\n{row}")
                }
                .into_bytes();
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
            if let Ok(dataset) = read_from(Path::new("f"), &file[..], &options) {
                prop_assert_eq!(dataset.report.read, dataset.report.kept + dataset.report.dropped.len());
            }
        }
    }
}
