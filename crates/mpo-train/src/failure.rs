//! Why a command failed, as the user reads it and as the shell sees it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mpo_chat::ChatError;
use mpo_data::DataError;
use mpo_eval::EvalError;
use mpo_models::{ModelError, PushError, SamplingError, open_files_hint};
use mpo_prepare::PrepareError;
use mpo_trainer::TrainError;

use crate::paint::Paint;
use crate::signals;
use crate::visible;

/// What stops a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Eval(Box<EvalError>),
    #[error(transparent)]
    Chat(ChatError),
    #[error(transparent)]
    Prepare(Box<PrepareError>),
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The same in a command, or at a time, in which there is nothing to resume.
    #[error(transparent)]
    Fresh(TrainError),
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("standard output: {0}")]
    Output(io::Error),
    /// On request, with nothing that could be continued.
    #[error("stopped on request")]
    Stopped,
    #[error("{message}")]
    Message { message: String, hint: Option<String> },
}

impl Failure {
    /// For `map_err`: reading or writing `path` failed.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { path: path.to_owned(), error }
    }

    /// Something of this crate's own, and what to do about it.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Message { message: message.into(), hint: Some(hint.into()) }
    }

    /// The same where there is nothing to resume.
    pub(crate) fn without_resume(self) -> Self {
        match self {
            Self::Train(TrainError::Interrupted) => Self::Stopped,
            Self::Train(error) => Self::Fresh(error),
            failure => failure,
        }
    }

    /// The next thing to do, where there is one.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Data(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::Train(error) => error.hint(),
            Self::Fresh(error) => error.hint_to("give the same command again"),
            Self::Eval(error) if matches!(**error, EvalError::NoJudgeModel { .. }) => {
                Some("name it with --judge-model".into())
            }
            Self::Eval(error) => error.hint(),
            Self::Chat(error) => error.hint(),
            Self::Prepare(error) => error.hint(),
            Self::Sampling(error) => Some(error.hint().into()),
            Self::Push(error) => error.hint(),
            Self::Io { error, .. } => match error.kind() {
                io::ErrorKind::NotFound => Some("check the path".into()),
                _ => open_files_hint(error).map(Into::into),
            },
            Self::Message { hint, .. } => hint.clone(),
            Self::Output(_) | Self::Stopped => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            // Whoever reads the output, such as `head`, has had enough: no failure of ours.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Stopped | Self::Train(TrainError::Interrupted) | Self::Chat(ChatError::Stopped) => {
                signals::exit_code()
            }
            _ => 1,
        }
    }

    /// The message, fit for a terminal.
    fn shown(&self) -> String {
        match self {
            // A picture of the place in a YAML file, of several lines.
            Self::Train(TrainError::Config { .. }) | Self::Fresh(TrainError::Config { .. }) => visible::lines(self),
            _ => visible::line(self),
        }
    }

    /// Tells the user, and gives what the process ends with.
    pub(crate) fn report(&self) -> ExitCode {
        let code = self.exit_code();
        if code != 0 {
            let hint = self.hint();
            let paint = Paint::on(&io::stderr());
            let hint = hint.map(|hint| format!("{} {}\n", paint.hint("hint:"), visible::line(&hint)));
            let (error, hint) = (paint.bad("error:"), hint.as_deref().unwrap_or_default());
            // A closed stderr leaves nobody to tell.
            _ = write!(io::stderr(), "{error} {}\n{hint}", self.shown());
        }
        code.into()
    }
}

/// What went wrong beneath an evaluation is told as what it is: how to go on after it is the command's to say.
impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Self {
        match error {
            EvalError::Train(error) => error.into(),
            EvalError::Data(error) => error.into(),
            EvalError::Chat(error) => error.into(),
            error => Self::Eval(Box::new(error)),
        }
    }
}

impl From<PrepareError> for Failure {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Chat(error) => error.into(),
            PrepareError::Data(error) => error.into(),
            PrepareError::Train(error) => (*error).into(),
            error => Self::Prepare(Box::new(error)),
        }
    }
}

impl From<ChatError> for Failure {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::Data(error) => error.into(),
            ChatError::Model(error) => error.into(),
            ChatError::Sampling(error) => error.into(),
            error => Self::Chat(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        let output = |kind: io::ErrorKind| Failure::Output(kind.into());
        for (failure, code) in [
            (output(io::ErrorKind::BrokenPipe), 0),
            (output(io::ErrorKind::StorageFull), 1),
            (Failure::new("a", "b"), 1),
            (Failure::Stopped, 130),
            (TrainError::Interrupted.into(), 130),
            (EvalError::from(ChatError::Stopped).into(), 130),
            (TrainError::NoRows.into(), 1),
        ] {
            assert_eq!(failure.exit_code(), code, "{failure}");
        }
    }

    #[test]
    fn hints_come_from_where_the_error_does() {
        let missing = Failure::io(Path::new("x"))(io::ErrorKind::NotFound.into());
        assert_eq!(missing.hint().unwrap(), "check the path");
        let interrupted = Failure::from(TrainError::Interrupted);
        assert_eq!(interrupted.hint(), TrainError::Interrupted.hint());
        assert_eq!(interrupted.without_resume().hint(), None);
        let full = || Failure::Train(TrainError::Io { path: "x".into(), error: io::ErrorKind::StorageFull.into() });
        assert!(full().hint().unwrap().ends_with("continue with --resume"));
        let hint = full().without_resume().hint().unwrap();
        assert_eq!(hint, "free some space and give the same command again");
        let error = mpo_models::Sampling::new(1.0, Some(0), 1.0, 1).unwrap_err();
        let hint = Failure::from(error).hint().unwrap();
        assert!(hint.contains("--top-k"), "{hint}");
    }
}
