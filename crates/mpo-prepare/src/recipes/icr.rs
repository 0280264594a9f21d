//! ICR (2025): a model that was aligned in the dominant language, beside the one that it was made from, rewards what it says in
//! others. The answer with the highest reward is preferred to the one with the lowest.

use mpo_data::{Language, Message};

use crate::error::PrepareError;
use crate::making::{Maker, asking_for};
use crate::subject::Candidates;

use super::RecipeDefinition;
use super::sampled::{Choice, Chosen, Dominant, Drawn, Preferred, Sampled};

const NAME: &str = "icr";

const CHOICE: Choice = Choice { name: NAME, of_language: false, dominant: Dominant::Nothing, choose };

pub(super) static RECIPE: RecipeDefinition = RecipeDefinition {
    name: NAME,
    help: "of drawn answers, that which training has made likeliest, beside a reference",
    refuses: false,
    draws: Some(10),
    rows_of_prompt: None,
    needs_reference: true,
    begin: |cases, maker| Ok(Box::new(Sampled::asked(CHOICE, cases, maker)?)),
};

/// Steps in which the price of a character is looked for, from 0 to below 1.
const STEPS: usize = 1000;

/// An answer's reward before its length is paid for, and that length in characters.
type Rewarded = (f64, usize);

fn choose(drawn: &[Drawn<'_>], language: Language, maker: &mut Maker<'_>) -> Result<Vec<Chosen>, PrepareError> {
    // The model was aligned to prompts in the dominant language.
    let prompts: Vec<Vec<Message>> = drawn.iter().map(|of| asking_for(&of.dominant.prompt, language)).collect();
    let asked = drawn.iter().zip(&prompts).map(|(of, prompt)| Candidates { prompt, answers: of.target.texts() });
    let asked: Vec<Candidates<'_>> = asked.collect();
    let aligned = maker.means.subject.log_probs(&asked)?;
    let reference = maker.reference.map(|reference| reference.log_probs(&asked)).transpose()?.unwrap_or_default();
    let rewarded = aligned.iter().zip(&reference).zip(&asked).map(|((aligned, reference), asked)| {
        let rewards = aligned.iter().zip(reference).map(|(aligned, reference)| aligned.sum - reference.sum);
        rewards.zip(&asked.answers).map(|(reward, answer)| (reward, answer.chars().count())).collect()
    });
    Ok(preferred(&rewarded.collect::<Vec<Vec<Rewarded>>>()))
}

/// The best and the worst of each prompt, at the price of a character at which best and worst ones are of most equal length
/// on average: else longer ones win.
fn preferred(rewarded: &[Vec<Rewarded>]) -> Vec<Chosen> {
    let at = |price: f64| -> Vec<Chosen> {
        let scores =
            |of: &Vec<Rewarded>| of.iter().map(|&(reward, length)| reward - price * length as f64).collect::<Vec<_>>();
        rewarded.iter().map(|of| Preferred::by(&scores(of))).collect()
    };
    // How many characters the best ones have more than the worst ones.
    let longer = |preferred: &[Chosen]| {
        let of = rewarded.iter().zip(preferred).filter_map(|(of, preferred)| {
            let Preferred { chosen, rejected } = preferred.as_ref().ok()?;
            Some(of[chosen.0].1 as f64 - of[rejected.0].1 as f64)
        });
        of.sum::<f64>().abs()
    };
    let tried = (0..STEPS).map(|step| at(step as f64 / STEPS as f64)).map(|preferred| (longer(&preferred), preferred));
    let least = tried.reduce(|least, other| if other.0 < least.0 { other } else { least });
    least.map_or_else(Vec::new, |(_, preferred)| preferred)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dropped::Reason;

    #[test]
    fn characters_are_paid_for_until_best_and_worst_are_of_one_length() {
        // Without a price the longest wins; at 0.1 and above the second one does.
        let rewarded = vec![vec![(10.0, 100), (9.0, 20), (1.0, 20)]];
        let found = preferred(&rewarded)[0].clone().unwrap();
        assert_eq!((found.chosen.0, found.rejected.0), (1, 2));
        // Where all are of one length, nothing is paid.
        let found = preferred(&[vec![(1.0, 5), (3.0, 5)]])[0].clone().unwrap();
        assert_eq!((found.chosen, found.rejected), ((1, 3.0), (0, 1.0)));
        // A reward that is no number takes its prompt out, and no other.
        let found = preferred(&[vec![(1.0, 5), (1.0, 5)], vec![(f64::NAN, 5), (1.0, 5)], vec![(1.0, 5), (3.0, 5)]]);
        let found: Vec<_> =
            found.into_iter().map(|of| of.map(|of| of.chosen.0).map_err(|(reason, _)| reason)).collect();
        assert_eq!(found, [Err(Reason::NoneBetter), Err(Reason::NoScore), Ok(1)]);
        assert_eq!(preferred(&[]), []);
    }

    #[test]
    fn the_prompt_asks_for_the_language() {
        let asked = asking_for(&[Message::user("How?")], "sw".parse().unwrap());
        assert_eq!(asked, [Message::user("How?\n\nAnswer in Swahili.")]);
    }
}
