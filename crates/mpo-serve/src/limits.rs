//! What a request may take.

use std::time::Duration;

/// The most that a server gives to one request, or lets wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Tokens of a prompt.
    pub prompt_tokens: usize,
    /// Tokens of an answer.
    pub new_tokens: usize,
    /// Requests that wait for a place in the batch.
    pub waiting: usize,
    /// From a request's head to the last byte of its reply.
    pub time: Duration,
}
