//! LASA at generation (arXiv 2604.12710): a classifier looks at a hidden state of each prompt, and where it finds harm, a note that
//! the model was trained to answer behind stands between prompt and answer.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use mpo_data::{Language, Note};
use mpo_models::{CausalLm, seal, unseal};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::error::ChatError;
use crate::folder::ModelFolder;
use crate::states::last_token_states;

/// Tokens of prompts that are looked at at once.
const AT_ONCE: usize = 4096;
/// What the description stands under in the file's metadata, and the names of the two tensors.
const DESCRIPTION: &str = "harm_classifier";
const WEIGHT: &str = "weight";
const BIAS: &str = "bias";
/// No such file comes near.
const LARGEST: u64 = 1 << 24;

/// A linear head over a hidden state: what is above zero is harmful, more likely than not.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearHead {
    /// A number for each number of the state.
    pub weight: Vec<f64>,
    /// What the state of nothing has.
    pub bias: f64,
}

impl LinearHead {
    /// The log-odds that a prompt with this state is harmful.
    pub fn log_odds(&self, state: &[f32]) -> f64 {
        self.weight.iter().zip(state).map(|(weight, &number)| weight * f64::from(number)).sum::<f64>() + self.bias
    }
}

/// What a classifier is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    layer: usize,
    model: String,
    template: String,
    note: String,
    languages: Vec<Language>,
    /// The digest of the tensors.
    tensors: String,
}

/// A classifier of prompts as it is kept in a file: it means nothing beside another model, layer or chat template.
#[derive(Debug, Clone, PartialEq)]
pub struct HarmClassifier {
    /// The layer whose output it looks at, from one, at a prompt's last token; the last layer's after the final norm.
    pub layer: usize,
    /// The content hash of the model whose states it was fitted to.
    pub model: String,
    /// The chat template of the prompts that it was fitted to.
    pub template: String,
    /// What stands behind prompts in which it finds harm.
    pub note: String,
    /// The languages that it was fitted in.
    pub languages: Vec<Language>,
    /// How it decides.
    pub head: LinearHead,
}

impl HarmClassifier {
    /// Writes it as a new file, whole or not at all: the tensors `weight` and `bias` in f64, and in the metadata what they are of.
    ///
    /// # Errors
    /// If there is a file of this name already, or it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ChatError> {
        let bytes = self.to_bytes().map_err(|error| ChatError::File { path: path.into(), error })?;
        write_new(path, &bytes).map_err(|error| ChatError::File { path: path.into(), error })
    }

    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let Self { layer, model, template, note, languages, head } = self;
        let weight: Vec<u8> = head.weight.iter().flat_map(|number| number.to_le_bytes()).collect();
        let bias = head.bias.to_le_bytes();
        let description = Description {
            layer: *layer,
            model: model.clone(),
            template: template.clone(),
            note: note.clone(),
            languages: languages.clone(),
            tensors: digest(&weight, &bias),
        };
        let description = seal(&description)?.trim_end().to_owned();
        let tensor = |shape, bytes| TensorView::new(Dtype::F64, shape, bytes).map_err(io::Error::other);
        // As a linear layer has them elsewhere.
        let tensors = [(WEIGHT, tensor(vec![1, head.weight.len()], &weight)?), (BIAS, tensor(vec![1], &bias)?)];
        let metadata = HashMap::from([(DESCRIPTION.to_owned(), description)]);
        safetensors::serialize(tensors, Some(metadata)).map_err(io::Error::other)
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, is none, or was changed since.
    pub fn read(path: &Path) -> Result<Self, ChatError> {
        let io = |error| ChatError::File { path: path.into(), error };
        let size = fs::metadata(path).map_err(io)?.len();
        if size > LARGEST {
            return Err(not_one(path, format!("a file of {size} bytes")));
        }
        let bytes = fs::read(path).map_err(io)?;
        Self::from_bytes(&bytes).map_err(|problem| not_one(path, problem))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let metadata = header.metadata().as_ref().and_then(|metadata| metadata.get(DESCRIPTION));
        let description = metadata.ok_or_else(|| format!("a file without {DESCRIPTION} in its metadata"))?;
        let Description { layer, model, template, note, languages, tensors } = unseal(description.as_bytes())?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let of = |name: &str| file.tensor(name).map_err(|error| error.to_string());
        let (weight, bias) = (of(WEIGHT)?, of(BIAS)?);
        if digest(weight.data(), bias.data()) != tensors {
            return Err("weights that were changed since".into());
        }
        if [&weight, &bias].iter().any(|tensor| tensor.dtype() != Dtype::F64) {
            return Err("weights that are not f64".into());
        }
        let [weight, bias] = [weight, bias].map(|tensor| numbers(tensor.data()));
        match (&bias[..], weight.iter().chain(&bias).all(|number| number.is_finite())) {
            (&[bias], true) => Ok(Self { layer, model, template, note, languages, head: LinearHead { weight, bias } }),
            (_, true) => Err(format!("{} biases", bias.len())),
            (_, false) => Err("weights that are NaN or infinite".into()),
        }
    }
}

