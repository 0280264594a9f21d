//! Pieces of SentencePiece: scores, which its files and llama.cpp have, and merges, which a `tokenizer.json` has.
//!
//! In both, of all neighbours that make a piece together the pair that makes the best is joined first. The best has the highest
//! score, or stands first among the merges.

use std::collections::{HashMap, HashSet};

/// A piece that neighbours can be joined to.
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) score: f32,
    /// One that SentencePiece was told of: it goes before all others, and files differ in the scores that they give it.
    pub(super) is_users: bool,
}

/// The merges of pieces, in the order in which Transformers' converter writes them. `all` has every token.
pub(super) fn merges<'a>(pieces: &[Piece<'a>], all: &HashSet<&str>) -> Vec<(&'a str, &'a str)> {
    let mut merges = vec![];
    for piece in pieces {
        let splits = piece.text.char_indices().skip(1).map(|(at, _)| piece.text.split_at(at));
        for (left, right) in splits.filter(|(left, right)| all.contains(left) && all.contains(right)) {
            merges.push((piece, left, right));
        }
    }
    let length = |text: &str| text.chars().count();
    merges.sort_by(|(one, left, right), (other, other_left, other_right)| {
        let score = |piece: &Piece<'_>| if piece.is_users { f32::INFINITY } else { piece.score };
        let lengths = |left: &str, right: &str| (length(left), length(right));
        let by_score = score(other).total_cmp(&score(one));
        by_score.then_with(|| lengths(other_left, other_right).cmp(&lengths(left, right)))
    });
    merges.into_iter().map(|(_, left, right)| (left, right)).collect()
}

/// The scores of what merges make: the first is 0, and each that stands later is 1 lower.
pub(super) fn scores<'a>(merges: impl Iterator<Item = (&'a str, &'a str)>) -> HashMap<String, f32> {
    let mut scores = HashMap::new();
    for (left, right) in merges {
        let next = -(scores.len() as f32);
        scores.entry(format!("{left}{right}")).or_insert(next);
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_and_merges_say_the_same() {
        let texts = ["a", "b", "c", "ab", "bc", "abc", "▁▁", "▁"];
        let all = HashSet::from(texts);
        let piece = |text, score, is_users| Piece { text, score, is_users };
        let pieces =
            [piece("ab", -1.0, false), piece("bc", 0.0, false), piece("abc", -2.0, false), piece("▁▁", -1000.0, true)];
        let merges = merges(&pieces, &all);
        assert_eq!(merges, [("▁", "▁"), ("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc")]);
        let scores = scores(merges.into_iter());
        let order: Vec<f32> = ["▁▁", "bc", "ab", "abc"].iter().map(|text| scores[*text]).collect();
        assert_eq!(order, [0.0, -1.0, -2.0, -3.0]);
        assert!(!scores.contains_key("a"));
    }
}
