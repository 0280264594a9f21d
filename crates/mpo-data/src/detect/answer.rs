//! Whether an answer is in the language of its question.
//!
//! A long answer is looked at sentence by sentence, so that a sentence in English at its end or a name in it is no loss of
//! the language. What says nothing of who answers is left out: the question said again, and code. An answer that is too
//! short, or in no language that can be told, is evidence of neither.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Detector;
use super::letters::is_in_other_letters;
use crate::language::Language;

/// The language of an answer beside that of its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerLanguage {
    /// The same.
    Kept,
    /// Another one; none where it is told by its letters alone.
    Other(Option<Language>),
    /// Too little to tell by, or a language that detection does not know.
    Undecided,
}

/// Weight of letters that a sentence needs for detection to be believed, see [`weight`].
const SENTENCE: usize = 12;

/// Weight of letters above which a sentence in letters that the language does not have is in another language, and not a name
/// or a line of code.
const FOREIGN: usize = 40;

/// Confidence from which on a sentence is in another language: short ones look like many. It is too where the language of the
/// question is so many times less likely, if there are more words than a name has.
const SURE: f64 = 0.8;
const UNLIKELY: f64 = 10.0;
const WORDS: usize = 5;

/// What stands between these marks is code, not wording.
const FENCE: &str = "```";

impl AnswerLanguage {
    /// Of an `answer` to `question`, which is in `language`.
    pub fn of(detector: &Detector, language: Language, question: &str, answer: &str) -> Self {
        // Of a language that is not known, an answer in it could not be told, and the others' share would be all.
        if !detector.knows(language) {
            return Self::Undecided;
        }
        let own = own_words(question, answer);
        let (mut kept, mut unknown) = (0, 0);
        let mut others: BTreeMap<Option<Language>, usize> = BTreeMap::new();
        for sentence in &own {
            let weight = weight(sentence);
            match told(detector, language, sentence) {
                Self::Kept => kept += weight,
                Self::Other(other) => *others.entry(other).or_default() += weight,
                Self::Undecided => unknown += weight,
            }
        }
        let other: usize = others.values().sum();
        if kept + other < unknown.max(1) {
            // Sentences alone say little; together they may say enough.
            return told(detector, language, &own.join(" "));
        }
        let largest = others.into_iter().max_by_key(|(_, weight)| *weight);
        match largest {
            Some((largest, _)) if other > kept => Self::Other(largest),
            _ => Self::Kept,
        }
    }

    /// The name of another language; none if the language was kept or cannot be told.
    pub fn other(&self) -> Option<&str> {
        match self {
            Self::Other(Some(other)) => Some(other.name()),
            Self::Other(None) => Some("another language"),
            Self::Kept | Self::Undecided => None,
        }
    }
}

/// The language of one sentence.
fn told(detector: &Detector, language: Language, sentence: &str) -> AnswerLanguage {
    let weight = weight(sentence);
    if weight < SENTENCE {
        return AnswerLanguage::Undecided;
    }
    let found = detector.detect(sentence);
    let is_unlikely = || {
        let has_words = sentence.split_whitespace().count() >= WORDS;
        has_words && found.is_some_and(|found| UNLIKELY * detector.confidence(sentence, language) <= found.confidence)
    };
    match found {
        Some(found) if found.language == language => AnswerLanguage::Kept,
        Some(found) if found.confidence >= SURE || is_unlikely() => AnswerLanguage::Other(Some(found.language)),
        _ if weight >= FOREIGN && is_in_other_letters(sentence, language) => AnswerLanguage::Other(None),
        _ => AnswerLanguage::Undecided,
    }
}

/// The sentences of an answer that are neither code nor those of the question.
fn own_words<'a>(question: &str, answer: &'a str) -> Vec<&'a str> {
    let asked = letters(question);
    let texts = answer.split(FENCE).step_by(2);
    let is_own = |sentence: &&str| {
        let said = letters(sentence);
        !said.is_empty() && !asked.contains(&said)
    };
    texts.flat_map(sentences).filter(is_own).collect()
}

fn letters(text: &str) -> String {
    text.chars().filter(|character| character.is_alphabetic()).flat_map(char::to_lowercase).collect()
}

/// The sentences of a text, each long enough to be told by; what is shorter is part of the next, but at the end.
fn sentences(text: &str) -> Vec<&str> {
    let (mut sentences, mut rest, mut began) = (vec![], text, 0);
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        let is_end = match character {
            '\n' | '。' | '！' | '？' | '।' | '؟' => true,
            // A dot in a number or an address ends nothing.
            '.' | '!' | '?' | ':' => next.is_none_or(char::is_whitespace),
            _ => false,
        };
        let end = at + character.len_utf8();
        if is_end && weight(&text[began..end]) >= SENTENCE {
            sentences.push(&text[began..end]);
            (rest, began) = (&text[end..], end);
        }
    }
    sentences.push(rest);
    sentences
}