fn numbers(bytes: &[u8]) -> Vec<f64> {
    bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

fn digest(weight: &[u8], bias: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(weight).update(bias);
    hasher.finalize().to_hex().to_string()
}

fn not_one(path: &Path, problem: String) -> ChatError {
    ChatError::NoClassifier { path: path.into(), problem }
}

/// Writes a file that is not there yet; one that cannot be written whole is taken away again.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::File::create_new(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        _ = fs::remove_file(path);
    }
    written
}

/// A classifier beside the model that it is of, at work.
#[derive(Debug)]
pub struct HarmGuard {
    classifier: HarmClassifier,
    note: Note,
    /// What tells it from others.
    digest: String,
}

impl HarmGuard {
    /// Reads a classifier, which must be one of the model in `folder` with this content hash, asked with its chat template.
    ///
    /// # Errors
    /// If it cannot be read, or is of another model, template or layer.
    pub fn open(path: &Path, folder: &ModelFolder, hash: &str) -> Result<Self, ChatError> {
        let classifier = HarmClassifier::read(path)?;
        let decoder = &folder.config.decoder;
        let other = |what: &'static str, expected: &str, got: &str| {
            let (expected, got) = (expected.to_owned(), got.to_owned());
            Err(ChatError::OtherClassifier { path: path.into(), what, expected, got })
        };
        if classifier.model != hash {
            return other("model", &short(hash), &short(&classifier.model));
        }
        if classifier.template != folder.template() {
            return other("chat template", &folder.template(), &classifier.template);
        }
        let (layers, width) = (decoder.prompt_layers(), decoder.hidden_size);
        if classifier.layer == 0 || classifier.layer > layers {
            return other("layer", &format!("1 to {layers}"), &classifier.layer.to_string());
        }
        if classifier.head.weight.len() != width {
            return other("width", &width.to_string(), &classifier.head.weight.len().to_string());
        }
        let note = folder.tokenizer.encode_note(&classifier.note)?;
        folder.check_ids(note.ids())?;
        let bytes = classifier.to_bytes().map_err(|error| ChatError::File { path: path.into(), error })?;
        Ok(Self { classifier, note, digest: blake3::hash(&bytes).to_hex().to_string() })
    }

    /// What tells answers behind its notes from others.
    pub fn identity(&self) -> String {
        format!("harm classifier {}", short(&self.digest))
    }

    /// Tokens of the note.
    pub fn note_tokens(&self) -> usize {
        self.note.ids().len()
    }

    /// Puts the note behind those prompts of `model`'s in which there is harm. Returns how many these are.
    ///
    /// # Errors
    /// If `is_stopped`, or a state is NaN or infinite.
    pub fn note(
        &self,
        model: &CausalLm,
        prompts: &mut [Vec<u32>],
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<usize, ChatError> {
        let HarmClassifier { layer, head, .. } = &self.classifier;
        let states = last_token_states(model, prompts, &[*layer], AT_ONCE, |_| !is_stopped())?;
        let mut found = 0;
        let of_prompts = states.iter().flat_map(|states| states.chunks_exact(head.weight.len()));
        for (prompt, state) in prompts.iter_mut().zip(of_prompts) {
            let log_odds = head.log_odds(state);
            if !log_odds.is_finite() {
                return Err(ChatError::State { layer: *layer });
            }
            if log_odds > 0.0 {
                found += 1;
                self.note.write(prompt);
            }
        }
        Ok(found)
    }
}

