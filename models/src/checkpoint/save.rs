//! Saving a model's folder: all or nothing, and nothing of anybody else's replaced.

use std::path::Path;
use std::{fs, io};

use serde_json::{Map, Value};

use super::write::{LazyTensor, write_config, write_synced, write_weights};
use super::{CheckpointError, WeightDtype, chat_template, companions};
use crate::checksums::{CHECKSUMS_FILE, ChecksumError, Checksums};
use crate::config::CONFIG_FILE;
use crate::scratch::Scratch;

/// What a hub shows of a model.
const CARD_FILE: &str = "README.md";

/// How a checkpoint is written.
#[derive(Debug, Clone)]
pub struct SaveOptions<'a> {
    /// The type to store weights in.
    pub dtype: WeightDtype,
    /// Weights beyond this many bytes go into several files.
    pub max_shard_bytes: usize,
    /// The folder of the model that this one was made from: all of its files but weights go along.
    pub copy_from: Option<&'a Path>,
    /// The folder of the tokenizer, where it is another: the tokenizer's files are those that are there.
    pub tokenizer_from: Option<&'a Path>,
    /// The folder of the model that an adapter is of: files that say under what licence it is go along.
    pub licence_from: Option<&'a Path>,
    /// The model card to save, in place of the one that is copied.
    pub card: Option<&'a str>,
    /// The chat template to save in place of the one that is copied.
    pub chat_template: Option<&'a str>,
    /// Whether a model that this program saved in the folder may be replaced. Nothing else ever is.
    pub overwrite: bool,
}

impl Default for SaveOptions<'_> {
    fn default() -> Self {
        Self {
            dtype: WeightDtype::BF16,
            max_shard_bytes: 5_000_000_000,
            copy_from: None,
            tokenizer_from: None,
            licence_from: None,
            card: None,
            chat_template: None,
            overwrite: false,
        }
    }
}

/// Saves a model as the folder `dir`, under `config` with its data type set to the saved one, beside a list of checksums. A
/// head tied to the embedding is not a tensor of its own.
///
/// All is written and synced in a scratch folder beside `dir` and renamed at the end: on any error `dir` is as it was.
///
/// # Errors
/// If `dir` is not free, a weight is NaN or infinite or does not fit the type, or something cannot be read or written.
pub fn save<'a>(
    dir: &Path,
    config: &Map<String, Value>,
    tensors: impl IntoIterator<Item = LazyTensor<'a>>,
    options: &SaveOptions<'_>,
) -> Result<(), CheckpointError> {
    save_in_place(dir, options, |partial| {
        if let Some(source) = options.copy_from {
            companions::copy(source, partial, dir)?;
        }
        write_config(&partial.join(CONFIG_FILE), &with_dtype(config, options.dtype))?;
        write_weights(partial, tensors, options)
    })
}

/// Has `write` write the files of the folder `dir` into a scratch folder, and puts that in its place.
pub(crate) fn save_in_place(
    dir: &Path,
    options: &SaveOptions<'_>,
    write: impl FnOnce(&Path) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    check_target(dir, options)?;
    let scratch = Scratch::beside(dir).map_err(CheckpointError::io(dir))?;
    let partial = scratch.path();
    write(&partial)?;
    if let Some(source) = options.tokenizer_from {
        companions::replace_tokenizer(source, &partial)?;
    }
    if let Some(template) = options.chat_template {
        chat_template::replace(&partial, template)?;
    }
    if let Some(base) = options.licence_from {
        companions::copy_licence(base, &partial)?;
    }
    if let Some(card) = options.card {
        write_synced(&partial.join(CARD_FILE), card.as_bytes())?;
    }
    Checksums::of_folder(&partial)?.write(&partial)?;

    check_target(dir, options)?;
    scratch.finish().map_err(CheckpointError::io(dir))
}

