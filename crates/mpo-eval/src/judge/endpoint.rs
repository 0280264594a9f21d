//! A chat model at an endpoint that speaks OpenAI's chat completions, as a judge.

use mpo_chat::{ApiKey, Endpoint, EndpointOptions};

use super::{JudgeDefinition, JudgeSettings, Means, REPLY};
use crate::error::EvalError;

pub(super) static JUDGE: JudgeDefinition = JudgeDefinition {
    name: "endpoint",
    help: "an endpoint's address",
    grades: true,
    is_meant: |asked| asked.contains("://"),
    ready: |settings| Ok(Means::Endpoint(endpoint(settings)?)),
};

/// Where and how to ask. An address that cannot be one, and a key that is missing, are heard of now.
fn endpoint(settings: &JudgeSettings) -> Result<EndpointOptions, EvalError> {
    let mut options = EndpointOptions {
        max_tokens: REPLY,
        concurrency: settings.concurrency,
        requests_per_minute: settings.requests_per_minute,
        timeout: settings.timeout,
        ..EndpointOptions::new(&settings.asked, settings.model.clone().unwrap_or_default())
    };
    if options.model.is_empty() {
        return Err(EvalError::NoJudgeModel { endpoint: options.shown_url() });
    }
    options.api_key = match &settings.key_variable {
        Some(variable) => Some(ApiKey::from_env(variable)?),
        // A secret goes to nobody that it was not meant for.
        None if options.is_openai() => ApiKey::from_env("OPENAI_API_KEY").ok(),
        None => None,
    };
    Endpoint::new(options.clone())?;
    Ok(options)
}