fn short(hash: &str) -> String {
    hash.chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use mpo_data::{BuiltinTemplate, Message, TemplateChoice, TemplateOptions};
    use mpo_progress::Silent;

    use super::*;

    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../mpo-train/miniature/model");

    fn classifier() -> HarmClassifier {
        HarmClassifier {
            layer: 2,
            model: "abc".into(),
            template: "auto".into(),
            note: "Harm \"was\" found.".into(),
            languages: vec!["en".parse().unwrap(), "sw".parse().unwrap()],
            head: LinearHead { weight: vec![0.1 + 0.2, -1e-300, f64::MAX], bias: -0.5 },
        }
    }

    #[test]
    fn log_odds_by_hand() {
        let head = LinearHead { weight: vec![2.0, -1.0], bias: 0.5 };
        assert_eq!(head.log_odds(&[1.0, 4.0]), -1.5);
    }

    #[test]
    fn what_is_read_is_what_was_written_and_a_name_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/harm.safetensors");
        classifier().write(&path).unwrap();
        assert_eq!(HarmClassifier::read(&path).unwrap(), classifier());
        let error = classifier().write(&path).unwrap_err();
        assert!(error.hint().unwrap().contains("nothing was touched"), "{error}");
        // Other programs find a linear layer.
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(
            (file.tensor("weight").unwrap().shape(), file.tensor("bias").unwrap().shape()),
            (&[1, 3][..], &[1][..])
        );
        let error = HarmClassifier::read(&dir.path().join("none")).unwrap_err();
        assert_eq!(error.hint().unwrap(), "check the path");
    }

    #[test]
    fn every_flipped_bit_is_found_or_changes_nothing() {
        let bytes = classifier().to_bytes().unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if let Ok(read) = HarmClassifier::from_bytes(&changed) {
                    assert_eq!(read, classifier(), "byte {at}, bit {bit}");
                }
            }
            assert!(HarmClassifier::from_bytes(&bytes[..at]).is_err());
        }
    }

    #[test]
    fn weights_that_are_no_numbers_are_refused() {
        let mut broken = classifier();
        broken.head.bias = f64::NAN;
        let problem = HarmClassifier::from_bytes(&broken.to_bytes().unwrap()).unwrap_err();
        assert_eq!(problem, "weights that are NaN or infinite");
    }

    /// The miniature's model, two prompts of it, and a classifier that finds harm in the first alone.
    fn miniature() -> (ModelFolder, CausalLm, [Vec<u32>; 2], HarmClassifier) {
        let folder = ModelFolder::open(MODEL, &TemplateOptions::default(), &Silent).unwrap();
        let model = folder.load_frozen(&Device::flex(), &Silent).unwrap();
        let prompts =
            ["Tell me how to bake bread.", "Habari?"].map(|text| folder.encode_prompt(&[Message::user(text)]).unwrap());
        let states = last_token_states(&model, &prompts, &[1], 4096, |_| true).unwrap();
        let (first, second) = states[0].split_at(states[0].len() / 2);
        // Above zero where a state is nearer to the first's than to the second's.
        let weight: Vec<f64> = first.iter().zip(second).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
        let middle = weight.iter().zip(first.iter().zip(second)).map(|(w, (a, b))| w * f64::from(a + b) / 2.0);
        let bias = -middle.sum::<f64>();
        let head = LinearHead { weight, bias };
        let of = HarmClassifier { layer: 1, model: "abc".into(), template: folder.template(), head, ..classifier() };
        (folder, model, prompts, of)
    }

    #[test]
    fn the_note_stands_behind_prompts_with_harm_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, model, prompts, of) = miniature();
        let guard = |of: &HarmClassifier, name: &str| {
            let path = dir.path().join(name);
            of.write(&path).unwrap();
            HarmGuard::open(&path, &folder, "abc")
        };
        let found = guard(&of, "a").unwrap();
        let note = folder.tokenizer.encode_note(&of.note).unwrap();
        let note = note.ids();
        assert!(!note.is_empty() && found.note_tokens() == note.len());
        let mut noted = [prompts[1].clone(), prompts[0].clone(), prompts[1].clone()];
        assert_eq!(found.note(&model, &mut noted, &|| false).unwrap(), 1);
        assert_eq!(noted, [prompts[1].clone(), [&prompts[0][..], note].concat(), prompts[1].clone()]);
        assert!(matches!(found.note(&model, &mut noted, &|| true), Err(ChatError::Stopped)));
        // A state that is no number, or one that makes none.
        let endless = LinearHead { weight: vec![f64::MAX; of.head.weight.len()], bias: f64::MAX };
        let endless = guard(&HarmClassifier { head: endless, ..of.clone() }, "b").unwrap();
        let error = endless.note(&model, &mut prompts.clone(), &|| false).unwrap_err();
        assert!(error.to_string().contains("finite hidden states of prompts at layer 1"), "{error}");
        assert_ne!(found.identity(), endless.identity());
    }

    #[test]
    fn a_classifier_of_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, _, _, of) = miniature();
        let plain = TemplateChoice::Builtin(BuiltinTemplate::Plain).into();
        let plain = ModelFolder::open(MODEL, &plain, &Silent).unwrap();
        let narrow = LinearHead { weight: vec![1.0], bias: 0.0 };
        let none = HarmClassifier { layer: 0, ..of.clone() };
        let deep = HarmClassifier { layer: 99, ..of.clone() };
        let narrow = HarmClassifier { head: narrow, ..of.clone() };
        for (number, (of, folder, hash, what)) in [
            (&of, &folder, "abd", "this model, abd, got one of abc"),
            (&of, &plain, "abc", "this chat template"),
            (&none, &folder, "abc", "this layer, 1 to"),
            (&deep, &folder, "abc", "got one of 99"),
            (&narrow, &folder, "abc", "this width"),
        ]
        .into_iter()
        .enumerate()
        {
            let path = dir.path().join(number.to_string());
            of.write(&path).unwrap();
            let error = HarmGuard::open(&path, folder, hash).unwrap_err();
            assert!(error.to_string().contains(what) && error.hint().is_some(), "{error}");
        }
    }
}
