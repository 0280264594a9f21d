//! From a request to a question, and from tokens to a reply.

mod account;
mod answer;
mod completions;
mod events;
mod guard;
mod receive;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::generator::Voice;
use crate::key::ServerKey;
use crate::limits::Limits;
use crate::openai::{self, ApiError};
use crate::served::Served;
use crate::worker::Worker;

/// What all requests share.
pub(crate) struct Service {
    /// By their names; the place in the list is what a question names a model by.
    pub(crate) voices: Vec<(String, Arc<dyn Voice>)>,
    pub(crate) worker: Worker,
    pub(crate) limits: Limits,
    pub(crate) key: Option<ServerKey>,
    /// When it began, in seconds since 1970.
    pub(crate) since: u64,
    /// Who hears of requests that are over.
    pub(crate) told: UnboundedSender<Served>,
}

pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(completions::chat))
        .route("/v1/completions", post(completions::plain))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .layer(from_fn_with_state(Arc::clone(&service), guard::admit))
        // Whoever watches over the server needs no key.
        .route("/health", get(health))
        .fallback(nothing_there)
        .method_not_allowed_fallback(other_method)
        .layer(from_fn_with_state(Arc::clone(&service), account::keep))
        .with_state(service)
}

async fn health(State(service): State<Arc<Service>>) -> Response {
    if service.worker.has_ended() {
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "nobody generates any more").into_response();
    }
    in_json(&json!({"status": "ok"}))
}

async fn models(State(service): State<Arc<Service>>) -> Response {
    in_json(&openai::models(service.voices.iter().map(|(name, _)| &**name), service.since))
}

async fn model(State(service): State<Arc<Service>>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let (name, _) = service.voice(&name)?;
    let mut list = openai::models([&*service.voices[name].0].into_iter(), service.since);
    Ok(in_json(&list["data"][0].take()))
}

async fn nothing_there() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "nothing is there: expected /v1/chat/completions, /v1/completions, /v1/models or /health",
    )
}

async fn other_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "expected POST for completions, GET for models and health")
}

fn in_json(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

impl Service {
    /// A model's place and its voice.
    fn voice(&self, name: &str) -> Result<(usize, &Arc<dyn Voice>), ApiError> {
        let found = self.voices.iter().enumerate().find(|(_, (known, _))| known == name);
        found.map(|(number, (_, voice))| (number, voice)).ok_or_else(|| {
            let names: Vec<&str> = self.voices.iter().map(|(name, _)| &**name).collect();
            let got: String = name.chars().take(80).collect();
            let message = format!("model: expected one of {}, got {got:?}", names.join(", "));
            ApiError::new(StatusCode::NOT_FOUND, message).of_param("model").with_code("model_not_found")
        })
    }
}
