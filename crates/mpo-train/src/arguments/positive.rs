//! Counts of which there is at least one.

/// The value of an argument that may not be 0.
pub(crate) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1, got 0".into()),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("expected a number, got {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_at_least_one() {
        assert_eq!(positive("1"), Ok(1));
        assert!(positive("0").unwrap_err().contains("at least 1"));
        assert!(positive("-1").unwrap_err().contains("got -1"));
    }
}
