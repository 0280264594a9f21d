//! The reward gap of each language: how much likelier a token of the safe answer is than one of the unsafe answer.

use std::collections::BTreeMap;

use mpo_data::Language;
use mpo_trainer::ScoredRow;
use serde::{Deserialize, Serialize};

use crate::estimate::{Estimate, half_width};

/// A language's reward gap, over its rows, nats per token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LanguageGap {
    /// The language.
    pub language: Language,
    /// The mean reward gap.
    pub mean: f64,
    /// Half the width of the mean's 95 % confidence interval (normal); one row has none.
    pub half_width: Option<f64>,
    /// The rows it is over.
    pub rows: usize,
    /// The fraction of rows whose gap is above zero.
    pub accuracy: f64,
    /// The mean over rows of the safe answer's mean log p per token.
    pub chosen_mean: f64,
    /// The same of the unsafe answer.
    pub rejected_mean: f64,
}

impl LanguageGap {
    /// Of rows that are all in `language`; `rows` is not empty.
    fn new(language: Language, rows: &[&ScoredRow]) -> Self {
        let mean =
            |value: &dyn Fn(&ScoredRow) -> f64| rows.iter().map(|row| value(row)).sum::<f64>() / rows.len() as f64;
        let per_token = |(sum, tokens): (f64, usize)| sum / tokens as f64;
        let gap = mean(&ScoredRow::reward_gap);
        let gaps: Vec<f64> = rows.iter().map(|row| row.reward_gap()).collect();
        Self {
            language,
            mean: gap,
            half_width: half_width(&gaps, gap),
            rows: rows.len(),
            accuracy: mean(&|row| f64::from(row.reward_gap() > 0.0)),
            chosen_mean: mean(&|row| per_token(row.chosen)),
            rejected_mean: mean(&|row| per_token(row.rejected)),
        }
    }
}

/// The reward gap of every language among `rows`: the dominant one first, the others by code.
pub fn by_language(rows: &[ScoredRow], dominant: Option<Language>) -> Vec<LanguageGap> {
    let mut languages: BTreeMap<Language, Vec<&ScoredRow>> = BTreeMap::new();
    for row in rows {
        languages.entry(row.language).or_default().push(row);
    }
    let mut gaps: Vec<LanguageGap> =
        languages.into_iter().map(|(language, rows)| LanguageGap::new(language, &rows)).collect();
    gaps.sort_by_key(|gap| Some(gap.language) != dominant);
    gaps
}

/// The implicit reward gap of DPO in a language (MPO, eq. 2, with β = 1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ImplicitGap {
    /// The language.
    pub language: Language,
    /// The mean over rows of (log π(safe) − log π_base(safe)) − (log π(unsafe) − log π_base(unsafe)), nats per answer.
    pub gap: Estimate,
    /// The fraction of rows whose gap is above zero.
    pub accuracy: f64,
}

/// The implicit reward gap of every language: `rows` under the model, `base` the same rows under the model it was made
/// from.
pub fn implicit_by_language(rows: &[ScoredRow], base: &[ScoredRow], dominant: Option<Language>) -> Vec<ImplicitGap> {
    let mut languages: BTreeMap<Language, Vec<f64>> = BTreeMap::new();
    for (row, base) in rows.iter().zip(base) {
        let gap = (row.chosen.0 - base.chosen.0) - (row.rejected.0 - base.rejected.0);
        languages.entry(row.language).or_default().push(gap);
    }
    let mut gaps: Vec<ImplicitGap> = languages
        .into_iter()
        .filter_map(|(language, gaps)| {
            let above = gaps.iter().filter(|gap| **gap > 0.0).count();
            Some(ImplicitGap { language, gap: Estimate::mean(&gaps)?, accuracy: above as f64 / gaps.len() as f64 })
        })
        .collect();
    gaps.sort_by_key(|gap| Some(gap.language) != dominant);
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of 2 and 4 tokens with these mean log probs.
    fn row(language: &str, chosen: f64, rejected: f64) -> ScoredRow {
        ScoredRow { language: language.parse().unwrap(), chosen: (chosen * 2.0, 2), rejected: (rejected * 4.0, 4) }
    }

    #[test]
    fn a_language_by_hand() {
        // Gaps 3, 1, -1: mean 1, deviations 2, 0, -2, variance 8/2, standard error √(4/3).
        let rows = [row("sw", -1.0, -4.0), row("sw", -2.0, -3.0), row("sw", -3.0, -2.0)];
        let [gap] = by_language(&rows, None)[..] else {
            panic!("one language");
        };
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got}, not {want}");
        close(gap.mean, 1.0);
        close(gap.half_width.unwrap(), 1.96 * (4.0_f64 / 3.0).sqrt());
        close(gap.accuracy, 2.0 / 3.0);
        close(gap.chosen_mean, -2.0);
        close(gap.rejected_mean, -3.0);
        assert_eq!(gap.rows, 3);
    }

    #[test]
    fn implicit_gaps_by_hand() {
        // Sums −2 and −16 under the model, −4 and −12 under the base: (−2 + 4) − (−16 + 12) = 6.
        let (model, base) = ([row("sw", -1.0, -4.0)], [row("sw", -2.0, -3.0)]);
        let [gap] = implicit_by_language(&model, &base, None)[..] else {
            panic!("one language");
        };
        assert_eq!((gap.gap.value, gap.accuracy), (6.0, 1.0));
        assert_eq!(implicit_by_language(&model, &model, None)[0].gap.value, 0.0);
    }

    #[test]
    fn one_row_has_no_interval_and_no_rows_no_language() {
        let gaps = by_language(&[row("bn", -1.0, -1.0)], None);
        assert_eq!((gaps[0].half_width, gaps[0].accuracy), (None, 0.0));
        assert!(by_language(&[], None).is_empty());
    }

    #[test]
    fn the_dominant_language_comes_first() {
        let rows = ["sw", "en", "bn", "zh"].map(|code| row(code, -1.0, -2.0));
        let order = |dominant: Option<&str>| {
            let dominant = dominant.map(|code| code.parse().unwrap());
            by_language(&rows, dominant).iter().map(|gap| gap.language.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(Some("sw")), "sw bn en zh");
        assert_eq!(order(None), "bn en sw zh");
    }
}
