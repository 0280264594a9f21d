//! Answers of both languages to one prompt: which of a row's four answers follow which of its prompts, the objective says.

use mpo_data::TokenizedRow;
use mpo_kernels::SequenceScore;
use mpo_models::{Batch, Outputs};
use mpo_objectives::{CrossedAnswer, CrossedLoss, PairScore, Side};

use super::bilingual::digest_sides;
use super::pairs::columns;
use super::{MicroBatch, Task, Work, floats};
use crate::error::TrainError;
use crate::events::RowValues;
use crate::memory::RowSize;
use crate::pairs::add_answers;
use crate::reference::{AnswerToScore, Reference};

/// Rows in two languages, and the reference's numbers for the answers that are compared.
#[derive(Debug)]
pub(super) struct CrossedTask<'a> {
    loss: &'a dyn CrossedLoss,
    rows: Vec<TokenizedRow>,
    /// Σ log p of each row's answers.
    reference: Vec<f32>,
}

impl<'a> CrossedTask<'a> {
    pub(super) fn new(
        loss: &'a dyn CrossedLoss,
        rows: Vec<TokenizedRow>,
        reference: &mut Reference<'_>,
    ) -> Result<Self, TrainError> {
        let asked = rows.iter().flat_map(|row| {
            asked(loss, row).map(|(prompt, answer)| AnswerToScore { prompt, answer, origin: &row.origin })
        });
        let asked: Vec<AnswerToScore<'_>> = asked.collect();
        let reference = reference.sums(&asked)?;
        Ok(Self { loss, rows, reference })
    }
}

/// The prompt and the ids of each answer that is compared.
fn asked<'r>(loss: &dyn CrossedLoss, row: &'r TokenizedRow) -> impl Iterator<Item = (&'r [u32], &'r [u32])> + use<'r> {
    let side = move |side| match side {
        Side::Dominant => &row.dominant,
        Side::Target => &row.target,
    };
    loss.answers().iter().map(move |&CrossedAnswer { prompt, answer, is_chosen }| {
        let answers = side(answer);
        (side(prompt).prompt(), if is_chosen { answers.chosen() } else { answers.rejected() })
    })
}

/// How much of a row passes through the model: each prompt once for all its answers.
pub(super) fn size(loss: &dyn CrossedLoss, row: &TokenizedRow) -> RowSize {
    let mut size = RowSize::default();
    let mut last = None;
    for (CrossedAnswer { prompt: side, .. }, (prompt, answer)) in loss.answers().iter().zip(asked(loss, row)) {
        if last.replace(side) != Some(side) {
            size.tokens += prompt.len();
        }
        size.tokens += answer.len();
        size.scored += answer.len();
    }
    size
}

impl Task for CrossedTask<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn tokens(&self, row: usize) -> usize {
        size(self.loss, &self.rows[row]).tokens
    }

    fn losses<'t>(&'t self, rows: &'t [usize], _: Option<f64>) -> Work<'t, MicroBatch> {
        let answers = self.loss.answers();
        let mut batch = Batch::default();
        let parts = add_answers(&mut batch, rows.iter().flat_map(|&row| asked(self.loss, &self.rows[row])));
        let of_each = (0..answers.len()).map(|at| parts.iter().copied().skip(at).step_by(answers.len()));
        let scores: Vec<_> = of_each.map(|parts| batch.want_scores(parts)).collect();
        Work::new(batch, move |outputs: &Outputs| {
            let policy: Vec<SequenceScore> = scores.into_iter().map(|scores| outputs.scores(scores)).collect();
            let reference = policy.iter().enumerate().map(|(at, policy)| {
                let sums = rows.iter().map(|row| self.reference[row * answers.len() + at]).collect();
                SequenceScore { sum: floats(sums, &policy.sum.device()), tokens: policy.tokens.clone() }
            });
            let made = self.loss.losses(&policy, &reference.collect::<Vec<_>>());
            let [better, worse] = self.loss.logged();
            let pair = PairScore { chosen: policy[better].clone(), rejected: policy[worse].clone() };
            let mut logged = columns(&pair, made.rewards[better].clone(), made.rewards[worse].clone());
            if answers[better].answer != answers[worse].answer {
                // The gap between two languages is no language's reward gap.
                logged.retain(|(name, _)| *name != "rg/target");
            }
            logged.extend(made.columns);
            MicroBatch { losses: made.losses, columns: logged }
        })
    }

    fn describe(&self, row: usize) -> RowValues {
        let row = &self.rows[row];
        RowValues::new(Some(row.language), row.origin.to_string())
    }

    fn fingerprint(&self) -> String {
        format!("crossed {}", digest_sides(&self.rows))
    }
}

#[cfg(test)]
mod tests {
    use mpo_data::{Origin, Position, TokenizedPair};
    use mpo_objectives::{Clo, Crpo};

    use super::*;

    fn row() -> TokenizedRow {
        let origin = Origin { file: "f".into(), position: Position::Row(1) };
        let pair = |prompt: &[u32], chosen: &[u32], rejected: &[u32]| {
            TokenizedPair::new(&origin, prompt.to_vec(), chosen.to_vec(), rejected.to_vec()).unwrap()
        };
        TokenizedRow {
            dominant: pair(&[1, 2, 3], &[4], &[5, 6]),
            target: pair(&[7, 8], &[9, 10, 11], &[12, 13, 14, 15]),
            dominant_language: "en".parse().unwrap(),
            language: "sw".parse().unwrap(),
            origin,
        }
    }

    #[test]
    fn four_answers_stand_behind_the_target_prompt_which_is_there_once() {
        let (row, crpo) = (row(), Crpo::default());
        let found: Vec<(&[u32], &[u32])> = asked(&crpo, &row).collect();
        let prompt = &[7, 8][..];
        assert_eq!(found, [(prompt, &[9, 10, 11][..]), (prompt, &[4]), (prompt, &[12, 13, 14, 15]), (prompt, &[5, 6])]);
        let mut batch = Batch::default();
        add_answers(&mut batch, found);
        let expected = RowSize { tokens: 2 + 3 + 1 + 4 + 2, scored: 10, ..RowSize::default() };
        assert_eq!((size(&crpo, &row), batch.tokens()), (expected, expected.tokens));
    }

    #[test]
    fn safe_answers_stand_behind_either_prompt() {
        let (row, clo) = (row(), Clo::default());
        let found: Vec<(&[u32], &[u32])> = asked(&clo, &row).collect();
        let [target, dominant] = [&[7, 8][..], &[1, 2, 3]];
        assert_eq!(found, [(target, &[9, 10, 11][..]), (target, &[4]), (dominant, &[4]), (dominant, &[9, 10, 11])]);
        let mut batch = Batch::default();
        add_answers(&mut batch, found);
        let expected = RowSize { tokens: 2 + 3 + 1 + 3 + 1 + 3, scored: 8, ..RowSize::default() };
        assert_eq!((size(&clo, &row), batch.tokens()), (expected, expected.tokens));
    }
}
