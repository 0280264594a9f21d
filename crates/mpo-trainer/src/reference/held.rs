//! What of the dominant side is held in place, collected while a batch is made.

use mpo_data::TokenizedPair;
use mpo_models::{At, Batch, Layer, Part, Places, States};
use mpo_objectives::Hold;

use crate::pairs::PairParts;

/// Tokens of a dominant pair that must pass through the model.
pub(crate) fn held_tokens(hold: Hold, pair: &TokenizedPair) -> usize {
    let padding = pair.chosen().len().abs_diff(pair.rejected().len());
    match hold {
        Hold::LastToken => pair.prompt().len(),
        Hold::MaskedMean | Hold::Distributions => pair.tokens(),
        Hold::MeanPool { .. } => pair.tokens() + padding,
    }
}

/// Hidden states that are held of a dominant pair.
pub(crate) fn held_states(hold: Hold, pair: &TokenizedPair) -> usize {
    match hold {
        Hold::LastToken => 1,
        Hold::MaskedMean | Hold::MeanPool { .. } => 2,
        Hold::Distributions => pair.chosen().len() + pair.rejected().len(),
    }
}

/// Which hidden states are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) hold: Hold,
    /// What sequences are padded with, where padding enters the mean.
    pub(crate) pad_token: u32,
}

impl Holding {
    /// Nothing of a batch yet; `encodes` says whether prompts go into an encoder.
    pub(crate) fn collect(self, encodes: bool) -> Collected {
        Collected { holding: self, encodes, tokens: vec![], means: vec![], lengths: vec![] }
    }

    /// Names the numbers in a file, and tells them from others.
    pub(crate) fn name(self) -> (&'static str, String) {
        match self.hold {
            Hold::LastToken => ("last-token", String::new()),
            Hold::MaskedMean => ("masked-mean", String::new()),
            Hold::Distributions => ("distributions", String::new()),
            Hold::MeanPool { pad_multiple } => {
                let token = self.pad_token;
                let detail = format!("Padding {{ token: {token}, multiple: {pad_multiple} }}");
                ("mean-pool", detail)
            }
        }
    }
}

/// The states of a batch that are held.
#[derive(Debug)]
pub(crate) struct Collected {
    holding: Holding,
    encodes: bool,
    /// Single tokens.
    tokens: Vec<At>,
    /// Two groups of parts for each pair: chosen, rejected.
    means: Vec<Vec<Part>>,
    /// How many states each pair has.
    lengths: Vec<usize>,
}

/// Held states, once the batch has passed through a model; those of a pair stand together.
#[derive(Debug)]
pub(crate) struct HeldStates {
    pub(crate) states: States,
    /// How many each pair has.
    pub(crate) lengths: Vec<usize>,
}

impl Collected {
    /// Adds what is needed of a dominant pair to the batch.
    pub(crate) fn pack(&mut self, batch: &mut Batch, pair: &TokenizedPair) {
        match self.holding.hold {
            Hold::LastToken => {
                let prompt = batch.prompt(pair.prompt());
                self.hold_tokens(&[At::Last(prompt)], 1);
            }
            Hold::MaskedMean | Hold::MeanPool { .. } if self.encodes => {
                let prompt = batch.prompt(pair.prompt());
                self.hold_encoded(batch, prompt);
            }
            Hold::MaskedMean | Hold::MeanPool { .. } | Hold::Distributions => {
                let parts = PairParts::add(batch, pair);
                self.add(batch, &parts);
            }
        }
    }

    /// Adds what is needed of a dominant pair that is in the batch already.
    pub(crate) fn add(&mut self, batch: &mut Batch, pair: &PairParts) {
        let answers = [pair.chosen, pair.rejected];
        let lengths = answers.map(|answer| batch.ids(answer).len());
        match self.holding.hold {
            Hold::LastToken => self.hold_tokens(&[At::Last(pair.prompt)], 1),
            Hold::Distributions => {
                let count = lengths.iter().sum();
                self.hold_tokens(&answers.map(At::Predicting), count);
            }
            Hold::MaskedMean | Hold::MeanPool { .. } if self.encodes => self.hold_encoded(batch, pair.prompt),
            Hold::MaskedMean => self.hold_means(answers.map(|answer| vec![pair.prompt, answer])),
            Hold::MeanPool { pad_multiple } => {
                let prompt = batch.ids(pair.prompt).len();
                let longest = lengths[0].max(lengths[1]);
                let padded = (prompt + longest).next_multiple_of(pad_multiple);
                let token = self.holding.pad_token;
                self.hold_means(answers.map(|answer| {
                    let missing = padded - prompt - batch.ids(answer).len();
                    let padding = batch.padding(answer, token, missing);
                    vec![pair.prompt, answer, padding]
                }));
            }
        }
    }

    /// Holds the mean of what an encoder makes of a prompt, which both answers follow, and of padding behind it where that enters
    /// the mean.
    fn hold_encoded(&mut self, batch: &mut Batch, prompt: Part) {
        let mut parts = vec![prompt];
        if let Hold::MeanPool { pad_multiple } = self.holding.hold {
            let length = batch.ids(prompt).len();
            let missing = length.next_multiple_of(pad_multiple) - length;
            parts.push(batch.padding(prompt, self.holding.pad_token, missing));
        }
        self.hold_means([parts.clone(), parts]);
    }

    fn hold_tokens(&mut self, at: &[At], count: usize) {
        self.tokens.extend_from_slice(at);
        self.lengths.push(count);
    }

    fn hold_means(&mut self, groups: [Vec<Part>; 2]) {
        self.lengths.push(groups.len());
        self.means.extend(groups);
    }

    /// Asks for the states.
    pub(crate) fn want(self, batch: &mut Batch) -> HeldStates {
        let places = if self.means.is_empty() { Places::Tokens(self.tokens) } else { Places::Means(self.means) };
        HeldStates { states: batch.want_states(Layer::Last, places), lengths: self.lengths }
    }
}
