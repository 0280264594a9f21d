//! The reference as a cache: scores and hidden states of the model that training begins with.
//!
//! They are constants of weights and token ids, so they are computed once, kept in files, and shared by every run that
//! starts from the same weights in the same type on a device of the same kind. There is no second model in memory.

mod held;
mod prompts;
mod table;

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use mpo_collective::{Alone, Collective};
use mpo_data::{Origin, TokenizedPair};
use mpo_kernels::{SequenceScore, device_kind};
use mpo_models::{Batch, CausalLm};
use mpo_objectives::{Hold, PairScore};
use mpo_progress::Progress;

use crate::error::TrainError;
use crate::folder::{self, Kind, remove_files};
use crate::pairs::{add_answers, chunks};
use crate::ranks::shares;
pub(crate) use held::{HeldStates, Holding, held_states, held_tokens};
pub(crate) use prompts::{Fitted, OfPrompt};
use table::Table;
pub(crate) use table::{Digest, digest};

/// Raised when the same weights and ids give other numbers than before, or the key is written in another way.
const VERSION: u32 = 5;

/// The tables that there may be in a folder.
const TABLES: [&str; 7] =
    ["scores", "last-token", "masked-mean", "mean-pool", "distributions", "prompt-last-token", "prompt-mean"];

/// An answer that the reference is to score.
#[derive(Debug, Clone, Copy)]
pub struct AnswerToScore<'a> {
    /// The prompt's tokens.
    pub prompt: &'a [u32],
    /// The answer's.
    pub answer: &'a [u32],
    /// The row they came from.
    pub origin: &'a Origin,
}

/// A model as it was before training, asked through a cache.
pub struct Reference<'a> {
    model: CausalLm,
    /// The head on the device that training takes place on.
    head: Tensor<2>,
    dir: PathBuf,
    key: String,
    max_tokens: usize,
    progress: &'a dyn Progress,
    /// The languages' spaces, once they were asked for.
    fitted: Option<Fitted>,
    ranks: &'a dyn Collective,
}

impl std::fmt::Debug for Reference<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reference").field("dir", &self.dir).field("key", &self.key).finish_non_exhaustive()
    }
}

impl<'a> Reference<'a> {
    /// `model` with its present weights, whose content hash is `model_hash`; its numbers are kept in `dir`, where those of
    /// another model, type, quantization, precision or kind of device are not used. At most `max_tokens` tokens pass through
    /// the model at once.
    pub fn new(
        model: &CausalLm,
        model_hash: &str,
        dir: impl Into<PathBuf>,
        max_tokens: usize,
        progress: &'a dyn Progress,
    ) -> Self {
        // A detached leaf still asks for gradients.
        let head = model.head().detach().set_require_grad(false);
        let quantization = model.quantization().map_or(String::new(), |quantization| format!(" {quantization:?}"));
        Self {
            key: format!(
                "{VERSION} {model_hash} {:?} {:?} {}{quantization}",
                head.dtype(),
                model.precision(),
                device_kind(&head.device(), model.precision().dtype())
            ),
            head,
            model: model.valid(),
            dir: dir.into(),
            max_tokens,
            progress,
            fitted: None,
            ranks: &Alone,
        }
    }

    /// The same for one of several ranks, which share what is missing: the first one reads and writes the files.
    #[must_use]
    pub fn among(self, ranks: &'a dyn Collective) -> Self {
        Self { ranks, ..self }
    }

