//! LaCoMSA (EACL 2026): the better of a model's answers is the one whose states in a middle layer are most like those of its
//! answers in the dominant language, unless its last states say that it is in another language than the prompt.

use mpo_data::Language;

use crate::error::PrepareError;
use crate::making::Maker;
use crate::subject::{AnswerStates, Candidates};

use super::RecipeDefinition;
use super::sampled::{Choice, Chosen, Dominant, Drawn, Preferred, Sampled, none_better, none_finite};

const NAME: &str = "lacomsa";

const CHOICE: Choice = Choice { name: NAME, of_language: false, dominant: Dominant::States, choose };

pub(super) static RECIPE: RecipeDefinition = RecipeDefinition {
    name: NAME,
    help: "of drawn answers, that whose states are most like the dominant ones'",
    refuses: false,
    draws: Some(10),
    rows_of_prompt: None,
    needs_reference: false,
    begin: |cases, maker| Ok(Box::new(Sampled::asked(CHOICE, cases, maker)?)),
};

/// How steeply the sign of a wrong language lowers a score (α of the paper; its γ is 1).
const SLOPE: f64 = 0.5;

fn choose(drawn: &[Drawn<'_>], _: Language, maker: &mut Maker<'_>) -> Result<Vec<Chosen>, PrepareError> {
    let target: Vec<Candidates<'_>> = drawn.iter().map(|of| of.target.asked()).collect();
    let target = maker.means.subject.states(&target)?;
    Ok(drawn.iter().zip(&target).map(|(of, target)| preferred(&of.dominant.states, target)).collect())
}

/// The pair whose weighed scores lie farthest apart, of those whose better one has the higher score, weighed and not.
fn preferred(dominant: &[AnswerStates], target: &[AnswerStates]) -> Chosen {
    let [english, own] = [dominant, target].map(|of| mean(of.iter().map(|states| &*states.last)));
    let scored: Vec<(f64, f64)> = target
        .iter()
        .map(|of| {
            let alike = dominant.iter().map(|other| cosine(&of.middle, &other.middle)).sum::<f64>();
            let score = alike / dominant.len() as f64;
            let language = cosine(&of.last, &own) - cosine(&of.last, &english) - score;
            (score, score / (1.0 + (-SLOPE * language).exp()))
        })
        .collect();
    if !scored.iter().all(|(_, weighed)| weighed.is_finite()) {
        return Err(none_finite());
    }
    let numbers = 0..scored.len();
    let pairs = numbers.clone().flat_map(|chosen| numbers.clone().map(move |rejected| (chosen, rejected)));
    let apart = |&(chosen, rejected): &(usize, usize)| scored[chosen].1 - scored[rejected].1;
    // Of two answers the weights may turn the order round: then none of both is better.
    let pairs = pairs.filter(|pair| scored[pair.0].0 > scored[pair.1].0 && apart(pair) > 0.0);
    let best = pairs.reduce(|best, other| if apart(&other) > apart(&best) { other } else { best });
    let (chosen, rejected) = best.ok_or_else(none_better)?;
    Ok(Preferred { chosen: (chosen, scored[chosen].1), rejected: (rejected, scored[rejected].1) })
}

fn mean<'a>(states: impl Iterator<Item = &'a [f64]> + Clone) -> Vec<f64> {
    let count = states.clone().count() as f64;
    let width = states.clone().next().map_or(0, <[f64]>::len);
    (0..width).map(|at| states.clone().map(|state| state[at]).sum::<f64>() / count).collect()
}

fn cosine(one: &[f64], other: &[f64]) -> f64 {
    let dot = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
    let norms = (dot(one, one) * dot(other, other)).sqrt();
    // What is not a number stays so.
    if norms == 0.0 { 0.0 } else { dot(one, other) / norms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dropped::Reason;

    fn states(middle: [f64; 2], last: [f64; 2]) -> AnswerStates {
        AnswerStates { middle: middle.into(), last: last.into() }
    }

    #[test]
    fn what_is_like_the_dominant_answers_is_preferred_unless_it_is_in_their_language() {
        let dominant = [states([1.0, 0.0], [1.0, 0.0])];
        let unlike = states([0.0, 1.0], [0.0, 1.0]);
        let alike = states([0.8, 0.6], [0.0, 1.0]);
        let english = states([0.8, 0.6], [1.0, 0.0]);
        let found = preferred(&dominant, &[unlike.clone(), alike.clone()]).unwrap();
        // r = 0.8; both last states are alike, cos with their mean 1 and with English 0: w = σ(½(1 − 0 − 0.8)).
        let weighed = 0.8 / (1.0 + (-0.1_f64).exp());
        assert_eq!((found.chosen.0, found.rejected), (1, (0, 0.0)));
        assert!((found.chosen.1 - weighed).abs() < 1e-12, "{found:?}");
        // As alike, but its last state is English: it has the lower weight, so the other is chosen.
        let found = preferred(&dominant, &[english, alike, unlike]).unwrap();
        assert_eq!((found.chosen.0, found.rejected.0), (1, 2));
        let reason = |target: &[AnswerStates]| preferred(&dominant, target).map_err(|(reason, _)| reason);
        let equal = [[1.0, 0.0], [2.0, 0.0]].map(|middle| states(middle, [0.0, 1.0]));
        assert_eq!(reason(&equal), Err(Reason::NoneBetter));
        // The one in English is more alike, and its weight makes it the worse one: neither is preferred.
        let turned = [states([0.8, 0.6], [1.0, 0.0]), states([0.79, 0.61], [0.0, 1.0])];
        assert_eq!(reason(&turned), Err(Reason::NoneBetter));
        assert_eq!(reason(&[states([f64::NAN, 0.0], [0.0, 1.0]), turned[0].clone()]), Err(Reason::NoScore));
    }

    #[test]
    fn means_and_cosines() {
        assert_eq!(mean([&[1.0, 2.0][..], &[3.0, 0.0]].into_iter()), [2.0, 1.0]);
        assert!((cosine(&[1.0, 1.0], &[1.0, 0.0]) - 0.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
        assert!(cosine(&[f64::NAN, 0.0], &[1.0, 0.0]).is_nan());
    }
}
