//! LibreTranslate's interface: `POST /translate` with texts, languages and a key, if the server wants one.

use mpo_chat::{EndpointOptions, KeyPlace, Protocol, Reply, RequestLimit};
use mpo_data::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use super::service::{Service, reply, texts};
use super::{Direction, TranslatorDefinition};

const NAME: &str = "libretranslate";

pub(super) static TRANSLATOR: TranslatorDefinition = TranslatorDefinition {
    name: NAME,
    usage: "libretranslate=URL",
    help: "a LibreTranslate server",
    ready: |settings| {
        let address = settings.needed(NAME, "an address", "such as libretranslate=http://localhost:5000")?;
        let service = Service::new(NAME, settings.endpoint(address)?, LibreTranslate)?;
        Ok(Box::new(service))
    },
};

struct LibreTranslate(Direction);

impl Protocol for LibreTranslate {
    fn path(&self) -> &str {
        "/translate"
    }

    fn key_place(&self) -> KeyPlace {
        KeyPlace::Field("api_key")
    }

    fn request_limit(&self) -> RequestLimit {
        // A server's own limits are often 2,000 characters or none.
        RequestLimit { conversations: 16, characters: 2_000 }
    }

    fn identity(&self, _: &EndpointOptions) -> String {
        format!("libretranslate {} to {}", self.0.from, self.0.to)
    }

    fn body(&self, _: &EndpointOptions, conversations: &[&[Message]]) -> Value {
        let Direction { from, to } = self.0;
        json!({ "q": texts(conversations), "source": from.code(), "target": to.code(), "format": "text" })
    }

    fn replies(&self, text: &str) -> Result<Vec<Reply>, String> {
        let translated: Result<Translations, _> = serde_json::from_str(text);
        let translated = translated.map_err(|error| format!("expected translations, got: {error}"))?;
        Ok(translated.texts.iter().map(|text| reply(text)).collect())
    }
}

#[derive(Deserialize)]
struct Translations {
    #[serde(rename = "translatedText")]
    texts: Vec<String>,
}
