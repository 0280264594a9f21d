//! A refusal or failure, in OpenAI's shape.

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// The field of the request that is at fault.
    param: Option<Cow<'static, str>>,
    code: Option<&'static str>,
}

/// Seconds after which a client may ask a full server again.
const RETRY_SECONDS: u16 = 1;

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None }
    }

    /// A field of the request is not as it should be.
    pub(crate) fn field(param: impl Into<Cow<'static, str>>, expected: &str, got: impl std::fmt::Display) -> Self {
        let param = param.into();
        let message = format!("{param}: expected {expected}, got {got}");
        Self { param: Some(param), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    pub(crate) fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(crate) fn of_param(self, param: &'static str) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// The server's own fault.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// The server is ending.
    pub(crate) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down").with_code("shutting_down")
    }

    pub(crate) fn timeout(seconds: u64) -> Self {
        let message = format!("the request took longer than the {seconds} seconds that this server gives one");
        Self::new(StatusCode::GATEWAY_TIMEOUT, message).with_code("timeout")
    }

    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    pub(crate) fn json(&self) -> Value {
        let Self { status: _, message, param, code } = self;
        json!({"error": {"message": message, "type": self.kind(), "param": param, "code": code}})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => _ = headers.insert(RETRY_AFTER, RETRY_SECONDS.into()),
            StatusCode::UNAUTHORIZED => _ = headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            _ => {}
        }
        // What the log says of it.
        response.extensions_mut().insert(self);
        response
    }
}
