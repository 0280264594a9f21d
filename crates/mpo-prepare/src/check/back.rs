//! A translation that is translated back says what its source says.

use super::Problem;
use super::chrf::chrf;
use crate::dropped::Reason;

/// How alike a source and the translation back are; fails below `least`.
pub(crate) fn says_the_same(source: &str, back: &str, least: f64) -> Result<f64, Problem> {
    let score = chrf(back, source);
    if score >= least {
        return Ok(score);
    }
    Err((Reason::BackTranslation, format!("chrF {score:.2} with its source; translated back: {back}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_otherwise_is_found_out() {
        let source = "I cannot help with that.";
        assert!(says_the_same(source, "I cannot help you with this.", 0.5).unwrap() < 1.0);
        let (reason, detail) = says_the_same(source, "The weather is nice today.", 0.5).unwrap_err();
        assert_eq!(reason, Reason::BackTranslation);
        assert!(detail.contains("weather"), "{detail}");
    }
}