    /// Σ log p of answers, nats.
    ///
    /// # Errors
    /// If a number is not finite, the cache cannot be read or written, or `progress` is stopped.
    pub fn sums(&mut self, answers: &[AnswerToScore<'_>]) -> Result<Vec<f32>, TrainError> {
        let of: Vec<Digest> = answers.iter().map(|one| digest(&[one.prompt, one.answer])).collect();
        let size = |one: &AnswerToScore<'_>| one.prompt.len() + one.answer.len();
        let table = self.table("scores", "", answers, &of, size, |model, answers| {
            let mut batch = Batch::default();
            let asked = answers.iter().map(|one| (one.prompt, one.answer));
            let parts = add_answers(&mut batch, asked);
            let scores = batch.want_scores(parts);
            let sums = values(model.forward(&batch).scores(scores).sum);
            for (sum, one) in sums.iter().zip(answers) {
                if !sum.is_finite() {
                    return Err(TrainError::NotFinite {
                        what: "the reference's log-probability of an answer",
                        value: f64::from(*sum),
                        row: one.origin.to_string(),
                    });
                }
            }
            Ok(sums.into_iter().map(|sum| vec![sum]).collect())
        })?;
        Ok(of.iter().map(|of| table.get(of).map_or(f32::NAN, |sum| sum[0])).collect())
    }

    /// Scores of both answers of pairs.
    ///
    /// # Errors
    /// Those of [`sums`](Self::sums).
    pub(crate) fn pairs(&mut self, pairs: &[(&TokenizedPair, &Origin)]) -> Result<KnownPairs, TrainError> {
        let answers: Vec<AnswerToScore<'_>> = pairs
            .iter()
            .flat_map(|(pair, origin)| {
                [pair.chosen(), pair.rejected()].map(|answer| AnswerToScore { prompt: pair.prompt(), answer, origin })
            })
            .collect();
        let sums = self.sums(&answers)?;
        let tokens = answers.iter().map(|one| one.answer.len());
        let scores: Vec<(f32, usize)> = sums.into_iter().zip(tokens).collect();
        let (pairs, _) = scores.as_chunks::<2>();
        Ok(KnownPairs(pairs.to_vec()))
    }

    /// The hidden states that are held of dominant pairs.
    pub(crate) fn held(&mut self, pairs: &[&TokenizedPair], holding: Holding) -> Result<HeldReference, TrainError> {
        let width = self.model.config().hidden_size;
        let of: Vec<Digest> =
            pairs.iter().map(|pair| digest(&[pair.prompt(), pair.chosen(), pair.rejected()])).collect();
        let (name, detail) = holding.name();
        let tokens = |pair: &&TokenizedPair| held_tokens(holding.hold, pair);
        let encodes = self.model.config().encoder.is_some();
        let table = self.table(name, &detail, pairs, &of, tokens, |model, pairs| {
            let (mut batch, mut held) = (Batch::default(), holding.collect(encodes));
            for pair in pairs {
                held.pack(&mut batch, pair);
            }
            let held = held.want(&mut batch);
            let states = model.forward(&batch).states(held.states);
            let elements = states.shape().num_elements();
            let states = values(states.reshape([elements]));
            let mut rest = &states[..];
            let mut take = |length: usize| {
                let (states, after) = rest.split_at(length * width);
                rest = after;
                states.to_vec()
            };
            Ok(held.lengths.into_iter().map(&mut take).collect())
        })?;
        Ok(HeldReference {
            holding,
            encodes,
            known: KnownStates::new(table, of, width),
            head: (holding.hold == Hold::Distributions).then(|| self.head.clone()),
        })
    }

    /// The table of this name, with what it lacks of `items` computed and kept.
    fn table<T>(
        &mut self,
        name: &str,
        detail: &str,
        items: &[T],
        of: &[Digest],
        tokens: impl Fn(&T) -> usize,
        compute: impl Fn(&CausalLm, &[&T]) -> Result<Vec<Vec<f32>>, TrainError>,
    ) -> Result<Table, TrainError> {
        let path = self.dir.join(file_name(name));
        let key = format!("{} {detail}", self.key);
        let ranks = self.ranks;
        let mut table = match ranks.is_first() {
            true => self.stored(&path, &key)?,
            false => Table::default(),
        };
        let mut seen = std::collections::HashSet::new();
        let wanted: Vec<(&T, &Digest)> = items.iter().zip(of).filter(|(_, of)| seen.insert(**of)).collect();
        if ranks.is_many() {
            let of = || wanted.iter().map(|(_, of)| *of);
            let mut known = if ranks.is_first() { table.told(of()) } else { vec![] };
            ranks.broadcast(&mut known);
            table.learn(of(), &known);
        }
        let missing: Vec<(&T, &Digest)> = wanted.into_iter().filter(|(_, of)| table.get(of).is_none()).collect();
        if missing.is_empty() {
            return Ok(table);
        }
        let stage = self.progress.begin("reference", Some(missing.len()));
        let sizes: Vec<usize> = missing.iter().map(|(item, _)| tokens(item)).collect();
        let shares = shares(&sizes, ranks.size());
        let own = &missing[shares[ranks.rank()].clone()];
        let mut is_stopped = false;
        for part in chunks(own, self.max_tokens, |(item, _)| tokens(item)) {
            is_stopped |= stage.is_stopped();
            if is_stopped {
                break;
            }
            let items: Vec<&T> = part.iter().map(|(item, _)| *item).collect();
            for ((_, of), values) in part.iter().zip(compute(&self.model, &items)?) {
                table.insert(**of, &values);
            }
            stage.advance(part.len());
        }
        if ranks.any(is_stopped) {
            return Err(TrainError::Interrupted);
        }
        stage.advance(missing.len() - own.len());
        if ranks.is_many() {
            let all = ranks.share(&table.told(own.iter().map(|(_, of)| *of)));
            for (share, made) in shares.into_iter().zip(all) {
                table.learn(missing[share].iter().map(|(_, of)| *of), &made);
            }
        }
        if ranks.is_first() {
            folder::share(&self.dir, Kind::Reference)?;
            table.store(&path, &key)?;
        }
        Ok(table)
    }

    /// The table in a file; an empty one where there is none, or it is damaged.
    fn stored(&self, path: &Path, key: &str) -> Result<Table, TrainError> {
        folder::check_ours(&self.dir, Kind::Reference)?;
        match Table::load(path, key) {
            Err(damaged @ TrainError::Broken { .. }) => {
                let aside = folder::set_aside(path)?;
                self.progress
                    .note(&format_args!("{damaged}; it is made again, and what was there is {}", aside.display()));
                Ok(Table::default())
            }
            loaded => Ok(loaded?.unwrap_or_default()),
        }
    }
}

/// Scores of pairs under the reference: of the safe answer and of the unsafe one, Σ log p in nats and tokens.
#[derive(Debug, Clone)]
pub(crate) struct KnownPairs(Vec<[(f32, usize); 2]>);

impl KnownPairs {
    /// The scores of some of the pairs, `[pairs]`, on `device`.
    pub(crate) fn scores(&self, pairs: &[usize], device: &Device) -> PairScore {
        let of = |side: usize| {
            let known = pairs.iter().map(|&pair| self.0[pair][side]);
            let (sums, tokens): (Vec<f32>, Vec<f32>) = known.map(|(sum, tokens)| (sum, tokens as f32)).unzip();
            let tensor = |values| Tensor::from_data(TensorData::new(values, [pairs.len()]), device);
            SequenceScore { sum: tensor(sums), tokens: tensor(tokens) }
        };
        PairScore { chosen: of(0), rejected: of(1) }
    }
}

/// The reference's hidden states for every row of a task.
#[derive(Debug)]
pub(crate) struct HeldReference {
    pub(crate) holding: Holding,
    /// Whether prompts go into an encoder, whose states are held.
    pub(crate) encodes: bool,
    known: KnownStates,
    /// `[vocab_size, hidden_size]`, kept where distributions are held; else its memory is free for training.
    pub(crate) head: Option<Tensor<2>>,
}

impl HeldReference {
    /// The states of these rows, `[states, hidden_size]`, in the order of [`HeldStates::states`].
    pub(crate) fn states(&self, rows: &[usize], device: &Device) -> Tensor<2> {
        self.known.states(rows, device)
    }
}

/// The reference's hidden states of a list of things, each of which may have several.
#[derive(Debug)]
pub(crate) struct KnownStates {
    table: Table,
    /// One for each.
    of: Vec<Digest>,
    width: usize,
}

impl KnownStates {
    /// Those of `table`, which may be of many more: those of another task, or of other data.
    fn new(table: Table, of: Vec<Digest>, width: usize) -> Self {
        Self { table: table.only(&of), of, width }
    }

    /// The states of some of them, `[states, hidden_size]`.
    pub(crate) fn states(&self, some: &[usize], device: &Device) -> Tensor<2> {
        let states: Vec<f32> = some.iter().flat_map(|&one| self.numbers(one)).copied().collect();
        let count = states.len() / self.width;
        Tensor::from_data(TensorData::new(states, [count, self.width]), device)
    }

    /// Those of one, one after the other.
    fn numbers(&self, one: usize) -> &[f32] {
        self.table.get(&self.of[one]).unwrap_or_default()
    }
}

/// Removes the tables in a folder of ours.
pub(crate) fn remove(dir: &Path) -> Result<(), TrainError> {
    if !folder::is_marked(dir, Kind::Reference) {
        return Ok(());
    }
    remove_files(dir, |name| name == folder::MARKER || TABLES.iter().any(|table| name == file_name(table)))
}

fn file_name(table: &str) -> String {
    format!("{table}.safetensors")
}

/// The elements of a tensor.
pub(crate) fn values(tensor: Tensor<1>) -> Vec<f32> {
    let data = tensor.without_autodiff().into_data().convert::<f32>();
    data.try_to_vec().expect("the data has just been converted to f32")
}
