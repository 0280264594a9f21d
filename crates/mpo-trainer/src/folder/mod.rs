//! A run is a folder, and one process at a time is in it.
//!
//! A marker says which run it is of; `config.yaml` as resolved, `events.jsonl`, `reference/`, `checkpoints/step-N/` and
//! `model/` lie beside it. A folder without our marker is somebody's, and is left as it is.

mod files;
mod marker;
mod names;
mod values;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use mpo_models::{Checksums, is_partial_name};
use mpo_objectives::Settings;
use mpo_progress::Progress;

use crate::error::TrainError;
pub use files::{check_page, read_checked, read_file, write_atomically};
pub(crate) use files::{remove_empty, remove_file, remove_files, remove_partial, set_aside};
use marker::Marker;
pub use marker::{Identity, Kind};
pub(crate) use marker::{MARKER, is_off};
pub use names::{CHECKPOINTS, CONFIG_FILE, EVENTS_FILE, REPORT_FILE, RESULTS_FILE};

const LOCK: &str = ".lock";
/// What we make in a folder, and follow no link to.
const OURS: [&str; 7] = ["base", "checkpoints", "model", "reference", "runs", "samples", "start"];
/// Folders of ours in which files are written under temporary names.
const WRITTEN_IN: [&str; 6] = ["", "checkpoints", "reference", "base", "start", "samples"];

