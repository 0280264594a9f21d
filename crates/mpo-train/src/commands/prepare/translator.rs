//! Who translates, as it is typed.

use std::path::Path;
use std::time::Duration;

use burn::tensor::Device;
use clap::Args;
use mpo_prepare::{TRANSLATORS, TranslatorDefinition, TranslatorSettings, Translators};

use crate::arguments::{answer_length, model, positive};
use crate::failure::Failure;

/// Translators, and how to ask them.
#[derive(Debug, Args)]
pub(super) struct TranslatorArguments {
    /// Who translates; of several the first that has a translation [default: phrases, then model]
    #[arg(long = "translator", value_name = "NAME[=VALUE]", value_parser = named, long_help = help())]
    translators: Vec<(&'static TranslatorDefinition, Option<String>)>,
    /// The model's name at a translator's endpoint
    #[arg(long, value_name = "NAME")]
    translator_model: Option<String>,
    /// Environment variable with the API key of a translator, such as google=GOOGLE_API_KEY; may be given several times
    #[arg(long = "translator-key", value_name = "TRANSLATOR=VARIABLE", value_parser = key)]
    keys: Vec<(&'static str, String)>,
    /// Longest translation by a model, in tokens
    #[arg(long, value_name = "N", default_value = "256", value_parser = answer_length)]
    translation_tokens: usize,
    /// Requests to a translator at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = positive)]
    translator_concurrency: usize,
    /// Requests to a translator in a minute at most
    #[arg(long, value_name = "N")]
    translator_requests_per_minute: Option<u32>,
    /// Seconds that a request to a translator may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    translator_timeout: u64,
}

/// Who translates if nobody is named.
const DEFAULT: [&str; 2] = ["phrases", "model"];

fn named(text: &str) -> Result<(&'static TranslatorDefinition, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        // A model by itself is one that translates.
        None if Path::new(text).is_dir() => ("nllb", model(text).map(Some)?),
        // A file of phrases, a model or an address.
        Some((name, value)) => (name, Some(model(value)?).filter(|value| !value.is_empty())),
        None => (text, None),
    };
    let definition = TranslatorDefinition::of(name).map_err(|error| error.to_string())?;
    Ok((definition, value))
}

fn key(text: &str) -> Result<(&'static str, String), String> {
    let key = text.split_once('=').filter(|(_, variable)| !variable.is_empty());
    let (name, variable) = key.ok_or_else(|| format!("expected TRANSLATOR=VARIABLE, got {text}"))?;
    let definition = TranslatorDefinition::of(name).map_err(|error| error.to_string())?;
    Ok((definition.name, variable.to_owned()))
}

fn help() -> String {
    let mut help =
        String::from("Who translates; of several the first that has a translation [default: phrases, then model]:\n");
    for translator in TRANSLATORS {
        help += &format!("  {:<20} {}\n", translator.usage, translator.help);
    }
    help
}

impl TranslatorArguments {
    /// Those that were named, each with its value.
    fn asked(&self) -> Result<Vec<(&'static TranslatorDefinition, Option<String>)>, Failure> {
        if !self.translators.is_empty() {
            return Ok(self.translators.clone());
        }
        DEFAULT.iter().map(|name| Ok((TranslatorDefinition::of(name)?, None))).collect()
    }

    /// The translators, ready to be asked: a key or a file that is missing is heard of now.
    pub(super) fn ready(&self, device: &Device) -> Result<Translators, Failure> {
        let asked = self.asked()?;
        if let Some((name, _)) = self.keys.iter().find(|(name, _)| asked.iter().all(|(of, _)| of.name != *name)) {
            return Err(Failure::new(
                format!("--translator-key: expected a translator that is asked, got {name}"),
                format!("name it with --translator {name}"),
            ));
        }
        let ready = asked.into_iter().map(|(definition, value)| {
            let key = self.keys.iter().find(|(name, _)| *name == definition.name);
            let settings = TranslatorSettings {
                value,
                model: self.translator_model.clone(),
                key_variable: key.map(|(_, variable)| variable.clone()),
                device: Some(device.clone()),
                max_tokens: self.translation_tokens,
                concurrency: self.translator_concurrency,
                requests_per_minute: self.translator_requests_per_minute,
                timeout: Duration::from_secs(self.translator_timeout),
                first_wait: Duration::from_secs(1),
            };
            definition.ready(&settings)
        });
        Ok(Translators::new(ready.collect::<Result<_, _>>()?))
    }

    /// Who translates, for the report: without what stands behind a name, which may have a secret in it.
    pub(super) fn identity(&self) -> Result<String, Failure> {
        let names: Vec<&str> = self.asked()?.iter().map(|(definition, _)| definition.name).collect();
        Ok(names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        translator: TranslatorArguments,
    }

    fn typed(flags: &[&str]) -> Result<TranslatorArguments, clap::Error> {
        Typed::try_parse_from([&["of"][..], flags].concat()).map(|typed| typed.translator)
    }

    #[test]
    fn the_phrases_come_before_the_model_unless_others_are_named() {
        assert_eq!(typed(&[]).unwrap().identity().unwrap(), "phrases, model");
        let named = typed(&["--translator", "libretranslate=http://localhost:5000", "--translator", "phrases"]);
        let named = named.unwrap();
        assert_eq!(named.identity().unwrap(), "libretranslate, phrases");
        assert!(named.ready(&Device::flex()).is_ok());
    }

    #[test]
    fn a_folder_by_itself_is_a_model_that_translates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        for asked in [path.to_owned(), format!("nllb={path}")] {
            let typed = typed(&["--translator", &asked]).unwrap();
            assert_eq!(typed.identity().unwrap(), "nllb");
            let failure = typed.ready(&Device::flex()).err().unwrap();
            assert!(failure.to_string().contains("config.json") && failure.hint().is_some(), "{failure}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (flags, expected) in [
            (["--translator", "babelfish"], "got babelfish"),
            (["--translator-key", "KEY"], "expected TRANSLATOR=VARIABLE"),
            (["--translator-key", "babelfish=KEY"], "got babelfish"),
        ] {
            let error = typed(&flags).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        for (flags, expected) in [
            (&["--translator-key", "google=KEY"][..], "expected a translator that is asked, got google"),
            (&["--translator", "endpoint"], "expected an address"),
            (&["--translator", "endpoint=http://localhost:1/v1"], "the model's name"),
            (&["--translator", "libretranslate=localhost:1"], "expected the address of an endpoint"),
            (&["--translator", "phrases=/none/such.jsonl"], "/none/such.jsonl"),
            (&["--translator", "model=x"], "expected nothing behind its name"),
            (&["--translator", "nllb"], "expected a model"),
            (&["--translator", "google", "--translator-key", "google=MPO_TEST_NO_SUCH_KEY"], "MPO_TEST_NO_SUCH_KEY"),
        ] {
            let failure = typed(flags).unwrap().ready(&Device::flex()).err().unwrap();
            assert!(failure.to_string().contains(expected), "{failure}");
            assert!(failure.hint().is_some(), "{failure}");
        }
    }
}
