//! The card of an adapter and its base as one model.

use mpo_trainer::TrainError;

use super::CardBase;
use super::base::link;

/// The card of `base` with an adapter merged into it, which was named `adapter`. How that was trained, its own card says.
///
/// # Errors
/// If the card of the base cannot be read.
pub fn merged_card(base: CardBase<'_>, adapter: &str) -> Result<String, TrainError> {
    Ok(format!(
        "{}\n# {}, with an adapter merged\n\n\
         {} with the adapter {} merged into its weights, by mpo-train {}. How the adapter was trained, its own card says.\n\n{}",
        base.head("transformers", &[], [])?,
        base.short_name(),
        base.link(),
        link(adapter),
        env!("CARGO_PKG_VERSION"),
        base.usage(false)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_merged_under_which_licence_and_names_no_place() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("README.md"), "---\nlicense: mit\n---\n# The base's own words\n").unwrap();
        let base = CardBase { name: "owner/base-1B", dir: dir.path(), encodes: false };
        let card = merged_card(base, "/home/me/runs/lora/model").unwrap();
        for part in ["base_model: \"owner/base-1B\"\n", "license: \"mit\"\n", "with the adapter `model` merged"] {
            assert!(card.contains(part), "{part}: {card}");
        }
        let behind = merged_card(CardBase { encodes: true, ..base }, "lora").unwrap();
        assert!(card.contains("AutoModelForCausalLM") && behind.contains("AutoModelForSeq2SeqLM"), "{behind}");
        assert!(!card.contains("/home") && !card.contains("own words") && !card.contains("language:"), "{card}");
    }
}
