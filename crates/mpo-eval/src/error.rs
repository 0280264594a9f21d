//! Why something cannot be evaluated.

use std::io;
use std::path::{Path, PathBuf};

use mpo_chat::ChatError;
use mpo_data::{DataError, Language};
use mpo_models::open_files_hint;
use mpo_trainer::TrainError;

use crate::benchmark::BENCHMARKS;

/// What stops an evaluation or a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {problem}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Expected, and got.
        problem: String,
    },
    /// No benchmark of this name.
    #[error("expected a benchmark ({}), got {name}", names())]
    UnknownBenchmark {
        /// As given.
        name: String,
    },
    /// An endpoint without the name of the model to ask there.
    #[error("{endpoint}: expected the judge's name there, got none")]
    NoJudgeModel {
        /// The address, as it may be shown.
        endpoint: String,
    },
    /// A tokenizer that has no token for each letter.
    #[error("expected the letters after a space to be one token each, got {got}")]
    Letters {
        /// Their tokens.
        got: String,
    },
    /// Nothing to ask.
    #[error("{}: expected at least one question, got none", path.display())]
    NoItems {
        /// The file or folder.
        path: PathBuf,
        /// What it should look like.
        layout: &'static str,
    },
    /// Nothing to ask in the languages that were named.
    #[error("{}: expected at least one question in {asked}, got those in {found}", path.display())]
    NotInLanguages {
        /// The file or folder.
        path: PathBuf,
        /// The languages asked for.
        asked: String,
        /// The languages there are.
        found: String,
        /// What it should look like.
        layout: &'static str,
    },
    /// Results that were made in different ways would stand beside each other.
    #[error("{benchmark}: expected the settings of the results that are kept, {name} {earlier}, got {got}")]
    OtherSettings {
        /// The benchmark.
        benchmark: &'static str,
        /// A setting that differs.
        name: String,
        /// As the earlier results have it.
        earlier: String,
        /// As it was asked for.
        got: String,
    },
    /// Results of different questions would stand beside each other.
    #[error(
        "{benchmark}: expected questions of the set that the results in {} are of, got those of another", named(*language)
    )]
    OtherQuestions {
        /// The benchmark.
        benchmark: &'static str,
        /// The language of the results that are kept; none where several are mixed.
        language: Option<Language>,
    },
    /// Results that cannot be set against each other, as they were measured in different ways.
    #[error("{benchmark}: expected the same {what} in {} and {}, got {} and {}", folders[0].display(), folders[1].display(), values[0], values[1])]
    NotAlike {
        /// The benchmark.
        benchmark: &'static str,
        /// What differs.
        what: String,
        /// The folders of both.
        folders: Box<[PathBuf; 2]>,
        /// What each has.
        values: Box<[String; 2]>,
    },
    /// Evaluations of different benchmarks.
    #[error("expected a benchmark that all of them have, as {} has some, got none", folder.display())]
    NothingInCommon {
        /// The folder of the first.
        folder: PathBuf,
    },
    /// Too little to compute with.
    #[error("{what}: expected {expected}, got {got}")]
    TooFew {
        /// What is to be computed.
        what: &'static str,
        /// What it needs.
        expected: &'static str,
        /// What there is.
        got: usize,
    },
    /// Too few rows to measure on.
    #[error("expected rows for the {what}, got none")]
    NothingHeldOut {
        /// The test, or the validation.
        what: &'static str,
    },
    /// A line is no benign prompt.
    #[error("{}, line {line}: {problem}", path.display())]
    NoPrompt {
        /// The file.
        path: PathBuf,
        /// Counted from one.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A folder is no run's.
    #[error("{}: expected the folder of a run or an evaluation, got {got}", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// What it is.
        got: &'static str,
    },
    /// A run of which nothing is known yet, or something else that has a configuration.
    #[error("{}: expected a step or a result to show, got none", path.display())]
    NothingToShow {
        /// The folder.
        path: PathBuf,
    },
    /// The report cannot be drawn.
    #[error("report: {0}")]
    Report(String),
    /// A file of results that is not what was written.
    #[error("{}: expected results as they were written, got {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Prompts of one kind, which nothing can be told apart from.
    #[error(
        "expected at least {fewest} harmful and {fewest} harmless prompts to fit a classifier to, got {harmful} and {harmless}"
    )]
    OneKind {
        /// How many it takes of each.
        fewest: usize,
        /// Harmful ones.
        harmful: usize,
        /// Harmless ones.
        harmless: usize,
    },
    /// No prompts by which a layer could be chosen.
    #[error("expected prompts that are there in two languages, to choose the layer by, got none")]
    NoBottleneck,
    /// The model has no such layer.
    #[error("expected a layer from 1 to {depth}, got {got}")]
    NoLayer {
        /// Layers of the model.
        depth: usize,
        /// The one asked for.
        got: usize,
    },
    /// A file of a run cannot be used.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A file is no text of rows.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Whoever is to answer cannot be asked.
    #[error(transparent)]
    Chat(#[from] ChatError),
}

