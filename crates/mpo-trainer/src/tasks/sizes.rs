//! How much of each row passes through the model, known before there is one: what a task would say of its rows.

use std::collections::HashSet;

use mpo_data::TokenizedRows;
use mpo_objectives::{Loss, Objective};

use super::bilingual;
use crate::memory::RowSize;

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
        (Loss::Pairs(_) | Loss::ReferencedPairs(_) | Loss::Bilingual(_), rows) => {
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
