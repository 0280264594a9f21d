//! Arguments that several commands take.

mod answer_length;
mod bytes;
mod harm;
mod home;
mod model;
mod positive;
mod rows;
mod sampling;
mod truncation;

pub(crate) use answer_length::answer_length;
pub(crate) use bytes::bytes;
pub(crate) use harm::HarmArguments;
pub(crate) use home::{model, with_home};
pub(crate) use model::ModelArguments;
pub(crate) use positive::positive;
pub(crate) use rows::RowArguments;
pub(crate) use sampling::SamplingArguments;
pub(crate) use truncation::TruncationArguments;