/// A folder of ours that this process holds.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    marker: RefCell<Marker>,
    /// Folders that this process made to have this one, the innermost first.
    made: Vec<PathBuf>,
    /// Whether it goes when it is let go and nothing of value is in it.
    fleeting: Cell<bool>,
    /// What a start writes before there is anything of value.
    of_start: RefCell<Vec<PathBuf>>,
    /// Held until the folder is let go; the system releases it however the process ends.
    _lock: File,
}

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

    /// What the folder is of.
    pub fn kind(&self) -> Kind {
        self.marker.borrow().kind
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

    /// Removes what a run writes, and no other file.
    fn remove_run(&self) -> Result<(), TrainError> {
        crate::checkpoint::remove_all(self)?;
        crate::reference::remove(&self.reference_dir())?;
        self.remove_model()?;
        // Killed half-way, the rest is removed the next time.
        for file in self.files() {
            remove_file(&file)?;
        }
        if let Some(written) = &mut self.marker.borrow_mut().written {
            written.retain(|name, _| self.path.join(name).exists());
        }
        Ok(())
    }

    /// The files that a run of this kind writes beside its folders.
    fn files(&self) -> Vec<PathBuf> {
        let path = |name| self.path.join(name);
        let results = files::checked_files(&self.results_file());
        let before = files::checked_files(&self.before_file());
        let report = self.report_file();
        match self.kind() {
            Kind::Evaluation => {
                let names = ["evaluation.json", "evaluation.csv", "answers.jsonl", "judge.jsonl"];
                names.map(path).into_iter().chain([report]).collect()
            }
            Kind::Compare => {
                let names = [CONFIG_FILE, "request.json", "results.csv"].map(path);
                names.into_iter().chain(before).chain(results).collect()
            }
            Kind::Reference => vec![],
            _ => {
                let names = [self.config_file(), self.events_file(), self.damaged_events_file()];
                let names = names.into_iter().chain([report]);
                names.chain(before).chain(results).collect()
            }
        }
    }

    /// Whether each file that the run will write is there already as one of ours, or not at all.
    fn check_files(&self) -> Result<(), TrainError> {
        self.files().iter().try_for_each(|file| self.check_file(file))
    }

    /// Whether a file in the folder may be written: there is none of this name, or one that we wrote.
    ///
    /// # Errors
    /// If there is another.
    pub fn check_file(&self, file: &Path) -> Result<(), TrainError> {
        if file == self.report_file() {
            return check_page(file);
        }
        if fs::symlink_metadata(file).is_err() {
            return Ok(());
        }
        let is_ours = match &self.marker.borrow().written {
            Some(written) => match written.get(&self.name_of(file)) {
                // Other edits are found by whoever reads the file, and tables are read by nobody.
                Some(Some(sum)) if is_table(file) => read_file(file)?.is_none_or(|bytes| is_of(sum, &bytes)),
                ours => ours.is_some(),
            },
            None => true,
        };
        if is_ours { files::is_there(file).map(drop) } else { Err(TrainError::Foreign { path: file.to_owned() }) }
    }

    /// Takes a file's name for what this run is about to write, which then is ours.
    ///
    /// # Errors
    /// If there is a file of that name that we have not written.
    pub fn claim(&self, file: &Path) -> Result<(), TrainError> {
        self.claim_as(file, None)
    }

    /// The same for a file that will stay as it is, which has this BLAKE3.
    fn claim_as(&self, file: &Path, sum: Option<String>) -> Result<(), TrainError> {
        self.check_file(file)?;
        let mut marker = self.marker.borrow_mut();
        let name = self.name_of(file);
        let is_known = |of: &mut BTreeMap<_, _>| of.insert(name, sum.clone()) == Some(sum);
        if marker.written.as_mut().is_none_or(is_known) { Ok(()) } else { marker.replace(&self.path) }
    }

    /// A file's path in the folder, with `/` between folders.
    fn name_of(&self, file: &Path) -> String {
        let inside = file.strip_prefix(&self.path).unwrap_or(file);
        let parts = inside.iter().map(|part| part.to_string_lossy());
        parts.collect::<Vec<_>>().join("/")
    }

    /// Writes a file in the folder, whole or not at all.
    ///
    /// # Errors
    /// If there is a file of that name that we have not written, or it cannot be written.
    pub fn write(&self, file: &Path, contents: &[u8]) -> Result<(), TrainError> {
        self.claim(file)?;
        write_atomically(file, contents)
    }

    /// The same for a table: edited later, it is not written again.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn write_table(&self, file: &Path, contents: &[u8]) -> Result<(), TrainError> {
        self.write(file, contents)?;
        // The sum last: killed in between, whatever is there is ours.
        self.claim_as(file, Some(blake3::hash(contents).to_string()))
    }

    /// Writes a file and, beside it, the checksum that [`read_checked`] asks for.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn write_checked(&self, file: &Path, contents: &[u8]) -> Result<(), TrainError> {
        for file in files::checked_files(file) {
            self.claim(&file)?;
        }
        files::write_checked(file, contents)
    }

    /// Whether a run with these settings is the one that was started here: found before anything is read.
    ///
    /// # Errors
    /// If it is another.
    pub fn check_settings(&self, settings: &Settings) -> Result<(), TrainError> {
        self.unchanged(self.marker.borrow().identity.changed_setting(settings))
    }

    /// Whether a run of this identity is the one that was started here.
    ///
    /// # Errors
    /// If it is another.
    pub fn check(&self, identity: &Identity) -> Result<(), TrainError> {
        self.unchanged(self.marker.borrow().identity.changed(identity))
    }

    fn unchanged(&self, changed: Option<String>) -> Result<(), TrainError> {
        match changed {
            None => Ok(()),
            Some(what) => Err(TrainError::Changed { path: self.path.clone(), what }),
        }
    }

    /// Whether the model in the folder may be replaced: there is none, or nothing but what we wrote.
    ///
    /// # Errors
    /// If there is anything else.
    pub fn check_model(&self) -> Result<(), TrainError> {
        check_model(&self.model_dir())
    }

    /// Whether the trained model is in the folder, as it was written; `progress` is told of files that were put beside it.
    ///
    /// # Errors
    /// If it was changed.
    pub fn has_model(&self, progress: &dyn Progress) -> Result<bool, TrainError> {
        let dir = self.model_dir();
        let Err(foreign) = self.check_model() else {
            return Ok(!files::entries(&dir)?.is_empty());
        };
        let sums = Checksums::read(&dir).ok().flatten();
        if sums.is_some_and(|sums| sums.verify(&dir, |_| true).is_ok()) {
            progress.note(&foreign);
            Ok(true)
        } else {
            Err(foreign)
        }
    }

    /// After [`check_model`](Self::check_model).
    fn remove_model(&self) -> Result<(), TrainError> {
        let dir = self.model_dir();
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TrainError::io(&dir, error)),
            _ => Ok(()),
        }
    }

    /// Writes a file that belongs to the start: it goes with the folder if the start fails.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn start(&self, file: &Path, contents: &[u8]) -> Result<(), TrainError> {
        let parent = file.parent().unwrap_or(&self.path);
        fs::create_dir_all(parent).map_err(|error| TrainError::io(parent, error))?;
        self.of_start.borrow_mut().push(file.to_owned());
        self.claim_as(file, Some(blake3::hash(contents).to_string()))?;
        write_atomically(file, contents)
    }

    /// Says what the run is of, once that is known.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn identify(&self, identity: Identity) -> Result<(), TrainError> {
        let mut marker = self.marker.borrow_mut();
        marker.identity = identity;
        marker.replace(&self.path)
    }

    /// Leaves the folder where it is, whatever happens: there is something to go on from.
    pub fn keep(&self) {
        self.fleeting.set(false);
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration as resolved.
    pub fn config_file(&self) -> PathBuf {
        self.path.join(CONFIG_FILE)
    }

    /// What happened, one event a line.
    pub fn events_file(&self) -> PathBuf {
        self.path.join(EVENTS_FILE)
    }

    /// Lines that were damaged on the disk.
    pub(crate) fn damaged_events_file(&self) -> PathBuf {
        self.path.join("events.damaged.jsonl")
    }

    /// The trained model, a folder in Hugging Face layout.
    pub fn model_dir(&self) -> PathBuf {
        self.path.join("model")
    }

    /// What the model was before training: a resumed run has lost none of it.
    pub fn before_file(&self) -> PathBuf {
        self.path.join("before.json")
    }

    /// What training changed; written last.
    pub fn results_file(&self) -> PathBuf {
        self.path.join(RESULTS_FILE)
    }

    /// The page that shows the run.
    pub fn report_file(&self) -> PathBuf {
        self.path.join(REPORT_FILE)
    }

    /// The reference's numbers.
    pub fn reference_dir(&self) -> PathBuf {
        self.path.join("reference")
    }

    /// Makes the reference's folder usable again if its marker was damaged, and tells `progress`: every number in it is checked by
    /// itself, and the folder around it is ours.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn mend_reference(&self, progress: &dyn Progress) -> Result<(), TrainError> {
        let dir = self.reference_dir();
        let Err(damaged @ TrainError::Broken { .. }) = Marker::read(&dir) else {
            return Ok(());
        };
        set_aside(&dir.join(MARKER))?;
        progress.note(&format_args!("{damaged}; it is made again"));
        Marker::new(Kind::Reference, Identity::default()).put(&dir)
    }

    pub(crate) fn checkpoints_dir(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// Removes the run's checkpoints: it is finished.
    ///
    /// # Errors
    /// If a file of theirs cannot be removed.
    pub fn remove_checkpoints(&self) -> Result<(), TrainError> {
        crate::checkpoint::remove_all(self)
    }
}

