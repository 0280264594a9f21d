//! Prompts in several languages, without answers: their hidden states under the policy and under the reference.

use mpo_data::{Origin, TokenizedPrompts};
use mpo_models::{At, Batch, Layer, Outputs, Places};
use mpo_objectives::{ParallelLoss, ParallelStates};

use super::{MicroBatch, Task, Work};
use crate::error::TrainError;
use crate::events::RowValues;
use crate::memory::RowSize;
use crate::reference::{Fitted, KnownStates, OfPrompt, Reference, digest};

/// Prompts and the reference's states of them.
#[derive(Debug)]
pub(super) struct ParallelTask<'a> {
    loss: &'a dyn ParallelLoss,
    rows: Vec<TokenizedPrompts>,
    /// Where the prompts of each row begin among all.
    starts: Vec<usize>,
    /// At the last token of every prompt.
    last: KnownStates,
    /// The mean over the tokens of every row's dominant prompt.
    means: KnownStates,
    fitted: Fitted,
}

impl<'a> ParallelTask<'a> {
    pub(super) fn new(
        loss: &'a dyn ParallelLoss,
        rows: Vec<TokenizedPrompts>,
        reference: &mut Reference<'_>,
    ) -> Result<Self, TrainError> {
        let all: Vec<(&[u32], &Origin)> =
            rows.iter().flat_map(|row| row.prompts.iter().map(|(_, ids)| (&ids[..], &row.origin))).collect();
        let dominant: Vec<(&[u32], &Origin)> = rows.iter().map(|row| (&row.prompts[0].1[..], &row.origin)).collect();
        let last = reference.prompts(&all, OfPrompt::LastToken)?;
        let means = reference.prompts(&dominant, OfPrompt::Mean)?;
        let fitted = reference.fitted(&rows, &last)?;
        let mut first = 0;
        let starts = rows.iter().map(|row| {
            let start = first;
            first += row.prompts.len();
            start
        });
        Ok(Self { loss, starts: starts.collect(), last, means, fitted, rows })
    }
}

/// How much of a row passes through the model.
pub(super) fn size(row: &TokenizedPrompts) -> RowSize {
    RowSize { tokens: row.tokens(), scored: 0, compared: 0, held: row.prompts.len() + 1 }
}

impl Task for ParallelTask<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn tokens(&self, row: usize) -> usize {
        self.rows[row].tokens()
    }

    fn losses<'t>(&'t self, rows: &'t [usize], _: Option<f64>) -> Work<'t, MicroBatch> {
        let mut batch = Batch::default();
        let (mut last, mut means, mut known, mut languages) = (vec![], vec![], vec![], vec![]);
        for &row in rows {
            let prompts = &self.rows[row].prompts;
            let parts: Vec<_> = prompts.iter().map(|(_, ids)| batch.prompt(ids)).collect();
            means.push(vec![parts[0]]);
            last.extend(parts.into_iter().map(At::Last));
            known.extend((0..prompts.len()).map(|at| self.starts[row] + at));
            let number = |language| self.fitted.languages.iter().position(|known| known == language);
            languages.push(prompts.iter().filter_map(|(language, _)| number(language)).collect());
        }
        let last = batch.want_states(Layer::Last, Places::Tokens(last));
        let means = batch.want_states(Layer::Last, Places::Means(means));
        Work::new(batch, move |outputs: &Outputs| {
            let policy = outputs.states(last);
            let device = policy.device();
            let states = ParallelStates {
                policy,
                reference: self.last.states(&known, &device),
                policy_means: outputs.states(means),
                reference_means: self.means.states(rows, &device),
                languages,
            };
            let made = self.loss.losses(&states, &self.fitted.spaces);
            MicroBatch { losses: made.losses, columns: made.columns }
        })
    }

    fn describe(&self, row: usize) -> RowValues {
        RowValues::new(None, self.rows[row].origin.to_string())
    }

    fn fingerprint(&self) -> String {
        format!("parallel {}", fingerprint(&self.rows))
    }
}

/// Identifies prompts and their languages.
pub(crate) fn fingerprint(rows: &[TokenizedPrompts]) -> String {
    let mut hasher = blake3::Hasher::new();
    for row in rows {
        hasher.update(&(row.prompts.len() as u64).to_le_bytes());
        for (language, ids) in &row.prompts {
            hasher.update(language.code().as_bytes());
            hasher.update(&[0]);
            hasher.update(&digest(&[ids]));
        }
    }
    hasher.finalize().to_string()
}
