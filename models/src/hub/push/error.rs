//! Why a model does not come to the hub.

use hf_hub::HFError;

/// A model that the hub does not get.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// Nobody may write without one.
    #[error("{endpoint}: expected a token that may write, got none")]
    NoToken {
        /// The hub.
        endpoint: String,
    },
    /// The endpoint is no address, or the system has no certificates.
    #[error("{endpoint}: expected a hub to connect to, got: {error}")]
    Client {
        /// The hub.
        endpoint: String,
        /// The reason.
        error: Box<HFError>,
    },
    /// What should be private would be read by everyone.
    #[error("{repository}: expected a private repository, got one that is public")]
    Public {
        /// The repository.
        repository: String,
    },
    /// The hub refused, or could not be reached.
    #[error("{repository}: expected {endpoint} to take the model, got: {error}")]
    Hub {
        /// The repository.
        repository: String,
        /// The hub.
        endpoint: String,
        /// The reason.
        error: Box<HFError>,
    },
}

impl PushError {
    /// The next thing to do, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoToken { endpoint } => Some(format!(
                "make one with write access at {endpoint}/settings/tokens and set HF_TOKEN, or log in with `hf auth login`"
            )),
            Self::Client { .. } => Some("check HF_ENDPOINT".into()),
            Self::Public { .. } => {
                Some("make it private in its settings, name another repository, or leave --private out".into())
            }
            Self::Hub { error, endpoint, .. } => hint(error, endpoint),
        }
    }
}

fn hint(error: &HFError, endpoint: &str) -> Option<String> {
    Some(match error {
        HFError::AuthRequired { .. } => format!(
            "the token is not known there, or is no longer valid: make one with write access at {endpoint}/settings/tokens and \
             set HF_TOKEN"
        ),
        HFError::Forbidden { .. } => {
            "the token may not write there: give it write access to this repository or its owner, or name a repository of your own"
                .into()
        }
        HFError::RepoNotFound { .. } | HFError::RevisionNotFound { .. } => {
            "check owner and name, and --revision; what the token may not see looks as if it were not there".into()
        }
        HFError::Conflict { .. } => {
            "somebody else changed the repository meanwhile: look at it, and give the same command again".into()
        }
        HFError::RateLimited { retry_after: Some(wait), .. } => {
            format!("give the same command again in {} s", wait.as_secs())
        }
        HFError::RateLimited { .. } => "give the same command again in some minutes".into(),
        HFError::Http { context } => match context.status.as_u16() {
            404 => "check HF_ENDPOINT, and that the owner is there".into(),
            413 => "the server takes no files as large as these from this program, which sends large ones by Xet alone: upload \
                    the folder with `hf upload`"
                .into(),
            500.. => "that is the server's fault: give the same command again later".into(),
            _ => return None,
        },
        HFError::Request { .. } => "check the network and HF_ENDPOINT, and give the same command again".into(),
        HFError::Xet { .. } => {
            "check the network, and give the same command again: what has arrived is not sent a second time".into()
        }
        _ => return None,
    })
}
