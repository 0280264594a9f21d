//! The parts put together: what lies in memory at each point of a run.

use mpo_models::DecoderConfig;
use serde::Serialize;

use super::{Hardware, Passes, Storage, activations, copies, gradients, head, optimizer_state, reference};

/// What takes memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The program, the tokenizer and the rows, as they lie in memory before anything is loaded.
    Program,
    /// The weights.
    Weights,
    /// The gradients of a step.
    Gradients,
    /// The optimizer's moments.
    OptimizerState,
    /// What layers computed and the backward needs.
    Activations,
    /// One layer whose backward runs.
    Layer,
    /// The tile of logits at work, and the gradients of hidden states.
    Head,
    /// The reference's numbers, and its head where distributions are compared.
    Reference,
    /// Tensors on their way to a file.
    Copies,
    /// What an allocator's pools hold and nothing uses, and a GPU's context.
    Pools,
}

impl Part {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Program => "program and rows",
            Self::Weights => "weights",
            Self::Gradients => "gradients",
            Self::OptimizerState => "optimizer's moments",
            Self::Activations => "activations",
            Self::Layer => "layer at work",
            Self::Head => "head at work",
            Self::Reference => "reference",
            Self::Copies => "copies for a file",
            Self::Pools => "idle in pools",
        }
    }
}

/// What a part takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Of what.
    pub part: Part,
    /// How much.
    pub bytes: u64,
    /// Whether it lies in the machine's memory beside a GPU's.
    pub on_host: bool,
}

/// A point of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// The weights are there.
    Loading,
    /// The forward is done, and the head's backward runs.
    HeadBackward,
    /// The backward reaches the last layer.
    LayersBegin,
    /// The backward has come to the first layer.
    LayersEnd,
    /// A checkpoint is written.
    Checkpoint,
}

impl PhaseName {
    /// When it is, for people.
    pub fn when(self) -> &'static str {
        match self {
            Self::Loading => "when the model is loaded",
            Self::HeadBackward => "when the backward begins",
            Self::LayersBegin => "when the backward reaches the layers",
            Self::LayersEnd => "when the backward ends",
            Self::Checkpoint => "while a checkpoint is written",
        }
    }
}

/// What lies in memory at a point of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// When.
    pub name: PhaseName,
    /// What; parts that take nothing are left out.
    pub shares: Vec<Share>,
}

impl Phase {
    fn new(name: PhaseName, shares: impl IntoIterator<Item = Share>) -> Self {
        Self { name, shares: shares.into_iter().filter(|share| share.bytes > 0).collect() }
    }

    /// The same with what pools hold idle: measured on the CPU, a sixteenth of what is in use after a step; on a GPU, whose
    /// pools cut memory into larger pages, a tenth, and half a gigabyte of context.
    fn with_pools(mut self, hardware: Hardware) -> Self {
        let pooled = |share: &&Share| !share.on_host && share.part != Part::Program;
        let used: u64 = self.shares.iter().filter(pooled).map(|share| share.bytes).sum();
        let bytes = match hardware {
            Hardware::Cpu { .. } => used / 16,
            Hardware::Gpu => used / 10 + 500_000_000,
        };
        self.shares.push(Share { part: Part::Pools, bytes, on_host: false });
        self
    }

    /// Bytes in the device's memory.
    pub fn on_device(&self) -> u64 {
        self.shares.iter().filter(|share| !share.on_host).map(|share| share.bytes).sum()
    }

    /// Bytes in the machine's memory beside a GPU's.
    pub fn on_host(&self) -> u64 {
        self.shares.iter().filter(|share| share.on_host).map(|share| share.bytes).sum()
    }
}

/// How much memory a run takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// The points at which it may take most.
    pub phases: Vec<Phase>,
}

