//! Which rows an objective can be trained on, and what tells them from others.

use mpo_data::{TokenizedPair, TokenizedRows};
use mpo_objectives::{Loss, Objective};

use super::bilingual;
use crate::error::TrainError;
use crate::reference::digest;
use crate::settings::TrainConfig;

pub(super) const PAIRS: &str = "pairs of answers";
pub(super) const BILINGUAL: &str = "pairs in two languages";
pub(super) const PARALLEL: &str = "prompts in several languages, or pairs in two";
const ANSWERS: &str = "answers";

/// Whether `objective`, which is `config`'s, can be trained on these rows: found before anything is computed.
///
/// # Errors
/// If it cannot.
pub fn check_rows(rows: &TokenizedRows, objective: &dyn Objective, config: &TrainConfig) -> Result<(), TrainError> {
    let definition = config.method.definition();
    let wrong = |expected| Err(wrong_rows(definition.name, expected, rows.kind()));
    if rows.is_empty() {
        return Err(TrainError::NoRows);
    }
    match objective.loss() {
        Loss::Bilingual(loss) => match rows {
            TokenizedRows::Bilingual(rows) => bilingual::check(loss, rows),
            _ => wrong(BILINGUAL),
        },
        Loss::Crossed(_) if !matches!(rows, TokenizedRows::Bilingual(_)) => wrong(BILINGUAL),
        Loss::Parallel(_) if rows.parallel_prompts().is_none() => wrong(PARALLEL),
        Loss::Pairs(_) | Loss::ReferencedPairs(_) if !rows.are_pairs() => wrong(PAIRS),
        Loss::Demonstrations(_) | Loss::Unpaired(_) if matches!(rows, TokenizedRows::Parallel(_)) => wrong(ANSWERS),
        Loss::Demonstrations(_) if rows.only_label() == Some(false) => Err(TrainError::NoRows),
        Loss::Unpaired(_) if !rows.are_pairs() && rows.len() < definition.min_batch => {
            let expected = format!("at least {} answers for {}", definition.min_batch, definition.name);
            Err(TrainError::setting("rows", expected, rows.len().to_string()))
        }
        _ => Ok(()),
    }
}

/// Identifies rows: their token ids, languages and labels, in their order.
pub fn digest_rows(rows: &TokenizedRows) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |languages: [&str; 2], parts: &[&[u32]], desirable: bool| {
        for language in languages {
            hasher.update(language.as_bytes());
            hasher.update(&[0]);
        }
        hasher.update(&digest(parts));
        hasher.update(&[desirable.into()]);
    };
    match rows {
        TokenizedRows::Bilingual(rows) => {
            for row in rows {
                let languages = [row.dominant_language.code(), row.language.code()];
                let parts = [parts(&row.dominant), parts(&row.target)].concat();
                add(languages, &parts, true);
            }
        }
        TokenizedRows::Monolingual(rows) => {
            for row in rows {
                add(["", row.language.code()], &parts(&row.pair), true);
            }
        }
        TokenizedRows::Unpaired(rows) => {
            for row in rows {
                let parts = [&row.prompt[..], &row.answer];
                add(["", row.language.code()], &parts, row.desirable);
            }
        }
        TokenizedRows::Parallel(rows) => {
            for row in rows {
                for (at, (language, ids)) in row.prompts.iter().enumerate() {
                    add(["", language.code()], &[ids], at == 0);
                }
            }
        }
    }
    hasher.finalize().to_string()
}

fn parts(pair: &TokenizedPair) -> [&[u32]; 3] {
    [pair.prompt(), pair.chosen(), pair.rejected()]
}

pub(super) fn wrong_rows(method: &str, expected: &'static str, got: &'static str) -> TrainError {
    TrainError::WrongRows { method: method.to_owned(), expected, got }
}
