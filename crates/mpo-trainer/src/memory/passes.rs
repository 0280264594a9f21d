//! What passes through the model: how many tokens at once, in a step, and in all.

use crate::batches::Batches;
use crate::consistency::Draw;
use crate::pairs::chunks;
use crate::ranks::shares;
use crate::settings::TrainConfig;

/// How much of a row passes through the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowSize {
    /// Its tokens.
    pub tokens: usize,
    /// Tokens of answers, whose log-probs are asked for.
    pub scored: usize,
    /// Tokens at which whole distributions are compared with the reference's.
    pub compared: usize,
    /// Hidden states of the reference that are kept for it.
    pub held: usize,
}

/// What passes through the model in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passes {
    /// Steps of the run.
    pub steps: u64,
    /// The largest micro-batch: the most of each.
    pub largest: RowSize,
    /// The most tokens in a step.
    pub per_step: usize,
    /// Whether some step has several micro-batches.
    pub accumulates: bool,
    /// Tokens in all steps.
    pub tokens: u64,
    /// Tokens of answers in all steps.
    pub scored: u64,
    /// Hidden states of the reference that are kept.
    pub held: u64,
}

impl Passes {
    /// Those of a run on rows of these sizes, beside which prompts of so many tokens are held consistent: which make a batch
    /// follows from the seed. The prompts are counted as if they went through all layers, in all their languages. Ranks share the
    /// rows of a batch: what passes at once, and in a step, is what passes through the model of one.
    pub(super) fn of(rows: &[RowSize], prompts: &[usize], config: &TrainConfig, ranks: usize) -> Self {
        let batches = Batches::new(config, rows.len(), config.method.definition().min_batch);
        let mut passes = Self { steps: batches.total(), ..Self::default() };
        let draw = Draw::new(config, prompts.len());
        let of_epochs = (0..batches.epochs()).flat_map(|epoch| batches.of_epoch(epoch));
        for (step, batch) in (0..).zip(of_epochs) {
            let beside = draw.of_step(step).map_or(vec![], |(_, numbers)| numbers);
            let beside: Vec<usize> = beside.into_iter().map(|number| prompts[number]).collect();
            passes.add(&batch, rows, &beside, config.micro_batch_tokens, ranks);
        }
        passes.held = rows.iter().map(|row| row.held as u64).sum();
        passes
    }

    fn add(&mut self, batch: &[usize], rows: &[RowSize], beside: &[usize], max_tokens: usize, ranks: usize) {
        let sizes: Vec<usize> = batch.iter().map(|&row| rows[row].tokens).collect();
        for (rank, share) in shares(&sizes, ranks).into_iter().enumerate() {
            // The first rank has the prompts.
            let beside = if rank == 0 { beside } else { &[] };
            self.add_share(&batch[share], rows, beside, max_tokens);
        }
    }

    fn add_share(&mut self, batch: &[usize], rows: &[RowSize], beside: &[usize], max_tokens: usize) {
        let sum = |part: &[usize], of: fn(&RowSize) -> usize| part.iter().map(|&row| of(&rows[row])).sum::<usize>();
        let mut micro_batches = 0;
        for part in chunks(batch, max_tokens, |&row| rows[row].tokens) {
            micro_batches += 1;
            let largest = &mut self.largest;
            largest.tokens = largest.tokens.max(sum(part, |row| row.tokens));
            largest.scored = largest.scored.max(sum(part, |row| row.scored));
            largest.compared = largest.compared.max(sum(part, |row| row.compared));
        }
        for part in chunks(beside, max_tokens, |&tokens| tokens) {
            micro_batches += 1;
            self.largest.tokens = self.largest.tokens.max(part.iter().sum());
        }
        self.accumulates |= micro_batches > 1;
        let tokens = sum(batch, |row| row.tokens) + beside.iter().sum::<usize>();
        self.per_step = self.per_step.max(tokens);
        self.tokens += tokens as u64;
        self.scored += sum(batch, |row| row.scored) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TrainOptions;

    #[test]
    fn the_largest_micro_batch_and_step_by_hand() {
        let sizes = [(300, 100), (500, 100), (600, 50), (200, 150)];
        let sizes = sizes.map(|(tokens, scored)| RowSize { tokens, scored, compared: 0, held: 2 });
        let config = TrainOptions {
            batch_size: Some(3),
            micro_batch_tokens: Some(800),
            shuffle: Some(false),
            epochs: Some(2.0),
            ..TrainOptions::minimal()
        };
        let config = config.resolve().unwrap();
        let passes = Passes::of(&sizes, &[], &config, 1);
        // Two steps an epoch: rows 0 and 1 together, row 2; then row 3.
        let largest = RowSize { tokens: 800, scored: 200, compared: 0, held: 0 };
        let expected = Passes {
            steps: 4,
            largest,
            per_step: 1_400,
            accumulates: true,
            tokens: 2 * 1_600,
            scored: 2 * 400,
            held: 8,
        };
        assert_eq!(passes, expected);
        // All three prompts in every step, two and one at once.
        let beside = Passes::of(&sizes, &[400, 400, 900], &config, 1);
        assert_eq!((beside.largest.tokens, beside.per_step), (900, 1_400 + 1_700));
        assert_eq!(beside.tokens, passes.tokens + 4 * 1_700);
        // Two ranks: rows 0 and 1, and row 2; then row 3, and nothing.
        let of_rank = Passes { per_step: 800, accumulates: false, ..expected };
        assert_eq!(Passes::of(&sizes, &[], &config, 2), of_rank);
    }
}
