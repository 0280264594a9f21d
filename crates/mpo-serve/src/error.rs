//! Why a server ends that nobody asked to.

use std::io;

/// What ends the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The system does not let it serve.
    #[error("expected to serve, got: {0}")]
    Io(#[from] io::Error),
    /// The thread that generates is gone.
    #[error("expected the thread that generates to go on, got that it has ended")]
    WorkerEnded,
}
