//! A text is in the language that it should be in, as far as detection can tell.

use mpo_data::{Detector, Language};

use super::Problem;
use crate::dropped::Reason;

/// Below this a detector's opinion counts for nothing: short texts look like many languages.
const SURE: f64 = 0.8;

/// Letters of a text that detection tells the language of, if it is one that it knows.
const ENOUGH: usize = 40;

/// Fails for a text in another language, and for one that is long enough to be told and is not.
pub(super) fn check(detector: &Detector, language: Language, text: &str) -> Result<(), Problem> {
    if let Some(found) = other(detector, language, text) {
        return Err((Reason::OtherLanguage, format!("in {}", found.name())));
    }
    let letters = text.chars().filter(|character| character.is_alphabetic()).count();
    if detector.knows(language) && letters >= ENOUGH && detector.detect(text).is_none() {
        return Err((Reason::OtherLanguage, "in none that can be told".into()));
    }
    Ok(())
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
        // What detection does not know is not checked.
        assert_eq!(checked("ha", "I am sorry, but I cannot help you with that."), Ok(()));
    }
}