impl Estimate {
    /// That of a run of `model`, in which so much passes through it; `program` is what lies in the machine's memory before
    /// anything is loaded.
    pub fn of(model: &DecoderConfig, passes: &Passes, storage: Storage, hardware: Hardware, program: u64) -> Self {
        let is_gpu = hardware == Hardware::Gpu;
        let share = |part, bytes| Share { part, bytes, on_host: false };
        let on_host = |part, bytes| Share { part, bytes, on_host: is_gpu };
        let weights = share(Part::Weights, storage.weights(model));
        let [on_device, beside] = optimizer_state::optimizer_state(model, storage, hardware);
        let state = [share(Part::OptimizerState, on_device), on_host(Part::OptimizerState, beside)];
        let reference = [
            share(Part::Reference, reference::head(model, passes, storage)),
            on_host(Part::Reference, reference::states(model, passes)),
        ];
        let always = [on_host(Part::Program, program), weights];
        let training = || {
            // Moments are made by the first update.
            let state = state.into_iter().filter(|_| passes.steps > 1);
            always.into_iter().chain(reference).chain(state)
        };
        let [first, layers, last] = gradients::around_backward(model, passes, storage, hardware);
        let kept = activations::before(model, passes, storage);
        let layer = activations::layer(model, passes, storage, hardware);
        let phases = [
            Phase::new(PhaseName::Loading, always),
            Phase::new(
                PhaseName::HeadBackward,
                training().chain([
                    share(Part::Gradients, first),
                    share(Part::Activations, kept),
                    share(Part::Head, head::at_work(model, passes, storage, hardware)),
                ]),
            ),
            Phase::new(
                PhaseName::LayersBegin,
                training().chain([
                    share(Part::Gradients, layers),
                    share(Part::Activations, kept),
                    // What a layer keeps is among the activations unless it is run again.
                    share(
                        Part::Layer,
                        if storage.recompute { layer } else { activations::at_work_of(model, passes, storage) },
                    ),
                ]),
            ),
            Phase::new(
                PhaseName::LayersEnd,
                training().chain([
                    share(Part::Gradients, last),
                    share(Part::Activations, activations::after(model, passes, storage)),
                    // The last gradient of all is made when the layers are past, unless it was there before them.
                    share(Part::Layer, if storage.defers_head() { 0 } else { layer }),
                    share(
                        Part::Head,
                        if storage.defers_head() { head::adding(model, passes, storage, hardware) } else { 0 },
                    ),
                ]),
            ),
            Phase::new(
                PhaseName::Checkpoint,
                always
                    .into_iter()
                    .chain(reference)
                    .chain(state)
                    .chain([on_host(Part::Copies, copies::checkpoint(model, storage.tuning))]),
            ),
        ];
        Self { phases: phases.into_iter().map(|phase| phase.with_pools(hardware)).collect() }
    }

    /// The point at which most lies in the device's memory.
    pub fn peak(&self) -> &Phase {
        self.phases.iter().max_by_key(|phase| phase.on_device()).expect("a run has phases")
    }

    /// The most bytes in the device's memory.
    pub fn bytes(&self) -> u64 {
        self.peak().on_device()
    }

    /// The most bytes in the machine's memory beside a GPU's.
    pub fn host_bytes(&self) -> u64 {
        self.phases.iter().map(Phase::on_host).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PLAIN, passes, tiny};
    use super::*;

    fn of(estimate: &Estimate, name: PhaseName) -> Vec<(Part, u64)> {
        let phase = estimate.phases.iter().find(|phase| phase.name == name).unwrap();
        phase.shares.iter().map(|share| (share.part, share.bytes)).collect()
    }

    #[test]
    fn a_tiny_run_by_hand() {
        let (model, cpu) = (tiny(), Hardware::Cpu { threads: 2 });
        let estimate = Estimate::of(&model, &passes(10, 5), PLAIN, cpu, 1_000);
        // 5,712 parameters: two matrices of 512, two layers of 2,304 and 32, and a norm of 16.
        let all = 2 * 512 + 2 * (2_304 + 32) + 16;
        assert_eq!(
            of(&estimate, PhaseName::Loading),
            [(Part::Program, 1_000), (Part::Weights, 4 * all), (Part::Pools, 4 * all / 16)]
        );
        let used = 4 * all + 8 * all + 4 * all + 4 * 10 * 16 + 4 * 10 * (212 + 128);
        assert_eq!(
            of(&estimate, PhaseName::LayersEnd),
            [
                (Part::Program, 1_000),
                (Part::Weights, 4 * all),
                (Part::OptimizerState, 8 * all),
                (Part::Gradients, 4 * all),
                (Part::Activations, 4 * 10 * 16),
                (Part::Layer, 4 * 10 * (212 + 128)),
                (Part::Pools, used / 16),
            ]
        );
        // Before the first update there are no moments.
        let one = Estimate::of(&model, &Passes { steps: 1, ..passes(10, 5) }, PLAIN, cpu, 1_000);
        assert!(of(&one, PhaseName::LayersEnd).iter().all(|(part, _)| *part != Part::OptimizerState));
    }

    #[test]
    fn what_lies_beside_a_gpu_is_counted_apart() {
        let estimate = Estimate::of(&tiny(), &passes(10, 5), PLAIN, Hardware::Gpu, 1_000);
        let loading = &estimate.phases[0];
        let all = tiny().num_parameters();
        assert_eq!(loading.on_host(), 1_000);
        assert_eq!(loading.on_device(), 4 * all + 4 * all / 10 + 500_000_000);
    }
}
