//! Who may ask. Where there is no key, that is programs on this machine; pages that a browser shows are not among them.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::Service;
use crate::openai::ApiError;

pub(super) async fn admit(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let headers = request.headers();
    match &service.key {
        Some(key) if !headers.get(AUTHORIZATION).is_some_and(|sent| key.is_in(sent.as_bytes())) => {
            let message = "expected the header Authorization: Bearer KEY with this server's key";
            return Err(ApiError::new(StatusCode::UNAUTHORIZED, message).with_code("invalid_api_key"));
        }
        None if !names_loopback(headers) => {
            let message = "expected the header Host to name this machine (localhost, 127.0.0.1 or [::1]), as there is no \
                           key; with one any name will do";
            return Err(ApiError::new(StatusCode::FORBIDDEN, message));
        }
        _ => {}
    }
    // A page elsewhere can have a browser send any other type here.
    if request.method() == Method::POST && !is_json(headers) {
        let message = "expected the header Content-Type: application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    Ok(next.run(request).await)
}

fn names_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:8000", true),
            ("127.0.0.1:8000", true),
            ("127.0.0.1", true),
            ("[::1]:8000", true),
            ("[::1]", true),
            ("example.com", false),
            ("localhost.example.com:8000", false),
            ("127.0.0.1.example.com", false),
            ("10.0.0.1:8000", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            assert_eq!(names_loopback(&headers), expected, "{host}");
        }
        assert!(!names_loopback(&HeaderMap::new()));
    }
}
