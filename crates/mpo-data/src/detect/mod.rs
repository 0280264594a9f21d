//! The language of a text.
//!
//! A model of letter sequences knows the languages that are answered and some of their neighbours. It takes a text in any
//! other language for one of these, with confidence. So its answer is held against the letters of the text and against the
//! words that are frequent in many more languages, and a text that does not fit it has no known language.

mod answer;
mod letters;
mod words;

pub use answer::AnswerLanguage;

use lingua::{LanguageDetector, LanguageDetectorBuilder};
use words::{FrequentWords, Share};

use crate::error::DataError;
use crate::language::Language;

/// A language and how sure the detector is of it.
#[derive(Debug, Clone, Copy)]
pub struct Detection {
    /// The language.
    pub language: Language,
    /// From 0 to 1.
    pub confidence: f64,
}

/// The languages that are told apart unless others are asked for. The others that are built in are their neighbours:
/// known so that a text in one is not taken for one of these, and not well enough to be answered.
const ANSWERS: [&str; 15] = ["ar", "bn", "de", "en", "es", "fr", "it", "ja", "ko", "ru", "sw", "te", "th", "vi", "zh"];

/// How much likelier a neighbour must be than the answer for a text to be in neither: a short text may resemble one.
const NEIGHBOUR: f64 = 2.5;

/// What must speak for a language at least: the model's confidence among all that it knows, and twice the share of words
/// that are frequent in the language, less four times what another language has more of them. Chosen so that
/// sentences in the languages that are answered have more.
const EVIDENCE: f64 = 0.6;

/// Tells apart the languages it was made for.
pub struct Detector {
    /// Knows the neighbours, too, unless languages were asked for.
    lingua: LanguageDetector,
    candidates: Vec<Language>,
    /// None where languages were asked for.
    words: Option<FrequentWords>,
}

/// What of a text is looked at. A few sentences settle it: the time for a row must not depend on its length.
pub(crate) fn beginning(text: &str) -> &str {
    const ENOUGH: usize = 300;
    let end = text.char_indices().nth(ENOUGH);
    end.map_or(text, |(end, _)| text.split_at(end).0)
}

impl Detector {
    /// A detector for `only` these languages, or for all that are built in.
    ///
    /// # Errors
    /// If one of them is not built in.
    pub fn new(only: Option<&[Language]>) -> Result<Self, DataError> {
        let mut known: Vec<_> =
            lingua::Language::all().into_iter().filter_map(|built_in| Some((ours(built_in)?, built_in))).collect();
        known.sort_by_key(|(language, _)| *language);
        if let Some(only) = only {
            let missing: Vec<_> = only.iter().filter(|wanted| !known.iter().any(|(code, _)| code == *wanted)).collect();
            if only.is_empty() || !missing.is_empty() {
                let codes: Vec<_> = known.iter().map(|(language, _)| language.code()).collect();
                let got: Vec<_> = missing.iter().map(|language| language.code()).collect();
                let got = if got.is_empty() { "none".into() } else { got.join(", ") };
                return Err(DataError::Undetectable { got, supported: codes.join(", ") });
            }
        }
        known.retain(|(language, _)| only.is_none_or(|only| only.contains(language)));
        let built_in: Vec<_> = known.iter().map(|(_, built_in)| *built_in).collect();
        let languages = known.into_iter().map(|(language, _)| language);
        let is_candidate = |language: &Language| only.is_some() || ANSWERS.contains(&language.code());
        Ok(Self {
            lingua: LanguageDetectorBuilder::from_languages(&built_in).build(),
            candidates: languages.filter(is_candidate).collect(),
            words: only.is_none().then(FrequentWords::new),
        })
    }

    /// Whether this language can be the answer.
    pub fn knows(&self, language: Language) -> bool {
        self.candidates.contains(&language)
    }

    /// How sure the detector is that a text is in a language, beside the others that can be the answer.
    fn confidence(&self, text: &str, language: Language) -> f64 {
        let mut all = detections(&self.lingua, beginning(text));
        all.retain(|of| self.knows(of.language));
        let sum: f64 = all.iter().map(|of| of.confidence).sum();
        let of = all.iter().find(|of| of.language == language);
        of.map_or(0.0, |of| of.confidence / sum)
    }

    /// The most likely language; none for a text without words, or in a language that is not known.
    pub fn detect(&self, text: &str) -> Option<Detection> {
        let start = beginning(text);
        if let [only] = self.candidates[..] {
            let words = start.chars().any(char::is_alphabetic);
            return words.then_some(Detection { language: only, confidence: 1.0 });
        }
        let all = detections(&self.lingua, start);
        let (candidates, neighbours): (Vec<_>, Vec<_>) = all.into_iter().partition(|of| self.knows(of.language));
        let likeliest = most_likely(&candidates)?;
        let sum: f64 = candidates.iter().map(|of| of.confidence).sum();
        let found = Detection { confidence: likeliest.confidence / sum, ..likeliest };
        // Full confidence comes from a script that no other candidate has, and says nothing about the language.
        let least = if found.confidence >= 1.0 { 1.0 } else { NEIGHBOUR };
        let is_a_neighbour =
            most_likely(&neighbours).is_some_and(|neighbour| neighbour.confidence > least * likeliest.confidence);
        let is_other = is_a_neighbour
            || self
                .words
                .as_ref()
                .is_some_and(|words| letters::contradict(start, found.language) || reject(words, start, likeliest));
        (!is_other).then_some(found)
    }
}

