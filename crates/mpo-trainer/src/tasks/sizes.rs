//! How much of each row passes through the model, known before there is one: what a task would say of its rows.

use std::collections::HashSet;

use mpo_data::{TokenizedPrompts, TokenizedRows};
use mpo_objectives::{Hold, Loss, Objective};

use super::{bilingual, crossed, parallel};
use crate::memory::RowSize;
use crate::settings::TrainConfig;

/// The sizes of the rows of a task that trains on `rows` with `objective`, in the task's order. Rows must be of a kind that
/// it can be trained on, as [`check_rows`](super::check_rows) says.
pub fn row_sizes(rows: &TokenizedRows, objective: &dyn Objective) -> Vec<RowSize> {
    let scored = |tokens, scored| RowSize { tokens, scored, compared: 0, held: 0 };
    match (objective.loss(), rows) {
        (Loss::Bilingual(loss), TokenizedRows::Bilingual(rows)) => {
            let needs = loss.needs();
            let mut seen = HashSet::new();
            let size = |row| {
                let size = bilingual::size(&needs, row);
                // What the reference says of a pair is kept once.
                if seen.insert(&row.dominant) { size } else { RowSize { held: 0, ..size } }
            };
            rows.iter().map(size).collect()
        }
        (Loss::Crossed(loss), TokenizedRows::Bilingual(rows)) => {
            rows.iter().map(|row| crossed::size(loss, row)).collect()
        }
        (Loss::Parallel(_), rows) => rows.parallel_prompts().unwrap_or_default().iter().map(parallel::size).collect(),
        (Loss::Pairs(_) | Loss::ReferencedPairs(_) | Loss::Bilingual(_) | Loss::Crossed(_), rows) => {
            let pairs = rows.clone().into_pairs().unwrap_or_default();
            let pairs = pairs.iter().map(|row| &row.pair);
            pairs.map(|pair| scored(pair.tokens(), pair.tokens() - pair.prompt().len())).collect()
        }
        (loss @ (Loss::Unpaired(_) | Loss::Demonstrations(_)), rows) => {
            let all = matches!(loss, Loss::Unpaired(_));
            let answers = rows.clone().into_answers();
            let trained = answers.iter().filter(|row| all || row.desirable);
            trained.map(|row| scored(row.prompt.len() + row.answer.len(), row.answer.len())).collect()
        }
    }
}

/// Tokens of each prompt that is held consistent, in all its languages; none where nothing holds them.
pub fn prompt_sizes(rows: &TokenizedRows, config: &TrainConfig) -> Vec<usize> {
    let prompts = config.consistency_weight.and_then(|_| rows.parallel_prompts()).unwrap_or_default();
    prompts.iter().map(TokenizedPrompts::tokens).collect()
}

/// The size of a row of which no more is known than how many tokens of it pass through the model: half of them are answers',
/// and of a row in two languages half are of either. Prompts alone have no answers.
pub fn assumed_row_size(tokens: usize, objective: &dyn Objective) -> RowSize {
    let answers = tokens.div_ceil(2);
    let hold = match objective.loss() {
        Loss::Parallel(_) => return RowSize { tokens, ..RowSize::default() },
        Loss::Bilingual(loss) => loss.needs().held,
        _ => None,
    };
    let (compared, held) = match hold {
        None => (0, 0),
        Some(Hold::LastToken) => (0, 1),
        Some(Hold::MaskedMean | Hold::MeanPool { .. }) => (0, 2),
        Some(Hold::Distributions) => (answers.div_ceil(2), answers.div_ceil(2)),
    };
    RowSize { tokens, scored: answers, compared, held }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TrainOptions;

    #[test]
    fn distributions_are_compared_on_the_answers_of_one_language() {
        let assumed = |method: &str, retain: Option<&str>| {
            let mut options = TrainOptions { method: method.parse().ok(), ..TrainOptions::minimal() };
            options.hyper_parameters.0.extend(retain.map(|word| ("retain".to_owned(), word.into())));
            assumed_row_size(1_000, &*options.resolve().unwrap().objective().unwrap())
        };
        let plain = RowSize { tokens: 1_000, scored: 500, compared: 0, held: 0 };
        assert_eq!(assumed("dpo", None), plain);
        assert_eq!(assumed("mpo", Some("last-token")), RowSize { held: 1, ..plain });
        assert_eq!(assumed("mpo", Some("kl")), RowSize { compared: 250, held: 250, ..plain });
    }
}
