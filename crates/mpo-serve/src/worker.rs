//! The thread that generates. Questions come by a channel, wait their turn, and get their tokens one by one by channels of
//! their own.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use mpo_models::{Question, Stepped, Token};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::generator::Generator;

/// What a question is told. After anything but a token that is not the last, the channel is at its end.
#[derive(Debug)]
pub(crate) enum Told {
    /// A token more.
    Token(Token),
    /// A token more, after which the answer is cut.
    LastToken(Token),
    /// The model has ended the answer.
    Ended,
    /// The answer has failed.
    Failed(String),
    /// The server ends before the question's turn.
    Stopping,
}

/// Why a question is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// As many wait as may.
    Full,
    /// The server is ending.
    Stopping,
}

/// The thread, from outside.
pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

struct Job {
    question: Question,
    told: UnboundedSender<Told>,
    waits: Waits,
}

/// Counts one that waits for as long as it lives.
struct Waits(Arc<AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    pub(crate) fn start(generator: Box<dyn Generator>, most_waiting: usize) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let work = Work {
            generator,
            queue,
            waiting: VecDeque::new(),
            stopping: Arc::clone(&stopping),
            running: HashMap::new(),
            next: 0,
        };
        let thread = thread::Builder::new().name("generate".into()).spawn(move || work.run())?;
        Ok(Self { jobs, waiting: Arc::default(), most_waiting, stopping, thread })
    }

    /// Puts a question into the queue. Who drops the receiver gives the question up.
    pub(crate) fn ask(&self, question: Question) -> Result<UnboundedReceiver<Told>, NotTaken> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(NotTaken::Stopping);
        }
        let more = |waiting| (waiting < self.most_waiting).then_some(waiting + 1);
        if self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return Err(NotTaken::Full);
        }
        let waits = Waits(Arc::clone(&self.waiting));
        let (told, receiver) = unbounded_channel();
        self.jobs.send(Job { question, told, waits }).map_err(|_| NotTaken::Stopping)?;
        Ok(receiver)
    }

    /// From here on no question begins, and those that run are answered to their ends.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the thread has ended, which it does only where something is wrong while anybody may ask.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the last step.
    pub(crate) fn join(self) {
        drop(self.jobs);
        _ = self.thread.join();
    }
}

/// The thread, from within.
struct Work {
    generator: Box<dyn Generator>,
    queue: mpsc::Receiver<Job>,
    /// What has come out of the queue and waits for room.
    waiting: VecDeque<Job>,
    stopping: Arc<AtomicBool>,
    /// Who is told of what runs.
    running: HashMap<usize, UnboundedSender<Told>>,
    /// The number of the next question.
    next: usize,
}

impl Work {
    fn run(mut self) {
        loop {
            if self.running.is_empty() && self.waiting.is_empty() {
                match self.queue.recv() {
                    Ok(job) => self.waiting.push_back(job),
                    // Nobody can ask any more.
                    Err(_) => return,
                }
            }
            self.waiting.extend(self.queue.try_iter());
            self.waiting.retain(|job| !job.told.is_closed());
            if self.stopping.load(Ordering::Relaxed) {
                self.waiting.drain(..).for_each(|job| _ = job.told.send(Told::Stopping));
            }
            while let Some(job) = self.waiting.pop_front() {
                if let Some(job) = self.begin(job) {
                    self.waiting.push_front(job);
                    break;
                }
            }
            let generator = &mut self.generator;
            self.running.retain(|&number, told| {
                let is_wanted = !told.is_closed();
                if !is_wanted {
                    generator.end(number);
                }
                is_wanted
            });
            if !self.running.is_empty() {
                self.step();
            }
        }
    }

    /// Begins a question, or gives it back where it has to wait.
    fn begin(&mut self, job: Job) -> Option<Job> {
        let Job { question, told, waits } = job;
        let number = self.next;
        match catch_unwind(AssertUnwindSafe(|| self.generator.begin(number, question))) {
            Ok(None) => {
                self.next += 1;
                self.running.insert(number, told);
            }
            Ok(Some(question)) if !self.running.is_empty() => return Some(Job { question, told, waits }),
            Ok(Some(question)) => {
                let tokens = question.room();
                _ = told.send(Told::Failed(format!("there is no room for prompt and answer of {tokens} tokens")));
            }
            Err(panic) => {
                _ = told.send(Told::Failed(said(&*panic)));
                self.fail(&said(&*panic));
            }
        }
        None
    }

    fn step(&mut self) {
        let stepped = match catch_unwind(AssertUnwindSafe(|| self.generator.step())) {
            Ok(stepped) => stepped,
            Err(panic) => return self.fail(&said(&*panic)),
        };
        for (number, stepped) in stepped {
            let goes_on = matches!(stepped, Stepped::Token(_));
            let message = match stepped {
                Stepped::Token(token) => Told::Token(token),
                Stepped::LastToken(token) => Told::LastToken(token),
                Stepped::Ended => Told::Ended,
                Stepped::Broken(got) => Told::Failed(format!("expected finite logits, got {got}")),
            };
            // One that nobody hears is noticed before the next step.
            if let Some(told) = self.running.get(&number) {
                _ = told.send(message);
            }
            if !goes_on {
                self.running.remove(&number);
            }
        }
    }

    /// Everything that runs has failed; what comes next begins anew.
    fn fail(&mut self, problem: &str) {
        for (_, told) in self.running.drain() {
            _ = told.send(Told::Failed(problem.to_owned()));
        }
        self.generator.restart();
    }
}

/// What a panic says, for whoever waited; the place is on stderr.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    format!("the model failed: {}", text.unwrap_or("without a word"))
}
