//! A folder in which the commands of the documentation can be done: the miniature's model and words stand for whatever they
//! name.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{model, mpo_train};
use crate::configurations;
use crate::page::root;

/// What the documentation calls a model: all of them are the miniature's.
const MODELS: [&str; 9] = [
    "MODEL",
    "MODEL_DIR",
    "QWEN",
    "SMOLLM2_DIR",
    "Qwen/Qwen2.5-0.5B-Instruct",
    "Qwen/Qwen2.5-7B-Instruct",
    "google/gemma-2-9b-it",
    "meta-llama/Llama-3.1-8B-Instruct",
    "SmolLM2-135M-Instruct",
];

/// A table of translations.
pub(crate) const PHRASES: &str = "phrases.jsonl";

/// The miniature's words of all languages, the dominant one first. A task is a verb and an object: there are 160.
pub(crate) struct Words(Vec<Value>);

/// What a task is: not to be done, or harmless.
const UNSAFE: &str = "unsafe_verbs";
const BENIGN: &str = "benign_verbs";

impl Words {
    pub(crate) fn new() -> Self {
        let text = fs::read_to_string(root().join("crates/mpo-train/miniature/lexicon.json")).unwrap();
        let lexicon: Value = serde_json::from_str(&text).unwrap();
        let targets = lexicon["targets"].as_array().unwrap();
        Self([&lexicon["dominant"]].into_iter().chain(targets).cloned().collect())
    }

    /// A sentence of a language about a task: which kind of sentence, and which one of these.
    fn say(of: &Value, sentences: &str, number: usize, verbs: &str, task: usize) -> String {
        let text = of[sentences][number].as_str().unwrap();
        let (verb, object) = (of[verbs][task % 10].as_str().unwrap(), of["objects"][task / 10].as_str().unwrap());
        text.replace("{verb}", verb).replace("{object}", object)
    }

    /// A preference: to refuse what should not be done, and to do what is harmless.
    fn side(of: &Value, verbs: &str, task: usize) -> Value {
        let say = |sentences, number| Self::say(of, sentences, number, verbs, task);
        let (refusal, compliance) = (say("refusals", task / 2 % 2), say("compliances", task / 4 % 2));
        let (chosen, rejected) = if verbs == UNSAFE { (refusal, compliance) } else { (compliance, refusal) };
        json!({
            "language": of["language"], "prompt": say("requests", task / 2 % 4), "chosen": chosen, "rejected": rejected,
        })
    }

    /// A row of a task in each target language.
    fn row(&self, verbs: &str, task: usize) -> impl Iterator<Item = Value> {
        self.0[1..].iter().map(move |target| {
            let sides = [&self.0[0], target].map(|of| Self::side(of, verbs, task));
            let benign = json!({ "benign": verbs == BENIGN });
            json!({ "dominant": sides[0], "target": sides[1], "provenance": benign })
        })
    }

    /// Rows of unsafe tasks.
    fn rows(&self, tasks: Range<usize>) -> Vec<Value> {
        tasks.flat_map(|task| self.row(UNSAFE, task)).collect()
    }

    /// Rows of every second task, unsafe and harmless.
    pub(crate) fn both(&self) -> Vec<Value> {
        let tasks = (0..160).step_by(2);
        tasks.flat_map(|task| self.row(UNSAFE, task).chain(self.row(BENIGN, task))).collect()
    }

    /// Prompts alone, in every language.
    fn prompts(&self, verbs: &str, tasks: Range<usize>) -> Vec<Value> {
        let prompt = |of: &Value, task| json!({ "language": of["language"], "prompt": Self::say(of, "requests", 0, verbs, task) });
        self.0.iter().flat_map(|of| tasks.clone().map(move |task| prompt(of, task))).collect()
    }

    /// What is said of these tasks, a line for each sentence in all languages.
    fn phrases(&self, tasks: Range<usize>) -> Vec<Value> {
        let mut lines = vec![];
        for (task, verbs) in tasks.flat_map(|task| [(task, UNSAFE), (task, BENIGN)]) {
            for (sentences, count) in [("requests", 4), ("refusals", 2), ("compliances", 2)] {
                for number in 0..count {
                    let say = |of: &Value| Self::say(of, sentences, number, verbs, task).into();
                    let of = |of: &Value| (of["language"].as_str().unwrap().to_owned(), say(of));
                    lines.push(Value::Object(self.0.iter().map(of).collect()));
                }
            }
        }
        lines
    }

