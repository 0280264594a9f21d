//! The program under test, and the harmless model and rows it is given.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The program, as Cargo built it for this test.
pub(crate) fn mpo_train() -> Command {
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpo-train"));
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        // Tests may run where signals are ignored, as under nohup, and the program would go on ignoring them.
        // SAFETY: `signal` may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                for signal in [libc::SIGINT, libc::SIGHUP] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                Ok(())
            });
        }
    }
    command
}

/// The miniature's model: small, and a real one.
pub(crate) fn model() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("miniature/model")
}

/// `train` on the CPU. What it saves is what was trained, to the bit.
pub(crate) fn train(model: &Path, data: &Path, output: &Path) -> Command {
    train_saving("f32", model, data, output)
}

/// The same with weights that are saved in this type.
pub(crate) fn train_saving(dtype: &str, model: &Path, data: &Path, output: &Path) -> Command {
    let mut command = mpo_train();
    command.args(["train", "--device", "flex", "--model"]);
    command.arg(model).arg("--data").arg(data);
    command.arg("--output").arg(output).args(["--save-dtype", dtype]);
    command
}

/// Starts a command, and waits until it has come so far.
pub(crate) fn begun(mut command: Command, so_far: impl Fn() -> bool) -> Child {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    while !so_far() {
        assert!(began.elapsed() < Duration::from_secs(60), "not begun");
        assert!(child.try_wait().unwrap().is_none(), "ended too early");
        sleep(Duration::from_millis(1));
    }
    child
}

/// Twelve bilingual rows: six in Swahili, six in Bengali.
pub(crate) fn rows() -> Vec<Value> {
    let dishes = [
        ("bread", "mkate", "রুটি"),
        ("rice", "wali", "ভাত"),
        ("tea", "chai", "চা"),
        ("soup", "supu", "স্যুপ"),
        ("cake", "keki", "কেক"),
        ("beans", "maharage", "শিম"),
    ];
    let row = |dish: &str, language: &str, prompt: String, chosen: &str, rejected: &str| {
        json!({
            "dominant": {
                "language": "en",
                "prompt": format!("How do I cook {dish}?"),
                "chosen": "I am sorry, I cannot help.",
                "rejected": "Boil water and wait.",
            },
            "target": {
                "language": language,
                "prompt": prompt,
                "chosen": chosen,
                "rejected": rejected,
            },
        })
    };
    let both = |(english, swahili, bengali)| {
        [
            row(
                english,
                "sw",
                format!("Ninapikaje {swahili}?"),
                "Samahani, siwezi kusaidia.",
                "Chemsha maji, kisha subiri.",
            ),
            row(
                english,
                "bn",
                format!("{bengali} কীভাবে রান্না করব?"),
                "দুঃখিত, সাহায্য করতে পারি না।",
                "জল ফোটান, তারপর অপেক্ষা করুন।",
            ),
        ]
    };
    dishes.into_iter().flat_map(both).collect()
}

/// A folder with rows in it: eight to train on, and four held out.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        write_rows(&place.path("rows.jsonl"), &rows()[..8]);
        write_rows(&place.path("held.jsonl"), &rows()[8..]);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Writes rows as JSONL.
pub(crate) fn write_rows(path: &Path, rows: &[Value]) {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    fs::write(path, lines.join("\n")).unwrap();
}

/// Nothing in the folder is there by half.
pub(crate) fn assert_nothing_partial(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(!name.starts_with('.') || name == ".lock", "{name} left");
        if entry.file_type().unwrap().is_dir() {
            assert_nothing_partial(&entry.path());
        }
    }
}

/// Holds a run's one event file for TensorBoard that is not empty against its log: a record for each step and measurement, two
/// for each start.
pub(crate) fn assert_board_is_the_log(run: &Path) {
    let files = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    let is_board = |path: &PathBuf| path.to_string_lossy().contains("tfevents");
    let boards: Vec<PathBuf> = files.filter(|path| is_board(path) && fs::metadata(path).unwrap().len() > 0).collect();
    let [board] = &boards[..] else { panic!("{boards:?}") };
    let (mut rest, mut records) = (&*fs::read(board).unwrap(), 0);
    while let Some((length, after)) = rest.split_first_chunk::<8>() {
        // Behind the length its checksum, behind the bytes theirs.
        rest = &after[4 + u64::from_le_bytes(*length) as usize + 4..];
        records += 1;
    }
    assert!(rest.is_empty());
    let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let of = |kind: &str| log.matches(&format!("\"event\":\"{kind}\"")).count();
    assert_eq!(records, 2 * of("started") + of("step") + of("measured"));
}