impl Drop for RunFolder {
    /// A start that failed leaves nothing behind.
    fn drop(&mut self) {
        let of_start = self.of_start.take();
        if !self.fleeting.get() {
            return;
        }
        let own = [MARKER, LOCK].map(|name| self.path.join(name));
        // What was opened to write to and never written.
        let is_empty = |file: &PathBuf| {
            let written = &self.marker.borrow().written;
            let is_ours = written.as_ref().is_some_and(|of| of.contains_key(&self.name_of(file)));
            is_ours && fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.len() == 0)
        };
        let is_worthless = |file: &PathBuf| of_start.contains(file) || own.contains(file) || is_empty(file);
        let (mut files, mut folders) = (vec![], vec![]);
        if files::below(&self.path, &mut files, &mut folders).is_err() || !files.iter().all(is_worthless) {
            return;
        }
        // The marker last: what is left without it would be nobody's.
        files.sort_by_key(|file| *file == own[0]);
        for file in files {
            _ = remove_file(&file);
        }
        folders.iter().rev().for_each(|dir| remove_empty(dir));
        self.made.iter().for_each(|dir| remove_empty(dir));
    }
}

/// What there is at the path of a folder.
enum Found {
    Nothing,
    Empty,
    /// One of ours, of the kind that was asked for.
    Ours(Marker),
}

impl Found {
    fn at(path: &Path, kind: Kind) -> Result<Self, TrainError> {
        match fs::metadata(path) {
            Ok(meta) if !meta.is_dir() => {
                return Err(TrainError::NotAFolder { path: path.to_owned() });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match fs::symlink_metadata(path) {
                    Ok(_) => Err(TrainError::Link { path: path.to_owned() }),
                    Err(_) => Ok(Self::Nothing),
                };
            }
            Err(error) => return Err(TrainError::io(path, error)),
        }
        let marker = Marker::read(path).map_err(|error| match error {
            TrainError::Broken { path, problem, .. } if kind == Kind::Reference => {
                TrainError::Broken { path, problem, remedy: "delete the folder; its numbers will be computed again" }
            }
            error => error,
        });
        let Some(marker) = marker? else {
            return match files::entries(path)?.iter().find(|(name, _)| !is_partial_name(name)) {
                None => Ok(Self::Empty),
                Some((name, _)) => Err(not_ours(path, kind, name)),
            };
        };
        if marker.kind != kind {
            return Err(TrainError::OtherKind { path: path.to_owned(), expected: kind, got: marker.kind });
        }
        for (_, path) in files::entries(path)? {
            let is_link = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
            if is_link && OURS.iter().any(|name| path.file_name() == Some(OsStr::new(name))) {
                return Err(TrainError::Link { path });
            }
        }
        Ok(Self::Ours(marker))
    }
}

/// A folder with something in it, and no marker.
fn not_ours(path: &Path, kind: Kind, found: &str) -> TrainError {
    let of_a_run = [EVENTS_FILE, CHECKPOINTS, RESULTS_FILE];
    let is_old = path.join(CONFIG_FILE).is_file() && of_a_run.iter().any(|of| path.join(of).exists());
    let path = path.to_owned();
    if is_old { TrainError::Unmarked { path } } else { TrainError::NotOurs { path, kind, found: found.to_owned() } }
}

