//! One prompt in several languages, without answers.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::language::Language;
use crate::pair::{Message, Origin, PairProblem};

/// One prompt in two languages or more, the dominant one first. None is empty, and each ends with the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParallelPrompts {
    #[serde(serialize_with = "as_object")]
    prompts: Vec<(Language, Vec<Message>)>,
    /// The row it came from.
    #[serde(skip)]
    pub origin: Origin,
}

impl ParallelPrompts {
    /// Makes the row, with `dominant` first and the others in their order.
    ///
    /// # Errors
    /// Why it is none: a prompt that is empty, or none in `dominant`, or none in another language.
    pub fn new(prompts: Vec<(Language, Vec<Message>)>, dominant: Language, origin: Origin) -> Result<Self, String> {
        for (language, prompt) in &prompts {
            if let Some(problem) = PairProblem::of_prompt(prompt) {
                return Err(format!("{language}: {problem}"));
            }
        }
        if prompts.len() < 2 {
            return Err(IN_ONE_LANGUAGE.into());
        }
        let row = Self { prompts, origin };
        row.led_by(dominant).ok_or_else(|| format!("the prompt is not there in {}", dominant.name()))
    }

    /// The same row with another dominant language; none if it is not there in that.
    pub(crate) fn led_by(mut self, dominant: Language) -> Option<Self> {
        let at = self.prompts.iter().position(|(language, _)| *language == dominant)?;
        self.prompts[..=at].rotate_right(1);
        Some(self)
    }

    /// The prompt by language, the dominant one first.
    pub fn by_language(&self) -> &[(Language, Vec<Message>)] {
        &self.prompts
    }
}

pub(crate) const IN_ONE_LANGUAGE: &str = "the prompt is there in fewer than two languages";

/// As an object, in which a row of a file has them.
fn as_object<S: Serializer>(prompts: &[(Language, Vec<Message>)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(prompts.len()))?;
    for (language, prompt) in prompts {
        map.serialize_entry(language, prompt)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::Position;

    fn row(codes: &str, dominant: &str) -> Result<String, String> {
        let prompts = codes.split(' ').map(|code| {
            let text = if code.ends_with('!') { "" } else { "?" };
            (code.trim_end_matches('!').parse().unwrap(), vec![Message::user(text)])
        });
        let origin = Origin { file: "f".into(), position: Position::Line(1) };
        let row = ParallelPrompts::new(prompts.collect(), dominant.parse().unwrap(), origin)?;
        let codes = row.by_language().iter().map(|(language, _)| language.code());
        Ok(codes.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_dominant_language_comes_first_and_the_others_keep_their_order() {
        assert_eq!(row("en sw bn", "en").unwrap(), "en sw bn");
        assert_eq!(row("sw bn en ar", "en").unwrap(), "en sw bn ar");
        assert_eq!(row("sw bn", "en").unwrap_err(), "the prompt is not there in English");
        assert_eq!(row("en", "en").unwrap_err(), IN_ONE_LANGUAGE);
        assert_eq!(row("en sw!", "en").unwrap_err(), "sw: the prompt is empty");
    }
}
