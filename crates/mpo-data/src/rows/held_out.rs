//! Rows to measure on, apart from those to train on: no prompt is asked in both, in whatever language.

use std::collections::HashSet;

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::row::Row;
use crate::pair::Message;

/// The rows without those of a `share` of the source prompts, and these.
pub(super) fn hold_out<R: Row>(rows: Vec<R>, share: f64, seed: u64) -> (Vec<R>, Vec<R>) {
    let mut seen = HashSet::new();
    let mut sources: Vec<&[Message]> = rows.iter().map(Row::source).filter(|source| seen.insert(*source)).collect();
    sources.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    // A fifth of 20 is 4, whatever 0.2 is rounded to.
    let count = (sources.len() as f64 * share + 1e-9).floor() as usize;
    // A few prompts are split too, one or two are not.
    let count = count.clamp(usize::from(sources.len() > 2), sources.len());
    let out: HashSet<Vec<Message>> = sources[..count].iter().map(|source| source.to_vec()).collect();
    rows.into_iter().partition(|row| !out.contains(row.source()))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use crate::pair::{BilingualPair, Message, MonolingualPair, Origin, Position, PreferencePair};
    use crate::rows::Rows;

    fn side(language: &str, text: String) -> PreferencePair {
        let prompt = vec![Message::user(text)];
        PreferencePair::new(language.parse().unwrap(), prompt, "a".into(), "b".into()).unwrap()
    }

    fn origin() -> Origin {
        Origin { file: "f".into(), position: Position::Row(1) }
    }

    /// Rows in two languages, with these numbers in their prompts.
    fn bilingual(numbers: Range<usize>) -> Vec<BilingualPair> {
        let both = |i: usize| {
            ["sw", "bn"].map(|language| BilingualPair {
                dominant: side("en", format!("prompt {i}")),
                target: side(language, format!("{language} {i}")),
                origin: origin(),
            })
        };
        numbers.flat_map(both).collect()
    }

    #[test]
    fn a_share_is_taken_as_it_is() {
        let held = |share: f64, prompts: usize| Rows::Bilingual(bilingual(0..prompts)).hold_out(share, 0).1.len() / 2;
        assert_eq!([0.1, 0.2, 0.3, 0.4, 0.5].map(|share| held(share, 10)), [1, 2, 3, 4, 5]);
        assert_eq!([0.15, 0.35].map(|share| held(share, 20)), [3, 7]);
        assert_eq!([(0.1, 3), (0.1, 2), (0.5, 5)].map(|(share, prompts)| held(share, prompts)), [1, 0, 2]);
    }

    #[test]
    fn translations_of_a_prompt_stay_together() {
        let fifth = 0.2;
        let (Rows::Bilingual(rest), Rows::Bilingual(out)) = Rows::Bilingual(bilingual(0..20)).hold_out(fifth, 0) else {
            panic!("two languages remain two languages");
        };
        assert_eq!((rest.len(), out.len()), (32, 8));
        assert!(out.iter().all(|one| rest.iter().all(|other| one.dominant != other.dominant)));
        let few = |numbers| Rows::Bilingual(bilingual(numbers)).hold_out(fifth, 0).1.len();
        assert_eq!((few(0..2), few(0..3)), (0, 2));
    }

    #[test]
    fn rows_that_ask_what_others_ask_are_left_out() {
        let mut test = bilingual(15..30);
        // Rewritten in English, and the same in the other languages.
        for row in &mut test[..2] {
            row.dominant = side("en", "another prompt".into());
        }
        let test = Rows::Bilingual(test);
        let rest = Rows::Bilingual(bilingual(0..20)).apart_from(&test);
        assert_eq!(rest.len(), 30);
        assert!(rest.prompts().is_disjoint(&test.prompts()));
        let monolingual = |language: &str| {
            let row = |i: usize| MonolingualPair { pair: side(language, format!("{language} {i}")), origin: origin() };
            Rows::Monolingual((0..20).map(row).collect()).apart_from(&test).len()
        };
        assert_eq!((monolingual("bn"), monolingual("ar")), (15, 20));
    }
}
