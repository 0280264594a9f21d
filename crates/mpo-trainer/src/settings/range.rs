//! What a number may be.

/// The values that a setting may have.
pub(super) struct Range<T> {
    /// In words, such as `a number above 0`.
    pub(super) expected: &'static str,
    pub(super) holds: fn(&T) -> bool,
}

/// Whole numbers from 1.
pub(super) const fn at_least_1<T: PartialOrd + From<u8>>() -> Range<T> {
    Range { expected: "at least 1", holds: |number| *number >= T::from(1) }
}

/// Numbers above 0 and up to 1.
pub(super) const UP_TO_1: Range<f64> =
    Range { expected: "a number above 0 and up to 1", holds: |number| *number > 0.0 && *number <= 1.0 };

/// Numbers from 0 to below 1.
pub(super) const FRACTION: Range<f64> =
    Range { expected: "a number from 0 to below 1", holds: |number| (0.0..1.0).contains(number) };

/// Numbers of passes over the rows; what a run is planned by goes through all of them.
pub(super) const PASSES: Range<f64> =
    Range { expected: "a number above 0 and up to 1000000", holds: |number| *number > 0.0 && *number <= 1e6 };

/// Numbers above 0 and up to a half.
pub(super) const SHARE: Range<f64> =
    Range { expected: "a number above 0 and up to 0.5", holds: |number| *number > 0.0 && *number <= 0.5 };

/// Numbers of at least 0.
pub(super) const NOT_NEGATIVE: Range<f64> =
    Range { expected: "a number of at least 0", holds: |number| number.is_finite() && *number >= 0.0 };

/// Numbers above 0.
pub(super) const POSITIVE: Range<f64> =
    Range { expected: "a positive number", holds: |number| number.is_finite() && *number > 0.0 };
