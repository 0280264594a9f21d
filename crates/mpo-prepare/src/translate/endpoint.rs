//! A chat model at an endpoint that speaks OpenAI's chat completions, asked to translate.

use mpo_chat::{Endpoint, EndpointOptions};

use super::kept::{read, translations};
use super::model::request;
use super::{Direction, Means, Translated, Translator, TranslatorDefinition};
use crate::error::PrepareError;

const NAME: &str = "endpoint";

pub(super) static TRANSLATOR: TranslatorDefinition = TranslatorDefinition {
    name: NAME,
    usage: "endpoint=URL",
    help: "a chat model behind an address that ends in /v1",
    ready: |settings| {
        let address = settings.needed(NAME, "an address", "such as endpoint=http://localhost:8000/v1")?;
        let options = settings.endpoint(address)?;
        if options.model.is_empty() {
            let hint = "name it beside the translator";
            return Err(PrepareError::Incomplete { name: NAME, expected: "the model's name there", hint });
        }
        // An address that cannot be one is heard of now.
        Endpoint::new(options.clone())?;
        Ok(Box::new(ByEndpoint { options }))
    },
};

struct ByEndpoint {
    options: EndpointOptions,
}

impl Translator for ByEndpoint {
    fn name(&self) -> &'static str {
        NAME
    }

    fn translate(
        &mut self,
        direction: Direction,
        texts: &[String],
        means: &Means<'_>,
    ) -> Result<Translated, PrepareError> {
        let requests: Vec<_> = texts.iter().map(|text| request(direction, text)).collect();
        let mut endpoint = Endpoint::new(self.options.clone())?;
        let translated = translations(&mut endpoint, direction, &requests, &|reply| read(reply).is_ok(), means)?;
        Ok(Translated { requests: endpoint.requests(), ..translated })
    }
}
