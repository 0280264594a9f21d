//! chrF (Popović, 2015): how alike two texts are by sequences of one to six characters, without spaces.

use std::collections::HashMap;

/// The longest sequence of characters that is counted.
const LONGEST: usize = 6;

/// Recall weighs so much more than precision.
const BETA: f64 = 2.0;

/// The F-score of `text` against `reference`, from 0 to 1: precision and recall are means over the lengths of sequences that
/// both texts have.
pub(super) fn chrf(text: &str, reference: &str) -> f64 {
    let of = |text: &str| text.chars().filter(|character| !character.is_whitespace()).collect::<Vec<_>>();
    let (text, reference) = (of(text), of(reference));
    let lengths = LONGEST.min(text.len()).min(reference.len());
    if lengths == 0 {
        return 0.0;
    }
    let (mut precision, mut recall) = (0.0, 0.0);
    for length in 1..=lengths {
        let (found, expected) = (sequences(&text, length), sequences(&reference, length));
        let shared = found.iter().map(|(sequence, count)| count.min(expected.get(sequence).unwrap_or(&0)));
        let shared = shared.sum::<usize>() as f64;
        precision += shared / (text.len() - length + 1) as f64;
        recall += shared / (reference.len() - length + 1) as f64;
    }
    let (precision, recall) = (precision / lengths as f64, recall / lengths as f64);
    let weighed = BETA * BETA * precision + recall;
    if weighed == 0.0 { 0.0 } else { (1.0 + BETA * BETA) * precision * recall / weighed }
}

fn sequences(text: &[char], length: usize) -> HashMap<&[char], usize> {
    let mut sequences = HashMap::new();
    text.windows(length).for_each(|sequence| *sequences.entry(sequence).or_default() += 1);
    sequences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_worked_out_by_hand() {
        for (text, reference, expected) in [
            ("habari gani", "habari  gani", 1.0),
            ("abc", "xyz", 0.0),
            ("", "abc", 0.0),
            // Single characters: 2 of 2 and 2 of 4. Pairs: 1 of 1 and 1 of 3. P = 1, R = 5/12.
            ("ab", "abcd", 5.0 * (5.0 / 12.0) / (4.0 + 5.0 / 12.0)),
            // Repeated characters count as often as both have them: P = 1/3, R = 1/2 for one, 0 for pairs.
            ("aaa", "ab", 5.0 * (1.0 / 6.0) * 0.25 / (4.0 / 6.0 + 0.25)),
        ] {
            let score = chrf(text, reference);
            assert!((score - expected).abs() < 1e-12, "{text} {reference}: {score} {expected}");
        }
    }
}
