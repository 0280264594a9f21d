//! Who translates: one file per translator. Adding one takes a file beside these and its line in [`TRANSLATORS`].

mod endpoint;
mod google;
mod kept;
mod libretranslate;
mod model;
mod nllb;
mod phrases;
mod service;

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use burn::tensor::Device;
use mpo_chat::{ApiKey, EndpointOptions, Usage};
use mpo_data::Language;
use mpo_progress::Progress;
use mpo_trainer::RunFolder;
use serde::Serialize;

use crate::error::PrepareError;
use crate::subject::Subject;

pub(crate) use model::request;

/// Every translator.
pub static TRANSLATORS: &[&TranslatorDefinition] = &[
    &phrases::TRANSLATOR,
    &model::TRANSLATOR,
    &nllb::TRANSLATOR,
    &endpoint::TRANSLATOR,
    &libretranslate::TRANSLATOR,
    &google::TRANSLATOR,
];

/// A kind of translator.
#[derive(Debug)]
pub struct TranslatorDefinition {
    /// Its name.
    pub name: &'static str,
    /// What is written to ask for it.
    pub usage: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Checks what it is asked for with; nothing is sent yet.
    ready: fn(&TranslatorSettings) -> Result<Box<dyn Translator>, PrepareError>,
}

/// What a translator is asked for with.
#[derive(Debug, Clone, Default)]
pub struct TranslatorSettings {
    /// What stands behind its name: a file, an address.
    pub value: Option<String>,
    /// The name of the model at an endpoint.
    pub model: Option<String>,
    /// The environment variable with its key.
    pub key_variable: Option<String>,
    /// Where a model that translates on this machine is computed; by default the best device.
    pub device: Option<Device>,
    /// Tokens of a translation at most, by a model.
    pub max_tokens: usize,
    /// Requests at once.
    pub concurrency: usize,
    /// Requests in a minute at most.
    pub requests_per_minute: Option<u32>,
    /// How long a request may take.
    pub timeout: Duration,
    /// The wait before the second request for the same; it doubles with each.
    pub first_wait: Duration,
}

impl TranslatorDefinition {
    /// The translator of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn of(name: &str) -> Result<&'static Self, PrepareError> {
        let found = TRANSLATORS.iter().find(|translator| translator.name == name).copied();
        found.ok_or_else(|| PrepareError::UnknownTranslator {
            got: name.to_owned(),
            known: TRANSLATORS.iter().map(|translator| translator.name).collect::<Vec<_>>().join(", "),
        })
    }

    /// The translator, ready to be asked.
    ///
    /// # Errors
    /// If `settings` lack something, or name a file, an address or a key that cannot be used.
    pub fn ready(&self, settings: &TranslatorSettings) -> Result<Box<dyn Translator>, PrepareError> {
        (self.ready)(settings)
    }
}

impl TranslatorSettings {
    /// How to ask a service at `address`.
    fn endpoint(&self, address: &str) -> Result<EndpointOptions, PrepareError> {
        let options = EndpointOptions {
            max_tokens: self.max_tokens,
            concurrency: self.concurrency,
            requests_per_minute: self.requests_per_minute,
            timeout: self.timeout,
            first_wait: self.first_wait,
            ..EndpointOptions::new(address, self.model.clone().unwrap_or_default())
        };
        let api_key = self.key_variable.as_deref().map(ApiKey::from_env).transpose()?;
        Ok(EndpointOptions { api_key, ..options })
    }

    /// What stands behind the name of a translator that needs it.
    fn needed(&self, name: &'static str, expected: &'static str, hint: &'static str) -> Result<&str, PrepareError> {
        self.value.as_deref().ok_or(PrepareError::Incomplete { name, expected, hint })
    }
}

/// From which language to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// The language of the text.
    pub from: Language,
    /// The language of its translation.
    pub to: Language,
}

/// What a translator works with.
pub struct Means<'a> {
    /// The model whose rows are made.
    pub subject: &'a dyn Subject,
    /// Where replies are kept.
    pub held: &'a RunFolder,
    /// Who is told how far it is, and may stop it.
    pub progress: &'a dyn Progress,
    /// Whether damage to the replies that are kept was told of.
    pub noted: &'a Cell<bool>,
}

/// A translation, or why there is none.
pub type Translation = Result<String, String>;

/// What a translator made of texts.
#[derive(Debug, Default)]
pub struct Translated {
    /// A translation, or why there is none, of each text.
    pub texts: Vec<Translation>,
    /// Tokens that the translations took, whenever they were made.
    pub usage: Usage,
    /// Texts that were asked now, because no reply was kept from earlier.
    pub asked: usize,
    /// Requests that were sent over the network now.
    pub requests: usize,
}

/// Whoever translates.
pub trait Translator {
    /// Its name, as it stands in rows.
    fn name(&self) -> &'static str;

    /// Whether its translations were written and read by people, so that there is nothing to check by a translation back.
    fn is_trusted(&self) -> bool {
        false
    }

    /// The translations of texts, in their order.
    ///
    /// # Errors
    /// If it cannot be asked any more.
    fn translate(
        &mut self,
        direction: Direction,
        texts: &[String],
        means: &Means<'_>,
    ) -> Result<Translated, PrepareError>;
}

