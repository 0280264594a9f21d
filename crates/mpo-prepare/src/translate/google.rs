//! Google Translate's interface of version 2: `POST /language/translate/v2` with texts and languages, the key in the address.

use mpo_chat::{EndpointOptions, KeyPlace, Protocol, Reply, RequestLimit};
use mpo_data::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use super::service::{Service, reply, texts};
use super::{Direction, TranslatorDefinition};

const NAME: &str = "google";

const ADDRESS: &str = "https://translation.googleapis.com";

pub(super) static TRANSLATOR: TranslatorDefinition = TranslatorDefinition {
    name: NAME,
    usage: "google[=URL]",
    help: "Google Translate (version 2), or a server that speaks as it does",
    ready: |settings| {
        let options = settings.endpoint(settings.value.as_deref().unwrap_or(ADDRESS))?;
        Ok(Box::new(Service::new(NAME, options, Google)?))
    },
};

struct Google(Direction);

impl Protocol for Google {
    fn path(&self) -> &str {
        "/language/translate/v2"
    }

    fn key_place(&self) -> KeyPlace {
        KeyPlace::Query("key")
    }

    fn request_limit(&self) -> RequestLimit {
        // It takes 128 texts, and recommends no more than 5,000 characters.
        RequestLimit { conversations: 128, characters: 5_000 }
    }

    fn identity(&self, _: &EndpointOptions) -> String {
        format!("google {} to {}", self.0.from, self.0.to)
    }

    fn body(&self, _: &EndpointOptions, conversations: &[&[Message]]) -> Value {
        let Direction { from, to } = self.0;
        json!({ "q": texts(conversations), "source": from.code(), "target": to.code(), "format": "text" })
    }

    fn replies(&self, text: &str) -> Result<Vec<Reply>, String> {
        let response: Result<Response, _> = serde_json::from_str(text);
        let response = response.map_err(|error| format!("expected translations, got: {error}"))?;
        Ok(response.data.translations.iter().map(|one| reply(&one.text)).collect())
    }
}

#[derive(Deserialize)]
struct Response {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    translations: Vec<Translation>,
}

#[derive(Deserialize)]
struct Translation {
    #[serde(rename = "translatedText")]
    text: String,
}
