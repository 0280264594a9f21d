//! One rank's part of the optimizer (ZeRO, stage 2): it has the moments of its slices, sums their gradients over ranks, updates
//! their weights, and gives them to all.

use std::ops::Range;

use burn::tensor::{DType, Device, Tensor, TensorData};
use mpo_collective::Collective;
use mpo_kernels::unrounded_squares;
use mpo_models::{CausalLm, NamedGradients, Walk};

use super::{Optimizer, in_order};
use crate::error::TrainError;
use crate::ranks::{Slices, gathered, gathered_by_first, reduced, tokens_of_all, with_tokens};
use crate::reference::values;

/// What is this rank's of every parameter.
#[derive(Debug)]
pub(super) struct Owned<'r> {
    pub(super) ranks: &'r dyn Collective,
    slices: Slices,
}

/// Gradients of a part of the model, as far as they are this rank's; none of a parameter that none of its slices is of.
type OwnGradients = Vec<(String, Option<Tensor<1>>)>;

impl<'r> Owned<'r> {
    pub(super) fn new(ranks: &'r dyn Collective, model: &CausalLm) -> Self {
        Self { ranks, slices: Slices::new(model, ranks.size()) }
    }

    /// This rank's slice of a parameter that is trained.
    fn slice(&self, name: &str) -> Option<&Range<usize>> {
        Some(&self.slices.of(name)?[self.ranks.rank()])
    }

    /// What is this rank's of moments that the first one has.
    pub(super) fn moments(&self, name: &str, whole: Option<[TensorData; 2]>) -> Option<[TensorData; 2]> {
        let slice = self.slice(name)?;
        let [momentum, variance] = whole.map_or([None, None], |whole| whole.map(Some));
        // One after the other: of a large parameter both are much.
        let [momentum, variance] = [momentum, variance].map(|whole| {
            let mut bytes = whole.map_or(vec![], |whole| whole.convert_dtype(DType::F32).as_bytes().to_vec());
            self.ranks.broadcast(&mut bytes);
            let own = bytes.get(slice.start * size_of::<f32>()..slice.end * size_of::<f32>())?;
            let own: Vec<f32> = own.as_chunks().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect();
            (!own.is_empty()).then(|| TensorData::new(own, [slice.len()]))
        });
        Some([momentum?, variance?])
    }

    /// A moment of which everybody has its own, on the first rank.
    pub(super) fn whole(&self, name: &str, own: Option<Tensor<1>>, device: &Device) -> Tensor<1> {
        let slices = self.slices.of(name).expect("what has moments is trained");
        let own = own.map_or(vec![], |own| values(own.cast(DType::F32)));
        let whole = gathered_by_first(self.ranks, &own, slices);
        let elements = whole.len();
        Tensor::from_data(TensorData::new(whole, [elements]), device)
    }
}

impl Optimizer<'_> {
    /// One step of this rank. `scale` is given ‖g‖² of each parameter's gradient, summed over ranks, and returns what gradients
    /// are to be multiplied with. Slices of gradients are kept until then: they are as small as moments are.
    pub(super) fn step_among(
        &mut self,
        model: CausalLm,
        gradients: Walk,
        lr: f64,
        scale: impl FnOnce(Vec<Tensor<1>>) -> Result<f64, TrainError>,
    ) -> Result<CausalLm, TrainError> {
        let mut gradients = gradients.with_tokens_apart();
        let (mut kept, mut squares) = (vec![], vec![]);
        while let Some(part) = gradients.next(&model) {
            let part = self.own_of(&model, part, &mut gradients);
            squares.push(part.iter().map(|(_, own)| own.clone().map_or(0.0, square)).collect());
            kept.push(part);
        }
        drop(gradients);
        let mut squares: Vec<f64> = in_order(squares);
        self.owned().ranks.sum(&mut squares);
        let device = model.device().without_autodiff();
        // Rounded as those of one process are.
        let squares = squares.into_iter().map(|squares| Tensor::from_data([squares as f32], &device));
        let scale = scale(squares.collect())?;
        Ok(kept.into_iter().fold(model, |model, part| self.update_among(model, part, lr, scale)))
    }

    fn owned(&self) -> &Owned<'_> {
        self.owned.as_ref().expect("asked for only among ranks")
    }

    /// The sums of a part's gradients over ranks, as far as they are this rank's, of all parameters that have one anywhere.
    fn own_of(&self, model: &CausalLm, part: NamedGradients, walk: &mut Walk) -> OwnGradients {
        let Owned { ranks, slices } = self.owned();
        let device = self.state.moments().device();
        let embedding = model.embedding_name();
        let mut counts: Vec<f64> = part.iter().map(|(_, gradient)| f64::from(u8::from(gradient.is_some()))).collect();
        ranks.sum(&mut counts);
        let mut own = vec![];
        for ((name, gradient), count) in part.into_iter().zip(counts) {
            let Some(slices) = slices.of(&name) else { continue };
            let slice = &slices[ranks.rank()];
            let known = (count > 0.0).then(|| {
                let elements = slices.iter().map(|slice| slice.end).max().unwrap_or(0);
                let all = gradient.map_or_else(|| vec![0.0; elements], values);
                let own = reduced(*ranks, &all, slices);
                Tensor::from_data(TensorData::new(own, [slice.len()]), (device, DType::F32))
            });
            let tokens = match name == embedding {
                true => tokens_of_all(*ranks, walk.token_gradients(model), device),
                false => vec![],
            };
            if known.is_none() && tokens.is_empty() {
                continue;
            }
            let known = known.filter(|_| !slice.is_empty());
            let gradient = if slice.is_empty() { None } else { with_tokens(known, slice, &tokens) };
            own.push((name, gradient));
        }
        own
    }

    /// Updates what is this rank's of a part of the model, and takes what all others have updated.
    fn update_among(&mut self, model: CausalLm, gradients: OwnGradients, lr: f64, grad_scale: f64) -> CausalLm {
        let device = model.device().without_autodiff();
        // A parameter of which nothing is this rank's changes too.
        let nothing = || Tensor::<1>::zeros([1], &device);
        let gradients = gradients.into_iter().map(|(name, own)| (name, Some(own.unwrap_or_else(nothing))));
        model.update(gradients.collect(), |name, value, gradient| {
            let step = self.step_of(name, lr, grad_scale);
            let owned = self.owned.as_ref().expect("asked for only among ranks");
            let slices = owned.slices.of(name).expect("what has a gradient is trained");
            let slice = slices[owned.ranks.rank()].clone();
            let [elements] = value.dims();
            let own = match slice.is_empty() {
                true => vec![],
                false => values(self.state.update(name, value.slice([slice]), gradient, step)),
            };
            let whole = gathered(owned.ranks, &own, slices);
            Tensor::from_data(TensorData::new(whole, [elements]), &device)
        })
    }
}

/// ‖x‖², as it was summed.
fn square(tensor: Tensor<1>) -> f64 {
    let sum = unrounded_squares([tensor]).expect("one part");
    sum.into_data().convert::<f64>().try_to_vec::<f64>().expect("the data has just been converted to f64")[0]
}
