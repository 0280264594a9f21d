//! What a model makes of prompts before it answers: the hidden states of their last tokens.

use burn::module::Module;
use mpo_models::{At, Batch, CausalLm, Layer, Places};

use crate::error::ChatError;

/// For each of `layers` the states of all prompts' last tokens, one behind the other, for which as many prompts pass through
/// the model at a time as hold `max_tokens` tokens. Layers are numbered from one; the last is taken after the final norm. `told` is
/// told how many prompts have passed, and says whether to go on.
///
/// # Errors
/// If `told` stops it.
pub fn last_token_states(
    model: &CausalLm,
    prompts: &[Vec<u32>],
    layers: &[usize],
    max_tokens: usize,
    mut told: impl FnMut(usize) -> bool,
) -> Result<Vec<Vec<f32>>, ChatError> {
    let model = model.valid();
    let depth = model.config().prompt_layers();
    let layer = |number: usize| if number >= depth { Layer::Last } else { Layer::Output(number.saturating_sub(1)) };
    let mut states = vec![vec![]; layers.len()];
    let mut rest = prompts;
    while !rest.is_empty() {
        let (mut batch, mut last) = (Batch::default(), vec![]);
        for ids in rest {
            if !last.is_empty() && batch.tokens() + ids.len() > max_tokens {
                break;
            }
            last.push(At::Last(batch.prompt(ids)));
        }
        let wanted = layers.iter().map(|&number| batch.want_states(layer(number), Places::Tokens(last.clone())));
        let wanted: Vec<_> = wanted.collect();
        let outputs = model.forward(&batch);
        for (all, wanted) in states.iter_mut().zip(wanted) {
            let values = outputs.states(wanted).into_data().convert::<f32>().try_to_vec::<f32>();
            all.append(&mut values.expect("the data has just been converted to f32"));
        }
        rest = &rest[last.len()..];
        if !told(last.len()) {
            return Err(ChatError::Stopped);
        }
    }
    Ok(states)
}
