//! A model's way to the hub: its files in one commit. Large files go by Xet, the others in the commit itself; `hf-hub` does both.

mod error;
mod files;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hf_hub::progress::{ProgressEvent, ProgressHandler, UploadEvent};
use hf_hub::repository::{CommitOperation, ModelInfo};
use hf_hub::{HFClient, HFClientBuilder, HFClientSync, HFError, HFRepositorySync, HFResult, RepoTypeModel};
use mpo_progress::Progress;

use super::repository_id;
use crate::error::{ModelError, abridged};

pub use error::PushError;
pub use files::{ModelFile, ModelFiles};
use token::token;

/// How often a bar moves.
const TICK: Duration = Duration::from_millis(100);

const MEGABYTE: u64 = 1_000_000;

/// Where a model is to go.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    owner: &'a str,
    name: &'a str,
    /// The branch, which is made if it is not there; none is the main one.
    pub revision: Option<&'a str>,
    /// Whether only its owner is to see it.
    pub private: bool,
}

impl<'a> Destination<'a> {
    /// The main branch of the repository `owner/name`, which everyone may see.
    ///
    /// # Errors
    /// If that is no name of a repository.
    pub fn new(repository: &'a str) -> Result<Self, ModelError> {
        let (owner, name) =
            repository_id(repository).ok_or_else(|| ModelError::NotARepository { name: repository.to_owned() })?;
        Ok(Self { owner, name, revision: None, private: false })
    }

    fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

/// A hub that models are sent to.
#[derive(Debug)]
pub struct Hub {
    client: HFClientSync,
    endpoint: String,
}

impl Hub {
    /// Where `HF_ENDPOINT` says, or else the Hugging Face Hub.
    pub fn endpoint() -> String {
        let given = std::env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty());
        given.map_or_else(|| "https://huggingface.co".into(), |endpoint| endpoint.trim_end_matches('/').to_owned())
    }

    /// That of [`Self::endpoint`], with the token of `HF_TOKEN` or of a login.
    ///
    /// # Errors
    /// If there is no token.
    pub fn from_environment() -> Result<Self, PushError> {
        let endpoint = Self::endpoint();
        let token = token().ok_or_else(|| PushError::NoToken { endpoint: endpoint.clone() })?;
        Self::new(HFClient::builder().token(token), endpoint)
    }

    fn new(client: HFClientBuilder, endpoint: String) -> Result<Self, PushError> {
        match client.endpoint(&endpoint).build_sync() {
            Ok(client) => Ok(Self { client, endpoint }),
            Err(error) => Err(PushError::Client { endpoint, error: Box::new(error) }),
        }
    }

    /// Sends a model's files in one commit, and gives the address where they are. A repository that is not there is made. Where
    /// it fails, the repository's files are as they were.
    ///
    /// # Errors
    /// If the hub refuses or cannot be reached, or what should be private is not.
    pub fn push(&self, files: &ModelFiles, to: &Destination<'_>, progress: &dyn Progress) -> Result<String, PushError> {
        let error = |error| PushError::Hub {
            repository: to.repository(),
            endpoint: self.endpoint.clone(),
            error: Box::new(error),
        };
        let repository = self.client.model(to.owner, to.name);
        if let Some(held) = self.make_ready(&repository, to, progress)? {
            let weights = files.weights_beside(&held);
            if !weights.is_empty() {
                progress.note(&format_args!(
                    "warning: {} holds other weights too, which stay there and may be read in place of these: {}",
                    to.repository(),
                    abridged(&weights)
                ));
            }
        }
        send(&repository, files, to, progress).map_err(error)?;
        let address = format!("{}/{}", self.endpoint, to.repository());
        Ok(to.revision.map_or(address.clone(), |revision| format!("{address}/tree/{revision}")))
    }

    /// Sees to it that the repository and its branch are there, and gives the names of the files in it, if it was there before.
    fn make_ready(
        &self,
        repository: &HFRepositorySync<RepoTypeModel>,
        to: &Destination<'_>,
        progress: &dyn Progress,
    ) -> Result<Option<Vec<String>>, PushError> {
        let name = to.repository();
        let error = |error| PushError::Hub {
            repository: name.clone(),
            endpoint: self.endpoint.clone(),
            error: Box::new(error),
        };
        let info = match repository.info().send() {
            Ok(info) if to.private && info.private != Some(true) => return Err(PushError::Public { repository: name }),
            Ok(info) => Some(info),
            Err(HFError::RepoNotFound { .. }) => {
                let new = self.client.create_repository().repo_id(&name).repo_type(RepoTypeModel);
                new.private(to.private).send().map_err(error)?;
                progress.note(&format_args!("made {}/{name}", self.endpoint));
                None
            }
            Err(failure) => return Err(error(failure)),
        };
        let Some(revision) = to.revision else {
            return Ok(info.map(names));
        };
        if !repository.revision_exists().revision(revision).send().map_err(error)? {
            repository.create_branch().branch(revision).send().map_err(error)?;
        }
        match info {
            None => Ok(None),
            Some(_) => repository.info().revision(revision).send().map(|info| Some(names(info))).map_err(error),
        }
    }
}

/// The names of a repository's files.
fn names(info: ModelInfo) -> Vec<String> {
    info.siblings.unwrap_or_default().into_iter().map(|file| file.rfilename).collect()
}

/// Makes the commit, and shows meanwhile how far it is.
fn send(
    repository: &HFRepositorySync<RepoTypeModel>,
    files: &ModelFiles,
    to: &Destination<'_>,
    progress: &dyn Progress,
) -> HFResult<()> {
    let operations = files.files().iter().map(|file| CommitOperation::add_file(&*file.name, files.path(file)));
    let operations: Vec<CommitOperation> = operations.collect();
    let sent = Arc::new(Sent::default());
    let commit = || {
        let commit = repository.create_commit().operations(operations).commit_message("Upload a model with mpo-train");
        commit.maybe_revision(to.revision).progress(Arc::clone(&sent)).send()
    };
    let length = usize::try_from(files.bytes().div_ceil(MEGABYTE)).unwrap_or(usize::MAX);
    let stage = progress.begin("uploading, in MB", Some(length));
    thread::scope(|scope| {
        let commit = scope.spawn(commit);
        let mut shown = 0;
        // Asked for now and then: after a failure the client may go on telling for ever.
        while !commit.is_finished() {
            thread::park_timeout(TICK);
            let now = usize::try_from(sent.0.load(Ordering::Relaxed) / MEGABYTE).unwrap_or(usize::MAX).min(length);
            stage.advance(now.saturating_sub(shown));
            shown = shown.max(now);
        }
        match commit.join() {
            Ok(result) => result.map(|_| ()),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// How many bytes are on the hub.
#[derive(Debug, Default)]
struct Sent(AtomicU64);

impl ProgressHandler for Sent {
    fn on_progress(&self, event: &ProgressEvent) {
        if let ProgressEvent::Upload(UploadEvent::Progress { bytes_completed, .. }) = event {
            self.0.store(*bytes_completed, Ordering::Relaxed);
        }
    }
}