/// What a translator has done in all.
#[derive(Debug, Clone, Serialize)]
pub struct Tally {
    /// The translator.
    pub translator: &'static str,
    /// Texts that it translated, whenever that was.
    pub texts: usize,
    /// Characters of these texts.
    pub characters: usize,
    /// Tokens that the translations took.
    pub usage: Usage,
    /// Texts that it was asked for by this process.
    #[serde(skip)]
    pub asked: usize,
    /// Requests that this process sent.
    #[serde(skip)]
    pub requests: usize,
}

/// Translators one behind the other: the first that has a translation wins.
pub struct Translators {
    list: Vec<Box<dyn Translator>>,
    tallies: Vec<Tally>,
}

/// A translation and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) text: String,
    pub(crate) by: &'static str,
    pub(crate) is_trusted: bool,
}

impl Translators {
    /// These, in this order.
    pub fn new(list: Vec<Box<dyn Translator>>) -> Self {
        let tally =
            |translator| Tally { translator, texts: 0, characters: 0, usage: Usage::default(), asked: 0, requests: 0 };
        Self { tallies: list.iter().map(|of| tally(of.name())).collect(), list }
    }

    /// What each has done.
    pub(crate) fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// The translation of each text, or why there is none. A text that stands there several times is asked once.
    pub(crate) fn translate(
        &mut self,
        direction: Direction,
        texts: &[&str],
        means: &Means<'_>,
    ) -> Result<HashMap<String, Result<Signed, String>>, PrepareError> {
        let mut found: HashMap<String, Result<Signed, String>> = HashMap::new();
        let mut open: Vec<String> = vec![];
        for text in texts {
            if !found.contains_key(*text) {
                found.insert((*text).to_owned(), Err("nobody translates".into()));
                open.push((*text).to_owned());
            }
        }
        for (translator, tally) in self.list.iter_mut().zip(&mut self.tallies) {
            if open.is_empty() {
                break;
            }
            let translated = translator.translate(direction, &open, means)?;
            tally.usage += translated.usage;
            tally.asked += translated.asked;
            tally.requests += translated.requests;
            let mut still_open = vec![];
            for (text, translation) in open.into_iter().zip(translated.texts) {
                let signed = match translation {
                    Ok(translation) => {
                        tally.texts += 1;
                        tally.characters += text.chars().count();
                        Ok(Signed { text: translation, by: translator.name(), is_trusted: translator.is_trusted() })
                    }
                    Err(reason) => {
                        still_open.push(text.clone());
                        Err(format!("{}: {reason}", translator.name()))
                    }
                };
                found.insert(text, signed);
            }
            open = still_open;
        }
        Ok(found)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Knows what it is told, and counts the texts that it is asked for.
    pub(crate) struct Known {
        pub(crate) name: &'static str,
        pub(crate) of: fn(&str) -> Option<String>,
    }

    impl Translator for Known {
        fn name(&self) -> &'static str {
            self.name
        }

        fn translate(&mut self, _: Direction, texts: &[String], _: &Means<'_>) -> Result<Translated, PrepareError> {
            let texts: Vec<Translation> =
                texts.iter().map(|text| (self.of)(text).ok_or_else(|| "unknown".into())).collect();
            Ok(Translated { asked: texts.len(), texts, ..Translated::default() })
        }
    }
}

#[cfg(test)]
mod tests {
    use mpo_progress::Silent;

    use super::testing::Known;
    use super::*;
    use crate::testing::{Scripted, held};

    #[test]
    fn every_translator_is_asked_for_by_its_name_and_says_what_it_lacks() {
        for translator in TRANSLATORS {
            assert_eq!(TranslatorDefinition::of(translator.name).unwrap().name, translator.name);
            assert!(translator.usage.starts_with(translator.name));
            match translator.ready(&TranslatorSettings::default()) {
                Ok(ready) => assert_eq!(ready.name(), translator.name),
                Err(error) => assert!(error.to_string().contains(translator.name) && error.hint().is_some(), "{error}"),
            }
        }
        let error = TranslatorDefinition::of("babelfish").err().unwrap();
        assert!(
            error.to_string().contains("phrases, model, nllb, endpoint, libretranslate, google, got babelfish"),
            "{error}"
        );
    }

    #[test]
    fn the_first_that_has_a_translation_wins_and_each_text_is_asked_once() {
        let first = Known { name: "first", of: |text| (text == "a").then(|| "A1".into()) };
        let second = Known { name: "second", of: |text| (text != "c").then(|| text.to_uppercase()) };
        let mut translators = Translators::new(vec![Box::new(first), Box::new(second)]);
        let (_dir, held) = held();
        let direction = Direction { from: "en".parse().unwrap(), to: "sw".parse().unwrap() };
        let means = Means { subject: &Scripted::default(), held: &held, progress: &Silent, noted: &Cell::new(false) };
        let found = translators.translate(direction, &["a", "b", "a", "c"], &means).unwrap();
        let of = |text: &str| found[text].as_ref().map(|signed| (&*signed.text, signed.by));
        assert_eq!((of("a"), of("b")), (Ok(("A1", "first")), Ok(("B", "second"))));
        assert_eq!(of("c"), Err(&"second: unknown".to_owned()));
        let counted: Vec<_> = translators.tallies().iter().map(|of| (of.texts, of.characters, of.asked)).collect();
        assert_eq!(counted, [(1, 1, 3), (1, 1, 2)]);
    }
}