/// A new or empty folder will do. One with files in it is replaced on request, and only if all of them are as we wrote
/// them: whatever else lies there is not ours to touch, nor is the model that this one was made from.
fn check_target(dir: &Path, options: &SaveOptions<'_>) -> Result<(), CheckpointError> {
    let occupied = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(CheckpointError::io(dir)(error)),
    };
    let refused = |expected, found: String| Err(CheckpointError::Occupied { dir: dir.to_path_buf(), expected, found });
    if !occupied {
        return Ok(());
    }
    if !options.overwrite {
        return refused("a new or empty folder", "one with files in it".into());
    }
    let same = |source: &Path| {
        let canonical = |path: &Path| fs::canonicalize(path).map_err(CheckpointError::io(path));
        Ok::<_, CheckpointError>(canonical(source)? == canonical(dir)?)
    };
    let sources = [options.copy_from, options.tokenizer_from];
    if sources.into_iter().flatten().map(same).collect::<Result<Vec<_>, _>>()?.contains(&true) {
        return refused("a folder other than the one that the model was read from", "the same".into());
    }
    let expected = "a new or empty folder, or one with nothing but a model that this program saved";
    match Checksums::read(dir)? {
        None => refused(expected, format!("files, and no {CHECKSUMS_FILE}")),
        Some(sums) => match sums.verify_nothing_else(dir) {
            Ok(()) => Ok(()),
            Err(ChecksumError::Io { path, error }) => Err(CheckpointError::Io { path, error }),
            Err(changed) => refused(expected, changed.to_string()),
        },
    }
}

