//! An answer is not its question: small models say back what they do not understand.

use super::Problem;
use super::chrf::chrf;
use crate::dropped::Reason;

/// As alike as this, by chrF, an answer is its question with a few letters more or less.
const ALIKE: f64 = 0.8;

/// Fails where an answer says what it was asked.
pub(super) fn check(asked: &str, answer: &str) -> Result<(), Problem> {
    let score = chrf(answer, asked);
    if score < ALIKE { Ok(()) } else { Err((Reason::SaidBack, format!("chrF {score:.2} with the prompt"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_is_said_back_is_no_answer() {
        let asked = "Ninawezaje kufunga programu iliyokwama kwenye kompyuta yangu?";
        for answer in [
            "Ninawezaje kufunga programu iliyokwama kwenye kompyuta yangu.",
            "Ninawezaje kufunga programu iliyokwama kwenye kompyuta yangu isiwa kwenye kompyuta yangu.",
        ] {
            assert!(check(asked, answer).is_err(), "{answer}");
        }
        assert_eq!(check(asked, "Fungua orodha ya programu kwenye kompyuta yako, kisha uifunge iliyokwama."), Ok(()));
        // What takes up the words of a short question may be an answer to it.
        assert_eq!(check("What is seven times eight?", "Seven times eight is 56."), Ok(()));
        assert_eq!(check("칠 곱하기 팔은 얼마인가요?", "칠 곱하기 팔은 오십육입니다."), Ok(()));
    }
}
