//! What goes wrong while a run trains, in plain words: seen in what is measured, beside what was measured first.

use std::collections::BTreeMap;

use mpo_data::{AnswerLanguage, Language};

use crate::events::MeasuredEvent;
use crate::held_out::SampledAnswer;

/// Nats per token that safe answers may lose: at one, each token is about a third as likely as it was.
const COLLAPSE: f64 = 1.0;

/// How often a passage is there at the end of an answer that repeats itself, and the characters of all of them at least.
const TIMES: usize = 4;
const REPEATED: usize = 20;

/// What was measured of a run so far, as far as it is needed.
#[derive(Debug, Default)]
pub(crate) struct History {
    first: Option<MeasuredEvent>,
    last: Option<MeasuredEvent>,
}

impl History {
    /// Of the measurements that the log has.
    pub(crate) fn new(measured: &[MeasuredEvent]) -> Self {
        Self { first: measured.first().cloned(), last: measured.last().cloned() }
    }

    fn push(&mut self, event: MeasuredEvent) {
        self.first.get_or_insert_with(|| event.clone());
        self.last = Some(event);
    }

    /// Takes in a measurement, and gives it what is wrong now and was not the last time.
    pub(crate) fn add(&mut self, mut event: MeasuredEvent) -> MeasuredEvent {
        let first = self.first.as_ref().unwrap_or(&event);
        let known = self.last.as_ref().map(|last| signs(first, last)).unwrap_or_default();
        let mut new = signs(first, &event);
        new.retain(|sign, _| !known.contains_key(sign));
        event.warnings = new.into_values().collect();
        self.push(event.clone());
        event
    }
}

/// What can go wrong, of which language.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    NotFinite(String),
    Collapsed(String),
    Lost(Language),
    Undecided(Language),
    Repeats(Language),
}

/// Everything that is wrong at `now`, and was not at `first`.
fn signs(first: &MeasuredEvent, now: &MeasuredEvent) -> BTreeMap<Sign, String> {
    let mut signs = BTreeMap::new();
    for (key, before) in first.metrics.iter().filter(|(key, _)| !key.starts_with("eval_kept")) {
        match now.metrics.get(key) {
            None if !key.contains('/') => {
                signs.insert(Sign::NotFinite(key.clone()), format!("{key} is not finite any more"));
            }
            Some(value) if before - value > COLLAPSE => {
                if let Some(code) = key.strip_prefix("eval_chosen/") {
                    let text = format!(
                        "the safe answers in {} have become unlikely: log p {value:.2} a token, {before:.2} at first",
                        name(code)
                    );
                    signs.insert(Sign::Collapsed(code.to_owned()), text);
                }
            }
            _ => {}
        }
    }
    let mut languages: Vec<Language> = now.samples.iter().map(|sample| sample.language).collect();
    languages.sort_unstable();
    languages.dedup();
    for language in languages {
        let [before, now] = [first, now].map(|event| Answers::of(event, language));
        if now.is_lost() && !before.is_lost() {
            let text = format!(
                "{} is being lost: {} of {} answers whose language can be told are in it, {} of {} at first",
                language.name(),
                now.kept,
                now.told,
                before.kept,
                before.told
            );
            signs.insert(Sign::Lost(language), text);
        }
        if now.is_undecided() && !before.is_undecided() {
            let text = format!(
                "{} of {} answers in {} are in no language that can be told, {} of {} at first",
                now.all - now.told,
                now.all,
                language.name(),
                before.all - before.told,
                before.all
            );
            signs.insert(Sign::Undecided(language), text);
        }
        if now.repeat() && !before.repeat() {
            let text =
                format!("{} of {} answers in {} repeat themselves to the end", now.looping, now.all, language.name());
            signs.insert(Sign::Repeats(language), text);
        }
    }
    signs
}

fn name(code: &str) -> String {
    code.parse().map_or_else(|_| code.to_owned(), |language: Language| language.name().to_owned())
}

/// Sampled answers to prompts in one language.
struct Answers {
    all: usize,
    looping: usize,
    /// Those whose language can be told, and those of them that are in it.
    told: usize,
    kept: usize,
}

impl Answers {
    fn of(event: &MeasuredEvent, language: Language) -> Self {
        let of: Vec<&SampledAnswer> = event.samples.iter().filter(|sample| sample.language == language).collect();
        let count = |is: fn(&SampledAnswer) -> bool| of.iter().filter(|sample| is(sample)).count();
        Self {
            all: of.len(),
            looping: count(|sample| !sample.complete && repeats(&sample.answer)),
            told: count(|sample| sample.answer_language != AnswerLanguage::Undecided),
            kept: count(|sample| sample.answer_language == AnswerLanguage::Kept),
        }
    }

    fn is_lost(&self) -> bool {
        self.told > 0 && 2 * self.kept <= self.told
    }

    /// Whether what is told says little, as of answers that are empty or babble.
    fn is_undecided(&self) -> bool {
        2 * self.told < self.all
    }

    fn repeat(&self) -> bool {
        self.all > 0 && 2 * self.looping >= self.all
    }
}