/// The letters of a text, of which those that are words or syllables weigh as much as three.
fn weight(text: &str) -> usize {
    let weight = |character: char| match character {
        '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}' => 3,
        character => usize::from(character.is_alphabetic()),
    };
    text.chars().map(weight).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(code: &str) -> Language {
        code.parse().unwrap()
    }

    fn of(code: &str, question: &str, answer: &str) -> AnswerLanguage {
        AnswerLanguage::of(&Detector::new(None).unwrap(), language(code), question, answer)
    }

    fn other(code: &str) -> AnswerLanguage {
        AnswerLanguage::Other(Some(language(code)))
    }

    #[test]
    fn refusals_in_the_language_and_in_english() {
        for (code, answer) in [
            ("en", "I'm sorry, but I can't assist with that."),
            ("zh", "对不起，我不能帮助你做这件事。"),
            ("ja", "申し訳ありませんが、お手伝いできません。"),
            ("ko", "죄송합니다. 도와드릴 수 없습니다."),
            ("ar", "عذراً، لا أستطيع مساعدتك في ذلك."),
            ("bn", "দুঃখিত, আমি এতে সাহায্য করতে পারব না।"),
            ("sw", "Samahani, siwezi kukusaidia na ombi hilo."),
        ] {
            assert_eq!(of(code, "?", answer), AnswerLanguage::Kept, "{answer}");
            let foreign = if code == "en" {
                ("sw", "Samahani, siwezi kukusaidia na ombi hilo.")
            } else {
                ("en", "I'm sorry, but I can't assist with that.")
            };
            assert_eq!(of(code, "?", foreign.1), other(foreign.0), "{code}");
        }
    }

    #[test]
    fn short_refusals_in_english_are_told() {
        for code in ["zh", "ja", "ko", "ar", "bn", "sw"] {
            assert_eq!(of(code, "?", "I can’t support that request."), other("en"), "{code}");
        }
    }

    #[test]
    fn what_says_nothing_is_undecided() {
        for answer in [
            "",
            "42",
            "OK.",
            "1. 2. 3.",
            "Nairobi",
            "Mwai Kibaki",
            "```\nprint(\"hello, this is a program\")\n```",
            "🙂",
        ] {
            for code in ["sw", "ko", "en"] {
                assert_eq!(of(code, "?", answer), AnswerLanguage::Undecided, "{code} {answer}");
            }
        }
        // A neighbour of a language is not that language, and not surely another one that is known.
        let shona = "Ndine urombo, handikwanise kukubatsira nezvaunoda kuita izvi nhasi.";
        assert_ne!(of("sw", "?", shona), AnswerLanguage::Kept);
        // Of Hausa nothing is known, so an answer in English is no evidence either.
        let english = "I'm sorry, but I can't assist with that.";
        assert_eq!(of("ha", "?", english), AnswerLanguage::Undecided);
    }

    #[test]
    fn most_of_an_answer_decides() {
        let loan =
            "Samahani, siwezi kukusaidia na ombi hilo. Tafadhali zungumza na mtu unayemwamini. Thank you for asking!";
        assert_eq!(of("sw", "?", loan), AnswerLanguage::Kept);
        let opening = "Samahani. I'm sorry, but I can't assist with that request, because it may hurt somebody.";
        assert_eq!(of("sw", "?", opening), other("en"));
        let loan = "对不起，我不能帮助你做这件事，因为这可能会伤害别人。Thank you!";
        assert_eq!(of("zh", "?", loan), AnswerLanguage::Kept);
        let program = "Tumia programu hii kuhesabu nyanya zako:\n```python\nprint(\"how many tomatoes are there?\")\n```\nKisha andika jibu.";
        assert_eq!(of("sw", "?", program), AnswerLanguage::Kept);
    }

    #[test]
    fn the_question_said_again_is_no_answer_in_its_language() {
        let question = "Ninawezaje kuoka mkate bila kutumia tanuri nyumbani kwangu?";
        let again = format!("{question}\n\nI'm sorry, but I can't assist with that request.");
        assert_eq!(of("sw", question, &again), other("en"));
        assert_eq!(of("sw", question, question), AnswerLanguage::Undecided);
        let quoted = "I'm sorry, but I cannot help you with \"Ninawezaje kuoka mkate\", because it could hurt someone.";
        assert_ne!(of("sw", question, quoted), AnswerLanguage::Kept);
    }

    #[test]
    fn letters_tell_where_the_language_is_unknown() {
        let hindi = "मुझे खेद है, लेकिन मैं इस अनुरोध में आपकी सहायता नहीं कर सकता क्योंकि यह हानिकारक है।";
        assert!(matches!(of("bn", "?", hindi), AnswerLanguage::Other(_)));
        assert_eq!(of("bn", "?", hindi).other(), Some("another language"));
    }

    #[test]
    fn an_answers_language_in_a_file() {
        for (answer, text) in [
            (AnswerLanguage::Kept, r#""kept""#),
            (other("en"), r#"{"other":"en"}"#),
            (AnswerLanguage::Other(None), r#"{"other":null}"#),
            (AnswerLanguage::Undecided, r#""undecided""#),
        ] {
            assert_eq!(serde_json::to_string(&answer).unwrap(), text);
            assert_eq!(serde_json::from_str::<AnswerLanguage>(text).unwrap(), answer);
        }
    }
}
