//! Single answers, good or bad, beside the answers to other prompts of their batch (KTO).

use std::collections::{HashMap, HashSet};

use mpo_data::LabelledAnswer;
use mpo_kernels::SequenceScore;
use mpo_models::{Batch, Outputs};
use mpo_objectives::{UnpairedLoss, UnpairedScore};

use super::{MicroBatch, Shared, Task, Work, floats};
use crate::batches::Batches;
use crate::error::TrainError;
use crate::events::RowValues;
use crate::pairs::{add_answers, chunks};
use crate::reference::{AnswerToScore, Reference, digest};

/// Answers, and the reference's numbers for them.
#[derive(Debug)]
pub(super) struct UnpairedTask<'a> {
    loss: &'a dyn UnpairedLoss,
    answers: Vec<LabelledAnswer>,
    /// Σ log p of each.
    reference: Vec<f32>,
    /// Σ log p of the mismatched pairs that the run will meet.
    mismatched: HashMap<Mismatched, f32>,
    max_tokens: usize,
}

/// The prompt of one row and the answer of another.
type Mismatched = (usize, usize);

impl<'a> UnpairedTask<'a> {
    pub(super) fn new(
        loss: &'a dyn UnpairedLoss,
        answers: Vec<LabelledAnswer>,
        batches: &Batches,
        max_tokens: usize,
        reference: &mut Reference<'_>,
    ) -> Result<Self, TrainError> {
        let matched: Vec<AnswerToScore<'_>> = answers.iter().map(|row| asked(row, row)).collect();
        let own = reference.sums(&matched)?;
        let mut known: HashMap<Mismatched, f32> = HashMap::new();
        // An epoch at a time: a long run meets most of its pairs again.
        for epoch in 0..batches.epochs() {
            let mut seen = HashSet::new();
            let pairs: Vec<Mismatched> = batches
                .of_epoch(epoch)
                .iter()
                .flat_map(|batch| mismatched(&answers, batch))
                .filter(|pair| !known.contains_key(pair) && seen.insert(*pair))
                .collect();
            if pairs.is_empty() {
                continue;
            }
            let asked: Vec<AnswerToScore<'_>> =
                pairs.iter().map(|&(prompt, answer)| asked(&answers[prompt], &answers[answer])).collect();
            known.extend(pairs.iter().copied().zip(reference.sums(&asked)?));
        }
        Ok(Self { loss, mismatched: known, reference: own, answers, max_tokens })
    }
}

fn asked<'a>(prompt: &'a LabelledAnswer, answer: &'a LabelledAnswer) -> AnswerToScore<'a> {
    AnswerToScore { prompt: &prompt.prompt, answer: &answer.answer, origin: &prompt.origin }
}

/// For every row of a batch, the first after it (the batch taken as a ring) that answers another prompt; the next one if
/// all answer the same.
fn mismatched(answers: &[LabelledAnswer], batch: &[usize]) -> Vec<Mismatched> {
    let of = |(at, &row): (usize, &usize)| {
        let ring = || batch.iter().cycle().skip(at + 1).take(batch.len());
        let other = ring().find(|&&other| answers[other].prompt != answers[row].prompt);
        (row, *other.or(ring().next()).unwrap_or(&row))
    };
    batch.iter().enumerate().map(of).collect()
}

impl Task for UnpairedTask<'_> {
    fn rows(&self) -> usize {
        self.answers.len()
    }

    fn min_batch(&self) -> usize {
        2
    }

    fn tokens(&self, row: usize) -> usize {
        let row = &self.answers[row];
        row.prompt.len() + row.answer.len()
    }

    /// The reference point, under the name `kl` by which it is known.
    fn shared(&self, rows: &[usize]) -> Option<Shared<'_>> {
        let pairs = mismatched(&self.answers, rows);
        let size =
            |&(prompt, answer): &Mismatched| self.answers[prompt].prompt.len() + self.answers[answer].answer.len();
        let ratios = |part: &[Mismatched]| {
            let asked = part
                .iter()
                .map(|&(prompt, answer)| (&self.answers[prompt].prompt[..], &self.answers[answer].answer[..]));
            let mut batch = Batch::default();
            let answers = add_answers(&mut batch, asked);
            let scores = batch.want_scores(answers);
            let reference: Vec<f32> = part.iter().map(|pair| self.mismatched[pair]).collect();
            Work::new(batch, move |outputs: &Outputs| {
                let sums = outputs.scores(scores).sum;
                sums.clone() - floats(reference, &sums.device())
            })
        };
        Some(Shared {
            name: "kl",
            work: chunks(&pairs, self.max_tokens, size).map(ratios).collect(),
            of: Box::new(|ratios| self.loss.reference_point(ratios)),
        })
    }

    fn losses<'t>(&'t self, rows: &'t [usize], shared: Option<f64>) -> Work<'t, MicroBatch> {
        let reference_point = shared.expect("a batch of answers shares its reference point");
        let mut batch = Batch::default();
        let asked = rows.iter().map(|&row| &self.answers[row]);
        let asked = asked.map(|row| (&row.prompt[..], &row.answer[..]));
        let answers = add_answers(&mut batch, asked);
        let scores = batch.want_scores(answers);
        Work::new(batch, move |outputs: &Outputs| {
            let policy = outputs.scores(scores);
            let sums = rows.iter().map(|&row| self.reference[row]).collect();
            let scores = UnpairedScore {
                reference: SequenceScore { sum: floats(sums, &policy.sum.device()), tokens: policy.tokens.clone() },
                policy,
                desirable: rows.iter().map(|&row| self.answers[row].desirable).collect(),
            };
            let rewards = self.loss.rewards(&scores.policy, &scores.reference);
            MicroBatch {
                losses: self.loss.losses(&scores, reference_point),
                columns: vec![("rewards", rewards), ("logps", scores.policy.sum)],
            }
        })
    }

    fn describe(&self, row: usize) -> RowValues {
        let row = &self.answers[row];
        RowValues::new(Some(row.language), row.origin.to_string())
    }

    fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for row in &self.answers {
            hasher.update(&digest(&[&row.prompt, &row.answer]));
            hasher.update(&[u8::from(row.desirable)]);
        }
        format!("unpaired {}", hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpo_data::{Origin, Position};

    #[test]
    fn a_prompt_meets_the_next_answer_to_another() {
        let row = |prompt: u32| LabelledAnswer {
            language: "sw".parse().unwrap(),
            prompt: vec![prompt],
            answer: vec![1],
            desirable: true,
            is_benign: false,
            origin: Origin { file: "f".into(), position: Position::Row(1) },
        };
        // Rows 0 and 1 are two answers to one prompt.
        let answers = [row(7), row(7), row(8), row(9)];
        let pairs = |batch: &[usize]| mismatched(&answers, batch);
        assert_eq!(pairs(&[3, 0, 2]), [(3, 0), (0, 2), (2, 3)]);
        assert_eq!(pairs(&[0, 1, 2]), [(0, 2), (1, 2), (2, 0)]);
        assert_eq!(pairs(&[0, 1]), [(0, 1), (1, 0)]);
    }
}
