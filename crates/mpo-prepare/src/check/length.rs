//! A translation is about as long as its source lets expect.

use mpo_data::Language;

use super::Problem;
use crate::dropped::Reason;
use crate::translate::Direction;

/// Characters that a text takes for each of the same in English, roughly; 1 for languages that are not here.
const CHARACTERS: [(&str, f64); 6] = [("zh", 0.3), ("ja", 0.5), ("ko", 0.5), ("ar", 0.8), ("bn", 1.1), ("sw", 1.1)];

/// Characters that are added to both before they are compared: a text of a word or two may be twice as long as another.
const SHORT: f64 = 10.0;

/// Fails for a translation that is more than `ratio` times longer or shorter than expected.
pub(super) fn check(direction: Direction, source: &str, text: &str, ratio: f64) -> Result<(), Problem> {
    let length = |text: &str| text.trim().chars().count() as f64;
    let expected = length(source) * characters(direction.to) / characters(direction.from);
    let found = (length(text) + SHORT) / (expected + SHORT);
    if (1.0 / ratio..=ratio).contains(&found) {
        return Ok(());
    }
    Err((Reason::Length, format!("{found:.2} times as long as expected")))
}

fn characters(language: Language) -> f64 {
    CHARACTERS.iter().find(|(code, _)| *code == language.code()).map_or(1.0, |(_, characters)| *characters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_compared_as_languages_write() {
        let english = "I cannot help you with that request, because it is not safe for other people.";
        let checked = |to: &str, text: &str| {
            let direction = Direction { from: "en".parse().unwrap(), to: to.parse().unwrap() };
            check(direction, english, text, 2.5).map_err(|(_, detail)| detail)
        };
        assert_eq!(checked("zh", "我不能帮你做这件事，因为这对别人不安全。"), Ok(()));
        let swahili = "Siwezi kukusaidia na ombi hilo, kwa sababu si salama kwa watu wengine.";
        assert_eq!(checked("sw", swahili), Ok(()));
        // (6 + 10) / (77 * 1.1 + 10)
        assert_eq!(checked("sw", "Hapana"), Err("0.17 times as long as expected".into()));
        assert!(checked("sw", &swahili.repeat(5)).is_err());
    }
}