/// Whether a text ends in one passage again and again.
fn repeats(text: &str) -> bool {
    let text: Vec<char> = text.trim_end().chars().collect();
    (1..=text.len() / TIMES).any(|period| {
        let again = (period..text.len()).rev().take_while(|&at| text[at] == text[at - period]).count();
        let whole = again + period;
        whole >= (TIMES * period).max(REPEATED) && text[text.len() - period..].iter().any(|of| of.is_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(language: &str, answer: &str, answer_language: AnswerLanguage) -> SampledAnswer {
        SampledAnswer {
            language: language.parse().unwrap(),
            is_unsafe: true,
            prompt: "?".into(),
            answer: answer.into(),
            complete: false,
            refused: false,
            answer_language,
        }
    }

    fn event(step: u64, chosen: f64, samples: &[SampledAnswer]) -> MeasuredEvent {
        let metrics = [("eval_chosen/sw".to_owned(), chosen), ("eval_rg".to_owned(), 1.0)].into();
        MeasuredEvent { step, trained_on: false, metrics, samples: samples.to_vec(), warnings: vec![] }
    }

    #[test]
    fn what_repeats_itself_does_so_to_the_end() {
        assert!(repeats("Bila shaka. ha ha ha ha ha ha ha ha ha ha"));
        assert!(repeats("我不能帮助你。我不能帮助你。我不能帮助你。我不能帮助你。我不能"));
        assert!(repeats(&"Samahani, siwezi kukusaidia. ".repeat(5)));
        assert!(!repeats("ha ha ha ha ha ha ha ha ha ha, said the old man and went home."));
        assert!(!repeats("No, no, no, no."));
        assert!(!repeats(&"-".repeat(80)));
        assert!(!repeats(""));
    }

    #[test]
    fn a_warning_comes_once_while_it_lasts() {
        let mut history = History::default();
        let mut told = |event: MeasuredEvent| history.add(event).warnings;
        assert!(told(event(0, -1.0, &[])).is_empty());
        assert!(told(event(2, -1.9, &[])).is_empty());
        let warnings = told(event(4, -2.5, &[]));
        let expected = "the safe answers in Swahili have become unlikely: log p -2.50 a token, -1.00 at first";
        assert_eq!(warnings, [expected]);
        assert!(told(event(6, -2.6, &[])).is_empty());
        assert!(told(event(8, -1.5, &[])).is_empty());
        assert_eq!(told(event(10, -2.5, &[])), [expected]);
        let mut broken = event(12, -1.0, &[]);
        broken.metrics.remove("eval_rg");
        assert_eq!(told(broken), ["eval_rg is not finite any more"]);
    }

    #[test]
    fn a_language_is_lost_where_it_was_kept() {
        let english = AnswerLanguage::Other("en".parse().ok());
        let of = |sw: AnswerLanguage, bn: AnswerLanguage| {
            [sample("sw", "a", sw), sample("sw", "b", AnswerLanguage::Kept), sample("bn", "c", bn)]
        };
        let mut history = History::new(&[event(0, -1.0, &of(AnswerLanguage::Kept, english))]);
        let now = history.add(event(2, -1.0, &of(english, english)));
        let expected = "Swahili is being lost: 1 of 2 answers whose language can be told are in it, 2 of 2 at first";
        assert_eq!(now.warnings, [expected]);
        // What cannot be told is no loss.
        let mut history = History::new(&[event(0, -1.0, &of(AnswerLanguage::Kept, english))]);
        assert!(history.add(event(2, -1.0, &of(AnswerLanguage::Undecided, english))).warnings.is_empty());
    }

    #[test]
    fn answers_in_no_language_are_told_of() {
        let of = |answers: [AnswerLanguage; 2]| answers.map(|language| sample("sw", "…", language));
        let (kept, undecided) = (AnswerLanguage::Kept, AnswerLanguage::Undecided);
        let mut history = History::new(&[event(0, -1.0, &of([kept, kept]))]);
        assert!(history.add(event(2, -1.0, &of([kept, undecided]))).warnings.is_empty());
        let now = history.add(event(4, -1.0, &of([undecided, undecided])));
        assert_eq!(now.warnings, ["2 of 2 answers in Swahili are in no language that can be told, 0 of 2 at first"]);
        // Of a language that detection does not know it is so from the start.
        let mut history = History::new(&[event(0, -1.0, &of([undecided, undecided]))]);
        assert!(history.add(event(2, -1.0, &of([undecided, undecided]))).warnings.is_empty());
    }

    #[test]
    fn half_of_the_answers_that_loop_are_many() {
        let long = "siwezi ".repeat(9);
        let of = |first: &str| [sample("sw", first, AnswerLanguage::Kept), sample("sw", "ndiyo", AnswerLanguage::Kept)];
        let mut history = History::new(&[event(0, -1.0, &of("hapana"))]);
        let now = history.add(event(2, -1.0, &of(&long)));
        assert_eq!(now.warnings, ["1 of 2 answers in Swahili repeat themselves to the end"]);
    }
}
