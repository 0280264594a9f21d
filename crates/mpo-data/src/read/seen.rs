//! What the texts of rows look like to the detector: looked at on every core, and once where many rows have the same.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::detect::{Detection, Detector, beginning};
use crate::formats::{Draft, DraftSide};
use crate::language::Language;
use crate::pair::{Message, Role};

/// What the texts of a side look like.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SeenSide {
    /// The last thing the user says: answers may be in another language, which is what the data is about. None where the
    /// language is named.
    pub(super) prompt: Option<Detection>,
    /// The answer to prefer.
    pub(super) chosen: Option<Detection>,
}

/// What the texts of a row look like; a row of one side has a target only.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) dominant: SeenSide,
    pub(super) target: SeenSide,
}

/// Looks at rows whose target sides are in `language`, where it is known. `told` is called with how many of how many texts are
/// done, from several threads.
pub(super) fn look<'d>(
    detector: &Detector,
    language: Option<Language>,
    drafts: impl Iterator<Item = &'d Draft>,
    told: impl Fn(usize, usize) + Sync,
) -> Vec<Seen> {
    let rows: Vec<[Option<&str>; 4]> = drafts.map(|draft| texts(draft, language)).collect();
    let mut different: Vec<&str> = rows.iter().flatten().flatten().copied().collect();
    different.sort_unstable();
    different.dedup();
    let done = AtomicUsize::new(0);
    let detections: Vec<Option<Detection>> = different
        .par_iter()
        .map(|text| {
            let detection = detector.detect(text);
            told(done.fetch_add(1, Ordering::Relaxed) + 1, different.len());
            detection
        })
        .collect();
    let of = |text: Option<&str>| detections[different.binary_search(&text?).ok()?];
    let side = |prompt, chosen| SeenSide { prompt: of(prompt), chosen: of(chosen) };
    let rows = rows.into_iter();
    rows.map(|[dominant_prompt, dominant_chosen, prompt, chosen]| Seen {
        dominant: side(dominant_prompt, dominant_chosen),
        target: side(prompt, chosen),
    })
    .collect()
}

/// The prompt and the answer of the dominant side, and those of the other, as far as they are looked at.
fn texts(draft: &Draft, language: Option<Language>) -> [Option<&str>; 4] {
    match draft {
        Draft::Pair(pair) => {
            let dominant = pair.dominant.as_ref();
            let [dominant_prompt, dominant_chosen] = dominant.map_or([None; 2], |dominant| of_side(dominant, None));
            let [prompt, chosen] = of_side(&pair.target, language);
            [dominant_prompt, dominant_chosen, prompt, chosen]
        }
        // Its languages are named.
        Draft::Prompts(_) => [None; 4],
        Draft::Answer(answer) => [None, None, asked(answer.language.or(language), &answer.prompt), None],
    }
}

fn of_side(side: &DraftSide, language: Option<Language>) -> [Option<&str>; 2] {
    let prompt = asked(side.language.or(language), &side.prompt);
    [prompt, Some(beginning(&side.chosen))]
}

fn asked(language: Option<Language>, prompt: &[Message]) -> Option<&str> {
    let mut messages = prompt.iter().rev().filter(|_| language.is_none());
    let last = messages.find(|message| message.role == Role::User)?;
    Some(beginning(&last.content))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::formats::PairDraft;

    #[test]
    fn texts_that_are_the_same_are_looked_at_once() {
        let english = "How do I bake bread without an oven at home?";
        let german = "Nimm eine schwere Pfanne mit einem Deckel und warte.";
        let side = |language: Option<&str>| DraftSide {
            language: language.map(|code| code.parse().unwrap()),
            is_benign: false,
            prompt: vec![Message::user(english.to_owned())],
            tools: None,
            chosen: german.into(),
            rejected: String::new(),
        };
        let row =
            |language| Draft::Pair(PairDraft { dominant: Some(side(None)), target: side(language), oddities: vec![] });
        let rows = [row(None), row(Some("de")), row(None)];
        let heard = Mutex::new(Vec::new());
        let detector = Detector::new(None).unwrap();
        let seen = look(&detector, None, rows.iter(), |done, of| {
            heard.lock().unwrap().push((done, of));
        });
        let mut heard = heard.into_inner().unwrap();
        heard.sort_unstable();
        assert_eq!(heard, [(1, 2), (2, 2)]);
        let code = |seen: Option<Detection>| seen.map(|seen| seen.language.to_string());
        for (row, named) in seen.iter().zip([false, true, false]) {
            assert_eq!(code(row.dominant.prompt).unwrap(), "en");
            assert_eq!(code(row.dominant.chosen).unwrap(), "de");
            assert_eq!(code(row.target.prompt).is_none(), named);
            assert_eq!(code(row.target.chosen).unwrap(), "de");
        }
        let seen = look(&detector, "sw".parse().ok(), rows[..1].iter(), |_, _| {});
        assert!(code(seen[0].target.prompt).is_none());
        assert_eq!(code(seen[0].dominant.prompt).unwrap(), "en");
    }
}
