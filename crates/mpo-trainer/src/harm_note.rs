//! A note behind unsafe prompts that answers are conditioned on while a model trains (LASA, arXiv 2604.12710): it learns what to say
//! behind the note, and whoever finds harm in a prompt later can put the note there.

use mpo_data::{TextTokenizer, TokenizedRows};
use mpo_progress::Progress;

use crate::error::TrainError;
use crate::reference::digest;
use crate::settings::TrainConfig;

/// The rows as they are trained on: where `config` has a note, with it behind its share of the unsafe prompts. The same prompt
/// has it in every row and in every epoch.
///
/// # Errors
/// If the note cannot be written as tokens.
pub fn with_harm_notes(
    rows: TokenizedRows,
    tokenizer: &TextTokenizer,
    config: &TrainConfig,
    progress: &dyn Progress,
) -> Result<TokenizedRows, TrainError> {
    let Some(note) = &config.harm_note else {
        return Ok(rows);
    };
    let note = tokenizer.encode_note(note)?;
    let (mut noted, mut unsafe_prompts) = (0, 0);
    let rows = rows.with_notes(&note, |prompt| {
        let is_noted = is_drawn(prompt, config.seed, config.harm_note_rate());
        (noted, unsafe_prompts) = (noted + usize::from(is_noted), unsafe_prompts + 1);
        is_noted
    });
    progress.note(&format_args!("{:<10} behind {noted} of {unsafe_prompts} unsafe prompts", "harm note"));
    Ok(rows)
}

/// Whether a prompt is among a share of all, which follows from the seed and its tokens.
fn is_drawn(prompt: &[u32], seed: u64, share: f64) -> bool {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(&digest(&[prompt]));
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]) as f64) < share * 2f64.powi(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_prompts_are_noted_follows_from_the_seed() {
        let drawn = |seed, share| (0..1_000_u32).filter(|&id| is_drawn(&[id, 7], seed, share)).collect::<Vec<_>>();
        assert_eq!(drawn(1, 0.5), drawn(1, 0.5));
        assert_ne!(drawn(1, 0.5), drawn(2, 0.5));
        // Four deviations of a thousand draws.
        assert!((drawn(1, 0.5).len() as f64 - 500.0).abs() < 64.0, "{}", drawn(1, 0.5).len());
        assert!((drawn(1, 0.1).len() as f64 - 100.0).abs() < 38.0, "{}", drawn(1, 0.1).len());
        assert_eq!((drawn(3, 1.0).len(), drawn(3, 0.0).len()), (1_000, 0));
        // Whoever has the note at a lower share has it at a higher one.
        assert!(drawn(1, 0.1).iter().all(|id| drawn(1, 0.5).contains(id)));
    }
}
