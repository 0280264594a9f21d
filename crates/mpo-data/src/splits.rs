//! The names of splits, by the words that Python's `datasets` knows them by.

const WORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "val", "dev"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

/// The split that a word is a name of: `test` of `eval`.
pub(crate) fn of_word(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    let split = WORDS.iter().find(|(_, words)| words.contains(&&*word));
    split.map(|(split, _)| *split)
}

/// Whether a name is that of a split, or begins with it as `train_prefs` does.
pub(crate) fn begins(name: &str) -> bool {
    let word = name.split(['_', '-', '.']).next();
    word.and_then(of_word).is_some()
}

/// The split that a name has as one of its words: `test` of `rows_test`. Of several it is the one that is not for training:
/// what is left out of training does no harm.
pub(crate) fn within(name: &str) -> Option<&'static str> {
    let words = name.split(|c: char| "-._ ".contains(c) || c.is_ascii_digit());
    words.filter_map(of_word).max_by_key(|split| *split != "train")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_a_word_of_a_name() {
        for (name, expected) in [
            ("rows_test", Some("test")),
            ("a-Valid", Some("validation")),
            ("my.train.v1", Some("train")),
            ("train2", Some("train")),
            ("en_training_rows", Some("train")),
            ("held out eval", Some("test")),
            ("train_dev", Some("validation")),
            ("restraint", None),
            ("contest_rows", None),
            ("", None),
        ] {
            assert_eq!(within(name), expected, "{name}");
        }
        assert!(begins("train_prefs") && !begins("prefs_train"));
    }
}
