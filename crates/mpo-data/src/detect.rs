//! The language of a text.

use lingua::{LanguageDetector, LanguageDetectorBuilder};

use crate::error::DataError;
use crate::language::Language;

/// A language and how sure the detector is of it, from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Detection {
    pub(crate) language: Language,
    pub(crate) confidence: f64,
}

/// Tells apart the languages it was made for.
pub(crate) struct Detector {
    lingua: LanguageDetector,
    candidates: Vec<Language>,
}

impl Detector {
    /// A detector for `only` these languages, or for all that are built in.
    pub(crate) fn new(only: Option<&[Language]>) -> Result<Self, DataError> {
        let mut known: Vec<_> = lingua::Language::all()
            .into_iter()
            .filter_map(|built_in| Some((ours(built_in)?, built_in)))
            .collect();
        known.sort_by_key(|(language, _)| *language);
        if let Some(only) = only {
            let missing: Vec<_> = only
                .iter()
                .filter(|wanted| !known.iter().any(|(code, _)| code == *wanted))
                .collect();
            if only.is_empty() || !missing.is_empty() {
                let codes: Vec<_> = known.iter().map(|(language, _)| language.code()).collect();
                let got: Vec<_> = missing.iter().map(|language| language.code()).collect();
                let got = if got.is_empty() {
                    "none".into()
                } else {
                    got.join(", ")
                };
                return Err(DataError::Undetectable {
                    got,
                    supported: codes.join(", "),
                });
            }
            known.retain(|(language, _)| only.contains(language));
        }
        let (candidates, built_in): (Vec<_>, Vec<_>) = known.into_iter().unzip();
        Ok(Self {
            lingua: LanguageDetectorBuilder::from_languages(&built_in).build(),
            candidates,
        })
    }

    /// Whether this language can be the answer.
    pub(crate) fn knows(&self, language: Language) -> bool {
        self.candidates.contains(&language)
    }

    /// The most likely language; none for a text without words.
    pub(crate) fn detect(&self, text: &str) -> Option<Detection> {
        // A few sentences settle it: the time for a row must not depend on its length.
        const ENOUGH: usize = 600;
        let start = text
            .char_indices()
            .nth(ENOUGH)
            .map_or(text, |(end, _)| text.split_at(end).0);
        if let [only] = self.candidates[..] {
            let words = start.chars().any(char::is_alphabetic);
            return words.then_some(Detection {
                language: only,
                confidence: 1.0,
            });
        }
        self.lingua
            .compute_language_confidence_values(start)
            .into_iter()
            .filter(|(_, confidence)| *confidence > 0.0)
            .filter_map(|(language, confidence)| {
                Some(Detection {
                    language: ours(language)?,
                    confidence,
                })
            })
            // The language breaks ties, so that two runs agree.
            .max_by(|a, b| {
                a.confidence
                    .total_cmp(&b.confidence)
                    .then(b.language.cmp(&a.language))
            })
    }
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
            (
                "sw",
                "Ninawezaje kuoka mkate bila kutumia tanuri nyumbani kwangu?",
            ),
        ] {
            assert_eq!(
                detector.detect(text).unwrap().language,
                language(code),
                "{text}"
            );
        }
        assert!(detector.detect("42 + 17 = ?").is_none());
    }

    #[test]
    fn candidates_are_restricted_or_refused() {
        let only = Detector::new(Some(&[language("sw"), language("it")])).unwrap();
        assert!(only.knows(language("sw")) && !only.knows(language("en")));
        assert!(
            only.detect("bread")
                .is_none_or(|found| only.knows(found.language))
        );
        let error = Detector::new(Some(&[language("en"), language("jv")]))
            .err()
            .unwrap();
        assert!(error.to_string().ends_with("got jv"), "{error}");
        assert!(Detector::new(Some(&[])).is_err());
    }
}
