//! Completions, of conversations and of texts, whole and as events.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use mpo_models::Question;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::answer::{Answer, Grown};
use super::events::{Events, Gone};
use super::receive::receive;
use super::{Service, in_json};
use crate::openai::{ApiError, Asked, Finish, Format, Length, Piece, Prompt, Usage, object};
use crate::served::Account;
use crate::worker::{NotTaken, Told};

/// How often a client that waits for its first event hears that the connection is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

pub(super) async fn chat(
    State(service): State<Arc<Service>>,
    Extension(account): Extension<Account>,
    body: Body,
) -> Result<Response, ApiError> {
    let (deadline, body) = received(&service, &account, body).await?;
    let asked = Asked::chat(object(&body)?, service.limits.new_tokens)?;
    let format = Format::new(true, asked.model.clone(), asked.counts);
    complete(&service, account, deadline, asked, format).await
}

pub(super) async fn plain(
    State(service): State<Arc<Service>>,
    Extension(account): Extension<Account>,
    body: Body,
) -> Result<Response, ApiError> {
    let (deadline, body) = received(&service, &account, body).await?;
    let asked = Asked::completion(object(&body)?, service.limits.new_tokens)?;
    let format = Format::new(false, asked.model.clone(), asked.counts);
    complete(&service, account, deadline, asked, format).await
}

/// The body, and until when the request is to be answered.
async fn received(service: &Service, account: &Account, body: Body) -> Result<(Instant, Vec<u8>), ApiError> {
    let deadline = service.deadline(account);
    let body = service.in_time(deadline, receive(body, service.limits.body_bytes)).await?;
    Ok((deadline, body))
}

async fn complete(
    service: &Arc<Service>,
    account: Account,
    deadline: Instant,
    asked: Asked,
    format: Format,
) -> Result<Response, ApiError> {
    let (model, voice) = service.voice(&asked.model)?;
    account.entry().model = Some(asked.model);
    let voice = Arc::clone(voice);
    let reader = Arc::clone(&voice);
    let field = asked.prompt.field();
    // A long text takes a while to become tokens, and others are not to wait for it.
    let read = spawn_blocking(move || match asked.prompt {
        Prompt::Conversation(messages) => reader.prompt(&messages),
        Prompt::Text(text) => reader.text_prompt(&text),
    });
    let read = service.in_time(deadline, async { Ok(read.await) }).await?;
    let ids = read.map_err(|_| ApiError::internal("the prompt could not be read"))?;
    let ids = ids.map_err(|problem| ApiError::new(StatusCode::BAD_REQUEST, problem))?;
    let prompt_tokens = ids.len();
    account.entry().prompt_tokens = prompt_tokens;
    let question = Question {
        model,
        max_new_tokens: service.room((field, prompt_tokens), voice.longest(), asked.length)?,
        ids,
        stop_ids: voice.stop_ids(),
        sampling: asked.sampling,
        top_log_probs: asked.top_log_probs,
    };
    let told = service.worker.ask(question).map_err(|not_taken| match not_taken {
        NotTaken::Full => {
            let message = format!("{} requests are waiting already; ask again later", service.limits.waiting);
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, message).with_code("too_many_waiting")
        }
        NotTaken::Stopping => ApiError::stopping(),
    })?;
    let answer = Answer::new(voice, asked.stops);
    let coming = Coming { told, answer, account, prompt_tokens };
    if !asked.streams {
        let whole = whole(coming, &format, asked.top_log_probs.is_some());
        return service.in_time(deadline, whole).await;
    }
    let (events, response) = Events::open();
    let seconds = service.limits.time.as_secs();
    tokio::spawn(async move {
        let account = coming.account.clone();
        // A client that does not read is left to itself at the end of its time, too.
        let sent = stream(coming, &format, &events, deadline, seconds);
        if !matches!(timeout_at(deadline + SIGN_OF_LIFE, sent).await, Ok(Ok(()))) {
            account.entry().problem = Some("the client has left".into());
        }
    });
    Ok(response)
}

/// An answer under way.
struct Coming {
    told: UnboundedReceiver<Told>,
    answer: Answer,
    account: Account,
    prompt_tokens: usize,
}

