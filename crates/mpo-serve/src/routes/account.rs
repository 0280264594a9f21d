//! An account of every request, to the last byte of its reply.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Bytes, Frame, SizeHint};

use super::Service;
use crate::openai::ApiError;
use crate::served::Account;

/// Characters of a path that are told.
const SHOWN: usize = 80;

pub(super) async fn keep(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().chars().take(SHOWN).collect();
    let account = Account::open(request.method().to_string(), path, service.told.clone());
    request.extensions_mut().insert(account.clone());
    let response = next.run(request).await;
    let mut entry = account.entry();
    entry.status = Some(response.status().as_u16());
    entry.problem = response.extensions().get().map(|error: &ApiError| error.message.clone());
    drop(entry);
    response.map(|body| Body::new(Accounted { body, _account: account }))
}

/// A body, and the account that is closed with it.
struct Accounted {
    body: Body,
    _account: Account,
}

impl hyper::body::Body for Accounted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
