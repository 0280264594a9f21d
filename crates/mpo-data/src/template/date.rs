//! The date that a template is given.

/// The date of "now". Two runs of one configuration must see the same prompts, so it is always the day that the LLaMA
/// templates fall back to: Friday, 26 July 2024, at midnight, UTC.
pub(super) fn strftime_now(format: &str) -> Result<String, String> {
    let mut date = String::new();
    let mut rest = format.chars().peekable();
    while let Some(next) = rest.next() {
        if next != '%' {
            date.push(next);
            continue;
        }
        let flag = rest.next_if(|next| matches!(next, '-' | '_' | '0' | '^' | '#'));
        let field = rest.next();
        let written = match field.and_then(field_of) {
            Some(written) => written,
            None => {
                let got = flag.into_iter().chain(field).collect::<String>();
                return Err(format!("strftime_now: expected a date field that is known, got `%{got}`"));
            }
        };
        match flag {
            Some('-') => date.push_str(unpadded(written)),
            Some('_') => {
                let number = unpadded(written);
                date.push_str(&" ".repeat(written.len() - number.len()));
                date.push_str(number);
            }
            Some('^') => date.push_str(&written.to_uppercase()),
            _ => date.push_str(written),
        }
    }
    Ok(date)
}

fn field_of(field: char) -> Option<&'static str> {
    Some(match field {
        'Y' | 'G' => "2024",
        'C' => "20",
        'y' | 'g' => "24",
        'm' => "07",
        'd' | 'e' => "26",
        'B' => "July",
        'b' | 'h' => "Jul",
        'A' => "Friday",
        'a' => "Fri",
        'u' | 'w' => "5",
        'j' => "208",
        'U' => "29",
        'V' | 'W' => "30",
        'F' => "2024-07-26",
        'D' | 'x' => "07/26/24",
        'T' | 'X' => "00:00:00",
        'R' => "00:00",
        'r' => "12:00:00 AM",
        'c' => "Fri Jul 26 00:00:00 2024",
        'H' | 'M' | 'S' => "00",
        'k' => " 0",
        'I' | 'l' => "12",
        'p' => "AM",
        'P' => "am",
        'f' => "000000",
        's' => "1721952000",
        // Python's `datetime.now()` knows no time zone.
        'z' | 'Z' => "",
        'n' => "\n",
        't' => "\t",
        '%' => "%",
        _ => return None,
    })
}

/// A number without the zeros before it.
fn unpadded(number: &str) -> &str {
    match number.trim_start_matches(['0', ' ']) {
        "" if !number.is_empty() => "0",
        trimmed if number.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ') => trimmed,
        _ => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_python_writes_them() {
        for (format, expected) in [
            ("%d %b %Y", "26 Jul 2024"),
            ("%-d %B %Y, %H:%M", "26 July 2024, 00:00"),
            ("%-m/%-d/%y %-H %-M", "7/26/24 0 0"),
            ("%A, %I %p, day %j, week %W, %u", "Friday, 12 AM, day 208, week 30, 5"),
            ("%_m %^a %% %c", " 7 FRI % Fri Jul 26 00:00:00 2024"),
            ("", ""),
        ] {
            assert_eq!(strftime_now(format).unwrap(), expected);
        }
        for bad in ["%Q", "%", "%-"] {
            assert!(strftime_now(bad).unwrap_err().contains(bad), "{bad}");
        }
    }
}
