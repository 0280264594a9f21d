//! One model, trained by several processes: what each does of a step, and what they tell each other.
//!
//! Every rank works out the same batch from seed and step, and takes a share of its rows. Gradients are summed part by part of
//! the model, and each rank keeps what [`Slices`] says is its own: of that it has the moments, and updates the weights, which
//! all gather. Shares are in the order of ranks and sums are made in it, so one row a rank gives the bits of one process with one
//! row a pass.

mod alike;
mod pieces;
mod shares;
mod slices;

use burn::tensor::{Tensor, TensorData};
use mpo_collective::Collective;
use mpo_models::CausalLm;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::TrainError;
pub use alike::{check_alike, program};
pub(crate) use pieces::{gathered, gathered_by_first, reduced, tokens_of_all, with_tokens};
pub(crate) use shares::{merged, own_share, shares};
pub(crate) use slices::Slices;

/// What the first rank says, to all of them.
///
/// # Errors
/// Those of `own`, which is asked on the first one alone.
pub fn told_by_first<T: Serialize + DeserializeOwned>(
    ranks: &dyn Collective,
    own: impl FnOnce() -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    if !ranks.is_many() {
        return own();
    }
    let text = |error: serde_json::Error| TrainError::Ranks { problem: format!("a message that is none: {error}") };
    let mut bytes = if ranks.is_first() { serde_json::to_vec(&own()?).map_err(text)? } else { vec![] };
    ranks.broadcast(&mut bytes);
    serde_json::from_slice(&bytes).map_err(text)
}

/// The model with what is trained of the first rank's: what a checkpoint says is known to that one alone, and an adapter that
/// is new is drawn at random.
pub(crate) fn with_weights_of_first(ranks: &dyn Collective, model: CausalLm) -> CausalLm {
    if !ranks.is_many() {
        return model;
    }
    let device = model.device().without_autodiff();
    let mut trained = vec![];
    model.each_parameter(|parameter| trained.extend(parameter.is_trained.then_some(parameter.name)));
    // Which ones is all that is said here.
    let trained = trained.into_iter().map(|name| (name, Some(Tensor::zeros([1], &device))));
    model.update(trained.collect(), |_, value, _| {
        let (shape, dtype) = (value.dims(), value.dtype());
        let own = ranks.is_first().then(|| value.clone().into_data().convert::<f32>());
        let mut bytes = own.map_or(vec![], |own| own.as_bytes().to_vec());
        ranks.broadcast(&mut bytes);
        if ranks.is_first() {
            return value;
        }
        let own: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect();
        Tensor::from_data(TensorData::new(own, shape).convert_dtype(dtype), (&device, dtype))
    })
}
