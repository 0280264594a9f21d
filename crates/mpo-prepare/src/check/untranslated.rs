//! A translation is not its source.

use super::Problem;
use crate::dropped::Reason;

/// Fails where a translation says what its source says, but for letters' case, signs and spaces. A text without letters,
/// such as a number, has no other translation.
pub(super) fn check(source: &str, text: &str) -> Result<(), Problem> {
    let bare = bare(source);
    if !bare.is_empty() && bare == self::bare(text) {
        return Err((Reason::Untranslated, "the same as its source".into()));
    }
    Ok(())
}

fn bare(text: &str) -> String {
    text.chars().filter(|character| character.is_alphabetic()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_the_same_is_no_translation() {
        assert!(check("I can't help.", " i CAN’T help").is_err());
        assert!(check("I can't help.", "Siwezi kusaidia.").is_ok());
        assert!(check("42 + 17 = 59", "42 + 17 = 59").is_ok());
    }
}
