//! A template at work, kept from doing harm: it comes from a downloaded file.
//!
//! It is read and rendered on a thread of its own, whose stack is large enough for whatever its limits let it build, and
//! whoever waits for it waits for a limited time. What unwinds is caught there.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use minijinja::Environment;
use minijinja::value::{Serde, Value};

use super::dialect::{self, Problem};
use crate::quiet::quietly;

/// Address space, which costs memory only where it is used.
const STACK: usize = 256 * 1024 * 1024;
/// A rendering takes a millisecond; the work that it may do is limited besides.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that a template may write.
const MAX_OUTPUT: usize = 64 * 1024 * 1024;

/// Variables to render with, and where the text goes.
type Request = (serde_json::Value, Sender<Result<String, Problem>>);

/// A template on its thread, which ends when this is dropped.
pub(super) struct Renderer {
    requests: Sender<Request>,
    variables: BTreeSet<String>,
    /// Whether it did not answer in time: whoever asks next need not wait.
    stuck: AtomicBool,
}

impl fmt::Debug for Renderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renderer").finish_non_exhaustive()
    }
}

impl Renderer {
    /// Reads a template.
    pub(super) fn new(source: String) -> Result<Self, Problem> {
        let (requests, received) = mpsc::channel();
        let (ready, read) = mpsc::channel();
        thread::Builder::new()
            .name("chat template".into())
            .stack_size(STACK)
            .spawn(move || serve(&source, &ready, &received))
            .map_err(Problem::NoThread)?;
        Ok(Self { variables: wait(&read)??, requests, stuck: AtomicBool::new(false) })
    }

    /// The names of the variables that it reads and does not set itself.
    pub(super) fn variables(&self) -> &BTreeSet<String> {
        &self.variables
    }

    /// The text with these variables.
    pub(super) fn render(&self, variables: serde_json::Value) -> Result<String, Problem> {
        if self.stuck.load(Ordering::Relaxed) {
            return Err(Problem::Failed("it did not come to an end with an earlier conversation".into()));
        }
        let (reply, text) = mpsc::channel();
        // A thread that is gone takes its end of `text` with it.
        _ = self.requests.send((variables, reply));
        wait(&text).inspect_err(|_| self.stuck.store(true, Ordering::Relaxed))?
    }
}

fn wait<T>(answer: &Receiver<T>) -> Result<T, Problem> {
    answer.recv_timeout(PATIENCE).map_err(|error| {
        Problem::Failed(match error {
            RecvTimeoutError::Timeout => {
                let seconds = PATIENCE.as_secs();
                format!("it takes more than {seconds} seconds")
            }
            RecvTimeoutError::Disconnected => "its thread is gone".into(),
        })
    })
}

fn serve(source: &str, ready: &Sender<Result<BTreeSet<String>, Problem>>, requests: &Receiver<Request>) {
    let read = caught(|| {
        let environment = dialect::environment(source)?;
        let variables = dialect::variables(&environment)?;
        Ok((environment, variables))
    });
    let environment = match read {
        Ok((environment, variables)) => {
            _ = ready.send(Ok(variables));
            environment
        }
        Err(problem) => {
            _ = ready.send(Err(problem));
            return;
        }
    };
    for (variables, reply) in requests {
        // Whoever asked may have stopped waiting.
        _ = reply.send(caught(|| render(&environment, &variables)));
    }
}

fn caught<T>(work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    // What panics is asked nothing else: its state is local to the rendering.
    quietly(|| panic::catch_unwind(AssertUnwindSafe(work)))
        .unwrap_or_else(|_| Err(Problem::Failed("the engine fails on it".into())))
}

fn render(environment: &Environment<'_>, variables: &serde_json::Value) -> Result<String, Problem> {
    let template = environment.get_template(dialect::NAME).map_err(|error| dialect::problem(&error))?;
    let text = template.render(Value::from(Serde(variables))).map_err(|error| dialect::problem(&error))?;
    if text.len() > MAX_OUTPUT {
        Err(Problem::Failed(format!("it writes more than {MAX_OUTPUT} bytes")))
    } else {
        Ok(text)
    }
}
