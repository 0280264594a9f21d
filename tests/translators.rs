//! Translation services that fail in every way: nothing is lost, nothing is asked twice, and no key is shown.

#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use std::cell::Cell;
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use burn::tensor::Device;
use mpo_chat::{ChatError, ChatModel};
use mpo_models::Sampling;
use mpo_prepare::{
    AnswerStates, Candidates, Direction, LogProb, Means, PrepareError, Subject, Translated, Translator,
    TranslatorDefinition, TranslatorSettings,
};
use mpo_progress::Silent;
use mpo_trainer::{Identity, Kind, RunFolder};
use serde_json::{Value, json};
use tempfile::TempDir;

use server::{Asked, Deed, Server};

/// No model is asked here.
struct Nobody;

impl Subject for Nobody {
    fn chat(&self, _: usize, _: Option<Sampling>) -> Box<dyn ChatModel + '_> {
        unreachable!("a service was asked for")
    }

    fn log_probs(&self, _: &[Candidates<'_>]) -> Result<Vec<Vec<LogProb>>, ChatError> {
        unreachable!("a service was asked for")
    }

    fn states(&self, _: &[Candidates<'_>]) -> Result<Vec<Vec<AnswerStates>>, ChatError> {
        unreachable!("a service was asked for")
    }
}

struct Place {
    _dir: TempDir,
    held: RunFolder,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let held = RunFolder::enter(&dir.path().join("rows"), Kind::Preparation, Identity::default()).unwrap();
        Self { _dir: dir, held }
    }

    fn translate(&self, translator: &mut dyn Translator, texts: &[&str]) -> Result<Translated, PrepareError> {
        let direction = Direction { from: "en".parse().unwrap(), to: "sw".parse().unwrap() };
        let means = Means { subject: &Nobody, held: &self.held, progress: &Silent, noted: &Cell::new(false) };
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        translator.translate(direction, &texts, &means)
    }

    fn kept(&self) -> String {
        fs::read_to_string(self.held.path().join("translations.jsonl")).unwrap_or_default()
    }
}

const SERVICES: [&str; 2] = ["google", "libretranslate"];

fn settings(url: &str) -> TranslatorSettings {
    TranslatorSettings {
        value: Some(url.to_owned()),
        max_tokens: 64,
        concurrency: 1,
        timeout: Duration::from_secs(1),
        first_wait: Duration::from_millis(2),
        ..TranslatorSettings::default()
    }
}

fn service(name: &str, url: &str) -> Box<dyn Translator> {
    TranslatorDefinition::of(name).unwrap().ready(&settings(url)).unwrap()
}

/// What a service says whose translation of a text is the text in angle brackets.
fn good(asked: &Asked) -> Deed {
    said(asked, asked.texts().iter().map(|text| format!("<{text}>")).collect())
}

/// What a service says, in the form that the path asks for.
fn said(asked: &Asked, texts: Vec<String>) -> Deed {
    let body = if asked.path.starts_with("/language/translate/v2") {
        let texts: Vec<_> = texts.iter().map(|text| json!({ "translatedText": text })).collect();
        json!({ "data": { "translations": texts } })
    } else {
        assert!(asked.path.starts_with("/translate"), "{}", asked.path);
        json!({ "translatedText": texts })
    };
    Deed::Reply(body.to_string())
}

fn texts(translated: &Translated) -> Vec<Option<&str>> {
    translated.texts.iter().map(|text| text.as_deref().ok()).collect()
}

#[test]
fn every_failure_that_passes_is_outlived() {
    for name in SERVICES {
        let server = Server::new(|asked, number| match number {
            1 => Deed::Status(429, "Retry-After: 0.1\r\n", "{}"),
            2 => Deed::Status(500, "", "<html>oops</html>"),
            3 => Deed::Reply("no JSON at all".into()),
            4 => said(asked, vec!["<a>".into()]),
            5 => Deed::CutOff,
            _ => good(asked),
        });
        let place = Place::new();
        let translated = place.translate(&mut *service(name, &server.url), &["a", "b"]).unwrap();
        assert_eq!(texts(&translated), [Some("<a>"), Some("<b>")], "{name}");
        assert_eq!((translated.requests, server.asked().len(), translated.asked), (6, 6, 2));
        let first = &server.asked()[0].body;
        assert_eq!(
            (&first["source"], &first["target"], &first["format"]),
            (&json!("en"), &json!("sw"), &json!("text"))
        );
    }
}

