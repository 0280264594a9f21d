//! Server-sent events, one a piece, to the client as they come.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use hyper::body::{Bytes, Frame};
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Events that wait for a slow client.
const WAITING: usize = 16;

/// The sending half of a reply of events.
pub(super) struct Events(Sender<Bytes>);

/// The client has gone.
pub(super) struct Gone;

impl Events {
    /// A reply, and what is put into it.
    pub(super) fn open() -> (Self, Response) {
        let (sender, receiver) = channel(WAITING);
        let mut response = Response::new(Body::new(Sent(receiver)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        (Self(sender), response)
    }

    pub(super) async fn send(&self, event: &Value) -> Result<(), Gone> {
        self.write(format!("data: {event}\n\n")).await
    }

    /// Says that there will be no more.
    pub(super) async fn done(&self) -> Result<(), Gone> {
        self.write("data: [DONE]\n\n".into()).await
    }

    /// A comment, which clients pass over: the connection is alive.
    pub(super) async fn live(&self) -> Result<(), Gone> {
        self.write(": waiting\n\n".into()).await
    }

    /// Waits until the client goes.
    pub(super) async fn gone(&self) {
        self.0.closed().await;
    }

    async fn write(&self, text: String) -> Result<(), Gone> {
        self.0.send(text.into()).await.map_err(|_| Gone)
    }
}

/// The receiving half.
struct Sent(Receiver<Bytes>);

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
