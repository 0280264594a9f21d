//! What of the dominant side is held in place, collected while a batch is packed.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};
use mpo_data::TokenizedPair;
use mpo_objectives::Retain;

use crate::pack::{Packer, PairRows, mean_rows};

/// Which hidden states are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) retain: Retain,
    pub(crate) padding: Padding,
}

/// The padding that enters the authors' unmasked mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// The padding token.
    pub token: u32,
    /// Sequences of a pair are padded to the longer one, rounded up to a multiple of this.
    pub multiple: usize,
}

impl Holding {
    /// Nothing of a batch yet.
    pub(crate) fn collect(self) -> Held {
        Held {
            holding: self,
            rows: vec![],
            lengths: vec![],
            means: vec![],
        }
    }

    /// Tokens of a dominant pair that must pass through the model.
    pub(crate) fn tokens(self, pair: &TokenizedPair) -> usize {
        let padding = pair.chosen().len().abs_diff(pair.rejected().len());
        match self.retain {
            Retain::None => 0,
            Retain::LastToken => pair.prompt().len(),
            Retain::MaskedMean | Retain::Kl => pair.tokens(),
            Retain::MeanPool => pair.tokens() + padding,
        }
    }

    /// Names the numbers in a file, and tells them from others.
    pub(crate) fn name(self) -> (&'static str, String) {
        let name = match self.retain {
            Retain::LastToken => "last-token",
            Retain::MaskedMean => "masked-mean",
            Retain::MeanPool => return ("mean-pool", format!("{:?}", self.padding)),
            Retain::Kl => "distributions",
            Retain::None => "none",
        };
        (name, String::new())
    }
}

/// The rows of a batch whose states are held.
#[derive(Debug)]
pub(crate) struct Held {
    holding: Holding,
    /// Single rows.
    rows: Vec<usize>,
    /// How many of them each pair has.
    lengths: Vec<usize>,
    /// Two groups of rows for each pair: chosen, rejected.
    means: Vec<Vec<Range<usize>>>,
}

impl Held {
    /// Adds what is needed of a dominant pair to the batch.
    pub(crate) fn pack(&mut self, packer: &mut Packer, pair: &TokenizedPair) {
        match self.holding.retain {
            Retain::None => {}
            Retain::LastToken => self.hold_rows([packer.prompt(pair.prompt()).end - 1]),
            Retain::MaskedMean | Retain::MeanPool | Retain::Kl => {
                let rows = packer.pair(pair);
                self.add(packer, &rows);
            }
        }
    }

    /// Adds what is needed of a dominant pair that is in the batch already.
    pub(crate) fn add(&mut self, packer: &mut Packer, pair: &PairRows) {
        let answers = [&pair.chosen, &pair.rejected];
        match self.holding.retain {
            Retain::None => {}
            Retain::LastToken => self.hold_rows([pair.prompt.end - 1]),
            Retain::Kl => self.hold_rows(
                answers
                    .into_iter()
                    .flat_map(|answer| pair.predicting(answer)),
            ),
            Retain::MaskedMean => self
                .means
                .extend(answers.map(|answer| vec![pair.prompt.clone(), answer.clone()])),
            Retain::MeanPool => {
                let longest = pair.chosen.len().max(pair.rejected.len());
                let length =
                    (pair.prompt.len() + longest).next_multiple_of(self.holding.padding.multiple);
                for answer in answers {
                    let missing = length - pair.prompt.len() - answer.len();
                    let token = self.holding.padding.token;
                    let pads = packer.padding(&pair.prompt, answer, token, missing);
                    self.means
                        .push(vec![pair.prompt.clone(), answer.clone(), pads]);
                }
            }
        }
    }

    fn hold_rows(&mut self, rows: impl IntoIterator<Item = usize>) {
        let before = self.rows.len();
        self.rows.extend(rows);
        self.lengths.push(self.rows.len() - before);
    }

    /// The hidden states held, `[states, hidden_size]`, from the packed batch's; those of a pair stand together.
    pub(crate) fn states(&self, hidden_states: &Tensor<2>) -> Tensor<2> {
        if !self.means.is_empty() {
            return mean_rows(hidden_states, &self.means);
        }
        let rows: Vec<i32> = self.rows.iter().map(|&row| row as i32).collect();
        let count = rows.len();
        let rows = TensorData::new(rows, [count]);
        let device = hidden_states.device();
        hidden_states
            .clone()
            .select(0, Tensor::<1, Int>::from_data(rows, &device))
    }

    /// How many states each pair has.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        match self.means.len() {
            0 => self.lengths.clone(),
            groups => vec![2; groups / 2],
        }
    }
}
