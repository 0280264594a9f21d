//! Model cards: what a model came from, how, and what it came to, as a hub shows it.

mod base;
mod merged;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use mpo_data::{Language, TokenizedRows};
use mpo_progress::Counted;
use mpo_trainer::{Decides, SETTINGS, TrainConfig, TrainError};
use serde_json::Value;

use crate::approach::Approaches;
use crate::results::TrainResults;
use crate::reward_gap::LanguageGap;

pub use base::CardBase;
pub use merged::merged_card;

/// What the card of a run's model is written from.
#[derive(Debug)]
pub struct ModelCard<'a> {
    /// How it was trained.
    pub config: &'a TrainConfig,
    /// What it was trained from.
    pub base: CardBase<'a>,
    /// Whether it is an adapter and not a whole model.
    pub is_adapter: bool,
    /// What it was trained on.
    pub rows: &'a TrainedOn,
    /// Whether the rows that are measured were not trained on.
    pub is_held_out: bool,
    /// What training came to.
    pub results: &'a TrainResults,
}

/// The rows that a model was trained on.
#[derive(Debug)]
pub struct TrainedOn {
    by_language: BTreeMap<Language, usize>,
    /// Whether each is in two languages.
    in_two: bool,
}

impl TrainedOn {
    /// What a card says of rows.
    pub fn of(rows: &TokenizedRows) -> Self {
        Self { by_language: rows.by_language(), in_two: matches!(rows, TokenizedRows::Bilingual(_)) }
    }
}

impl ModelCard<'_> {
    /// The card: Markdown, with a head that hubs read. It names no place on this machine.
    ///
    /// # Errors
    /// If the card of the base cannot be read, or a setting is no text.
    pub fn text(&self) -> Result<String, TrainError> {
        let Self { config, results, .. } = self;
        let (base, link, method) = (self.base.short_name(), self.base.link(), config.method.definition());
        let what = if self.is_adapter { "An adapter of" } else { "A model that was trained from" };
        let best = results.best.map_or(String::new(), |best| format!(", with the weights of step {best}"));
        let steps = Counted(results.steps, "step");
        let mut text = format!(
            "{}\n# {base}, aligned by {}\n\n\
             {what} {link}: {steps} of {} ({}){best}, by mpo-train {}.\n\n",
            self.head()?,
            method.name.to_uppercase(),
            method.name,
            method.source,
            env!("CARGO_PKG_VERSION"),
        );
        text += &self.languages();
        _ = write!(text, "## How it was trained\n```yaml\n{}```\n\n", settings(config)?);
        text += &self.base.usage(self.is_adapter);
        Ok(text)
    }

    /// What hubs read.
    fn head(&self) -> Result<String, TrainError> {
        let library = if self.is_adapter { "peft" } else { "transformers" };
        let languages = self.all_languages();
        let languages: Vec<&str> = languages.iter().map(Language::code).collect();
        let tags = ["safety", "multilingual", self.config.method.definition().name];
        let lora = self.is_adapter.then_some("lora");
        self.base.head(library, &languages, tags.into_iter().chain(lora))
    }

    fn all_languages(&self) -> BTreeSet<Language> {
        let gaps = &self.results.reward_gap;
        let measured = gaps.before.iter().chain(&gaps.after).map(|gap| gap.language);
        self.rows.by_language.keys().copied().chain(self.results.dominant).chain(measured).collect()
    }

    /// What became of each language.
    fn languages(&self) -> String {
        let Self { results, .. } = self;
        let approaches = Approaches::new(results);
        let measured: usize = results.reward_gap.after.iter().map(|gap| gap.rows).sum();
        let mut text = "## Languages\n".to_owned();
        if measured > 0 {
            let apart = if self.is_held_out { "were not trained on" } else { "are some of those trained on" };
            _ = write!(
                text,
                "The reward gap is mean log p(safe answer) − mean log p(unsafe answer), in nats per token, with its 95 % \
                 interval, over {measured} rows that {apart}. A gap is not a refusal yet.\n\n"
            );
        }
        if self.rows.in_two {
            text += "A row in two languages counts for the one beside the dominant.\n\n";
        }
        text += "| language | rows trained on | gap before | gap after | verdict |\n|---|---:|---:|---:|---|\n";
        // The dominant one first.
        let mut languages: Vec<Language> = self.all_languages().into_iter().collect();
        languages.sort_by_key(|language| Some(*language) != results.dominant);
        for language in languages {
            let shown = |gaps: &[LanguageGap]| {
                let gap = gaps.iter().find(|gap| gap.language == language);
                gap.map_or("–".to_owned(), |gap| match gap.half_width {
                    Some(half_width) => format!("{:.2} ± {half_width:.2}", gap.mean),
                    None => format!("{:.2}", gap.mean),
                })
            };
            let (before, after) = (shown(&results.reward_gap.before), shown(&results.reward_gap.after));
            let of = approaches.iter().flat_map(|all| &all.of).find(|of| of.language == language);
            let verdict = match of {
                Some(of) => of.course.name(),
                None if Some(language) == results.dominant => "dominant",
                None => "–",
            };
            let rows = self.rows.by_language.get(&language).map_or("–".to_owned(), ToString::to_string);
            _ = writeln!(text, "| {} | {rows} | {before} | {after} | {verdict} |", language.name());
        }
        if let Some(approaches) = &approaches {
            _ = write!(
                text,
                "\nThe goal is {}, {:.2}. Reached: at least four fifths of it. Nearer: less, and more than \
                 before. Farther: less, and no more than before. Lowered: it was above the goal, and fell.\n",
                approaches.goal.name, approaches.goal.height,
            );
        }
        text + "\n"
    }
}

