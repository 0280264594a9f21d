//! Safe answers: nothing to compare with.

use mpo_data::LabelledAnswer;
use mpo_models::{Batch, Outputs};
use mpo_objectives::DemonstrationLoss;

use super::{MicroBatch, Task, Work};
use crate::events::RowValues;
use crate::pairs::add_answers;
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

    fn losses<'t>(&'t self, rows: &'t [usize], _: Option<f64>) -> Work<'t, MicroBatch> {
        let mut batch = Batch::default();
        let answers = rows.iter().map(|&row| &self.answers[row]);
        let answers = answers.map(|row| (&row.prompt[..], &row.answer[..]));
        let answers = add_answers(&mut batch, answers);
        let scores = batch.want_scores(answers);
        let then = move |outputs: &Outputs| {
            let scores = outputs.scores(scores);
            MicroBatch { losses: self.loss.losses(&scores), columns: vec![("logps/chosen", scores.sum)] }
        };
        Work::new(batch, then)
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
