//! Rows of a batch laid end to end: no padding, and a prompt that two answers share is there once.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
use mpo_data::TokenizedPair;
use mpo_kernels::{PackedLayout, Segment, SequenceScore, sequence_log_probs};
use mpo_models::CausalLm;
use mpo_objectives::PairScore;

/// Cuts items into parts of at most `max_tokens` tokens, and of at least one item.
pub(crate) fn chunks<T>(
    items: &[T],
    max_tokens: usize,
    tokens: impl Fn(&T) -> usize,
) -> impl Iterator<Item = &[T]> {
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

/// A batch under construction.
#[derive(Debug, Default)]
pub struct Packer {
    tokens: Vec<u32>,
    segments: Vec<Segment>,
}

/// Where a pair's parts lie in the batch.
#[derive(Debug, Clone)]
pub struct PairRows {
    /// The prompt, shared.
    pub prompt: Range<usize>,
    /// The safe answer.
    pub chosen: Range<usize>,
    /// The unsafe answer.
    pub rejected: Range<usize>,
}

impl PairRows {
    /// The rows whose states predict the tokens of `answer`: the prompt's last, and every one of its own but the last.
    pub(crate) fn predicting(&self, answer: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
        predicting(&self.prompt, answer)
    }
}

fn predicting(prompt: &Range<usize>, answer: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
    assert!(
        !prompt.is_empty(),
        "an answer needs a prompt: its first token is predicted from there"
    );
    std::iter::once(prompt.end - 1).chain(answer.start..answer.end - 1)
}

impl Packer {
    /// Adds the tokens of a sequence that sees only itself.
    pub fn prompt(&mut self, tokens: &[u32]) -> Range<usize> {
        self.push(tokens, vec![], true)
    }

    /// Adds the tokens of an answer to a prompt.
    pub fn answer(&mut self, prompt: &Range<usize>, tokens: &[u32]) -> Range<usize> {
        self.push(tokens, vec![prompt.clone()], true)
    }

    /// Adds a pair; its prompt is computed once.
    pub fn pair(&mut self, pair: &TokenizedPair) -> PairRows {
        let prompt = self.prompt(pair.prompt());
        let chosen = self.answer(&prompt, pair.chosen());
        let rejected = self.answer(&prompt, pair.rejected());
        PairRows {
            prompt,
            chosen,
            rejected,
        }
    }

    /// Adds answers, each with its prompt; one that follows another to the same prompt shares it. Returns the rows of
    /// prompt and answer.
    pub(crate) fn answers<'t>(
        &mut self,
        answers: impl Iterator<Item = (&'t [u32], &'t [u32])>,
    ) -> Vec<(Range<usize>, Range<usize>)> {
        let mut last: Option<(&[u32], Range<usize>)> = None;
        answers
            .map(|(prompt, answer)| {
                let rows = match last.take() {
                    Some((tokens, rows)) if tokens == prompt => rows,
                    _ => self.prompt(prompt),
                };
                last = Some((prompt, rows.clone()));
                let answer = self.answer(&rows, answer);
                (rows, answer)
            })
            .collect()
    }

    /// Adds `count` copies of `token` after an answer, as right padding under a mask: each stands at its own position
    /// and sees the real tokens before it, not the padding.
    pub fn padding(
        &mut self,
        prompt: &Range<usize>,
        answer: &Range<usize>,
        token: u32,
        count: usize,
    ) -> Range<usize> {
        let context = vec![prompt.clone(), answer.clone()];
        self.push(&vec![token; count], context, false)
    }

    fn push(
        &mut self,
        tokens: &[u32],
        context: Vec<Range<usize>>,
        attends_itself: bool,
    ) -> Range<usize> {
        let rows = self.tokens.len()..self.tokens.len() + tokens.len();
        self.tokens.extend_from_slice(tokens);
        if !rows.is_empty() {
            self.segments.push(Segment {
                rows: rows.clone(),
                context,
                attends_itself,
            });
        }
        rows
    }

    /// Hidden states of the whole batch, `[tokens, hidden_size]`.
    pub fn hidden_states(&self, model: &CausalLm) -> Tensor<2> {
        let layout = PackedLayout::new(self.segments.clone());
        model.hidden_states(&self.tokens, &layout)
    }

    /// Scores of answers, each given with its prompt.
    pub fn scores(
        &self,
        model: &CausalLm,
        hidden_states: &Tensor<2>,
        answers: &[(Range<usize>, Range<usize>)],
    ) -> SequenceScore {
        let (mut rows, mut targets, mut lengths) = (vec![], vec![], vec![]);
        for (prompt, answer) in answers {
            rows.extend(predicting(prompt, answer));
            targets.extend_from_slice(&self.tokens[answer.clone()]);
            lengths.push(answer.len());
        }
        let log_probs = model.token_log_probs(hidden_states.clone(), &rows, &targets);
        sequence_log_probs(log_probs, &lengths)
    }

    /// Scores of pairs.
    pub fn pair_scores(
        &self,
        model: &CausalLm,
        hidden_states: &Tensor<2>,
        pairs: &[PairRows],
    ) -> PairScore {
        let chosen = pairs
            .iter()
            .map(|pair| (pair.prompt.clone(), pair.chosen.clone()));
        let rejected = pairs
            .iter()
            .map(|pair| (pair.prompt.clone(), pair.rejected.clone()));
        let answers: Vec<_> = chosen.chain(rejected).collect();
        // One pass over the vocabulary for both halves.
        let scores = self.scores(model, hidden_states, &answers);
        let half = |from: usize| SequenceScore {
            sum: scores.sum.clone().narrow(0, from, pairs.len()),
            tokens: scores.tokens.clone().narrow(0, from, pairs.len()),
        };
        PairScore {
            chosen: half(0),
            rejected: half(pairs.len()),
        }
    }
}

/// The mean of `hidden_states` over each group of row ranges, `[groups, hidden_size]`.
pub(crate) fn mean_rows(hidden_states: &Tensor<2>, groups: &[Vec<Range<usize>>]) -> Tensor<2> {
    let [tokens, _] = hidden_states.dims();
    let mut weights = vec![0.0f32; groups.len() * tokens];
    for (group, weights) in groups.iter().zip(weights.chunks_mut(tokens)) {
        let rows: usize = group.iter().map(Range::len).sum();
        for row in group.iter().cloned().flatten() {
            weights[row] = 1.0 / rows as f32;
        }
    }
    let options = (&hidden_states.device(), hidden_states.dtype());
    let weights = Tensor::<2>::from_data(TensorData::new(weights, [groups.len(), tokens]), options);
    weights.matmul(hidden_states.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_what_fits_and_at_least_one_item() {
        let parts = |items: &[usize]| -> Vec<Vec<usize>> {
            chunks(items, 10, |&item| item)
                .map(<[usize]>::to_vec)
                .collect()
        };
        assert_eq!(
            parts(&[4, 6, 1, 20, 3]),
            [vec![4, 6], vec![1], vec![20], vec![3]]
        );
        assert!(parts(&[]).is_empty());
    }
}
