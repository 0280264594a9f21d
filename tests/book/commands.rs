//! Every command of the documentation is one that there is: the program's own with flags and values that it takes, Cargo's with
//! targets and features of the workspace, scripts by their files, and no others than those known.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::binary::mpo_train;
use crate::page::{Page, root};
use crate::shell::{Command, commands};

/// Programs of others that the documentation may speak of.
const KNOWN: [&str; 9] = ["apt-get", "cp", "curl", "jq", "llama-cli", "mdbook", "mlflow", "ollama", "tensorboard"];
/// Stands for flags of the reader's own.
const ANY: &str = "…";

/// Every command of README and book, with where it stands.
pub(crate) fn documented() -> Vec<(String, Command)> {
    let mut found = vec![];
    for page in Page::all() {
        for block in page.blocks.iter().filter(|block| block.language == "sh") {
            for command in commands(&block.text) {
                found.push((format!("{}:{}", page.path.display(), block.line + command.line), command));
            }
        }
    }
    found
}

/// Whether the program takes these arguments: it reads all of them, and then shows its help instead of acting.
fn taken(words: &[String]) -> Result<(), String> {
    let output = mpo_train().args(words.iter().filter(|word| *word != ANY)).arg("--help").output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Whether `cargo` finds what it is asked for in the workspace.
fn is_cargo(words: &[String], manifests: &str) -> Result<(), String> {
    let [subcommand, rest @ ..] = words else { return Err("cargo without a command".into()) };
    if !["bench", "clippy", "doc", "fmt", "install", "run", "test"].contains(&&**subcommand) {
        return Err(format!("cargo {subcommand} is not known to these tests"));
    }
    let ours = rest.split(|word| word == "--").next().unwrap_or_default();
    for pair in ours.windows(2) {
        let has = |text: String| manifests.contains(&text);
        let (flag, value) = (&*pair[0], &*pair[1]);
        let is_there = match flag {
            "-p" | "--package" | "--test" | "--bench" => has(format!("\nname = \"{value}\"")) || is_test_file(value),
            "--path" => root().join(value).exists(),
            "--features" => value.split(',').all(|of| has(format!("\n{} = [", of.rsplit('/').next().unwrap_or(of)))),
            _ => true,
        };
        if !is_there {
            return Err(format!("the workspace has no `{flag} {value}`"));
        }
    }
    Ok(())
}

/// Whether a package finds such a test by itself.
fn is_test_file(name: &str) -> bool {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    crates.into_iter().any(|of| of.join(format!("tests/{name}.rs")).exists())
}

fn manifests() -> String {
    let folders = ["crates", "."].map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let paths = folders.into_iter().flatten().map(|entry| entry.unwrap().path().join("Cargo.toml"));
    paths.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// What is wrong with a command of a page in this folder.
fn check(words: &[String], folder: &Path, manifests: &str) -> Result<(), String> {
    let [program, rest @ ..] = words else { return Ok(()) };
    let is_file = |path: &String| [&root(), folder].iter().any(|folder| folder.join(path).exists());
    match &**program {
        "mpo-train" => taken(rest),
        "cargo" => is_cargo(rest, manifests),
        // What measures others.
        "/usr/bin/time" => {
            check(&rest[rest.iter().take_while(|word| word.starts_with('-')).count()..], folder, manifests)
        }
        // What starts it several times.
        "mpirun" | "srun" => match rest.iter().position(|word| word == "mpo-train") {
            Some(at) => check(&rest[at..], folder, manifests),
            None => Err(format!("{program} starts nothing of ours")),
        },
        _ if program.ends_with("python") || program.ends_with("python3") || program.ends_with("pip") => {
            let mut files = rest.iter().filter(|word| word.ends_with(".py") || word.ends_with("requirements.txt"));
            files.find(|file| !is_file(file)).map_or(Ok(()), |file| Err(format!("there is no {file}")))
        }
        _ if KNOWN.contains(&&**program) || is_file(program) => Ok(()),
        _ => Err(format!("expected a program that these tests know, got {program}")),
    }
}

#[test]
fn every_command_is_one_that_there_is() {
    let manifests = manifests();
    let documented = documented();
    assert!(documented.len() > 50, "{} commands", documented.len());
    let faults: Vec<String> = documented
        .iter()
        .filter_map(|(place, command)| {
            let (page, _) = place.split_once(':')?;
            let error = check(&command.words, root().join(page).parent()?, &manifests).err()?;
            Some(format!("{place}: {}\n  {}", command.words.join(" "), error.trim()))
        })
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_command_that_there_is_not_is_told() {
    let manifests = manifests();
    for (good, line) in [
        (true, "mpo-train train --lr 1e-6 …"),
        (false, "mpo-train train --learn-rate 1e-6"),
        (false, "mpo-train train --lr fast"),
        (false, "mpo-train train --lr"),
        (false, "mpo-train prepare --recipe cake"),
        (false, "mpo-train trains"),
        (false, "mpo-train report --output"),
        (true, "cargo test --release --workspace --test parity -- --nocapture"),
        (false, "cargo test --release --workspace --test parities"),
        (true, "cargo bench --workspace --features mpo-benches/cuda --bench step -- --device cuda"),
        (false, "cargo bench --workspace --features mpo-benches/cudas"),
        (true, "python3 benches/peers/compare_step.py"),
        (false, "python3 benches/peers/compare_steps.py"),
        (true, "/usr/bin/time -v mpo-train devices"),
        (false, "/usr/bin/time -v mpo-train gadgets"),
        (true, "mpirun -n 8 mpo-train train --lr 1e-6"),
        (false, "mpirun -n 8 mpo-train trains"),
        (false, "gcc x.c"),
    ] {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let told = check(&words, &root(), &manifests);
        assert_eq!(told.is_ok(), good, "{line}: {told:?}");
    }
}

/// What a command says of itself; none if there is no such command.
fn help(command: Option<&str>) -> Option<String> {
    let output = mpo_train().args(command).arg("--help").output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// A command in a line of prose may leave out what is not its point; what it names must be there.
#[test]
fn flags_in_prose_are_those_of_their_command() {
    let mut known: HashMap<Option<&str>, Option<String>> = HashMap::new();
    let mut faults = vec![];
    let pages = Page::all();
    for (page, span) in pages.iter().flat_map(|page| page.spans().into_iter().map(move |span| (page, span))) {
        let Some(words) = span.strip_prefix("mpo-train ") else { continue };
        let words: Vec<&str> = words.split_whitespace().collect();
        let command = words.first().copied().filter(|word| !word.starts_with(['-', '…']));
        let help = known.entry(command).or_insert_with(|| help(command));
        let flags = words.iter().filter(|word| word.starts_with("--")).map(|word| word.split('=').next().unwrap());
        let has = |flag: &str| help.as_ref().is_some_and(|help| help.contains(flag));
        let missing: Vec<&str> = flags.filter(|flag| !has(flag)).collect();
        if help.is_none() || !missing.is_empty() {
            faults.push(format!("{}: `{span}`: {missing:?}", page.path.display()));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Files of the repository that prose names are there.
#[test]
fn files_that_are_named_are_there() {
    let folders = ["crates/", "tests/", "benches/", "kernels/src/", "models/src/", "docs/", "recipes/", ".ci/"];
    let mut faults = vec![];
    for page in Page::all() {
        for span in page.spans() {
            let is_path = folders.iter().any(|folder| span.starts_with(folder)) && !span.contains(['*', ' ', '…', '{']);
            let is_name = span.chars().any(|c| c.is_ascii_uppercase()) && Path::new(span).extension().is_none();
            if is_path && !is_name && !root().join(PathBuf::from(span)).exists() {
                faults.push(format!("{}: {span}", page.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
