//! Answers to many prompts of unequal length, without padding: a few are worked on at once, and where one is finished
//! the next prompt takes its place.

use burn::module::Module;
use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;

use crate::batch::{Growing, Sequence};
use crate::decoder::CausalLm;
use crate::sampling::{Sampling, SamplingError};

/// How to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// Tokens of an answer at most.
    pub max_new_tokens: usize,
    /// Tokens that end an answer; they are not part of it.
    pub stop_ids: Vec<u32>,
    /// How tokens are drawn; `None` takes the most probable one.
    pub sampling: Option<Sampling>,
    /// Prompts worked on at once.
    pub batch_size: usize,
}

/// An answer's tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The tokens, without the one that ended it.
    pub ids: Vec<u32>,
    /// Whether the model ended it; otherwise it was cut.
    pub complete: bool,
}

/// What is told while it happens; prompts are known by their number.
#[derive(Debug, Clone, Copy)]
pub enum Generated<'a> {
    /// An answer has a token more.
    Token {
        /// Whose.
        prompt: usize,
        /// The token.
        id: u32,
    },
    /// An answer is finished.
    Answer {
        /// Whose.
        prompt: usize,
        /// The answer.
        answer: &'a Answer,
    },
}

/// Logits alive at once, in elements.
const MAX_LOGITS: usize = 1 << 23;

/// Tokens of prompts that go through the model at once, unless one prompt alone has more.
const MAX_PROMPT_TOKENS: usize = 2048;

/// A prompt that is being answered.
struct Active {
    /// Which one.
    prompt: usize,
    /// Its place in the cache.
    sequence: Sequence,
    /// Its tokens that go in next: the prompt, then one token at a time.
    pending: Vec<u32>,
    randomness: Option<ChaCha8Rng>,
}

/// Answers every prompt (each of at least one token). `on_event` says whether to go on; where it does not, answers are as
/// far as they have come.
///
/// # Errors
/// If logits are NaN or infinite, so that there is no token to choose.
pub fn generate(
    model: &CausalLm,
    prompts: &[Vec<u32>],
    options: &GenerateOptions,
    mut on_event: impl FnMut(Generated<'_>) -> bool,
) -> Result<Vec<Answer>, SamplingError> {
    let model = model.valid();
    let mut answers = vec![Answer::default(); prompts.len()];
    if options.max_new_tokens == 0 {
        return Ok(answers);
    }
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let lanes = options.batch_size.clamp(1, prompts.len().max(1));
    // The last token of an answer is never put in.
    let mut places = Growing::new(lanes, longest + options.max_new_tokens - 1);
    let mut waiting = prompts.iter().enumerate().peekable();
    let mut active: Vec<Active> = vec![];
    loop {
        let mut prompt_tokens = 0;
        while places.has_room()
            && let Some((prompt, ids)) =
                waiting.next_if(|(_, ids)| prompt_tokens == 0 || prompt_tokens + ids.len() <= MAX_PROMPT_TOKENS)
            && let Some(sequence) = places.begin()
        {
            prompt_tokens += ids.len();
            active.push(Active {
                prompt,
                sequence,
                pending: ids.clone(),
                randomness: options.sampling.map(|sampling| sampling.randomness(prompt, ids)),
            });
        }
        if active.is_empty() {
            return Ok(answers);
        }
        let next = next_tokens(&model, &mut active, &mut places, options.sampling)?;
        let mut go_on = true;
        let mut going_on = vec![];
        for (mut one, id) in active.into_iter().zip(next) {
            let (prompt, answer) = (one.prompt, &mut answers[one.prompt]);
            answer.complete = options.stop_ids.contains(&id);
            if !answer.complete {
                answer.ids.push(id);
                one.pending = vec![id];
                go_on &= on_event(Generated::Token { prompt, id });
                if answer.ids.len() < options.max_new_tokens {
                    going_on.push(one);
                    continue;
                }
            }
            places.end(one.sequence);
            go_on &= on_event(Generated::Answer { prompt, answer });
        }
        active = going_on;
        if !go_on {
            return Ok(answers);
        }
    }
}

/// Puts what is pending through the model and chooses each sequence's next token.
fn next_tokens(
    model: &CausalLm,
    active: &mut [Active],
    places: &mut Growing,
    sampling: Option<Sampling>,
) -> Result<Vec<u32>, SamplingError> {
    let next = active.iter_mut().map(|one| (&mut one.sequence, std::mem::take(&mut one.pending)));
    let last = places.extend(model, next);
    let at_once = (MAX_LOGITS / model.config().vocab_size).max(1);
    let mut chosen = vec![];
    for (states, sequences) in last.split(at_once, 0).into_iter().zip(active.chunks_mut(at_once)) {
        let logits = model.logits(states);
        chosen.extend(match sampling {
            None => most_probable(logits, sequences)?,
            Some(sampling) => drawn(logits, sampling, sequences)?,
        });
    }
    Ok(chosen)
}

/// The most probable token of each row.
fn most_probable(logits: Tensor<2>, sequences: &[Active]) -> Result<Vec<u32>, SamplingError> {
    let ids = logits.clone().argmax(1);
    let chosen = floats(logits.gather(1, ids.clone()));
    // A NaN or an infinity is the largest of its row, on any backend that does not pass over it.
    for (sequence, got) in sequences.iter().zip(chosen) {
        if !got.is_finite() {
            let prompt = sequence.prompt;
            return Err(SamplingError::NotFinite { prompt, got });
        }
    }
    let ids = ids.into_data().convert::<i64>().try_to_vec::<i64>();
    let ids = ids.expect("the data has just been converted to i64");
    Ok(ids.into_iter().map(|id| id as u32).collect())
}

/// A token of each row, by its sequence's own randomness.
fn drawn(logits: Tensor<2>, sampling: Sampling, sequences: &mut [Active]) -> Result<Vec<u32>, SamplingError> {
    let vocab_size = logits.dims()[1];
    let logits = floats(logits);
    let rows = logits.chunks_exact(vocab_size).zip(sequences);
    rows.filter_map(|(logits, sequence)| {
        let prompt = sequence.prompt;
        let drawn = sampling.draw(logits, sequence.randomness.as_mut()?);
        Some(drawn.map_err(|got| SamplingError::NotFinite { prompt, got }))
    })
    .collect()
}

fn floats(tensor: Tensor<2>) -> Vec<f32> {
    let values = tensor.into_data().convert::<f32>().try_to_vec::<f32>();
    values.expect("the data has just been converted to f32")
}
