//! A folder that is not a model but has models in folders below it: a cache of the hub, or the output of a trainer.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use crate::adapter::ADAPTER_FILE;
use crate::config::CONFIG_FILE;

/// What a folder that is not a model is, and what to pass instead.
pub(crate) struct Nested {
    pub(crate) found: String,
    pub(crate) remedy: String,
}

/// Looks for models in the folders of a folder.
pub(crate) fn nested(dir: &Path) -> Option<Nested> {
    repository(dir).or_else(|| cache(dir)).or_else(|| within(dir))
}

/// A repository as the hub's clients cache it: `blobs`, `refs` and `snapshots`.
fn repository(dir: &Path) -> Option<Nested> {
    let snapshots = dir.join("snapshots");
    if !snapshots.is_dir() {
        return None;
    }
    let main = fs::read_to_string(dir.join("refs").join("main")).ok();
    let main = main.map(|commit| snapshots.join(commit.trim()));
    let snapshot = main.filter(|snapshot| snapshot.is_dir()).or_else(|| newest(folders(&snapshots)));
    Some(Nested {
        found: "a repository in the cache of the hub, whose files are in its snapshots".into(),
        remedy: match snapshot {
            Some(snapshot) => format!("pass {}", snapshot.display()),
            None => "it has no snapshot: download the model again".into(),
        },
    })
}

/// The cache itself: `models--owner--name`, and more of them.
fn cache(dir: &Path) -> Option<Nested> {
    let names = folders(dir).into_iter().filter_map(|folder| {
        let name = folder.file_name()?.to_str()?;
        let (owner, name) = name.strip_prefix("models--")?.split_once("--")?;
        Some(format!("{owner}/{name}"))
    });
    let name = names.min()?;
    Some(Nested {
        found: "the cache of the hub".into(),
        remedy: format!("pass the name of a model, such as {name}, which is found there"),
    })
}

/// Models one folder below, or one below `checkpoints`.
fn within(dir: &Path) -> Option<Nested> {
    let model = dir.join("model");
    let (found, folder) = if is_model(&model) {
        ("a folder with a model in a folder of its own", model)
    } else {
        let mut models = folders(dir);
        models.extend(folders(&dir.join("checkpoints")));
        models.retain(|folder| is_model(folder));
        match models.len() {
            1 => ("a folder with a model in a folder of its own", newest(models)?),
            _ => ("a folder with models in folders of their own", newest(models)?),
        }
    };
    Some(Nested { found: found.into(), remedy: format!("pass {}", folder.display()) })
}

fn is_model(dir: &Path) -> bool {
    [CONFIG_FILE, ADAPTER_FILE].iter().any(|file| dir.join(file).exists())
}

/// The folder with the highest number at the end of its name, such as `checkpoint-500`; else the first by name.
fn newest(mut folders: Vec<PathBuf>) -> Option<PathBuf> {
    folders.sort();
    folders.into_iter().min_by_key(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let rest = name.trim_end_matches(|c: char| c.is_ascii_digit());
        Reverse(name[rest.len()..].parse::<u64>().ok())
    })
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a folder with these files, the folder itself left out.
    fn said(files: &[(&str, &str)]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let Nested { found, remedy } = nested(dir.path())?;
        let here = dir.path().display().to_string();
        let remedy = remedy.replace(&here, "").replace('\\', "/");
        Some(format!("{found}: {remedy}"))
    }

    #[test]
    fn the_folder_to_pass_is_named() {
        let trainer = [
            ("checkpoint-500/config.json", "{}"),
            ("checkpoint-1000/adapter_config.json", "{}"),
            ("checkpoint-90/config.json", "{}"),
            ("runs/log", ""),
        ];
        let ours = [("checkpoints/step-9/config.json", "{}"), ("checkpoints/step-10/config.json", "{}")];
        let cached = [
            ("blobs/x", ""),
            ("refs/main", "abc\n"),
            ("snapshots/abc/config.json", "{}"),
            ("snapshots/def/config.json", "{}"),
        ];
        for (files, expected) in [
            (&trainer[..], "pass /checkpoint-1000"),
            (&ours, "pass /checkpoints/step-10"),
            (&[("model/config.json", "{}"), ("checkpoint-1/config.json", "{}")], "pass /model"),
            (&[("merged/config.json", "{}")], "in a folder of its own: pass /merged"),
            (&cached, "pass /snapshots/abc"),
            (&cached[3..], "pass /snapshots/def"),
            (&[("snapshots/x", "")], "no snapshot"),
            (&[("models--some--name/refs/main", "abc")], "such as some/name,"),
        ] {
            let said = said(files).unwrap();
            assert!(said.contains(expected), "no {expected:?} in {said}");
        }
        assert_eq!(said(&[("notes/x", "")]), None);
    }
}