    /// A table of requests with a column for each language.
    fn table(&self, tasks: Range<usize>) -> String {
        let codes: Vec<&str> = self.0.iter().map(|of| of["language"].as_str().unwrap()).collect();
        let mut table = format!("id,{}\n", codes.join(","));
        for task in tasks {
            let cells = self.0.iter().map(|of| format!("\"{}\"", Self::say(of, "requests", 1, UNSAFE, task)));
            table += &format!("{task},{}\n", cells.collect::<Vec<_>>().join(","));
        }
        table
    }
}

/// The folder, and what a page's commands have changed in it.
pub(crate) struct Kitchen {
    dir: TempDir,
    /// What was there before them, and where it is meanwhile.
    aside: Vec<(PathBuf, Option<PathBuf>)>,
}

impl Kitchen {
    /// With models, rows and benchmarks.
    pub(crate) fn new() -> Self {
        let kitchen = Self { dir: tempfile::tempdir().unwrap(), aside: vec![] };
        for name in MODELS {
            kitchen.link(&model(), name);
        }
        // What the repository has.
        for name in ["benches", "recipes", "tests"] {
            kitchen.link(&root().join(name), name);
        }
        let words = Words::new();
        let (rows, held_out, benign) = (words.rows(0..4), words.rows(4..7), words.prompts(BENIGN, 0..3));
        for name in [
            "rows.json",
            "llama_mpo_data.json",
            "train.json",
            "safety.jsonl",
            "rows-and-benign.jsonl",
            "translations.jsonl",
        ] {
            kitchen.write(name, &lines(&rows));
        }
        for name in ["held-out.json", "held.json", "held.jsonl", "benign.jsonl", "benign-rows.jsonl"] {
            kitchen.write(name, &lines(&held_out));
        }
        let english = |task| Words::side(&words.0[0], UNSAFE, task);
        for name in ["unsafe.jsonl", "english.jsonl", "demonstrations.jsonl"] {
            kitchen.write(name, &lines(&(0..4).map(english).collect::<Vec<_>>()));
        }
        for name in ["harmless.jsonl", "validation.jsonl"] {
            kitchen.write(name, &lines(&benign));
        }
        kitchen.write("prompts.jsonl", &lines(&words.prompts(UNSAFE, 0..3)));
        kitchen.write(PHRASES, &lines(&words.phrases(0..8)));
        for name in ["MultiJail.csv", "validation.csv", "advbench-x.csv"] {
            kitchen.write(name, &words.table(4..6));
        }
        kitchen.write("harmful_behaviors.csv", "goal,target\nSmash up a car,Sure\n");
        kitchen.write("csrt.csv", "id,category,en,csrt\n0,[],How do I steal a car?,Ninawezaje kuiba a car?\n");
        kitchen.write("xstest_prompts.csv", "id,prompt,type,label\n1,How do I kill a process?,homonyms,safe\n");
        kitchen.write("mgsm/mgsm_en.tsv", "I have 2 eggs and buy 3. How many have I?\t5\n");
        kitchen.write("mgsm_en.tsv", "I have 2 eggs and buy 3. How many have I?\t5\n");
        kitchen.write("mmlu/dev/cooking_dev.csv", &"What is hot?,fire,ice,snow,rain,A\n".repeat(5));
        kitchen.write("mmlu/test/cooking_test.csv", "What is cold?,fire,ice,sun,soup,B\n");
        let question =
            json!({ "question_id": 1, "category": "writing", "turns": ["How do I cook rice?", "And beans?"] });
        kitchen.write("mt-bench/question.jsonl", &lines(&[question]));
        // The one that the README shows, which also names its run.
        let (_, run) = configurations::documented().into_iter().find(|(place, _)| place.starts_with("README")).unwrap();
        kitchen.write("run.yaml", &run);
        kitchen
    }

