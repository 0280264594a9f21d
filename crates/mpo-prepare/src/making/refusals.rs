//! The refusals that rows of a language prefer: what rows of benign prompts are to avoid.

use std::collections::HashMap;

use super::draft::Found;

/// Refusals of rows in a language.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// The model's own, in the dominant language, in the order of the prompts.
    pub(crate) all: Vec<String>,
    /// Those that are in rows of the language, as they are there.
    pub(crate) used: HashMap<String, Found>,
}

impl Refusals {
    /// A refusal that is in rows of the language. Prompts of successive numbers get one after the other from the first, so that
    /// each is as frequent as in so many of the first rows, and one prompt has the same in all languages that have it.
    pub(super) fn of_number(&self, number: usize) -> Option<(&str, &Found)> {
        let (before, from) = self.all.split_at(number % self.all.len().max(1));
        from.iter().chain(before).find_map(|text| Some((&**text, self.used.get(text)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_take_turns_as_often_as_they_are_there() {
        let found = |text: &str| Found::text(text, "data");
        let used = HashMap::from([("I can't.".into(), found("Siwezi.")), ("No.".into(), found("Hapana."))]);
        let refusals = Refusals { all: ["I can't.", "I won't.", "I can't.", "No."].map(String::from).into(), used };
        let turns: Vec<_> = (0..6).map(|number| refusals.of_number(number).unwrap().0).collect();
        // What is in no row of the language gives its turn to the next.
        assert_eq!(turns, ["I can't.", "I can't.", "I can't.", "No.", "I can't.", "I can't."]);
        assert_eq!(refusals.of_number(3).unwrap().1.texts, ["Hapana."]);
        assert!(Refusals::default().of_number(3).is_none());
    }
}