fn named(language: Option<Language>) -> String {
    language.map_or("mixed languages".into(), |of| of.name().to_owned())
}

fn names() -> String {
    let names: Vec<&str> = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
    names.join(", ")
}

impl EvalError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { path: path.to_owned(), error }
    }

    pub(crate) fn broken(path: &Path, problem: String) -> Self {
        Self::Broken { path: path.to_owned(), problem }
    }

    /// What to do about it. An evaluation goes on with the same command.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { error, .. } => match error.kind() {
                io::ErrorKind::NotFound => Some("check the path".into()),
                io::ErrorKind::IsADirectory => Some("name a file in it".into()),
                _ => open_files_hint(error).map(Into::into),
            },
            Self::Broken { .. } => Some("docs/evaluation.md says what each file looks like".into()),
            Self::UnknownBenchmark { .. } => Some("give it as NAME=PATH".into()),
            Self::NoItems { layout, .. } => Some(format!("expected {layout}")),
            Self::NotInLanguages { layout, .. } => Some(format!(
                "leave --languages out for all that there are; the file is to be {layout}"
            )),
            Self::OtherSettings { .. } => Some(
                "give the same setting, ask every language again, or name another folder with --output"
                    .into(),
            ),
            Self::OtherQuestions { .. } => Some(
                "name another folder with --output; or ask every language again, from one file or folder: answers that are \
                 kept are not made again"
                    .into(),
            ),
            Self::NotAlike { .. } | Self::NothingInCommon { .. } => {
                Some("measure all of them by the same `eval` command, but for the model and --output".into())
            }
            Self::NothingHeldOut { .. } => Some(
                "give more rows: prompts are split, every fifth for the test and a tenth of the others to choose settings by"
                    .into(),
            ),
            Self::NoPrompt { .. } => Some("write one {\"language\": \"sw\", \"prompt\": \"…\"} a line".into()),
            Self::NoRun { .. } => Some("name the --output of `train` or of `eval`".into()),
            Self::NothingToShow { .. } => Some(
                "name a folder that `train` or `eval` has written to; a comparison has a page when its runs are done".into(),
            ),
            Self::Damaged { .. } => Some(
                "restore the file; or move it away and give the commands again that made it: answers that are kept beside it \
                 are not made again"
                    .into(),
            ),
            Self::Train(error) => error.hint_to("give the same command again"),
            Self::Letters { .. } => Some("leave MMLU out for this tokenizer".into()),
            // What its name is given by, the program knows.
            Self::NoJudgeModel { .. } | Self::Report(_) => None,
            Self::TooFew { .. } => Some("give more rows".into()),
            Self::OneKind { .. } => Some(
                "harmful are the prompts of --data, harmless those of its rows whose provenance says benign, and those of --benign FILE"
                    .into(),
            ),
            Self::NoBottleneck => Some("name the layer with --layer, or give rows in two languages".into()),
            Self::NoLayer { .. } => Some("leave it out for the layer that silhouettes choose".into()),
            Self::Data(error) => error.hint(),
            Self::Chat(error) => error.hint(),
        }
    }
}
