//! What passes through a model together, and what is wanted of it.
//!
//! A [`Batch`] holds prompts and what follows them. It does not say how a model takes them in: `packed` lays a batch out
//! for a decoder, end to end and every part once, and `divided` for an encoder and a decoder. [`Growing`] is for generation, where earlier tokens lie in a cache.

mod divided;
mod growing;
mod outputs;
mod packed;

pub(crate) use divided::{Divided, Rows, Side};
pub use growing::{Growing, Sequence};
pub use outputs::{Head, Outputs};
pub(crate) use packed::{Packed, Targets};

/// Prompts, what follows them, and what is wanted of both.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    parts: Vec<Tokens>,
    scored: Vec<Part>,
    states: Vec<WantedStates>,
}

/// A part of a [`Batch`]: tokens that stand there once, whatever follows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part(usize);

#[derive(Debug, Clone)]
struct Tokens {
    ids: Vec<u32>,
    /// What they follow.
    after: Option<Part>,
    kind: Kind,
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prompt,
    Answer,
    /// Tokens that do not see each other.
    Padding,
}

/// The scores of some answers, once the batch has passed through a model.
#[derive(Debug, Clone, Copy)]
pub struct Scores {
    first: usize,
    count: usize,
}

/// Some hidden states, once the batch has passed through a model.
#[derive(Debug, Clone, Copy)]
pub struct States(usize);

#[derive(Debug, Clone)]
struct WantedStates {
    layer: Layer,
    places: Places,
}

/// Which layer's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The last one's, after the final norm.
    Last,
    /// What this one gives to the next; the first is 0.
    Output(usize),
}

impl Layer {
    /// How many layers must be computed for it, unless it is the last.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::Last => 0,
            Self::Output(index) => index + 1,
        }
    }
}

/// Where states are taken.
#[derive(Debug, Clone)]
pub enum Places {
    /// At tokens.
    Tokens(Vec<At>),
    /// The mean over all tokens of each group of parts: one state for each group.
    Means(Vec<Vec<Part>>),
}

/// Tokens of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Its last: one state.
    Last(Part),
    /// Where the token after a prompt is predicted: its last, or the first of a decoder that has an encoder before it.
    Next(Part),
    /// Those that predict it: the last before it, and every one of its own but the last. A state for each of its tokens.
    Predicting(Part),
    /// Every one: a state for each of its tokens.
    Every(Part),
}

impl Batch {
    /// Adds a prompt, which sees only itself.
    pub fn prompt(&mut self, ids: &[u32]) -> Part {
        self.push(ids, None, Kind::Prompt)
    }

    /// Adds the rest of a prompt that opens with `opening`.
    pub fn prompt_from(&mut self, opening: Part, ids: &[u32]) -> Part {
        self.push(ids, Some(opening), Kind::Prompt)
    }

    /// Adds an answer to a prompt.
    pub fn answer(&mut self, prompt: Part, ids: &[u32]) -> Part {
        self.push(ids, Some(prompt), Kind::Answer)
    }

    /// Adds `count` copies of `token` after an answer, or after a prompt, as right padding under a mask: each stands at its own
    /// position and sees the tokens before the padding, but no padding.
    pub fn padding(&mut self, after: Part, token: u32, count: usize) -> Part {
        self.push(&vec![token; count], Some(after), Kind::Padding)
    }

    /// Asks for log p of these answers.
    pub fn want_scores(&mut self, answers: impl IntoIterator<Item = Part>) -> Scores {
        let first = self.scored.len();
        self.scored.extend(answers);
        let count = self.scored.len() - first;
        Scores { first, count }
    }

    /// Asks for hidden states.
    pub fn want_states(&mut self, layer: Layer, places: Places) -> States {
        self.states.push(WantedStates { layer, places });
        States(self.states.len() - 1)
    }

    /// Tokens of a part.
    pub fn ids(&self, part: Part) -> &[u32] {
        &self.parts[part.0].ids
    }

    /// How many tokens pass through a model.
    pub fn tokens(&self) -> usize {
        self.parts.iter().map(|part| part.ids.len()).sum()
    }

    fn push(&mut self, ids: &[u32], after: Option<Part>, kind: Kind) -> Part {
        self.parts.push(Tokens { ids: ids.to_vec(), after, kind });
        Part(self.parts.len() - 1)
    }

    /// The layers that something is wanted of, each once; scores are of the last.
    pub(crate) fn layers(&self) -> impl Iterator<Item = Layer> {
        let last = (!self.scored.is_empty()).then_some(Layer::Last);
        let mut layers: Vec<Layer> = last.into_iter().collect();
        for wanted in &self.states {
            if !layers.contains(&wanted.layer) {
                layers.push(wanted.layer);
            }
        }
        layers.into_iter()
    }

    /// The states wanted, in order.
    pub(crate) fn wanted_states(&self) -> impl Iterator<Item = (Layer, &Places)> {
        let all = self.states.iter();
        all.map(|wanted| (wanted.layer, &wanted.places))
    }

    /// The tokens that single states are wanted of.
    fn tokens_wanted(&self) -> impl Iterator<Item = At> {
        self.states.iter().flat_map(|wanted| match &wanted.places {
            Places::Tokens(tokens) => tokens.clone(),
            Places::Means(_) => vec![],
        })
    }

    /// Whether states are wanted of a part's own tokens, or of what comes after it.
    fn is_wanted(&self, part: Part) -> bool {
        let at = |at: At| match at {
            At::Last(of) | At::Next(of) | At::Every(of) => of == part,
            // From the token before it to the last but one of its own.
            At::Predicting(_) => false,
        };
        let in_means = |wanted: &WantedStates| match &wanted.places {
            Places::Tokens(_) => false,
            Places::Means(groups) => groups.iter().flatten().any(|of| *of == part),
        };
        self.tokens_wanted().any(at) || self.states.iter().any(in_means)
    }

    /// What stands before a part, in order.
    fn before(&self, part: Part) -> Vec<Part> {
        let mut before = vec![];
        let mut after = self.parts[part.0].after;
        while let Some(part) = after {
            before.push(part);
            after = self.parts[part.0].after;
        }
        before.reverse();
        before
    }
}