/// Transformers 5 calls the key `dtype`, Transformers 4 `torch_dtype`; the file keeps what it has.
fn with_dtype(config: &Map<String, Value>, dtype: WeightDtype) -> Map<String, Value> {
    let mut config = config.clone();
    let mut named = false;
    for key in ["dtype", "torch_dtype"] {
        if let Some(value) = config.get_mut(key) {
            *value = dtype.torch().into();
            named = true;
        }
    }
    if !named {
        config.insert("torch_dtype".into(), dtype.torch().into());
    }
    config
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::checkpoint::{Checkpoint, INDEX_FILE, MODEL_FILE};

    fn tensor(name: &str, values: Vec<f32>) -> LazyTensor<'static> {
        LazyTensor { name: name.to_owned(), shape: vec![values.len()], values: Box::new(std::iter::once(values)) }
    }

    fn config() -> Map<String, Value> {
        Map::from_iter([("model_type".to_owned(), json!("llama"))])
    }

    fn options(dtype: WeightDtype) -> SaveOptions<'static> {
        SaveOptions { dtype, ..SaveOptions::default() }
    }

    fn entries(dir: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(name).collect();
        names.sort();
        names
    }

    fn target(home: &TempDir) -> PathBuf {
        home.path().join("model")
    }

    #[test]
    fn what_is_saved_is_read_back_in_its_type() {
        // 1 + 2^-9 fits F16 and rounds down to 1 in BF16; 1 + 2^-20 fits F32 alone.
        let values = vec![1.0 + 1.0 / 512.0, 1.0 + 1.0 / 1_048_576.0, -0.0];
        let cases = [
            (WeightDtype::F32, values.clone()),
            (WeightDtype::F16, vec![1.0 + 1.0 / 512.0, 1.0, -0.0]),
            (WeightDtype::BF16, vec![1.0, 1.0, -0.0]),
        ];
        for (dtype, expected) in cases {
            let home = tempfile::tempdir().unwrap();
            let tensors = [tensor("b", values.clone()), tensor("a", vec![2.0])];
            save(&target(&home), &config(), tensors, &options(dtype)).unwrap();
            assert_eq!(entries(home.path()), ["model"]);
            assert_eq!(entries(&target(&home)), [CONFIG_FILE, MODEL_FILE, CHECKSUMS_FILE]);
            let checkpoint = Checkpoint::open(&target(&home)).unwrap();
            assert_eq!(checkpoint.tensor_f32("b", &[3]).unwrap(), expected);
            assert_eq!(checkpoint.tensor_f32("a", &[1]).unwrap(), [2.0]);
            assert_eq!(checkpoint.dtype("a").unwrap().to_string(), dtype.safetensors());
        }
    }

    #[test]
    fn a_tensor_may_come_in_parts() {
        let home = tempfile::tempdir().unwrap();
        let parts = [vec![1.0, 2.0], vec![], vec![3.0]].into_iter();
        let tensor = LazyTensor { name: "a".into(), shape: vec![3], values: Box::new(parts) };
        save(&target(&home), &config(), [tensor], &options(WeightDtype::F32)).unwrap();
        let checkpoint = Checkpoint::open(&target(&home)).unwrap();
        assert_eq!(checkpoint.tensor_f32("a", &[3]).unwrap(), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn the_safetensors_crate_reads_what_is_written() {
        let home = tempfile::tempdir().unwrap();
        let tensors = [tensor("a", vec![1.0, 2.0]), tensor("b", vec![3.0])];
        save(&target(&home), &config(), tensors, &options(WeightDtype::F32)).unwrap();
        let bytes = fs::read(target(&home).join(MODEL_FILE)).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("b").unwrap().data(), 3f32.to_le_bytes());
    }

    #[test]
    fn shards_hold_no_more_than_they_may() {
        let home = tempfile::tempdir().unwrap();
        // Eight, four, four and twelve bytes in files of ten: only the fours fit together, and the last overfills its own.
        let tensors =
            [tensor("a", vec![1.0; 2]), tensor("b", vec![2.0]), tensor("c", vec![3.0]), tensor("d", vec![4.0; 3])];
        let options = SaveOptions { max_shard_bytes: 10, ..options(WeightDtype::F32) };
        save(&target(&home), &config(), tensors, &options).unwrap();
        let index = fs::read(target(&home).join(INDEX_FILE)).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let expected = json!({
            "metadata": {"total_size": 28},
            "weight_map": {
                "a": "model-00001-of-00003.safetensors",
                "b": "model-00002-of-00003.safetensors",
                "c": "model-00002-of-00003.safetensors",
                "d": "model-00003-of-00003.safetensors",
            },
        });
        assert_eq!(index, expected);
        let checkpoint = Checkpoint::open(&target(&home)).unwrap();
        assert_eq!(checkpoint.tensor_f32("c", &[1]).unwrap(), [3.0]);
        assert_eq!(checkpoint.tensor_f32("d", &[3]).unwrap(), [4.0; 3]);
    }

    #[test]
    fn the_configuration_is_kept_but_for_the_data_type() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1, "torch_dtype": "float16"})),
            (json!({"dtype": "float32", "a": 1}), json!({"dtype": "float16", "a": 1})),
            (json!({"torch_dtype": "bfloat16"}), json!({"torch_dtype": "float16"})),
            (json!({"dtype": "x", "torch_dtype": "x"}), json!({"dtype": "float16", "torch_dtype": "float16"})),
        ];
        for (before, after) in cases {
            let map = with_dtype(before.as_object().unwrap(), WeightDtype::F16);
            assert_eq!(Value::Object(map).to_string(), after.to_string());
        }
    }

    #[test]
    fn a_card_takes_the_place_of_the_one_that_is_copied_and_licences_go_along() {
        let (home, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["README.md", "LICENSE", "Notice.txt", "USE_POLICY.md", "notes.txt", "LICENSE.bin"] {
            fs::write(source.path().join(name), name).unwrap();
        }
        let read = |name: &str| fs::read_to_string(target(&home).join(name)).ok();
        let whole = SaveOptions { copy_from: Some(source.path()), card: Some("mine"), ..SaveOptions::default() };
        save(&target(&home), &config(), [tensor("a", vec![1.0])], &whole).unwrap();
        assert_eq!((read("README.md").as_deref(), read("LICENSE").as_deref()), (Some("mine"), Some("LICENSE")));
        // Of an adapter's base, nothing else.
        let adapter = SaveOptions { licence_from: Some(source.path()), overwrite: true, ..SaveOptions::default() };
        save(&target(&home), &config(), [tensor("a", vec![1.0])], &adapter).unwrap();
        let expected = ["LICENSE", "Notice.txt", "USE_POLICY.md", CONFIG_FILE, MODEL_FILE, CHECKSUMS_FILE];
        assert_eq!(entries(&target(&home)), expected);
    }

    #[test]
    fn a_given_chat_template_replaces_the_copied_one() {
        let home = tempfile::tempdir().unwrap();
        let source = tempfile::tempdir().unwrap();
        for name in ["tokenizer.json", "tokenizer.model", CONFIG_FILE] {
            fs::write(source.path().join(name), name).unwrap();
        }
        let options =
            SaveOptions { copy_from: Some(source.path()), chat_template: Some("mine"), ..SaveOptions::default() };
        let tensors = [tensor("a", vec![1.0])];
        save(&target(&home), &config(), tensors, &options).unwrap();
        let read = |name| fs::read_to_string(target(&home).join(name)).unwrap();
        assert_eq!(read("chat_template.jinja"), "mine");
        assert_eq!(read("tokenizer.model"), "tokenizer.model");
        assert!(read(CONFIG_FILE).contains("bfloat16"));
        let sums = Checksums::read(&target(&home)).unwrap().unwrap();
        sums.verify_nothing_else(&target(&home)).unwrap();
    }

    /// Saves one weight at `dir`, over what is there.
    fn replace(dir: &Path, value: f32, copy_from: Option<&Path>) -> Result<(), CheckpointError> {
        let options = SaveOptions { overwrite: true, copy_from, ..options(WeightDtype::F32) };
        save(dir, &config(), [tensor("a", vec![value])], &options)
    }

    fn weight(dir: &Path) -> f32 {
        let checkpoint = Checkpoint::open(dir).unwrap();
        checkpoint.tensor_f32("a", &[1]).unwrap()[0]
    }

    #[test]
    fn only_what_we_saved_is_replaced_and_only_on_request() {
        let home = tempfile::tempdir().unwrap();
        let dir = target(&home);
        fs::create_dir(&dir).unwrap();
        let tensors = || [tensor("a", vec![1.0])];
        save(&dir, &config(), tensors(), &options(WeightDtype::F32)).unwrap();
        let again = save(&dir, &config(), tensors(), &options(WeightDtype::F32));
        assert!(matches!(again, Err(CheckpointError::Occupied { .. })));
        replace(&dir, 2.0, None).unwrap();
        assert_eq!(weight(&dir), 2.0);
        assert_eq!(entries(home.path()), ["model"]);
    }

    #[test]
    fn whatever_a_user_put_or_changed_in_the_folder_is_kept() {
        let changes: [fn(&Path); 4] = [
            |dir| fs::write(dir.join("notes.txt"), "mine").unwrap(),
            |dir| fs::write(dir.join(CONFIG_FILE), "{}").unwrap(),
            |dir| fs::remove_file(dir.join(CHECKSUMS_FILE)).unwrap(),
            |dir| {
                fs::create_dir(dir.join("below")).unwrap();
                fs::write(dir.join("below/rows.jsonl"), "mine").unwrap();
            },
        ];
        for change in changes {
            let home = tempfile::tempdir().unwrap();
            let dir = target(&home);
            replace(&dir, 1.0, None).unwrap();
            change(&dir);
            let before = entries(&dir);
            let error = replace(&dir, 2.0, None).unwrap_err();
            assert!(matches!(error, CheckpointError::Occupied { .. }), "{error}");
            assert!(error.hint().is_some());
            assert_eq!(weight(&dir), 1.0);
            assert_eq!(entries(&dir), before);
            assert_eq!(entries(home.path()), ["model"]);
        }
    }

    #[test]
    fn a_model_is_not_saved_over_the_one_it_was_made_from() {
        let home = tempfile::tempdir().unwrap();
        let dir = target(&home);
        replace(&dir, 1.0, None).unwrap();
        let roundabout = home.path().join("model/../model");
        let error = replace(&dir, 2.0, Some(&roundabout)).unwrap_err();
        assert!(error.to_string().contains("was read from"), "{error}");
        assert_eq!(weight(&dir), 1.0);
    }

    #[test]
    fn nan_and_infinite_weights_replace_nothing() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let home = tempfile::tempdir().unwrap();
            replace(&target(&home), 1.0, None).unwrap();
            let error = replace(&target(&home), bad, None).unwrap_err();
            assert_eq!(error.to_string(), format!("a: expected finite weights, got {bad}"));
            assert!(error.hint().is_some());
            assert_eq!(weight(&target(&home)), 1.0);
            assert_eq!(entries(home.path()), ["model"]);
        }
    }

    #[test]
    fn a_failed_save_leaves_nothing_behind() {
        let short = LazyTensor { name: "a".into(), shape: vec![2], values: Box::new(std::iter::once(vec![1.0])) };
        let cases = [
            (vec![short], "a: expected shape [2], got [1]"),
            (vec![tensor("a", vec![1e5])], "a: expected weights of at most 65504 for F16, got 100000"),
            (vec![tensor("a", vec![]), tensor("a", vec![])], "got a twice"),
        ];
        for (tensors, message) in cases {
            let home = tempfile::tempdir().unwrap();
            let saved = save(&target(&home), &config(), tensors, &options(WeightDtype::F16));
            let error = saved.unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
            assert_eq!(entries(home.path()), [""; 0]);
        }
    }
}
