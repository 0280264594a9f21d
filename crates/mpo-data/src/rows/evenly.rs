//! Fewer rows, without a language losing its share.

use std::collections::{HashMap, HashSet};

use crate::language::Language;

/// The `limit` rows that are taken first when languages take turns, in the order they came.
pub(crate) fn evenly<R>(rows: Vec<R>, limit: usize, language: impl Fn(&R) -> Language) -> Vec<R> {
    let mut taken: HashMap<Language, usize> = HashMap::new();
    let mut turns: Vec<(usize, usize)> = rows
        .iter()
        .enumerate()
        .map(|(index, row)| {
            let turn = taken.entry(language(row)).or_default();
            *turn += 1;
            (*turn, index)
        })
        .collect();
    turns.sort_unstable();
    let kept: HashSet<usize> = turns.into_iter().take(limit).map(|(_, index)| index).collect();
    let rows = rows.into_iter().enumerate();
    rows.filter(|(index, _)| kept.contains(index)).map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows kept of `rows`, each the code of its language and a number.
    fn kept(rows: &str, limit: usize) -> String {
        let rows: Vec<&str> = rows.split(' ').collect();
        evenly(rows, limit, |row| row[..2].parse().unwrap()).join(" ")
    }

    #[test]
    fn languages_take_turns_and_the_order_stays() {
        let blocks = "zh1 zh2 zh3 sw1 sw2 sw3 bn1";
        for (limit, want) in [
            (0, ""),
            (1, "zh1"),
            (2, "zh1 sw1"),
            (3, "zh1 sw1 bn1"),
            (5, "zh1 zh2 sw1 sw2 bn1"),
            (6, "zh1 zh2 zh3 sw1 sw2 bn1"),
            (7, blocks),
            (usize::MAX, blocks),
        ] {
            assert_eq!(kept(blocks, limit), want, "{limit}");
        }
    }
}
