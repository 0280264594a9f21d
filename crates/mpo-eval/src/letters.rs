//! Multiple choice: which letter a model takes for the likeliest.

use mpo_chat::{ModelFolder, SHORTER};
use mpo_models::CausalLm;
use mpo_progress::{Progress, Stage};

use crate::benchmark::{Item, LETTERS};
use crate::choice::letter_log_probs;
use crate::error::EvalError;

/// Tokens that go through the model at once.
const AT_ONCE: usize = 4096;

/// log p of the four letters after each question; none after one that is far beyond what the model was made for.
pub(crate) fn letters(
    folder: &ModelFolder,
    model: &CausalLm,
    items: &[Item],
    stage: &dyn Stage,
    progress: &dyn Progress,
) -> Result<Vec<Option<Vec<f64>>>, EvalError> {
    let encode = |text: &str| folder.encode_text(text);
    let mut prompts: Vec<Vec<u32>> = items.iter().map(|item| encode(&item.turns[0])).collect::<Result<_, _>>()?;
    let context = encode("Answer:")?;
    let (mut letters, mut spaces) = (vec![], vec![]);
    for letter in LETTERS {
        // As it stands behind a question. Where the space is a token of its own, it comes before any letter.
        let whole = encode(&format!("Answer: {letter}"))?;
        match whole.strip_prefix(&context[..]) {
            Some([space @ .., id]) => {
                letters.push(*id);
                spaces.push(space.to_vec());
            }
            _ => spaces.push(whole),
        }
    }
    if letters.len() < LETTERS.len() || spaces.iter().any(|space| *space != spaces[0]) {
        return Err(EvalError::Letters { got: format!("{spaces:?}") });
    }
    for prompt in &mut prompts {
        prompt.extend(&spaces[0]);
    }
    let lengths = prompts.iter().map(Vec::len);
    folder.check_positions(lengths, SHORTER, progress)?;
    let in_reach = |prompt: &Vec<u32>| folder.is_in_reach(prompt.len());
    let asked: Vec<Vec<u32>> = prompts.iter().filter(|of| in_reach(of)).cloned().collect();
    let found = letter_log_probs(model, &asked, &letters, AT_ONCE, stage);
    let mut found = found?.into_iter();
    let or_none = |prompt| if in_reach(prompt) { found.next() } else { None };
    Ok(prompts.iter().map(or_none).collect())
}
