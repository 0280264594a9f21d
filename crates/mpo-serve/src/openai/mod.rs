//! What OpenAI's JSON looks like: what may be asked, how it is answered, and how it is refused.

mod body;
mod error;
mod reply;
mod request;

pub(crate) use body::object;
pub(crate) use error::ApiError;
pub(crate) use reply::{Finish, Format, LogProb, Piece, Usage, models, now};
pub(crate) use request::{Asked, Length, Prompt};
