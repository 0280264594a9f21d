//! Entering a folder: as a new run's, to go on with what is in it, or to begin anew. One process at a time is in it.

use std::cell::{Cell, RefCell};
use std::fs::{File, TryLockError};
use std::path::Path;

use mpo_models::is_partial_name;

use super::files::{self, remove_empty, remove_partial};
use super::found::{Found, make};
use super::marker::{Identity, Kind, MARKER, Marker};
use super::{LOCK, RunFolder};
use crate::error::TrainError;

/// Folders of ours in which files are written under temporary names.
const WRITTEN_IN: [&str; 6] = ["", "checkpoints", "reference", "base", "start", "samples"];

impl RunFolder {
    /// Whether a new run may begin in a folder. Nothing is written.
    ///
    /// # Errors
    /// If there is a run in it, another process is at work there, or it is not ours.
    pub fn check_new(path: &Path, kind: Kind) -> Result<(), TrainError> {
        match Found::at(path, kind)? {
            Found::Nothing | Found::Empty => Ok(()),
            Found::Ours(marker) => Self::of(path, marker)?.check_unbegun(),
        }
    }

    /// Takes a folder that is new or empty for a run.
    ///
    /// # Errors
    /// Those of [`check_new`](Self::check_new), and if it cannot be written.
    pub fn create(path: &Path, kind: Kind, identity: Identity) -> Result<Self, TrainError> {
        if let Found::Ours(marker) = Found::at(path, kind)? {
            let held = Self::of(path, marker)?;
            held.check_unbegun()?;
            return held.renewed(identity);
        }
        let made = make(path)?;
        let marker = Marker::new(kind, identity);
        let put = marker.put(path).and_then(|()| Self::of(path, marker));
        match put {
            Ok(mut held) => {
                held.made = made;
                held.fleeting.set(true);
                held.remove_partial()?;
                Ok(held)
            }
            Err(error) => {
                made.iter().for_each(|dir| remove_empty(dir));
                // Another process was faster.
                match Found::at(path, kind) {
                    Ok(Found::Ours(_)) => Err(TrainError::Locked { path: path.to_owned() }),
                    _ => Err(error),
                }
            }
        }
    }

    /// Takes the folder of a run that was started earlier.
    ///
    /// # Errors
    /// If there is none of this kind, another process is at work there, or it cannot be written.
    pub fn open(path: &Path, kind: Kind) -> Result<Self, TrainError> {
        match Found::at(path, kind)? {
            Found::Ours(marker) => {
                let held = Self::of(path, marker)?;
                held.check_files()?;
                held.remove_partial()?;
                crate::checkpoint::remove_remains(&held.checkpoints_dir())?;
                Ok(held)
            }
            Found::Nothing | Found::Empty => Err(TrainError::NothingToResume { path: path.to_owned() }),
        }
    }

    /// Takes a folder of this kind to go on with what is in it, or a new one.
    ///
    /// # Errors
    /// If another process is at work there, it is not ours, of something else, or cannot be written.
    pub fn enter(path: &Path, kind: Kind, identity: Identity) -> Result<Self, TrainError> {
        match Found::at(path, kind)? {
            Found::Ours(_) => {
                let held = Self::open(path, kind)?;
                held.check(&identity)?;
                Ok(held)
            }
            Found::Nothing | Found::Empty => Self::create(path, kind, identity),
        }
    }

    /// Takes a folder of ours of whatever kind; none if it is not ours.
    ///
    /// # Errors
    /// If another process is at work there, or it cannot be written.
    pub fn visit(path: &Path) -> Result<Option<Self>, TrainError> {
        let marker = Marker::read(path)?;
        marker.map(|marker| Self::of(path, marker)).transpose()
    }

    /// Takes a folder of this kind and removes what an earlier run wrote in it, or takes a new one. What anybody put
    /// beside that stays.
    ///
    /// # Errors
    /// Those of [`enter`](Self::enter).
    pub fn begin_anew(path: &Path, kind: Kind, identity: Identity) -> Result<Self, TrainError> {
        match Found::at(path, kind)? {
            Found::Ours(marker) => {
                let held = Self::of(path, marker)?;
                held.check_files()?;
                held.remove_partial()?;
                held.check_model()?;
                held.remove_run()?;
                held.renewed(identity)
            }
            Found::Nothing | Found::Empty => Self::create(path, kind, identity),
        }
    }

