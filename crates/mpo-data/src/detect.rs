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

/// The languages that are told apart unless others are asked for. The others that are built in are their neighbours:
/// known so that a text in one is not taken for one of these, and not well enough to be answered.
const ANSWERS: [&str; 15] = [
    "ar", "bn", "de", "en", "es", "fr", "it", "ja", "ko", "ru", "sw", "te", "th", "vi", "zh",
];

/// How much likelier a neighbour must be than the answer for a text to be in neither: a short text may resemble one.
const NEIGHBOUR: f64 = 2.5;

/// Tells apart the languages it was made for.
pub(crate) struct Detector {
    lingua: LanguageDetector,
    candidates: Vec<Language>,
    /// Knows the neighbours, too; none where languages were asked for.
    wide: Option<LanguageDetector>,
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
        }
        let of = |known: &[(Language, lingua::Language)]| {
            let built_in: Vec<_> = known.iter().map(|(_, built_in)| *built_in).collect();
            LanguageDetectorBuilder::from_languages(&built_in).build()
        };
        let wide = only.is_none().then(|| of(&known));
        known.retain(|(language, _)| match only {
            Some(only) => only.contains(language),
            None => ANSWERS.contains(&language.code()),
        });
        Ok(Self {
            lingua: of(&known),
            candidates: known.into_iter().map(|(language, _)| language).collect(),
            wide,
        })
    }

    /// Whether this language can be the answer.
    pub(crate) fn knows(&self, language: Language) -> bool {
        self.candidates.contains(&language)
    }

    /// The most likely language; none for a text without words, or in a language that is not known.
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
        let found = most_likely(detections(&self.lingua, start))?;
        let is_other = self.is_a_neighbour(start, found) || is_foreign(start, found.language);
        (!is_other).then_some(found)
    }

    /// Whether a text is rather in a neighbour of the language that it was taken for.
    fn is_a_neighbour(&self, text: &str, found: Detection) -> bool {
        let Some(wide) = &self.wide else {
            return false;
        };
        let all = detections(wide, text);
        let of_found = all.iter().find(|of| of.language == found.language);
        let of_found = of_found.map_or(0.0, |of| of.confidence);
        // Full confidence comes of a script that no other candidate has, and says nothing of the language.
        let least = if found.confidence >= 1.0 {
            1.0
        } else {
            NEIGHBOUR
        };
        most_likely(all).is_some_and(|neighbour| {
            !self.knows(neighbour.language) && neighbour.confidence > least * of_found
        })
    }
}

/// The languages that a text may be in.
fn detections(lingua: &LanguageDetector, text: &str) -> Vec<Detection> {
    let values = lingua.compute_language_confidence_values(text).into_iter();
    values
        .filter(|(_, confidence)| *confidence > 0.0)
        .filter_map(|(language, confidence)| {
            Some(Detection {
                language: ours(language)?,
                confidence,
            })
        })
        .collect()
}

/// The language breaks ties, so that two runs agree.
fn most_likely(detections: Vec<Detection>) -> Option<Detection> {
    detections.into_iter().max_by(|a, b| {
        a.confidence
            .total_cmp(&b.confidence)
            .then(b.language.cmp(&a.language))
    })
}

/// The letters beyond a to z of languages in scripts that many share.
const ALPHABETS: [(&str, &str); 7] = [
    ("de", "äöüß"),
    ("en", "éèïöç"),
    ("es", "áéíñóúü"),
    ("fr", "àâæçéèêëîïôœùûüÿ"),
    ("it", "àèéìíîòóùú"),
    ("ru", "абвгдежзийклмнопрстуфхцчшщъыьэюяё"),
    ("sw", ""),
];

/// Whether a text has letters of its script that the language is not written with: more than a foreign name or two.
fn is_foreign(text: &str, language: Language) -> bool {
    let alphabet = ALPHABETS.iter().find(|(code, _)| *code == language.code());
    let Some((_, alphabet)) = alphabet else {
        return false;
    };
    let letters = || {
        text.chars()
            .flat_map(char::to_lowercase)
            .filter(|c| c.is_alphabetic())
    };
    let foreign = letters().filter(|c| {
        matches!(c, '\u{DF}'..='\u{24F}' | '\u{400}'..='\u{52F}' | '\u{1E00}'..='\u{1EFF}')
            && !alphabet.contains(*c)
    });
    let foreign = foreign.count();
    foreign >= 2 && 25 * foreign >= letters().count()
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
    fn other_languages_are_no_neighbours() {
        let detector = Detector::new(None).unwrap();
        for text in [
            "Bagaimana cara membuat roti tanpa oven di rumah?",
            "Hur bakar jag bröd utan ugn hemma?",
            "Como faço pão sem forno em casa?",
            "Evde fırın olmadan nasıl ekmek yaparım?",
            "Jak upiec chleb bez piekarnika w domu?",
            "Hogyan süssek kenyeret sütő nélkül otthon?",
            "Miten leivon leipää ilman uunia kotona?",
            "Kā mājās izcept maizi bez krāsns?",
            "Ngingasibhaka kanjani isinkwa ngaphandle kukahhavini ekhaya?",
            "मैं बिना ओवन के रोटी कैसे बनाऊँ?",
            "मी ओव्हनशिवाय भाकरी कशी बनवू?",
            "Як спекти хліб без духовки вдома?",
            "Как да изпека хляб без фурна у дома?",
            "Би өнөөдөр гэртээ өөрийн гараар талх хийх үү?",
            "چگونه می‌توانم بدون فر در خانه نان بپزم؟",
            "میں گھر پر اوون کے بغیر روٹی کیسے بناؤں؟",
            "איך אני אופה לחם בלי תנור בבית?",
            "அடுப்பு இல்லாமல் ரொட்டி செய்வது எப்படி?",
        ] {
            let found = detector.detect(text).map(|found| found.language);
            assert_eq!(found, None, "{text}");
        }
        // A foreign name is no foreign language.
        let named = detector.detect("Where did the writer José Saramago live as a child?");
        assert_eq!(named.unwrap().language, language("en"));
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
