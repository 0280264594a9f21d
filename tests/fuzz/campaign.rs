//! One reader, many damaged files, and the limits that it must keep.

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::abort;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::mutate::mutate;

const LONGEST: Duration = Duration::from_secs(10);
const MOST_BYTES: u64 = 2_000_000_000;
/// Inputs that gave a new outcome are changed further; more of them than this would only be slow.
const LARGEST_CORPUS: usize = 4000;
/// Files tried where no time is given.
const TRIALS: usize = 150;

pub(crate) struct Campaign {
    reader: &'static str,
    dir: TempDir,
    file: PathBuf,
}

impl Campaign {
    /// A reader of files of this name.
    pub(crate) fn new(reader: &'static str, file: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(file);
        Self { reader, dir, file }
    }

    /// Another file in the same folder, which stays as it is.
    pub(crate) fn beside(self, name: &str, contents: &[u8]) -> Self {
        write(&self.dir.path().join(name), contents);
        self
    }

    /// Gives `read` the seeds, of which one at least must be read, and then changed ones. What it returns says what it
    /// came to, and begins with "read" where that is a value.
    pub(crate) fn run(self, mut seeds: Vec<Vec<u8>>, read: impl Fn(&Path) -> String) {
        let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
        let seconds: Option<u64> = number("MPO_FUZZ_SECONDS");
        let mut random = ChaCha8Rng::seed_from_u64(number("MPO_FUZZ_SEED").unwrap_or(1));
        let started = Instant::now();
        let watch = Watch::begin(self.file.clone());
        let mut outcomes = HashSet::new();
        let mut panics = vec![];
        let (mut trials, originals) = (0, seeds.len());
        let mut was_read = false;
        loop {
            let mut any = || &seeds[random.random_range(0..seeds.len())];
            let input = if trials < originals {
                seeds[trials].clone()
            } else {
                let (one, other) = (any(), any());
                mutate(one, other, &mut random)
            };
            write(&self.file, &input);
            watch.reading();
            let outcome = catch_unwind(AssertUnwindSafe(|| read(&self.file)));
            watch.done();
            match outcome {
                Ok(outcome) => {
                    was_read |= outcome.starts_with("read");
                    if outcomes.insert(kind(&outcome)) && seeds.len() < LARGEST_CORPUS {
                        seeds.push(input);
                    }
                }
                Err(_) => panics.push(keep(&self.file)),
            }
            trials += 1;
            let over = match seconds {
                Some(seconds) => started.elapsed().as_secs() >= seconds,
                None => trials >= TRIALS,
            };
            if over || panics.len() == 10 {
                break;
            }
        }
        assert!(was_read, "{}: no file of ours was read", self.reader);
        println!(
            "{} ({}): {trials} files, {} kinds of outcome, {} panics, {:.0} s",
            self.reader,
            self.file.file_name().unwrap().display(),
            outcomes.len(),
            panics.len(),
            started.elapsed().as_secs_f64()
        );
        assert!(panics.is_empty(), "{}: panics on {panics:?}", self.reader);
    }
}

/// Writes a file and the folders above it.
fn write(path: &Path, contents: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

/// An outcome without what differs from file to file: numbers and what is quoted.
fn kind(outcome: &str) -> String {
    let letters = outcome.chars().filter(|c| c.is_ascii_alphabetic() || *c == ' ');
    letters.take(400).collect()
}

/// Keeps an input that was found to do harm.
fn keep(file: &Path) -> PathBuf {
    let contents = fs::read(file).unwrap();
    let hash = blake3::hash(&contents).to_hex();
    let name = file.file_name().unwrap().to_str().unwrap();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", &hash[..12]));
    fs::create_dir_all(&dir).unwrap();
    let kept = dir.join(name);
    fs::write(&kept, contents).unwrap();
    kept
}

/// Ends the process, with the input kept, where a reader takes too long or too much.
struct Watch {
    since: Arc<Mutex<Option<Instant>>>,
}

impl Watch {
    fn begin(file: PathBuf) -> Self {
        let since = Arc::new(Mutex::new(None));
        let watched = Arc::downgrade(&since);
        thread::spawn(move || {
            while let Some(since) = watched.upgrade() {
                let reading: Option<Instant> = *since.lock().unwrap();
                let harm = match reading {
                    Some(since) if since.elapsed() > LONGEST => Some("more than ten seconds"),
                    Some(_) if resident_bytes() > MOST_BYTES => Some("more than 2 GB"),
                    _ => None,
                };
                if let Some(harm) = harm {
                    eprintln!("{harm}: {}", keep(&file).display());
                    abort();
                }
                drop(since);
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { since }
    }

    fn reading(&self) {
        *self.since.lock().unwrap() = Some(Instant::now());
    }

    fn done(&self) {
        *self.since.lock().unwrap() = None;
    }
}

/// Memory of this process; 0 where the system does not tell in this way.
fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    resident.unwrap_or(0_u64) * 4096
}
