//! Marks inside a number: which are decimal, which group thousands, and which belong to the text around it.

use mpo_data::Language;

/// Digits with marks between them, read as one number.
pub(super) struct Run {
    pub(super) value: String,
    /// What it is to an English reader, where that is another number.
    pub(super) in_english: Option<String>,
    /// Where the number begins: a list such as 1,2,3 is read to its end and is its last member.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What stands between two digits of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mark {
    Comma,
    Point,
    /// Decimal or grouping in every language.
    ArabicPoint,
    Group,
    /// A plain space groups thousands in some languages; it must have three digits behind it.
    Space,
}

fn mark(character: char) -> Option<Mark> {
    Some(match character {
        ',' => Mark::Comma,
        '.' | '．' => Mark::Point,
        '٫' => Mark::ArabicPoint,
        '٬' | '，' | '،' => Mark::Group,
        // Swiss apostrophes and the spaces of typographers.
        '\'' | '’' | 'ʼ' | '\u{00A0}' | '\u{202F}' | '\u{2007}' | '\u{2009}' => Mark::Space,
        ' ' => Mark::Space,
        _ => return None,
    })
}

/// Languages that write 3,14. Others write 3.14.
fn has_decimal_comma(language: Option<Language>) -> bool {
    const CODES: &str = "af az be bg bs ca cs da de el es et eu fi fr gl hr hu hy id is it ka kk ky lt lv mk nb nl nn no \
                         pl pt ro ru sk sl sq sr sv tr uk uz vi";
    language.is_some_and(|language| CODES.split(' ').any(|code| code == language.code()))
}

/// Languages that write 80 000 with a plain space.
fn groups_by_space(language: Option<Language>) -> bool {
    const CODES: &str = "af be bg ca cs da de es et fi fr hr hu it kk ky lt lv nb nl nn no pl pt ru sk sl sr sv uk uz";
    language.is_some_and(|language| CODES.split(' ').any(|code| code == language.code()))
}

/// The number whose first digit is at `start`.
pub(super) fn run(characters: &[char], start: usize, language: Option<Language>) -> Run {
    let digits = |from: usize| {
        let rest = &characters[from..];
        from + rest.iter().take_while(|one| one.is_ascii_digit()).count()
    };
    let mut end = digits(start);
    // Groups of digits, and the mark before each but the first.
    let mut groups: Vec<(usize, usize)> = vec![(start, end)];
    let mut marks: Vec<Mark> = vec![];
    while let Some(&character) = characters.get(end) {
        let Some(mark) = mark(character) else { break };
        let after = digits(end + 1);
        if after == end + 1 {
            break;
        }
        if mark == Mark::Space {
            // Only such as can be nothing else: 80 000, but neither 5 100 kg in English nor 2019 500.
            let joins = (character != ' ' || groups_by_space(language))
                && after - (end + 1) == 3
                && marks.iter().all(|before| *before == Mark::Space)
                && groups[0].1 - groups[0].0 <= 3;
            if !joins {
                break;
            }
        }
        marks.push(mark);
        groups.push((end + 1, after));
        end = after;
    }
    let texts: Vec<String> = groups.iter().map(|&(from, to)| characters[from..to].iter().collect()).collect();
    let comma = has_decimal_comma(language);
    let Some((value, in_english)) = read(&texts, &marks, comma) else {
        // A list or a date: its last member.
        let (start, end) = groups[groups.len() - 1];
        return Run { value: trimmed(&texts[texts.len() - 1], ""), in_english: None, start, end };
    };
    let is_fraction =
        |at: usize| at.checked_sub(2).is_none_or(|at| !characters[at].is_alphanumeric() && characters[at] != '.');
    // $.50
    if marks.is_empty() && start > 0 && characters[start - 1] == '.' && is_fraction(start) {
        return Run { value: trimmed("0", &texts[0]), in_english: None, start: start - 1, end };
    }
    Run { value, in_english, start, end }
}

/// The number that groups of digits with marks between them are, and what it is to an English reader if that is another;
/// none if they are several numbers.
fn read(groups: &[String], marks: &[Mark], comma: bool) -> Option<(String, Option<String>)> {
    let whole = |groups: &[String]| trimmed(&groups.concat(), "");
    let Some((&last, before)) = marks.split_last() else {
        return Some((whole(groups), None));
    };
    let (front, decimals) = (&groups[..groups.len() - 1], &groups[groups.len() - 1]);
    let decimal = || trimmed(&front.concat(), decimals);
    let are_groups = grouped(groups);
    if before.contains(&last) || before.is_empty() && matches!(last, Mark::Group | Mark::Space) {
        let all_same = marks.iter().all(|mark| *mark == last);
        return (all_same && are_groups && last != Mark::ArabicPoint).then(|| (whole(groups), None));
    }
    if !before.is_empty() {
        // 1.234,50: the last mark is decimal, those before it group.
        let all_same = before.iter().all(|mark| *mark == before[0]);
        let is_decimal = matches!(last, Mark::Comma | Mark::Point | Mark::ArabicPoint);
        return (all_same && is_decimal && grouped(front)).then(|| (decimal(), None));
    }
    let may_group = are_groups && !groups[0].starts_with('0');
    Some(match last {
        Mark::Point if comma && may_group => (whole(groups), None),
        Mark::Comma if comma && may_group => (decimal(), Some(whole(groups))),
        Mark::Comma if may_group => (whole(groups), None),
        _ => (decimal(), None),
    })
}

/// Whether groups of digits are such as marks separate: three in each but the first; or, as in India, two in each but the
/// first and the last.
fn grouped(groups: &[String]) -> bool {
    let [first, inner @ .., last] = groups else {
        return groups.len() == 1;
    };
    let inner_are = |length: usize| inner.iter().all(|group| group.len() == length);
    last.len() == 3 && (first.len() <= 3 && inner_are(3) || first.len() <= 2 && inner_are(2))
}

/// A number without needless zeros.
fn trimmed(whole: &str, decimals: &str) -> String {
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    match decimals.trim_end_matches('0') {
        "" => whole.to_owned(),
        decimals => format!("{whole}.{decimals}"),
    }
}

/// A number times ten to the power of `places`.
pub(super) fn shifted(number: &str, places: usize) -> String {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let cut = decimals.len().min(places);
    let zeros = "0".repeat(places - cut);
    trimmed(&format!("{whole}{}{zeros}", &decimals[..cut]), &decimals[cut..])
}

/// The sum of two whole numbers; none if a sum of primary school has no such number.
pub(super) fn sum(a: &str, b: &str) -> Option<String> {
    let sum = a.parse::<u128>().ok()?.checked_add(b.parse().ok()?)?;
    Some(sum.to_string())
}