/// Whether the words of a text speak against the likeliest of all languages that are built in.
fn reject(words: &FrequentWords, text: &str, likeliest: Detection) -> bool {
    let Some(Share { own, other }) = words.share(text, likeliest.language) else {
        return false;
    };
    // The model is sure of all that Bulgarians and Macedonians write, for it knows no other language that is like Russian.
    let is_tied = other > 0.0 && other >= own;
    if likeliest.language.code() == "ru" && is_tied && letters::may_be_southern(text) {
        return true;
    }
    likeliest.confidence + 2.0 * own - 4.0 * (other - own).max(0.0) < EVIDENCE
}

/// The languages that a text may be in.
fn detections(lingua: &LanguageDetector, text: &str) -> Vec<Detection> {
    let values = lingua.compute_language_confidence_values(text).into_iter();
    values
        .filter(|(_, confidence)| *confidence > 0.0)
        .filter_map(|(language, confidence)| Some(Detection { language: ours(language)?, confidence }))
        .collect()
}

/// The language breaks ties, so that two runs agree.
fn most_likely(detections: &[Detection]) -> Option<Detection> {
    detections.iter().copied().max_by(|a, b| a.confidence.total_cmp(&b.confidence).then(b.language.cmp(&a.language)))
}

fn ours(language: lingua::Language) -> Option<Language> {
    language.iso_code_639_1().to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(code: &str) -> Language {
        code.parse().unwrap()
    }

    #[test]
    fn one_sentence_is_enough() {
        let detector = Detector::new(None).unwrap();
        for (code, text) in [
            ("en", "How do I bake bread without an oven?"),
            ("zh", "没有烤箱怎么做面包？"),
            ("ja", "オーブンなしでパンを焼くにはどうすればいいですか？"),
            ("ko", "오븐 없이 빵을 어떻게 굽나요?"),
            ("ar", "كيف أخبز الخبز بدون فرن؟"),
            ("bn", "চুলা ছাড়া আমি কীভাবে রুটি বানাব?"),
            ("sw", "Ninawezaje kuoka mkate bila kutumia tanuri nyumbani kwangu?"),
        ] {
            assert_eq!(detector.detect(text).unwrap().language, language(code), "{text}");
        }
        assert!(detector.detect("42 + 17 = ?").is_none());
    }

    /// Sentences of everyday life, requests and refusals, each after the code of its language; `hi-Latn` is Hindi in Latin
    /// letters, and `mix` is several languages in one sentence.
    const SENTENCES: &str = include_str!("sentences.txt");

    #[test]
    fn other_languages_are_no_neighbours() {
        let detector = Detector::new(None).unwrap();
        let mut wrong = Vec::new();
        let (mut known, mut other) = (0, 0);
        for line in SENTENCES.lines() {
            let (code, text) = line.split_once('\t').unwrap();
            let expected = ANSWERS.contains(&code).then(|| language(code));
            match expected {
                Some(_) => known += 1,
                None => other += 1,
            }
            let found = detector.detect(text).map(|found| found.language);
            if found != expected {
                wrong.push((code, text));
            }
        }
        assert!(known >= 75 && other >= 200, "{known} {other}");
        // Those that are left are short sentences in sisters of a known language, which may be written in either.
        let known_wrong = wrong.iter().filter(|(code, _)| ANSWERS.contains(code));
        assert_eq!(known_wrong.count(), 0, "{wrong:?}");
        assert!(wrong.len() <= 9, "{wrong:?}");
        // A foreign name is no foreign language.
        for (code, text) in [
            ("en", "Where did the writer José Saramago live as a child?"),
            ("en", "What does the word “спасибо” mean, and when do I say it?"),
            ("zh", "请解释 Python 里列表和元组的区别。"),
            ("ru", "Что такое machine learning и зачем оно нужно?"),
            ("ko", "한국어의 한자(漢字)는 어떻게 공부하나요?"),
        ] {
            let found = detector.detect(text).map(|found| found.language);
            assert_eq!(found, Some(language(code)), "{text}");
        }
    }

    #[test]
    fn han_alone_is_chinese_where_japanese_would_be_written_otherwise() {
        let detector = Detector::new(None).unwrap();
        let found = |text: &str| detector.detect(text).map(|found| found.language);
        assert_eq!(found("写一首诗"), Some(language("zh")));
        assert_eq!(found("東京都港区"), None);
        assert_eq!(found("東京都港区へ行きます"), Some(language("ja")));
    }

    #[test]
    fn letters_of_no_language_that_is_known_are_other_ones() {
        let other = |code: &str, text: &str| letters::is_in_other_letters(text, language(code));
        // Hindi and Amharic.
        assert!(other("bn", "मैं इसमें मदद नहीं कर सकता।") && other("sw", "በዚህ መርዳት አልችልም።"));
        assert!(other("ja", "I can't help."));
        assert!(!other("ja", "申し訳ありません。") && !other("zh", "用 Python 编写。") && !other("sw", "Samahani."));
        assert!(!other("ko", "42") && !other("ko", ""));
    }

    #[test]
    fn candidates_are_restricted_or_refused() {
        let only = Detector::new(Some(&[language("sw"), language("it")])).unwrap();
        assert!(only.knows(language("sw")) && !only.knows(language("en")));
        assert!(only.detect("bread").is_none_or(|found| only.knows(found.language)));
        let error = Detector::new(Some(&[language("en"), language("jv")])).err().unwrap();
        assert!(error.to_string().ends_with("got jv"), "{error}");
        assert!(Detector::new(Some(&[])).is_err());
    }
}