#[test]
fn silence_and_limits_by_other_words_are_outlived_too() {
    let server = Server::new(|asked, number| match number {
        1 => Deed::Silence(Duration::from_secs(3)),
        2 => {
            Deed::Status(403, "", r#"{"error": {"message": "slow", "errors": [{"reason": "userRateLimitExceeded"}]}}"#)
        }
        _ => good(asked),
    });
    let translated = Place::new().translate(&mut *service("google", &server.url), &["a"]).unwrap();
    assert_eq!((texts(&translated), server.asked().len()), (vec![Some("<a>")], 3));
}

#[test]
fn what_no_request_will_mend_is_an_error_at_once() {
    for name in SERVICES {
        let server = Server::new(|_, _| Deed::Status(403, "", r#"{"error": "go away"}"#));
        let error = Place::new().translate(&mut *service(name, &server.url), &["a", "b"]).unwrap_err();
        assert!(error.to_string().contains("go away") && error.hint().is_some(), "{error}");
        assert_eq!(server.asked().len(), 1);
    }
    let spent = r#"{"error": {"message": "pay", "errors": [{"reason": "dailyLimitExceeded"}]}}"#;
    let server = Server::new(move |_, _| Deed::Status(403, "", spent));
    let error = Place::new().translate(&mut *service("google", &server.url), &["a"]).unwrap_err();
    assert!(matches!(error, PrepareError::Chat(ChatError::NoQuota { .. })), "{error}");
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Place::new().translate(&mut *service("google", &format!("http://{free}")), &["a"]).unwrap_err();
    assert!(matches!(error, PrepareError::Chat(ChatError::Unreachable { .. })), "{error}");
}

#[test]
fn an_empty_translation_is_none_and_is_not_kept() {
    for name in SERVICES {
        let server = Server::new(|asked, _| {
            let of = |text: &String| if text == "empty" { " ".to_owned() } else { format!("<{text}>") };
            said(asked, asked.texts().iter().map(of).collect())
        });
        let place = Place::new();
        let translated = place.translate(&mut *service(name, &server.url), &["a", "empty"]).unwrap();
        assert_eq!(texts(&translated), [Some("<a>"), None]);
        // The first time with the other, then three times alone.
        let asked: Vec<usize> = server.asked().iter().map(|asked| asked.texts().len()).collect();
        assert_eq!(asked, [2, 1, 1, 1]);
        assert_eq!(place.kept().lines().count(), 1);
    }
}

#[test]
fn one_text_that_is_rejected_costs_the_others_nothing() {
    for name in SERVICES {
        let server = Server::new(|asked, _| {
            if asked.texts().contains(&"bad".to_owned()) {
                Deed::Status(400, "", r#"{"error": "too odd"}"#)
            } else {
                good(asked)
            }
        });
        let translated = Place::new().translate(&mut *service(name, &server.url), &["a", "bad", "c"]).unwrap();
        assert_eq!(texts(&translated), [Some("<a>"), None, Some("<c>")]);
        assert!(translated.texts[1].as_ref().unwrap_err().contains("too odd"));
        assert_eq!(server.asked().len(), 1 + 3);
    }
}

#[test]
fn texts_go_together_and_what_is_kept_is_not_asked_again() {
    let many: Vec<String> = (0..40).map(|number| format!("text {number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (name, requests) in [("google", 1), ("libretranslate", 3)] {
        let server = Server::new(|asked, _| good(asked));
        let place = Place::new();
        let first = place.translate(&mut *service(name, &server.url), &many).unwrap();
        assert_eq!((first.requests, first.asked), (requests, 40), "{name}");
        let again = place.translate(&mut *service(name, &server.url), &many).unwrap();
        assert_eq!((again.requests, again.asked), (0, 0));
        assert_eq!(texts(&first), texts(&again));
        // A line that was damaged is asked again, and no other.
        let file = place.held.path().join("translations.jsonl");
        fs::write(&file, place.kept().replacen("<text 7>", "<text 8>", 1)).unwrap();
        let mended = place.translate(&mut *service(name, &server.url), &many).unwrap();
        assert_eq!((mended.requests, mended.asked), (1, 1));
        assert_eq!(texts(&first), texts(&mended));
        assert_eq!(server.asked().last().unwrap().texts(), ["text 7"]);
    }
}

#[test]
fn signs_of_html_are_signs_again() {
    for name in SERVICES {
        let server = Server::new(|asked, _| said(asked, vec!["Ng&#39;ombe &amp; &quot;kuku&quot;".into()]));
        let translated = Place::new().translate(&mut *service(name, &server.url), &["Cows"]).unwrap();
        assert_eq!(texts(&translated), [Some("Ng'ombe & \"kuku\"")]);
    }
}

#[test]
fn a_key_is_sent_where_it_belongs_and_never_shown() {
    // PATH is there on every machine, and stands for a secret.
    let secret = std::env::var("PATH").unwrap();
    for name in SERVICES {
        let server = Server::new(|asked, number| match number {
            1 => good(asked),
            _ => Deed::Status(401, "", r#"{"error": {"message": "bad key"}}"#),
        });
        let settings = TranslatorSettings { key_variable: Some("PATH".into()), ..settings(&server.url) };
        let mut translator = TranslatorDefinition::of(name).unwrap().ready(&settings).unwrap();
        let place = Place::new();
        place.translate(&mut *translator, &["a"]).unwrap();
        let error = place.translate(&mut *translator, &["b"]).unwrap_err();
        let asked = &server.asked()[0];
        let sent = match name {
            "google" => asked.path.contains("?key="),
            _ => asked.body["api_key"] == json!(secret),
        };
        assert!(sent, "{name}");
        let shown = format!("{error} {error:?} {} {}", error.hint().unwrap(), place.kept());
        assert!(!shown.contains(&secret), "{name}");
    }
}

/// The golden translator's folder, with a tokenizer whose words are its tokens' numbers; and the golden's numbers and texts.
fn nllb() -> (TempDir, Value, Vec<Vec<u32>>) {
    let tests = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let golden = std::path::PathBuf::from(tests).join("fixtures/goldens/m2m");
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(golden.join(file), folder.path().join(file)).unwrap();
    }
    let special = ["<s>", "<pad>", "</s>", "<unk>", "eng_Latn", "swh_Latn", "fra_Latn", "<mask>"];
    let words: Vec<String> = (0..64).map(|id| special.get(id).map_or(format!("w{id}"), |&name| name.into())).collect();
    let vocab: serde_json::Map<String, Value> = words.iter().cloned().zip((0..64).map(Value::from)).collect();
    let added: Vec<_> = special
        .iter()
        .enumerate()
        .map(|(id, word)| {
            json!({ "id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        })
        .collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": null, "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "<unk>" },
    });
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let tensors = fs::read(golden.join("goldens.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&tensors).unwrap();
    let ids = |number: usize| -> Option<Vec<u32>> {
        let tensor = tensors.tensor(&format!("prompt{number}")).ok()?;
        Some(tensor.data().as_chunks::<8>().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as u32).collect())
    };
    let texts = (0..).map_while(ids).collect();
    (folder, serde_json::from_slice(&fs::read(golden.join("goldens.json")).unwrap()).unwrap(), texts)
}

/// Texts to Swahili and back, as Transformers finds them with four beams; what is cut is no translation.
#[test]
fn a_translator_on_this_machine_says_what_transformers_says_and_is_asked_once() {
    let (folder, golden, prompts) = nllb();
    let written = |ids: &[u32]| -> String {
        let words = ids.iter().filter(|id| **id >= 8).map(|id| format!("w{id}"));
        words.collect::<Vec<_>>().join(" ")
    };
    let sources: Vec<String> = prompts.iter().map(|ids| written(ids)).collect();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let found: Vec<Vec<u32>> = serde_json::from_value(golden["found"]["beam4"]["tokens"].clone()).unwrap();
    let expected: Vec<Option<String>> = found.iter().map(|ids| ids.ends_with(&[2]).then(|| written(ids))).collect();
    assert!(expected.iter().any(Option::is_some) && expected.iter().any(Option::is_none), "{expected:?}");
    let settings = TranslatorSettings {
        value: Some(folder.path().to_str().unwrap().to_owned()),
        device: Some(Device::flex()),
        // The language's token and the end are not counted.
        max_tokens: golden["new_tokens"].as_u64().unwrap() as usize - 2,
        ..TranslatorSettings::default()
    };
    let mut translator = TranslatorDefinition::of("nllb").unwrap().ready(&settings).unwrap();
    let place = Place::new();
    let translated = place.translate(&mut *translator, &sources).unwrap();
    let got: Vec<Option<String>> = translated.texts.iter().map(|text| text.clone().ok()).collect();
    assert_eq!((got, translated.asked), (expected.clone(), sources.len()));
    assert!(translated.texts.iter().any(|text| text == &Err("longer than a translation may be".into())));
    assert!(translated.usage.prompt_tokens > 0 && translated.usage.completion_tokens > 0);
    let mut again = TranslatorDefinition::of("nllb").unwrap().ready(&settings).unwrap();
    let translated = place.translate(&mut *again, &sources).unwrap();
    let got: Vec<Option<String>> = translated.texts.iter().map(|text| text.clone().ok()).collect();
    assert_eq!((got, translated.asked), (expected, 0));
    // A language that it has no token for is left to others.
    let direction = Direction { from: "en".parse().unwrap(), to: "ko".parse().unwrap() };
    let means = Means { subject: &Nobody, held: &place.held, progress: &Silent, noted: &Cell::new(false) };
    let texts = again.translate(direction, &["w9".to_owned()], &means).unwrap().texts;
    assert_eq!(texts, [Err("it has no token for Korean".to_owned())]);
}

#[test]
fn a_folder_that_holds_no_translator_is_told_of_before_anything_is_asked() {
    let (folder, ..) = nllb();
    let ready = || {
        let value = Some(folder.path().to_str().unwrap().to_owned());
        TranslatorDefinition::of("nllb").unwrap().ready(&TranslatorSettings { value, ..TranslatorSettings::default() })
    };
    fs::write(folder.path().join("config.json"), r#"{"model_type": "llama"}"#).unwrap();
    let error = ready().err().unwrap();
    assert!(error.to_string().contains("expected m2m_100") && error.hint().is_some(), "{error}");
    fs::remove_file(folder.path().join("config.json")).unwrap();
    assert!(ready().is_err());
}
