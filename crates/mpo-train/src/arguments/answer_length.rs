//! The longest answer that a model may give.

use super::positive;

/// The value of an argument in tokens. Room for an answer is taken before it is begun, so a typo cannot ask for more than
/// there is.
pub(crate) fn answer_length(text: &str) -> Result<usize, String> {
    const MOST: usize = 1_000_000;
    match positive(text)? {
        tokens if tokens > MOST => Err(format!("expected at most {MOST} tokens, got {tokens}")),
        tokens => Ok(tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_length_that_there_is_room_for() {
        assert_eq!(answer_length("1"), Ok(1));
        assert_eq!(answer_length("1000000"), Ok(1_000_000));
        for length in ["1000001", "18446744073709551615"] {
            let error = answer_length(length).unwrap_err();
            assert!(error.contains("expected at most 1000000 tokens"), "{error}");
        }
    }
}
