//! Language kept: how many answers are in the language of their questions. A model that was trained to refuse in one language
//! may refuse in its words everywhere, and a rate of refusals alone does not show it.

use std::collections::BTreeMap;

use mpo_data::AnswerLanguage;
use serde::{Deserialize, Serialize};

use crate::estimate::Estimate;

/// How many answers are in the language of their questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LanguageKept {
    /// The fraction, of the answers whose language can be told; none if there is no such answer.
    pub estimate: Option<Estimate>,
    /// Answers whose language cannot be told.
    pub undecided: usize,
    /// The other languages that answers are in, by code; `unknown` where it is not known which.
    pub others: BTreeMap<String, usize>,
}

impl LanguageKept {
    /// Of answers; none if there is none.
    pub fn new(answers: impl IntoIterator<Item = AnswerLanguage>) -> Option<Self> {
        let (mut kept, mut undecided) = (0, 0);
        let mut others: BTreeMap<String, usize> = BTreeMap::new();
        for answer in answers {
            match answer {
                AnswerLanguage::Kept => kept += 1,
                AnswerLanguage::Undecided => undecided += 1,
                AnswerLanguage::Other(other) => {
                    let code = other.map_or("unknown".to_owned(), |other| other.code().to_owned());
                    *others.entry(code).or_default() += 1;
                }
            }
        }
        let decided = kept + others.values().sum::<usize>();
        (decided + undecided > 0).then(|| Self { estimate: Estimate::rate(kept, decided), undecided, others })
    }

    /// Of several languages together; none if there is none.
    pub fn together<'k>(all: impl IntoIterator<Item = &'k Self>) -> Option<Self> {
        let (mut kept, mut count, mut undecided, mut is_any) = (0, 0, 0, false);
        let mut others: BTreeMap<String, usize> = BTreeMap::new();
        for of in all {
            is_any = true;
            let lost: usize = of.others.values().sum();
            let decided = of.estimate.map_or(0, |estimate| estimate.count);
            kept += decided.saturating_sub(lost);
            count += decided;
            undecided += of.undecided;
            for (code, number) in &of.others {
                *others.entry(code.clone()).or_default() += number;
            }
        }
        is_any.then(|| Self { estimate: Estimate::rate(kept, count), undecided, others })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_what_is_decided_and_add_up() {
        let english = AnswerLanguage::Other("en".parse().ok());
        let answers = [AnswerLanguage::Kept, english, AnswerLanguage::Undecided, AnswerLanguage::Kept];
        let kept = LanguageKept::new(answers).unwrap();
        let estimate = kept.estimate.unwrap();
        assert_eq!((estimate.value, estimate.count, kept.undecided), (2.0 / 3.0, 3, 1));
        assert_eq!(kept.others["en"], 1);
        assert_eq!(LanguageKept::new([]), None);
        let nothing = LanguageKept::new([AnswerLanguage::Undecided]).unwrap();
        assert_eq!((nothing.estimate, nothing.undecided), (None, 1));
        let all = LanguageKept::together([&kept, &kept, &nothing]).unwrap();
        assert_eq!((all.estimate, all.undecided, all.others["en"]), (Estimate::rate(4, 6), 3, 2));
        assert_eq!(LanguageKept::together([]), None);
    }
}
