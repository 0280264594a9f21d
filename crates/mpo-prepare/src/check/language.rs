//! A text is in the language that it should be in, as far as detection can tell.

use mpo_data::{AnswerLanguage, Detector, Language};

use super::Problem;
use crate::dropped::Reason;

/// Below this a detector's opinion counts for nothing: short texts look like many languages.
const SURE: f64 = 0.8;

/// What a text is in that should be told and is not.
const IN_NONE: &str = "in none that can be told";

/// Letters of a text that detection tells the language of, if it is one that it knows.
const ENOUGH: usize = 40;

/// Fails for a text in another language, and for one that is long enough to be told and is not.
pub(super) fn check(detector: &Detector, language: Language, text: &str) -> Result<(), Problem> {
    if let Some(found) = other(detector, language, text) {
        return Err((Reason::OtherLanguage, format!("in {}", found.name())));
    }
    if is_in_none(detector, language, text) {
        return Err((Reason::OtherLanguage, IN_NONE.into()));
    }
    Ok(())
}

/// Fails for an answer in another language than its question, as evaluations tell it, and for one that is long enough to be
/// told and is not.
pub(super) fn check_answer(detector: &Detector, language: Language, asked: &str, text: &str) -> Result<(), Problem> {
    let told = AnswerLanguage::of(detector, language, asked, text);
    let detail = match (told.other(), told) {
        (Some(other), _) => format!("in {other}"),
        (None, AnswerLanguage::Undecided) if is_in_none(detector, language, text) => IN_NONE.into(),
        _ => return Ok(()),
    };
    Err((Reason::AnsweredInAnotherLanguage, detail))
}

/// Whether a text has enough letters to be told, and is in no language that detection knows.
fn is_in_none(detector: &Detector, language: Language, text: &str) -> bool {
    let letters = text.chars().filter(|character| character.is_alphabetic()).count();
    detector.knows(language) && letters >= ENOUGH && detector.detect(text).is_none()
}

/// The other language that a text is surely in.
pub(super) fn other(detector: &Detector, language: Language, text: &str) -> Option<Language> {
    let found = detector.detect(text).filter(|_| detector.knows(language))?;
    (found.language != language && found.confidence >= SURE).then_some(found.language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_another_language_is_found_out() {
        let detector = Detector::new(None).unwrap();
        let checked = |code: &str, text| check(&detector, code.parse().unwrap(), text).map_err(|(_, detail)| detail);
        assert_eq!(checked("sw", "Samahani, siwezi kukusaidia na ombi hilo."), Ok(()));
        assert_eq!(checked("zh", "对不起，我不能帮忙。"), Ok(()));
        assert_eq!(checked("sw", "I am sorry, but I cannot help you with that."), Err("in English".into()));
        assert_eq!(checked("ko", "申し訳ありませんが、お手伝いできません。"), Err("in Japanese".into()));
        let babble = "Kxqu wvrtz bnnpl qqkrw zzxvt plmnk wqrrt xxvbn kkplq wrtzz";
        assert_eq!(checked("sw", babble), Err("in none that can be told".into()));
        let answered = |code: &str, asked, text| check_answer(&detector, code.parse().unwrap(), asked, text);
        let other = |detail: &str| Err((Reason::AnsweredInAnotherLanguage, detail.to_owned()));
        let asked = "Ninawezaje kuoka mkate bila kutumia tanuri nyumbani kwangu?";
        // Its own words decide, and not the question that it says again.
        let english = "I'm sorry, but I can't assist with that request.";
        let again = format!("{asked}\n\n{english}");
        assert_eq!(answered("sw", asked, &again), other("in English"));
        assert_eq!(answered("sw", asked, babble), other("in none that can be told"));
        assert_eq!(answered("sw", asked, "Weka unga kwenye sufuria, kisha uipike polepole kwa saa moja."), Ok(()));
        // What detection does not know is not checked.
        assert_eq!(answered("ha", asked, english), Ok(()));
        assert_eq!(checked("ha", "I am sorry, but I cannot help you with that."), Ok(()));
    }
}
