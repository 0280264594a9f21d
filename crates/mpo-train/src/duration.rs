//! Durations for people: the two largest units, as narrow as they can be read.

use std::time::Duration;

/// Such as `45s`, `12m 03s`, `2h 05m` or `3d 04h`.
pub(crate) fn short(duration: Duration) -> String {
    // Half a second up, so that what is called a minute is one.
    let seconds = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// The same of a number of seconds, which may be none.
pub(crate) fn of_seconds(seconds: f64) -> String {
    short(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_largest_units() {
        let shown = [0.0, 0.5, 45.2, 59.7, 723.0, 7_500.0, 273_600.0].map(of_seconds);
        assert_eq!(shown, ["0s", "1s", "45s", "1m 00s", "12m 03s", "2h 05m", "3d 04h"]);
        assert_eq!([f64::NAN, -1.0].map(of_seconds), ["0s", "0s"]);
    }
}