/// The settings that say how a run is trained, and none that names a file.
fn settings(config: &TrainConfig) -> Result<String, TrainError> {
    let deciding = config.deciding()?;
    let training = SETTINGS.iter().filter(|setting| setting.decides == Decides::Training).map(|setting| setting.key);
    let keys = ["method"].into_iter().chain(training).chain(["seed"]);
    let own = keys.filter_map(|key| Some((key.to_owned(), deciding.get(key)?.clone())));
    let own: Vec<(String, Value)> = own.collect();
    // As they are, also where nobody gave them.
    let lora = config.lora().map(|lora| [("lora_rank", lora.rank.into()), ("lora_alpha", lora.alpha.into())]);
    let lora = lora.into_iter().flatten().filter(|(name, _)| own.iter().all(|(key, _)| key != name));
    let lora = lora.map(|(name, value): (&str, Value)| (name.to_owned(), value));
    let all = own.iter().cloned().chain(lora).chain(config.hyper_parameters.clone());
    Ok(all.map(|(key, value)| format!("{key}: {value}\n")).collect())
}

#[cfg(test)]
mod tests {
    use mpo_trainer::{AdapterKind, TrainOptions};
    use serde_json::Map;

    use super::*;
    use crate::results::RewardGaps;

    fn gap(code: &str, mean: f64, half_width: Option<f64>) -> LanguageGap {
        let language = code.parse().unwrap();
        LanguageGap { language, mean, half_width, rows: 3, accuracy: 1.0, chosen_mean: -1.0, rejected_mean: -2.0 }
    }

    fn results() -> TrainResults {
        let reward_gap = RewardGaps {
            before: vec![gap("en", 1.0, Some(0.25)), gap("no", -0.5, None)],
            after: vec![gap("en", 1.25, Some(0.5)), gap("no", 0.9, None)],
        };
        TrainResults { steps: 20, best: Some(14), dominant: "en".parse().ok(), drawn_to: None, reward_gap }
    }

    fn card(name: &str, readme: Option<&str>, is_adapter: bool) -> String {
        let rows = TrainedOn { by_language: BTreeMap::from([("no".parse().unwrap(), 8)]), in_two: true };
        card_of(name, readme, is_adapter, &rows)
    }

    fn card_of(name: &str, readme: Option<&str>, is_adapter: bool, rows: &TrainedOn) -> String {
        let dir = tempfile::tempdir().unwrap();
        if let Some(readme) = readme {
            std::fs::write(dir.path().join("README.md"), readme).unwrap();
        }
        let options = TrainOptions {
            model: Some(name.into()),
            data: Some("/home/me/rows.jsonl".into()),
            output: Some("/home/me/run".into()),
            adapter: is_adapter.then_some(AdapterKind::Lora),
            ..TrainOptions::default()
        };
        let card = ModelCard {
            config: &options.resolve().unwrap(),
            base: CardBase { name, dir: dir.path(), encodes: false },
            is_adapter,
            rows,
            is_held_out: true,
            results: &results(),
        };
        card.text().unwrap()
    }

    fn head(card: &str) -> Map<String, Value> {
        let head = card.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap().0;
        serde_saphyr::from_str(head).unwrap()
    }

    #[test]
    fn the_head_says_what_a_hub_asks() {
        let readme = "---\nlicense: other\nlicense_name: own\nlicense_link: https://x.org/y\nextra: [1]\n---\n# Base\n";
        let text = card("owner/base-1B", Some(readme), false);
        let head = head(&text);
        assert_eq!(head["base_model"], "owner/base-1B");
        assert_eq!(head["library_name"], "transformers");
        assert_eq!((&head["license"], &head["license_name"]), (&"other".into(), &"own".into()));
        assert_eq!(head["license_link"], "https://x.org/y");
        assert_eq!(head["language"], serde_json::json!(["en", "no"]));
        assert!(text.contains("\n- \"no\"\n"), "a word of YAML 1.1");
        assert_eq!(head["tags"], serde_json::json!(["mpo-train", "safety", "multilingual", "mpo"]));
        assert!(!head.contains_key("extra"));
        let adapter = card("owner/base-1B", None, true);
        let head = self::head(&adapter);
        assert_eq!(head["library_name"], "peft");
        assert!(!head.contains_key("license"));
        for line in ["from peft import AutoPeftModelForCausalLM", "lora_rank: 16\n", "lora_alpha: 32.0\n"] {
            assert!(adapter.contains(line), "{line}: {adapter}");
        }
    }

    #[test]
    fn the_card_tells_what_became_of_each_language_and_names_no_place() {
        let text = card("/home/me/models/base-1B", Some("no head"), false);
        assert!(!text.contains("/home"), "{text}");
        assert!(!head(&text).contains_key("base_model"));
        for line in [
            "# base-1B, aligned by MPO",
            "A model that was trained from `base-1B`: 20 steps of mpo (",
            ", with the weights of step 14, by mpo-train ",
            "over 6 rows that were not trained on",
            "| English | – | 1.00 ± 0.25 | 1.25 ± 0.50 | dominant |",
            "| Norwegian | 8 | -0.50 | 0.90 | reached |",
            "The goal is English's gap before training, 1.00.",
            "method: \"mpo\"\n",
            "\nlr: 6e-7\n",
            "\nbeta: 1.0\n",
            "mpo-train chat --model PATH",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn of_rows_in_one_language_nothing_is_said_of_two() {
        let note = "A row in two languages counts for the one beside the dominant.";
        assert!(card("owner/base", None, false).contains(note));
        let rows = TrainedOn { by_language: BTreeMap::from([("sw".parse().unwrap(), 8)]), in_two: false };
        assert!(!card_of("owner/base", None, false, &rows).contains("two languages"));
    }
}