impl Coming {
    /// What comes next: some text, and with the last of it why it is the last.
    async fn next(&mut self) -> Result<(Piece, Option<Finish>), ApiError> {
        let (token, finish) = match self.told.recv().await {
            Some(Told::Token(token)) => (Some(token), None),
            Some(Told::LastToken(token)) => (Some(token), Some(Finish::Length)),
            Some(Told::Ended) => (None, Some(Finish::Stop)),
            Some(Told::Failed(problem)) => return Err(ApiError::internal(problem)),
            Some(Told::Stopping) => return Err(ApiError::stopping()),
            None => return Err(ApiError::internal("the thread that generates has ended")),
        };
        let mut piece = Piece::default();
        if let Some(token) = token {
            let grown = self.answer.push(&token).map_err(ApiError::internal)?;
            self.account.entry().completion_tokens = self.answer.tokens;
            match grown {
                Grown::On(grown) => piece = grown,
                Grown::Stopped(piece) => return Ok((piece, Some(Finish::Stop))),
            }
        }
        if finish.is_some() {
            let Piece { text, log_probs } = self.answer.finish().map_err(ApiError::internal)?;
            piece.text += &text;
            piece.log_probs.extend(log_probs);
        }
        Ok((piece, finish))
    }

    fn usage(&self) -> Usage {
        Usage::new(self.prompt_tokens, self.answer.tokens)
    }
}

async fn whole(mut coming: Coming, format: &Format, wants_log_probs: bool) -> Result<Response, ApiError> {
    let mut all = Piece::default();
    loop {
        let (piece, finish) = coming.next().await?;
        all.text += &piece.text;
        all.log_probs.extend(piece.log_probs);
        if let Some(finish) = finish {
            return Ok(in_json(&format.whole(all, finish, coming.usage(), wants_log_probs)));
        }
    }
}

/// Sends pieces until the last, or an error in place of what is missing.
async fn stream(
    mut coming: Coming,
    format: &Format,
    events: &Events,
    deadline: Instant,
    seconds: u64,
) -> Result<(), Gone> {
    if let Some(first) = format.first() {
        events.send(&first).await?;
    }
    loop {
        let next = tokio::select! {
            next = timeout(SIGN_OF_LIFE, coming.next()) => next,
            () = sleep_until(deadline) => Ok(Err(ApiError::timeout(seconds))),
            () = events.gone() => return Err(Gone),
        };
        match next {
            Err(_) => events.live().await?,
            Ok(Err(error)) => {
                coming.account.entry().problem = Some(error.message.clone());
                return events.send(&error.json()).await;
            }
            Ok(Ok((piece, finish))) => {
                if !(piece.text.is_empty() && piece.log_probs.is_empty()) {
                    events.send(&format.piece(piece)).await?;
                }
                if let Some(finish) = finish {
                    events.send(&format.last(finish)).await?;
                    if let Some(usage) = format.usage(coming.usage()) {
                        events.send(&usage).await?;
                    }
                    return events.done().await;
                }
            }
        }
    }
}

impl Service {
    fn deadline(&self, account: &Account) -> Instant {
        Instant::from_std(account.began()) + self.limits.time
    }

    async fn in_time<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        timeout_at(deadline, work).await.unwrap_or_else(|_| Err(ApiError::timeout(self.limits.time.as_secs())))
    }

    /// Tokens that an answer may have: as many as are asked for, or as there is room for. The prompt comes with its field.
    fn room(
        &self,
        (field, prompt): (&'static str, usize),
        longest: Option<usize>,
        length: Length,
    ) -> Result<usize, ApiError> {
        let too_long = |param: &'static str, message: String| {
            ApiError::new(StatusCode::BAD_REQUEST, message).of_param(param).with_code("context_length_exceeded")
        };
        let most = self.limits.prompt_tokens;
        if prompt > most {
            return Err(too_long(field, format!("expected a prompt of at most {most} tokens, got {prompt}")));
        }
        let Some(longest) = longest else {
            return Ok(length.tokens);
        };
        let together = |wanted: usize| {
            format!(
                "expected prompt and answer of at most {longest} tokens together, for which the model was made, got {prompt} and \
                 {wanted}"
            )
        };
        match (longest.saturating_sub(prompt), length) {
            (0, _) => Err(too_long(field, together(1))),
            (left, Length { tokens, .. }) if tokens <= left => Ok(tokens),
            (left, Length { field: None, .. }) => Ok(left),
            (_, Length { tokens, field: Some(field) }) => Err(too_long(field, together(tokens))),
        }
    }
}
