//! `c · tanh(z / c)` on logits (Gemma 2), and its derivative.

pub(crate) mod composition;
#[cfg(feature = "cube")]
pub(crate) mod cube;
#[cfg(feature = "flex")]
pub(crate) mod native;

/// Panics unless the cap is one that logits can be brought under.
pub(crate) fn assert_softcap(operation: &str, softcap: Option<f64>) {
    assert!(
        softcap.is_none_or(|cap| cap.is_finite() && cap > 0.0),
        "{operation}: expected a soft-cap above zero, got {softcap:?}"
    );
}
