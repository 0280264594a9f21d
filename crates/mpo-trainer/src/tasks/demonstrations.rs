//! Safe answers: nothing to compare with.

use mpo_data::LabelledAnswer;
use mpo_models::CausalLm;
use mpo_objectives::DemonstrationLoss;

use super::{MicroBatch, Shared, Task};
use crate::events::RowValues;
use crate::pack::Packer;
use crate::reference::digest;

/// Answers to imitate.
#[derive(Debug)]
pub(super) struct DemonstrationTask<'a> {
    loss: &'a dyn DemonstrationLoss,
    answers: Vec<LabelledAnswer>,
}

impl<'a> DemonstrationTask<'a> {
    pub(super) fn new(loss: &'a dyn DemonstrationLoss, answers: Vec<LabelledAnswer>) -> Self {
        Self { loss, answers }
    }
}

impl Task for DemonstrationTask<'_> {
    fn rows(&self) -> usize {
        self.answers.len()
    }

    fn tokens(&self, row: usize) -> usize {
        let row = &self.answers[row];
        row.prompt.len() + row.answer.len()
    }

    fn losses(&self, model: &CausalLm, rows: &[usize], _: &Shared) -> MicroBatch {
        let answers = rows.iter().map(|&row| &self.answers[row]);
        let mut packer = Packer::default();
        let answers = packer.answers(answers.map(|row| (&row.prompt[..], &row.answer[..])));
        let hidden_states = packer.hidden_states(model);
        let scores = packer.scores(model, &hidden_states, &answers);
        MicroBatch {
            losses: self.loss.losses(&scores),
            columns: vec![("logps/chosen", scores.sum)],
        }
    }

    fn describe(&self, row: usize) -> RowValues {
        let row = &self.answers[row];
        RowValues::new(Some(row.language), row.origin.to_string())
    }

    fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for row in &self.answers {
            hasher.update(&digest(&[&row.prompt, &row.answer]));
        }
        format!("demonstrations {}", hasher.finalize())
    }
}