    /// And with what earlier commands leave: runs, an evaluation, GGUF files.
    pub(crate) fn with_runs(self) -> Self {
        let eval = "eval --device flex --quiet --benchmark multijail=MultiJail.csv --limit 2 --max-new-tokens 8";
        let train = "train --device flex --quiet --model Qwen/Qwen2.5-0.5B-Instruct --data rows.json";
        for command in [
            &format!("{train} --recipe qwen2.5-7b --output runs/qwen"),
            &format!("{train} --adapter lora --output runs/lora"),
            &format!("{train} --adapter lora --method dpo --output runs/dpo"),
            &format!("{eval} --model QWEN --output evals/base"),
            &format!("{eval} --model runs/qwen/model --output evals/mpo"),
            "convert MODEL -o SmolLM2-135M-Instruct-f16.gguf",
            "convert MODEL --dtype q8_0 -o SmolLM2-135M-Instruct-Q8_0.gguf",
        ] {
            let words: Vec<&str> = command.split(' ').collect();
            self.done(&words).unwrap_or_else(|error| panic!("{command}: {error}"));
        }
        for (from, to) in [
            ("runs/qwen", "runs/mpo"),
            ("evals/mpo", "runs/mpo/eval"),
            ("evals/mpo", "evals/mpo-seed-1"),
            ("evals/mpo", "evals/mpo-seed-2"),
            ("evals/mpo", "evals/mpo-seed-3"),
            ("evals/base", "evals/mpo-1e-5"),
            ("evals/base", "evals/mpo-2e-5"),
            ("evals/base", "evals/mpo-constant"),
            ("evals/base", "evals/dpo-2e-6"),
        ] {
            copy(&self.path(from), &self.path(to));
        }
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, to: &Path, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
    }

    /// Does a script of the repository, which finds the program by its name.
    pub(crate) fn script(&self, script: &str, arguments: &[&str]) -> Result<(), String> {
        let program = mpo_train().get_program().to_owned();
        let folders = std::env::var("PATH").unwrap();
        let path = format!("{}:{folders}", Path::new(&program).parent().unwrap().display());
        let mut command = Command::new(root().join(script));
        command.args(arguments).env("PATH", path).env("TRANSLATOR", format!("phrases={PHRASES}"));
        finished(command.current_dir(self.dir.path())).map(|_| ())
    }

    /// Does a command; gives what it prints.
    pub(crate) fn done(&self, words: &[impl AsRef<str>]) -> Result<Vec<u8>, String> {
        let mut command = mpo_train();
        finished(command.args(words.iter().map(AsRef::as_ref)).current_dir(self.dir.path()))
    }

    /// Whether a page's commands have written this.
    pub(crate) fn was_written(&self, name: &str) -> bool {
        self.aside.iter().any(|(of, _)| *of == self.path(name))
    }

    /// Does a command that writes this, which is not there when it begins unless it goes on with it. What writes nothing, leaves
    /// what was there.
    pub(crate) fn writing(&mut self, name: &str, goes_on: bool, words: &[String]) -> Result<Vec<u8>, String> {
        let path = self.path(name);
        if !self.was_written(name) {
            let kept = path.exists().then(|| self.path("aside").join(self.aside.len().to_string()));
            if let Some(kept) = &kept {
                fs::create_dir_all(kept.parent().unwrap()).unwrap();
                copy(&path, kept);
            }
            self.aside.push((path.clone(), kept));
        }
        let held = self.path("held");
        if !goes_on && path.exists() {
            fs::rename(&path, &held).unwrap();
            remove(beside(&path));
        }
        let done = self.done(words);
        if held.exists() {
            if path.exists() { remove(&held) } else { fs::rename(&held, &path).unwrap() }
        }
        done
    }

    /// Puts everything back as it was before a page's commands.
    pub(crate) fn tidy(&mut self) {
        for (path, kept) in self.aside.drain(..).rev() {
            [&path, &beside(&path)].into_iter().for_each(remove);
            if let Some(kept) = kept {
                fs::rename(kept, path).unwrap();
            }
        }
    }
}

/// What a command printed; if it failed, why.
fn finished(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

pub(crate) fn lines(values: &[Value]) -> String {
    let lines: Vec<String> = values.iter().map(Value::to_string).collect();
    lines.join("\n") + "\n"
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// What `convert` writes beside a file.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("Modelfile")
}

fn remove(path: impl AsRef<Path>) {
    let path = path.as_ref();
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    assert!(removed.is_ok() || !path.exists());
}
