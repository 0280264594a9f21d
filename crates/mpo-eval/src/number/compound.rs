//! Numbers of several parts: 3万5千, 1 million 200 thousand, laki 1 na elfu 20.

use mpo_data::Language;

use super::counting;
use super::marks::{self, Run};

/// What may join two parts that have units.
const JOINERS: &[(&str, &str)] = &[
    ("en", "and"),
    ("de", "und"),
    ("es", "y"),
    ("fr", "et"),
    ("ru", "и"),
    ("bn", "ও"),
    ("bn", "এবং"),
    ("hi", "और"),
    ("te", "మరియు"),
    ("th", "และ"),
    ("ar", "و"),
    ("sw", "na"),
];

/// Digits, and the units behind or before them.
pub(super) struct Term {
    pub(super) run: Run,
    pub(super) units: Vec<usize>,
    pub(super) end: usize,
}

/// The digits at `start`, with their units.
pub(super) fn term(characters: &[char], start: usize, language: Option<Language>) -> Term {
    let run = marks::run(characters, start, language);
    let (mut units, end) = counting::units(characters, run.end, language);
    if units.is_empty() {
        units.extend(counting::unit_before(characters, run.start, language));
    }
    let end = end.max(run.end);
    Term { run, units, end }
}

/// The sum of a term with units and of the smaller ones right behind it, and where they end; none if no other is.
pub(super) fn with_smaller(characters: &[char], first: &Term, language: Option<Language>) -> Option<(String, usize)> {
    let power = *first.units.last()?;
    let mut end = first.end;
    let value = marks::shifted(&first.run.value, first.units.iter().sum());
    let mut parts = vec![(value, power)];
    while let Some((start, has_unit)) = next(characters, end, language) {
        let term = term(characters, start, language);
        if has_unit && term.units.is_empty() || term.run.start != start {
            break;
        }
        let Some(more) = added(&parts, &term) else {
            break;
        };
        (parts, end) = (more, term.end);
    }
    let mut values = parts.iter().map(|(value, _)| value.as_str());
    let largest = values.next()?.to_owned();
    let sum = values.try_fold(largest, |sum, value| marks::sum(&sum, value))?;
    (end > first.end).then_some((sum, end))
}

/// The parts of a number, each smaller than the unit before it, with another; none if that is another number.
fn added(parts: &[(String, usize)], term: &Term) -> Option<Vec<(String, usize)>> {
    let fits = term.run.value.len() <= parts.last()?.1;
    if !fits {
        return None;
    }
    let mut parts = parts.to_vec();
    parts.push((term.run.value.clone(), 0));
    for &unit in &term.units {
        // 1 hundred 20 thousand: a unit counts all that is smaller than it.
        let mut sum = "0".to_owned();
        while let Some((value, _)) = parts.pop_if(|(_, power)| *power < unit) {
            sum = marks::sum(&sum, &value)?;
        }
        parts.push((marks::shifted(&sum, unit), unit));
    }
    let is_whole = marks::sum(&term.run.value, "0").is_some();
    let descend = parts.windows(2).all(|pair| pair[0].1 > pair[1].1);
    (is_whole && descend).then_some(parts)
}

/// Where the digits begin that follow at once, and whether they belong to the number only with a unit: behind a joining
/// word (2 thousand and 3 pears), but for Swahili's, and behind a space in Chinese and Japanese, which is a comma there.
fn next(characters: &[char], end: usize, language: Option<Language>) -> Option<(usize, bool)> {
    let space = |at: usize| usize::from(characters.get(at) == Some(&' '));
    let is_digit = |at: usize| characters.get(at).is_some_and(char::is_ascii_digit);
    let mut at = end + space(end);
    let joiners = JOINERS.iter().filter(|(code, _)| language.is_some_and(|language| language.code() == *code));
    let joined = joiners.into_iter().find_map(|(_, word)| {
        let after = at + word.chars().count();
        let is_there = word.chars().eq(characters.get(at..after)?.iter().copied());
        let begins = after + space(after);
        // A letter that is a word is written with the next one in Arabic.
        (is_there && at > end && (begins > after || is_digit(after))).then_some(begins)
    });
    at = joined.unwrap_or(at);
    if !is_digit(at) {
        // A unit that stands before its number.
        let word = characters[at..].iter().take(8);
        let word = word.take_while(|one| one.is_alphabetic()).count();
        let number = at + word + space(at + word);
        counting::unit_before(characters, number, language)?;
        at = number;
    }
    let has_unit = match language.as_ref().map(Language::code) {
        Some("zh" | "ja") => at > end,
        Some("sw") => false,
        _ => joined.is_some(),
    };
    is_digit(at).then_some((at, has_unit))
}
