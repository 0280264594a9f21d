//! What is told of a request when it is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;

/// A request that is over. Nothing of what was asked and answered is in it.
#[derive(Debug, Clone, Serialize)]
pub struct Served {
    /// HTTP's method.
    pub method: String,
    /// The path, as it was sent.
    pub path: String,
    /// HTTP's status; none if the client left before there was one.
    pub status: Option<u16>,
    /// Who answered, if anybody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the answer.
    pub completion_tokens: usize,
    /// How long it took, to the last byte.
    pub seconds: f64,
    /// Whether it is not as it should be: what was said of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A request under way. When the last copy is dropped, whoever listens is told.
#[derive(Clone)]
pub(crate) struct Account(Arc<Open>);

struct Open {
    began: Instant,
    served: Mutex<Served>,
    told: UnboundedSender<Served>,
}

impl Account {
    pub(crate) fn open(method: String, path: String, told: UnboundedSender<Served>) -> Self {
        let served = Served {
            method,
            path,
            status: None,
            model: None,
            prompt_tokens: 0,
            completion_tokens: 0,
            seconds: 0.0,
            problem: None,
        };
        Self(Arc::new(Open { began: Instant::now(), served: Mutex::new(served), told }))
    }

    pub(crate) fn began(&self) -> Instant {
        self.0.began
    }

    /// What is known so far.
    pub(crate) fn entry(&self) -> MutexGuard<'_, Served> {
        self.0.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner).clone();
        served.seconds = self.began.elapsed().as_secs_f64();
        // Nobody listens any more when the server has ended.
        _ = self.told.send(served);
    }
}
