//! MAPO (She et al., 2024): the better of a model's answers is the one from which its answers in the dominant language are
//! translations most likely. The model itself says how likely, asked to translate; the authors ask NLLB.

use mpo_data::{Language, Message};

use crate::error::PrepareError;
use crate::making::Maker;
use crate::subject::Candidates;
use crate::translate::{Direction, request};

use super::RecipeDefinition;
use super::sampled::{Choice, Drawn, Preferred, Sampled};

const NAME: &str = "mapo";

// Asked to translate an answer that is in the dominant language already, a model copies it: nothing is likelier.
const CHOICE: Choice = Choice { name: NAME, of_language: true, choose };

pub(super) static RECIPE: RecipeDefinition = RecipeDefinition {
    name: NAME,
    help: "of drawn answers, that of which dominant ones are likeliest translations",
    refuses: false,
    draws: Some(20),
    needs_reference: false,
    begin: |cases, maker| Ok(Box::new(Sampled::asked(CHOICE, cases, maker)?)),
};

fn choose(drawn: &[Drawn], language: Language, maker: &mut Maker<'_>) -> Result<Vec<Option<Preferred>>, PrepareError> {
    let direction = Direction { from: language, to: maker.dominant };
    let requests = |of: &Drawn| of.target.answers.iter().map(|answer| request(direction, answer)).collect();
    let requests: Vec<Vec<Vec<Message>>> = drawn.iter().map(requests).collect();
    let asked = drawn
        .iter()
        .zip(&requests)
        .flat_map(|(of, requests)| requests.iter().map(|prompt| Candidates { prompt, answers: of.dominant.texts() }));
    let scored = maker.means.subject.log_probs(&asked.collect::<Vec<_>>())?;
    // The mean over translations of one by the loss of a token.
    let mut scores = scored.iter().map(|translations| {
        let inverse = translations.iter().map(|of| of.tokens as f64 / -of.sum);
        inverse.sum::<f64>() / translations.len() as f64
    });
    let preferred = |of: &Drawn| Preferred::by(&scores.by_ref().take(of.target.answers.len()).collect::<Vec<_>>());
    Ok(drawn.iter().map(preferred).collect())
}
