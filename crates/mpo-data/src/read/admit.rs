//! What is admitted as a row of a data set, in which languages, and what is odd about it.

use std::collections::BTreeMap;

use super::reading::Drafted;
use super::seen::{Seen, SeenSide};
use super::{Dataset, ReadOptions};
use crate::detect::{Detection, Detector};
use crate::formats::{AnswerDraft, Draft, DraftSide, Format, PairDraft, PromptsDraft};
use crate::language::Language;
use crate::pair::{BilingualPair, MonolingualPair, Origin, PairProblem, PreferencePair, UnpairedAnswer};
use crate::parallel::ParallelPrompts;
use crate::report::{ReadReport, Side, Warning, WarningKind};
use crate::rows::{Row as _, Rows};

/// Below this a detector's opinion about an answer is not worth a warning.
const SURE: f64 = 0.8;

/// What helps where detection does not.
const NAME_IT: &str = "name it with --language, or in a column `language`";

/// Decides which drafts are admitted as rows, and in which languages.
pub(super) struct Admission<'a> {
    options: &'a ReadOptions,
    detector: &'a Detector,
    /// The language of every dominant side that names none.
    dominant: Option<Language>,
    report: ReadReport,
}

impl<'a> Admission<'a> {
    pub(super) fn new(
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
                Draft::Answer(_) | Draft::Prompts(_) => None,
            })
        };
        // Of prompts by language, the first that a row names.
        let first = || {
            let named = rows.iter().filter_map(|row| match &row.draft {
                Draft::Prompts(draft) => draft.prompts.first(),
                Draft::Pair(_) | Draft::Answer(_) => None,
            });
            named.map(|(language, _)| *language)
        };
        let dominant = options.dominant.or_else(|| {
            let mut votes: BTreeMap<Language, usize> = BTreeMap::new();
            let languages = sides().filter_map(|(side, seen)| side.language.or_else(|| Some(seen.prompt?.language)));
            for language in languages.chain(first()) {
                *votes.entry(language).or_default() += 1;
            }
            votes.into_iter().max_by_key(|(_, rows)| *rows).map(|(language, _)| language)
        });
        let report = ReadReport {
            dominant: dominant.filter(|_| sides().next().is_some() || first().next().is_some()),
            ..report
        };
        Self { options, detector, dominant, report }
    }

    pub(super) fn dataset(mut self, rows: Vec<Drafted>, seen: &[Seen], format: Option<Format>) -> Dataset {
        let (mut pairs, mut singles, mut answers, mut prompts) = (vec![], vec![], vec![], vec![]);
        for (row, seen) in rows.into_iter().zip(seen) {
            let Drafted { origin, draft, oddities: of_row } = row;
            let admitted = match draft {
                Draft::Answer(draft) => self.answer(draft, seen, &origin).map(|answer| {
                    let language = answer.language;
                    answers.push(answer);
                    (vec![language], vec![])
                }),
                Draft::Prompts(draft) => self.prompts(draft, &origin).map(|row| {
                    let languages = row.targets();
                    prompts.push(row);
                    (languages, vec![])
                }),
                Draft::Pair(draft) => self.sides(draft, seen).map(|(dominant, target, oddities)| {
                    let language = target.language();
                    let origin = origin.clone();
                    match dominant {
                        Some(dominant) => pairs.push(BilingualPair { dominant, target, origin }),
                        None => singles.push(MonolingualPair { pair: target, origin }),
                    }
                    (vec![language], oddities)
                }),
            };
            match admitted {
                Ok((languages, oddities)) => {
                    self.report.kept += 1;
                    for language in languages {
                        *self.report.languages.entry(language).or_default() += 1;
                    }
                    let warn = |kind| Warning { origin: origin.clone(), kind };
                    let oddities = of_row.into_iter().chain(oddities);
                    self.report.warnings.extend(oddities.map(warn));
                }
                Err(reason) => self.report.drop_row(origin, reason),
            }
        }
        let rows = match format {
            Some(Format::Pairs) => Rows::Monolingual(singles),
            Some(Format::Unpaired) => Rows::Unpaired(answers),
            Some(Format::Parallel) => Rows::Parallel(prompts),
            Some(Format::Authors | Format::Bilingual) | None => Rows::Bilingual(pairs),
        };
        Dataset { rows, report: self.report }
    }

    fn answer(&self, draft: AnswerDraft, seen: &Seen, origin: &Origin) -> Result<UnpairedAnswer, String> {
        if let Some(problem) = PairProblem::of_exchange(&draft.prompt, &draft.answer) {
            return Err(problem.to_string());
        }
        Ok(UnpairedAnswer {
            language: self.language(draft.language, seen.target)?,
            prompt: draft.prompt,
            tools: draft.tools,
            answer: draft.answer,
            desirable: draft.desirable,
            is_benign: draft.is_benign,
            origin: origin.clone(),
        })
    }

    fn prompts(&self, draft: PromptsDraft, origin: &Origin) -> Result<ParallelPrompts, String> {
        let dominant = self.dominant.ok_or("prompts: no language is named")?;
        ParallelPrompts::new(draft.prompts, dominant, origin.clone())
    }

    /// The pairs of a row and what is odd about them, or the reason to drop it.
    fn sides(
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
        Ok(pair.with_tools(side.tools).with_benign(side.is_benign))
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
    use super::super::testing::{
        ANSWER, ENGLISH, REFUSAL, SWAHILI, authors_row, bilingual, bilingual_row, load, reasons,
    };
    use super::*;
    use crate::pair::Position;
    use crate::rows::row_line;

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
    fn rows_of_benign_prompts_say_so_and_say_it_again() {
        let benign = r#"{"provenance": {"benign": true}, "#;
        let rows = [bilingual_row(), bilingual_row().replacen('{', benign, 1)].join("\n");
        let dataset = load(&rows, &ReadOptions::default()).unwrap();
        let seen: Vec<_> =
            bilingual(&dataset).iter().map(|row| (row.dominant.is_benign(), row.target.is_benign())).collect();
        assert_eq!(seen, [(false, false), (true, true)]);
        let one = r#"{"language": "en", "prompt": "How?", "chosen": "So.", "rejected": "No."}"#;
        let rows = [one.to_owned(), one.replacen('{', benign, 1), one.replacen('{', r#"{"provenance": "us", "#, 1)];
        let dataset = load(&rows.join("\n"), &ReadOptions::default()).unwrap();
        let Rows::Monolingual(singles) = &dataset.rows else { panic!("{:?}", dataset.rows) };
        assert_eq!(singles.iter().map(|row| row.pair.is_benign()).collect::<Vec<_>>(), [false, true, false]);
        let one = r#"{"language": "en", "prompt": "How?", "completion": "So.", "label": true}"#;
        let rows = [one.to_owned(), one.replacen('{', benign, 1)].join("\n");
        let unpaired = load(&rows, &ReadOptions::default()).unwrap();
        let Rows::Unpaired(answers) = &unpaired.rows else { panic!("{:?}", unpaired.rows) };
        assert_eq!(answers.iter().map(|row| row.is_benign).collect::<Vec<_>>(), [false, true]);
        let lines = singles.iter().map(|row| String::from_utf8(row_line(row, None).unwrap()).unwrap());
        let again = load(&lines.collect::<String>(), &ReadOptions::default()).unwrap();
        assert_eq!(again.rows, dataset.rows);
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
    fn prompts_in_several_languages_are_led_by_the_one_that_most_rows_name_first() {
        let row = |prompts: &str| format!(r#"{{"prompts": {{{prompts}}}}}"#);
        let file = [
            row(r#""en": "Why?", "sw": "Kwa nini?", "bn": "কেন?""#),
            row(r#""sw": "Nani?", "en": "Who?""#),
            row(r#""en": "How?", "sw": "Vipi?""#),
            row(r#""sw": "Wapi?", "bn": "কোথায়?""#),
            row(r#""en": "When?", "sw": " ""#),
            row(r#""en": [{"role": "assistant", "content": "x"}], "sw": "Lini?""#),
        ];
        let Dataset { rows, report } = load(&file.join("\n"), &ReadOptions::default()).unwrap();
        let codes = |rows: &Rows| -> Vec<String> {
            let Rows::Parallel(rows) = rows else { panic!("{rows:?}") };
            let codes = |row: &ParallelPrompts| {
                let codes = row.by_language().iter().map(|(language, _)| language.code().to_owned());
                codes.collect::<Vec<_>>()
            };
            rows.iter().map(|row| codes(row).join(" ")).collect()
        };
        assert_eq!(codes(&rows), ["en sw bn", "en sw", "en sw"]);
        assert_eq!((report.read, report.kept, report.dominant.unwrap().code()), (6, 3, "en"));
        let counts: Vec<_> = report.languages.iter().map(|(language, rows)| (language.code(), *rows)).collect();
        assert_eq!(counts, [("bn", 1), ("sw", 3)]);
        assert_eq!(rows.languages().count(), 4);
        let dropped: Vec<String> = report.dropped.iter().map(|row| format!("{}: {}", row.origin, row.reason)).collect();
        let expected = [
            "f, line 5: the prompt is there in fewer than two languages",
            "f, line 4: the prompt is not there in English",
            "f, line 6: en: the prompt does not end with a message of the user",
        ];
        assert_eq!(dropped, expected);
        assert_eq!(codes(&rows.clone().pivot("bn".parse().unwrap())), ["bn en sw"]);
        let (rest, out) = rows.clone().hold_out(0.5, 0);
        assert_eq!((rest.len(), out.len(), rest.clone().apart_from(&out).len()), (2, 1, 2));
        assert_eq!(rest.joined(out).unwrap().limit(2).len(), 2);
        // What is asked for is dominant.
        let options = ReadOptions { dominant: "sw".parse().ok(), ..ReadOptions::default() };
        let dataset = load(&file[..4].join("\n"), &options).unwrap();
        assert_eq!(codes(&dataset.rows), ["sw en bn", "sw en", "sw en", "sw bn"]);
    }
}
