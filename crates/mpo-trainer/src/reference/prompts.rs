//! The reference's hidden states of prompts without answers, and the languages' spaces that are found from them.

use mpo_data::{Language, Origin, TokenizedPrompts};
use mpo_models::{At, Batch, Layer, Places};
use mpo_objectives::LanguageSpaces;

use super::{Digest, KnownStates, Reference, digest, values};
use crate::error::TrainError;

/// Which state of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfPrompt {
    /// That of its last token.
    LastToken,
    /// The mean over its tokens.
    Mean,
}

impl OfPrompt {
    fn name(self) -> &'static str {
        match self {
            Self::LastToken => "prompt-last-token",
            Self::Mean => "prompt-mean",
        }
    }

    /// Adds prompts to a batch, and says where their states are.
    fn places(self, batch: &mut Batch, prompts: impl Iterator<Item = impl AsRef<[u32]>>) -> Places {
        let parts = prompts.map(|prompt| batch.prompt(prompt.as_ref()));
        match self {
            Self::LastToken => Places::Tokens(parts.map(At::Last).collect()),
            Self::Mean => Places::Means(parts.map(|part| vec![part]).collect()),
        }
    }
}

/// The spaces of the rows that a run is trained on.
#[derive(Debug, Clone)]
pub(crate) struct Fitted {
    /// In the order in which the spaces have them, the dominant one first.
    pub(crate) languages: Vec<Language>,
    pub(crate) spaces: LanguageSpaces,
}

impl Reference<'_> {
    /// A state of every prompt, of the last layer and after the final norm. All are finite.
    ///
    /// # Errors
    /// If one is not, the cache cannot be read or written, or the work is stopped.
    pub(crate) fn prompts(
        &mut self,
        prompts: &[(&[u32], &Origin)],
        state: OfPrompt,
    ) -> Result<KnownStates, TrainError> {
        let width = self.model.config().hidden_size;
        let of: Vec<Digest> = prompts.iter().map(|(ids, _)| digest(&[ids])).collect();
        let tokens = |(ids, _): &(&[u32], &Origin)| ids.len();
        let table = self.table(state.name(), "", prompts, &of, tokens, |model, prompts| {
            let mut batch = Batch::default();
            let places = state.places(&mut batch, prompts.iter().map(|(ids, _)| ids));
            let states = batch.want_states(Layer::Last, places);
            let states = model.forward(&batch).states(states);
            let states = values(states.reshape([prompts.len() * width]));
            let states = states.chunks_exact(width).zip(prompts);
            states
                .map(|(state, (_, origin))| match state.iter().find(|number| !number.is_finite()) {
                    None => Ok(state.to_vec()),
                    Some(number) => Err(TrainError::NotFinite {
                        what: "the reference's hidden state of a prompt",
                        value: f64::from(*number),
                        row: origin.to_string(),
                    }),
                })
                .collect()
        })?;
        Ok(KnownStates::new(table, of, width))
    }

    /// The spaces of the languages of `rows`, whose prompts have these states at their last tokens, one row after the other. The
    /// first that ask decide: rows to measure on are asked for after those that are trained on, and are held to the same spaces.
    ///
    /// # Errors
    /// If means of languages make no spaces, or a row has another dominant language or one that is not known.
    pub(crate) fn fitted(&mut self, rows: &[TokenizedPrompts], states: &KnownStates) -> Result<Fitted, TrainError> {
        let fitted = match self.fitted.clone() {
            Some(fitted) => fitted,
            None => self.fitted.insert(fit(rows, states)?).clone(),
        };
        let wrong = |expected: String, language: Language, origin: &Origin| {
            Err(TrainError::setting("data", expected, format!("{} in {origin}", language.name())))
        };
        for TokenizedPrompts { prompts, origin } in rows {
            if prompts[0].0 != fitted.languages[0] {
                let expected = format!("prompts with {} as their dominant language", fitted.languages[0].name());
                return wrong(expected, prompts[0].0, origin);
            }
            if let Some((other, _)) = prompts.iter().find(|(language, _)| !fitted.languages.contains(language)) {
                return wrong("prompts in the languages that are trained on".into(), *other, origin);
            }
        }
        Ok(fitted)
    }
}

/// The spaces of the mean state of each language.
fn fit(rows: &[TokenizedPrompts], states: &KnownStates) -> Result<Fitted, TrainError> {
    let mut languages: Vec<Language> = vec![];
    let mut sums: Vec<(Vec<f64>, f64)> = vec![];
    let prompts = rows.iter().flat_map(|row| &row.prompts);
    for (number, (language, _)) in prompts.enumerate() {
        let at = languages.iter().position(|known| known == language).unwrap_or_else(|| {
            languages.push(*language);
            sums.push((vec![0.0; states.width], 0.0));
            sums.len() - 1
        });
        let (sum, count) = &mut sums[at];
        sum.iter_mut().zip(states.numbers(number)).for_each(|(sum, number)| *sum += f64::from(*number));
        *count += 1.0;
    }
    let means: Vec<Vec<f64>> =
        sums.into_iter().map(|(sum, count)| sum.into_iter().map(|sum| sum / count).collect()).collect();
    let spaces = LanguageSpaces::new(&means).map_err(|problem| {
        let expected = "prompts in two languages or more, whose states under the model differ by language";
        TrainError::setting("data", expected, problem.to_string())
    })?;
    Ok(Fitted { languages, spaces })
}