/// Makes a folder, and says which ones had to be made for it, the innermost first.
fn make(path: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let missing = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && fs::symlink_metadata(dir).is_err());
    let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    fs::create_dir_all(path).map_err(|error| TrainError::io(path, error))?;
    Ok(missing)
}

/// Whether this program may write in a folder: it is new or empty, or ours and of this kind. Nothing is written.
///
/// # Errors
/// If it is not.
pub fn check_ours(path: &Path, kind: Kind) -> Result<(), TrainError> {
    Found::at(path, kind).map(drop)
}

/// Whether a file that a run's start wrote is known to be another now.
pub fn is_edited(folder: &Path, file: &str) -> bool {
    let bytes = read_file(&folder.join(file)).ok().flatten();
    let sum = written(folder, file).flatten();
    sum.is_some_and(|sum| !is_of(&sum, &bytes.unwrap_or_default()))
}

/// Whether a folder's marker says that a file was written there.
pub fn is_written(folder: &Path, file: &str) -> bool {
    written(folder, file).is_some()
}

/// What a folder's marker says of a file.
fn written(folder: &Path, file: &str) -> Option<Option<String>> {
    Marker::read(folder).ok()??.written?.remove(file)
}

fn is_of(sum: &str, bytes: &[u8]) -> bool {
    sum == blake3::hash(bytes).to_string()
}

fn is_table(file: &Path) -> bool {
    file.extension() == Some(OsStr::new("csv"))
}

/// Marks a folder in which several processes keep what they share, and removes what killed ones left in it.
///
/// # Errors
/// If it is not ours, or cannot be written.
pub fn share(path: &Path, kind: Kind) -> Result<(), TrainError> {
    if let Found::Ours(_) = Found::at(path, kind)? {
        return remove_partial(path);
    }
    make(path)?;
    let put = Marker::new(kind, Identity::default()).put(path);
    // Another process may have been faster.
    put.or_else(|error| if is_marked(path, kind) { Ok(()) } else { Err(error) })
}

/// Whether a folder is ours, and of this kind.
pub fn is_marked(path: &Path, kind: Kind) -> bool {
    Marker::read(path).is_ok_and(|marker| marker.is_some_and(|marker| marker.kind == kind))
}

/// Whether the model in a run folder may be replaced: there is none, or it is as we wrote it.
fn check_model(dir: &Path) -> Result<(), TrainError> {
    let entries = files::entries(dir)?;
    if entries.is_empty() {
        return Ok(());
    }
    let found = match Checksums::read(dir) {
        Ok(Some(sums)) => match sums.verify_nothing_else(dir) {
            Ok(()) => return Ok(()),
            Err(changed) => changed.to_string(),
        },
        Ok(None) => format!("files without {}", mpo_models::CHECKSUMS_FILE),
        Err(damaged) => damaged.to_string(),
    };
    Err(TrainError::ForeignModel { path: dir.to_owned(), found })
}

#[cfg(test)]
mod tests {
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
    fn a_start_that_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/run");
        let start = || {
            let held = create(&path).unwrap();
            held.start(&held.config_file(), b"x").unwrap();
            held.start(&path.join("base/config.json"), b"x").unwrap();
            held
        };
        drop(start());
        assert!(!dir.path().join("a").exists());
        let held = start();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        drop(held);
        assert!(path.join("notes.txt").exists() && path.join(CONFIG_FILE).exists());
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
    fn a_table_that_was_edited_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let table = path.join("results.csv");
        let held = RunFolder::create(&path, Kind::Compare, Identity::default()).unwrap();
        held.write_table(&table, b"a").unwrap();
        held.write_table(&table, b"b").unwrap();
        drop(held);
        drop(RunFolder::open(&path, Kind::Compare).unwrap());
        fs::write(&table, "mine").unwrap();
        let error = RunFolder::open(&path, Kind::Compare).unwrap_err();
        assert!(matches!(error, TrainError::Foreign { .. }), "{error}");
        assert_eq!(fs::read_to_string(&table).unwrap(), "mine");
        fs::remove_file(&table).unwrap();
        let held = RunFolder::open(&path, Kind::Compare).unwrap();
        held.write_table(&table, b"c").unwrap();
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

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_a_folder_of_ours_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let held = create(&path).unwrap();
        held.keep();
        drop(held);
        std::os::unix::fs::symlink(dir.path(), path.join("checkpoints")).unwrap();
        let error = RunFolder::open(&path, Kind::Train).unwrap_err();
        assert!(matches!(error, TrainError::Link { .. }), "{error}");
    }
}
