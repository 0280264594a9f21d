//! Supervised fine-tuning on demonstrations.

use mpo_data::Language;
use mpo_models::CausalLm;
use mpo_objectives::sft_loss;

use super::{MicroBatch, Task};
use crate::events::RowValues;
use crate::pack::Packer;

/// An answer to imitate.
#[derive(Debug, Clone)]
pub struct Demonstration {
    /// The language both are in.
    pub language: Language,
    /// The prompt's tokens, at least one.
    pub prompt: Vec<u32>,
    /// The answer's tokens, at least one.
    pub answer: Vec<u32>,
}

/// Demonstrations, and nothing to compare with.
#[derive(Debug)]
pub struct SftTask {
    demonstrations: Vec<Demonstration>,
}

impl SftTask {
    /// Trains on these.
    pub fn new(demonstrations: Vec<Demonstration>) -> Self {
        Self { demonstrations }
    }
}

impl Task for SftTask {
    fn rows(&self) -> usize {
        self.demonstrations.len()
    }

    fn tokens(&self, row: usize) -> usize {
        let row = &self.demonstrations[row];
        row.prompt.len() + row.answer.len()
    }

    fn losses(&self, model: &CausalLm, rows: &[usize]) -> MicroBatch {
        let mut packer = Packer::default();
        let answers: Vec<_> = rows
            .iter()
            .map(|&row| {
                let prompt = packer.prompt(&self.demonstrations[row].prompt);
                let answer = packer.answer(&prompt, &self.demonstrations[row].answer);
                (prompt, answer)
            })
            .collect();
        let hidden_states = packer.hidden_states(model);
        let losses = sft_loss(&packer.scores(model, &hidden_states, &answers));
        MicroBatch {
            columns: vec![("loss/sft", losses.clone())],
            losses,
        }
    }

    fn describe(&self, row: usize) -> RowValues {
        RowValues::new(
            Some(self.demonstrations[row].language),
            format!("demonstration {}", row + 1),
        )
    }

    fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for row in &self.demonstrations {
            for ids in [&row.prompt, &row.answer] {
                hasher.update(&(ids.len() as u64).to_le_bytes());
                ids.iter()
                    .for_each(|id| _ = hasher.update(&id.to_le_bytes()));
            }
        }
        format!("sft {}", hasher.finalize())
    }
}
