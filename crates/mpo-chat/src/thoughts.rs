//! Thoughts that a model writes before its answer, between `<think>` and `</think>`.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// What stands behind a complete block of thoughts that a text begins with; none where they have not come to an end.
/// `may_be_open` says whether the prompt may have opened them, and `is_open` that it has.
pub(super) fn answer(text: &str, may_be_open: bool, is_open: bool) -> Option<&str> {
    let begins = |text: &str| text.trim_start().starts_with(OPEN);
    match text.split_once(CLOSE) {
        Some((thoughts, answer)) if may_be_open || begins(thoughts) => Some(answer.trim_start()),
        _ if is_open || begins(text) => None,
        _ => Some(text),
    }
}

/// Whether a prompt ends where thoughts begin.
pub(super) fn opens(prompt: &str) -> bool {
    prompt.trim_end().ends_with(OPEN)
}

/// Whether a template may open thoughts.
pub(super) fn may_open(template: &str) -> bool {
    template.contains(OPEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_no_part_of_an_answer() {
        for (text, may_be_open, is_open, expected) in [
            ("<think>\nHm.\n</think>\n\nBoil it.", false, false, Some("Boil it.")),
            ("Hm.</think>Boil it.", true, true, Some("Boil it.")),
            ("Write </think> to close.", false, false, Some("Write </think> to close.")),
            ("<think>\nHm", true, false, None),
            (" <think>\nBoil it.", false, false, None),
            ("Boil it, or not", true, true, None),
            ("Boil it.", true, false, Some("Boil it.")),
            ("To think: <think>", true, false, Some("To think: <think>")),
        ] {
            assert_eq!(answer(text, may_be_open, is_open), expected, "{text}");
        }
        assert!(opens("<|assistant|>\n<think>\n") && !opens("<think>\n\n</think>\n\n"));
    }
}