    /// Locks a folder of ours.
    fn of(path: &Path, marker: Marker) -> Result<Self, TrainError> {
        let file = path.join(LOCK);
        files::is_there(&file)?;
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        let lock = options.open(&file).map_err(|error| TrainError::io(&file, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                marker: RefCell::new(marker),
                made: vec![],
                fleeting: Cell::new(false),
                of_start: RefCell::default(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(TrainError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(TrainError::io(&file, error)),
        }
    }

    /// A process that was killed when it had marked the folder and done no more has begun nothing.
    fn check_unbegun(&self) -> Result<(), TrainError> {
        let entries = files::entries(&self.path)?;
        let of_start = [MARKER, LOCK, "base", "start"];
        let is_bare = |name: &str| of_start.contains(&name) || is_partial_name(name);
        if entries.iter().all(|(name, _)| is_bare(name)) {
            Ok(())
        } else {
            Err(TrainError::RunExists { path: self.path.clone(), kind: self.kind() })
        }
    }

    /// The same folder as another run's.
    fn renewed(self, identity: Identity) -> Result<Self, TrainError> {
        self.remove_partial()?;
        self.identify(identity)?;
        Ok(self)
    }

    fn remove_partial(&self) -> Result<(), TrainError> {
        WRITTEN_IN.iter().try_for_each(|dir| remove_partial(&self.path.join(dir)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{CONFIG_FILE, REPORT_FILE};
    use super::*;

    fn create(path: &Path) -> Result<RunFolder, TrainError> {
        RunFolder::create(path, Kind::Train, Identity::default())
    }

    #[test]
    fn one_run_a_folder_and_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let open = |kind| RunFolder::open(&path, kind);
        assert!(matches!(open(Kind::Train), Err(TrainError::NothingToResume { .. })));
        let held = create(&path).unwrap();
        assert!(matches!(create(&path), Err(TrainError::Locked { .. })));
        let roundabout = dir.path().join("run/../run");
        let again = RunFolder::check_new(&roundabout, Kind::Train);
        assert!(matches!(again, Err(TrainError::Locked { .. })));
        held.keep();
        drop(held);
        // Killed before anything was begun, or even marked.
        fs::remove_file(path.join(MARKER)).unwrap();
        fs::remove_file(path.join(LOCK)).unwrap();
        let partial = path.join(mpo_models::partial_name());
        fs::write(&partial, "{").unwrap();
        let held = create(&path).unwrap();
        assert!(!partial.exists());
        held.keep();
        drop(held);
        let held = create(&path).unwrap();
        held.start(&held.config_file(), b"x").unwrap();
        drop(held);
        assert!(matches!(create(&path), Err(TrainError::RunExists { .. })));
        assert!(open(Kind::Train).is_ok());
        assert!(matches!(open(Kind::Compare), Err(TrainError::OtherKind { .. })));
    }

    #[test]
    fn a_folder_that_is_not_ours_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "checkpoints",
            "model",
            "reference",
            "base",
            "config.yaml",
            ".lock",
            ".hidden",
            ".partial-Abc123",
            "results.json",
        ] {
            let path = dir.path().join(name.trim_start_matches('.'));
            fs::create_dir(&path).unwrap();
            fs::write(path.join(name), "mine").unwrap();
            let take = [RunFolder::create, RunFolder::enter, RunFolder::begin_anew];
            let taken = take.map(|take| take(&path, Kind::Miniature, Identity::default()));
            let opened = RunFolder::open(&path, Kind::Miniature);
            for result in taken.into_iter().chain([opened]) {
                let error = result.unwrap_err();
                assert!(matches!(error, TrainError::NotOurs { .. }), "{error}");
            }
            assert_eq!(files::entries(&path).unwrap().len(), 1);
            assert_eq!(fs::read_to_string(path.join(name)).unwrap(), "mine");
        }
        let old = dir.path().join("old");
        fs::create_dir_all(old.join("checkpoints")).unwrap();
        fs::write(old.join(CONFIG_FILE), "").unwrap();
        assert!(matches!(create(&old), Err(TrainError::Unmarked { .. })));
    }

    #[test]
    fn what_somebody_put_into_a_folder_of_ours_stays_when_it_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let anew = || RunFolder::begin_anew(&path, Kind::Miniature, Identity::default());
        let held = anew().unwrap();
        held.start(&held.config_file(), b"x").unwrap();
        let (ours, theirs) = (
            [
                "checkpoints/step-3/mpo-train.blake3",
                "checkpoints/step-3/optimizer.safetensors",
                "checkpoints/step-3/model/model.safetensors",
                "reference/scores.safetensors",
            ],
            [
                "notes.txt",
                "checkpoints/step-3/notes.txt",
                "checkpoints/best/model.safetensors",
                "checkpoints/step-4/optimizer.safetensors",
                ".partial-Abc123",
                "reference/mine.safetensors",
                "base/notes.txt",
            ],
        );
        for file in ours.into_iter().chain(theirs) {
            let file = path.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "x").unwrap();
        }
        let (events, results) = (held.events_file(), held.results_file());
        held.write(&events, b"x").unwrap();
        held.write_checked(&results, b"x").unwrap();
        let page = format!("<html>{}", "<meta name=\"generator\" content=\"mpo-train\">");
        fs::write(held.report_file(), page).unwrap();
        drop(held);
        Marker::new(Kind::Reference, Identity::default()).put(&path.join("reference")).unwrap();
        drop(anew().unwrap());
        assert!(ours.iter().all(|file| !path.join(file).exists()));
        assert!(!events.exists() && !results.exists() && !path.join(REPORT_FILE).exists());
        assert!(theirs.iter().all(|file| path.join(file).exists()));
        // A model that is not as we wrote it is replaced by nothing.
        fs::create_dir(path.join("model")).unwrap();
        fs::write(path.join("model/config.json"), "{}").unwrap();
        assert!(matches!(anew(), Err(TrainError::ForeignModel { .. })));
    }

    #[test]
    fn remains_of_a_checkpoint_go_and_a_model_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let held = create(&path).unwrap();
        held.keep();
        drop(held);
        let remains = ["step-1/mpo-train.blake3", "step-2/mpo-train.blake3", "step-2/model/model.safetensors"];
        let stays = ["step-3/mpo-train.blake3", "step-3/model/config.json", "step-4/notes.txt"];
        for file in remains.iter().chain(&stays) {
            let file = path.join("checkpoints").join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "x").unwrap();
        }
        drop(RunFolder::open(&path, Kind::Train).unwrap());
        let is_there = |file: &&str| path.join("checkpoints").join(file).exists();
        assert!(!remains.iter().any(&is_there) && stays.iter().all(is_there));
        assert!(!path.join("checkpoints/step-1").exists());
    }
}
