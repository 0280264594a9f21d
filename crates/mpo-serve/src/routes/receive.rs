//! A request's body, as far as it may go.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::Body;
use axum::http::StatusCode;
use hyper::body::Body as _;

use crate::openai::ApiError;

pub(super) async fn receive(mut body: Body, most: usize) -> Result<Vec<u8>, ApiError> {
    let too_large =
        || ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("expected a body of at most {most} bytes, got more"));
    // Said at once where the length is known before.
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let mut bytes = vec![];
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let cut = |error| ApiError::new(StatusCode::BAD_REQUEST, format!("expected a whole body, got: {error}"));
        if let Ok(data) = frame.map_err(cut)?.into_data() {
            if bytes.len() + data.len() > most {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}
