//! Numbers in few columns.

use crate::table;

/// A number in at most seven columns, as a rule: as many digits as tell something.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        ..0.001 => format!("{value:.1e}"),
        ..10.0 => format!("{value:.3}"),
        ..1000.0 => format!("{value:.1}"),
        ..1e6 => format!("{value:.0}"),
        _ => format!("{value:.1e}"),
    }
}

/// A share; nothing where there is none.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or(String::new(), table::percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_digits_as_tell_something() {
        let shown = [0.0, 3.21e-7, -0.0421, 1.23456, -12.345, 12345.6, 2.5e7].map(short);
        assert_eq!(shown, ["0", "3.2e-7", "-0.042", "1.235", "-12.3", "12346", "2.5e7"]);
        assert_eq!([percent(Some(0.625)), percent(None)], ["62 %", ""]);
    }
}
