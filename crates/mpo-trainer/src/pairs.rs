//! Rows of token ids in a batch: pairs and answers, each prompt once.

use mpo_data::TokenizedPair;
use mpo_models::{Batch, Outputs, Part, Scores};
use mpo_objectives::PairScore;

/// Cuts items into parts of at most `max_tokens` tokens, and of at least one item.
pub(crate) fn chunks<T>(items: &[T], max_tokens: usize, tokens: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fits = |item: &&T| {
            sum += tokens(item);
            sum <= max_tokens
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (part, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(part)
    })
}

/// A pair in a batch.
#[derive(Debug, Clone, Copy)]
pub struct PairParts {
    /// The prompt, which both answers follow.
    pub prompt: Part,
    /// The safe answer.
    pub chosen: Part,
    /// The unsafe answer.
    pub rejected: Part,
}

impl PairParts {
    /// Adds a pair to a batch.
    pub fn add(batch: &mut Batch, pair: &TokenizedPair) -> Self {
        let prompt = batch.prompt(pair.prompt());
        Self { prompt, chosen: batch.answer(prompt, pair.chosen()), rejected: batch.answer(prompt, pair.rejected()) }
    }
}

/// Adds answers to a batch, each after its prompt; one that follows another to the same prompt shares it.
pub(crate) fn add_answers<'t>(
    batch: &mut Batch,
    answers: impl IntoIterator<Item = (&'t [u32], &'t [u32])>,
) -> Vec<Part> {
    let mut last: Option<(&[u32], Part)> = None;
    let mut parts = vec![];
    for (ids, answer) in answers {
        let prompt = match last {
            Some((same, prompt)) if same == ids => prompt,
            _ => batch.prompt(ids),
        };
        last = Some((ids, prompt));
        parts.push(batch.answer(prompt, answer));
    }
    parts
}

/// The scores of pairs, once the batch has passed through a model.
#[derive(Debug, Clone, Copy)]
pub struct PairScores {
    chosen: Scores,
    rejected: Scores,
}

impl PairScores {
    /// Asks for the scores of pairs.
    pub fn want(batch: &mut Batch, pairs: &[PairParts]) -> Self {
        Self {
            chosen: batch.want_scores(pairs.iter().map(|pair| pair.chosen)),
            rejected: batch.want_scores(pairs.iter().map(|pair| pair.rejected)),
        }
    }

    /// What a model made of them, `[pairs]`.
    pub fn of(self, outputs: &Outputs) -> PairScore {
        PairScore { chosen: outputs.scores(self.chosen), rejected: outputs.scores(self.rejected) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_what_fits_and_at_least_one_item() {
        let parts =
            |items: &[usize]| -> Vec<Vec<usize>> { chunks(items, 10, |&item| item).map(<[usize]>::to_vec).collect() };
        assert_eq!(parts(&[4, 6, 1, 20, 3]), [vec![4, 6], vec![1], vec![20], vec![3]]);
        assert!(parts(&[]).is_empty());
    }

    #[test]
    fn answers_to_one_prompt_share_it_where_they_follow_each_other() {
        let mut batch = Batch::default();
        let rows: [(&[u32], &[u32]); 3] = [(&[1, 2], &[3]), (&[1, 2], &[4]), (&[5], &[3])];
        assert_eq!(add_answers(&mut batch, rows).len(), 3);
        assert_eq!(batch.tokens(), 2 + 1 + 1 + 1 + 1);
    }
}
