//! Whether an answer has room for a refusal. What is enough in English is not in every language: a tokenizer may have a token for
//! each letter of another script.

use std::collections::BTreeSet;

use mpo_chat::{ChatError, ModelFolder};
use mpo_data::Language;
use mpo_progress::{Counted, Progress};

use crate::refusal::typical_refusal;

/// A refusal as models write it most often.
struct Usual {
    language: Language,
    text: &'static str,
    ids: Vec<u32>,
}

/// Those of some languages, each once, where they are known.
fn usual(folder: &ModelFolder, languages: impl Iterator<Item = Language>) -> Result<Vec<Usual>, ChatError> {
    let languages: BTreeSet<Language> = languages.collect();
    let known = languages.into_iter().filter_map(|language| Some((language, typical_refusal(language)?)));
    known.map(|(language, text)| Ok(Usual { language, text, ids: folder.tokenizer.encode_text(text)? })).collect()
}

/// Tokens of the longest usual refusal in some languages.
///
/// # Errors
/// If text cannot be made tokens.
pub(crate) fn longest_refusal(
    folder: &ModelFolder,
    languages: impl Iterator<Item = Language>,
) -> Result<usize, ChatError> {
    Ok(usual(folder, languages)?.iter().map(|refusal| refusal.ids.len()).max().unwrap_or(0))
}

/// Says in which of some languages an answer of so many tokens ends before it can be told from a refusal by `refuses`, who
/// decides on answers.
///
/// # Errors
/// If text cannot be made tokens, or `refuses` fails.
pub fn note_short(
    folder: &ModelFolder,
    languages: impl Iterator<Item = Language>,
    max_new_tokens: usize,
    mut refuses: impl FnMut(Language, &str) -> Result<bool, ChatError>,
    progress: &dyn Progress,
) -> Result<(), ChatError> {
    for Usual { language, text, ids } in usual(folder, languages)? {
        let Some(kept) = ids.get(..max_new_tokens).filter(|kept| kept.len() < ids.len()) else {
            continue;
        };
        // Many a refusal is known by its beginning.
        let cut = folder.tokenizer.decode(kept)?;
        if refuses(language, text)? && !refuses(language, &cut)? {
            progress.note(&format_args!(
                "warning: answers end after {}, and a refusal in {} such as “{text}” takes {}: cut there, it \
                 is not known for one, and so may others be taken for answers; allow longer answers",
                Counted(max_new_tokens as u64, "token"),
                language.name(),
                ids.len()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mpo_data::TemplateOptions;
    use mpo_progress::{Recorder, Silent};

    use super::*;
    use crate::refusal::is_refusal;

    fn folder() -> ModelFolder {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mpo-train/miniature/model");
        ModelFolder::open(path.to_str().unwrap(), &TemplateOptions::default(), &Silent).unwrap()
    }

    #[test]
    fn a_refusal_that_is_known_by_its_beginning_has_room() {
        let folder = folder();
        let of = |code: &str, max_new_tokens: usize, is_known: bool| {
            let recorder = Recorder::default();
            let language: Language = code.parse().unwrap();
            let refuses = |language, answer: &str| Ok(is_known && is_refusal(answer, Some(language)));
            note_short(&folder, [language].into_iter(), max_new_tokens, refuses, &recorder).unwrap();
            recorder.texts()
        };
        // English and Swahili have the full stop last, Bengali the word for no.
        for (code, is_known_early) in [("en", true), ("sw", true), ("bn", false)] {
            let whole = longest_refusal(&folder, [code.parse().unwrap()].into_iter()).unwrap();
            assert!(whole > 4, "{code} {whole}");
            assert_eq!([of(code, whole, true).len(), of(code, whole + 1, true).len()], [0, 0], "{code}");
            assert_eq!(of(code, whole - 1, true).is_empty(), is_known_early, "{code}");
            let notes = of(code, 2, true);
            assert!(
                notes[0].contains("end after 2 tokens") && notes[0].contains(&format!("takes {whole}:")),
                "{notes:?}"
            );
            // Whoever knows none of the language's refusals misses nothing.
            assert_eq!(of(code, 2, false), [""; 0]);
        }
        // Each language once; none is known in French.
        let all = ["en", "sw", "sw", "fr"].map(|code| code.parse().unwrap());
        assert_eq!(usual(&folder, all.into_iter()).unwrap().len(), 2);
        assert_eq!(longest_refusal(&folder, all[3..].iter().copied()).unwrap(), 0);
    }
}
