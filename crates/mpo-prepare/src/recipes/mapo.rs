//! MAPO (She et al., 2024): the better of a model's answers is the one from which its answers in the dominant language are
//! translations most likely. The model itself says how likely, asked to translate; the authors ask NLLB.

use mpo_data::{Language, Message};

use crate::error::PrepareError;
use crate::making::Maker;
use crate::subject::{Candidates, LogProb};
use crate::translate::{Direction, request};

use super::RecipeDefinition;
use super::sampled::{Choice, Chosen, Dominant, Drawn, Preferred, Sampled};

const NAME: &str = "mapo";

// Asked to translate an answer that is in the dominant language already, a model copies it: nothing is likelier.
const CHOICE: Choice = Choice { name: NAME, of_language: true, dominant: Dominant::Answers, choose };

pub(super) static RECIPE: RecipeDefinition = RecipeDefinition {
    name: NAME,
    help: "of drawn answers, that of which dominant ones are likeliest translations",
    refuses: false,
    draws: Some(20),
    rows_of_prompt: None,
    needs_reference: false,
    begin: |cases, maker| Ok(Box::new(Sampled::asked(CHOICE, cases, maker)?)),
};

/// A translation's loss at least, in nats: a model that is sure of each token has none, or by rounding less.
const LEAST: f64 = 1e-6;

fn choose(drawn: &[Drawn<'_>], language: Language, maker: &mut Maker<'_>) -> Result<Vec<Chosen>, PrepareError> {
    let direction = Direction { from: language, to: maker.dominant };
    let requests = |of: &Drawn<'_>| of.target.answers.iter().map(|answer| request(direction, &answer.text)).collect();
    let requests: Vec<Vec<Vec<Message>>> = drawn.iter().map(requests).collect();
    let asked = drawn
        .iter()
        .zip(&requests)
        .flat_map(|(of, requests)| requests.iter().map(|prompt| Candidates { prompt, answers: of.dominant.texts() }));
    let scored = maker.means.subject.log_probs(&asked.collect::<Vec<_>>())?;
    let mut scores = scored.iter().map(|translations| score(translations));
    let preferred = |of: &Drawn<'_>| Preferred::by(&scores.by_ref().take(of.target.answers.len()).collect::<Vec<_>>());
    Ok(drawn.iter().map(preferred).collect())
}

/// The mean over translations of one by the loss of a token.
fn score(translations: &[LogProb]) -> f64 {
    let inverse = translations.iter().map(|of| {
        // What is not a number stays so.
        let loss = if -of.sum < LEAST { LEAST } else { -of.sum };
        of.tokens as f64 / loss
    });
    inverse.sum::<f64>() / translations.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_translation_without_a_loss_has_a_finite_score_and_one_without_a_number_none() {
        let of = |sums: &[f64]| score(&sums.iter().map(|&sum| LogProb { sum, tokens: 3 }).collect::<Vec<_>>());
        assert_eq!(of(&[-6.0, -3.0]), (0.5 + 1.0) / 2.0);
        // Rounding may make a certain translation more than certain; it is the best all the same.
        for certain in [0.0, -0.0, 1e-7] {
            assert!(of(&[certain]) > of(&[-1e-3]) && of(&[certain]).is_finite(), "{certain}");
        }
        assert!(of(&[-6.0, f64::NAN]).is_nan());
        assert_eq!(of(&[f64::NEG_INFINITY]), 0.0);
    }
}
