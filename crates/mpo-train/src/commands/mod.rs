//! What can be typed. A command is one file with its arguments, its examples and what it does; here is the list of them.

mod chat;
mod classifier;
mod compare;
mod completions;
mod convert;
mod devices;
mod difference;
mod eval;
mod generate;
mod merge;
mod miniature;
mod miniature_model;
mod plan;
mod prepare;
mod push;
mod report;
mod score;
mod serve;
mod train;
mod watch;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};

use crate::arguments::with_home;
use crate::failure::Failure;
use crate::flags::with_our_name;
use chat::ChatArguments;
use classifier::ClassifierArguments;
use compare::CompareArguments;
use completions::{CompletionsArguments, ManArguments};
use convert::ConvertArguments;
use devices::DevicesArguments;
use difference::DifferenceArguments;
use eval::EvalArguments;
use generate::GenerateArguments;
use merge::MergeArguments;
use miniature::MiniatureArguments;
use miniature_model::MiniatureModelArguments;
use plan::PlanArguments;
use prepare::PrepareArguments;
use push::PushArguments;
use report::ReportArguments;
use score::ScoreArguments;
use serve::ServeArguments;
use train::TrainArguments;
use watch::WatchArguments;

const EXAMPLES: &str = "\
Examples:
  mpo-train                                  the paper in miniature, in under two minutes
  mpo-train --output runs/first --json       the same, elsewhere, its results as JSON
  mpo-train score --model Qwen/Qwen2.5-0.5B-Instruct --data rows.json
  mpo-train train --model Qwen/Qwen2.5-0.5B-Instruct --data rows.json --output runs/qwen";

/// Align LLaMA, Gemma and Qwen models across languages with MPO, reward gap optimization.
///
/// Without a subcommand it runs the paper in miniature: a tiny model and harmless rows that the program carries.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Only errors and results: no progress, no notes
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(flatten)]
    miniature: MiniatureArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The commands, in the order of the help.
#[derive(Debug, Subcommand)]
enum Command {
    Train(Box<TrainArguments>),
    Plan(Box<PlanArguments>),
    Compare(Box<CompareArguments>),
    Score(ScoreArguments),
    Prepare(Box<PrepareArguments>),
    Eval(Box<EvalArguments>),
    Classifier(Box<ClassifierArguments>),
    Difference(DifferenceArguments),
    Watch(WatchArguments),
    Report(ReportArguments),
    Generate(GenerateArguments),
    Chat(ChatArguments),
    Serve(Box<ServeArguments>),
    Merge(MergeArguments),
    Convert(ConvertArguments),
    Push(PushArguments),
    Devices(DevicesArguments),
    MiniatureModel(MiniatureModelArguments),
    Completions(CompletionsArguments),
    Man(ManArguments),
}

impl Cli {
    /// What was typed. Where that is no command, or asks for help, the process ends.
    pub(crate) fn typed() -> Self {
        let mut command = with_home(Self::command());
        let typed: Vec<OsString> = std::env::args_os().collect();
        let matches = command.try_get_matches_from_mut(&typed);
        let matches = matches.unwrap_or_else(|error| with_our_name(error, &command, &typed).exit());
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
    }

    /// Does what was typed.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let quiet = self.quiet;
        let Some(command) = self.command else {
            return miniature::run(&self.miniature, quiet);
        };
        if self.miniature.any_given() {
            let message = "--output, --json and --device belong after the subcommand";
            Self::command().error(ErrorKind::ArgumentConflict, message).exit();
        }
        match command {
            Command::Train(arguments) => train::run(*arguments, quiet),
            Command::Plan(arguments) => plan::run(*arguments, quiet),
            Command::Compare(arguments) => compare::run(*arguments, quiet),
            Command::Score(arguments) => score::run(&arguments, quiet),
            Command::Prepare(arguments) => prepare::run(&arguments, quiet),
            Command::Eval(arguments) => eval::run(&arguments, quiet),
            Command::Classifier(arguments) => classifier::run(&arguments, quiet).map_err(Failure::without_resume),
            Command::Difference(arguments) => difference::run(&arguments),
            Command::Watch(arguments) => watch::run(&arguments).map_err(Failure::without_resume),
            Command::Report(arguments) => report::run(&arguments, quiet).map_err(Failure::without_resume),
            Command::Generate(arguments) => generate::run(&arguments, quiet),
            Command::Chat(arguments) => chat::run(&arguments, quiet),
            Command::Serve(arguments) => serve::run(&arguments, quiet),
            Command::Merge(arguments) => merge::run(&arguments, quiet).map_err(Failure::without_resume),
            Command::Convert(arguments) => convert::run(&arguments, quiet).map_err(Failure::without_resume),
            Command::Push(arguments) => push::run(&arguments, quiet),
            Command::Devices(arguments) => devices::run(&arguments),
            Command::MiniatureModel(arguments) => miniature_model::run(&arguments, quiet),
            Command::Completions(arguments) => completions::completions(&arguments, Self::command()),
            Command::Man(arguments) => completions::man(&arguments, Self::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    /// Help names the devices of a build, and the snapshots are those of the usual one.
    #[cfg(all(feature = "flex", feature = "wgpu"))]
    #[cfg(not(any(feature = "vulkan", feature = "metal", feature = "cuda", feature = "rocm", feature = "cpu")))]
    #[test]
    fn help_is_as_it_was() {
        let help = |arguments: &[&str]| {
            let arguments = [&["mpo-train"][..], arguments, &["--help"]].concat();
            Cli::command().term_width(100).try_get_matches_from(arguments).unwrap_err().to_string()
        };
        insta::assert_snapshot!("help", help(&[]));
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            insta::assert_snapshot!(format!("help_{name}"), help(&[name]));
        }
    }

    #[test]
    fn every_path_may_lie_in_the_users_home() {
        let home = std::env::home_dir().unwrap();
        let parse = |arguments: &[&str]| {
            let arguments = [&["mpo-train"][..], arguments].concat();
            Cli::from_arg_matches(&with_home(Cli::command()).try_get_matches_from(arguments).unwrap()).unwrap()
        };
        for arguments in [
            &["score", "--model=~/m", "--data=~/d", "--template=~/t.jinja"][..],
            &["train", "--config=~/c.yaml"],
            &["train", "--resume", "--output=~/o"],
            &["train", "--model=~/m", "--data=~/d", "--data=~/e", "--recipe=~/r.yaml", "--template=~/t.jinja"],
            &["eval", "--model=~/m", "--benchmark=multijail=~/b.csv", "--output=~/o", "--judge=~/j"],
            &["eval", "--model=~/m", "--data=~/d", "--base=~/b"],
            &["compare", "--config=~/c.yaml", "--benign=~/b"],
            &["prepare", "--model=~/m", "--data=~/d", "--languages=sw", "--output=~/o", "--reference=~/r"],
            &["prepare", "--model=~/m", "--data=~/d", "--languages=sw", "--output=~/o", "--translator=phrases=~/p"],
            &["difference", "~/a", "~/b"],
            &["report", "~/a", "~/b", "--output=~/o"],
            &["convert", "~/m", "--output=~/o"],
            &["convert", "--data=~/d", "--output=~/o"],
            &["merge", "~/m", "--output=~/o"],
            &["push", "~/m", "me/mine"],
            &["serve", "~/m", "--adapter=a=~/a"],
            &["plan", "--config=~/c.yaml"],
            &["generate", "--model=~/m", "How?"],
            &["chat", "--model=~/m"],
            &["watch", "~/r"],
            &["--output=~/o"],
        ] {
            let parsed = format!("{:?}", parse(arguments));
            let expected = arguments.iter().filter(|argument| argument.contains("~/")).count();
            assert_eq!(parsed.matches(&*home.to_string_lossy()).count(), expected, "{arguments:?} {parsed}");
            assert!(!parsed.contains('~'), "{parsed}");
        }
    }

    #[test]
    fn a_flag_of_another_program_is_told_with_ours() {
        let said = |words: &[&str]| {
            let typed: Vec<OsString> = ["mpo-train"].iter().chain(words).map(OsString::from).collect();
            let mut command = Cli::command();
            let error = command.try_get_matches_from_mut(&typed).unwrap_err();
            with_our_name(error, &command, &typed).to_string()
        };
        let bf16 = said(&["train", "--bf16", "--model", "m"]);
        assert!(bf16.contains("unexpected argument '--bf16'"), "{bf16}");
        assert!(bf16.contains("tip: it is --precision bf16 here") && bf16.matches("tip:").count() == 1, "{bf16}");
        assert!(said(&["generate", "--bf16"]).contains("it is --precision bf16 here"));
        assert!(said(&["plan", "--learning_rate=1e-5"]).contains("it is --lr here"));
        assert!(said(&["train", "--logging-steps", "1"]).contains("leave it out: every step is logged"));
        // What the command does not have is not offered, and a slip is one of ours.
        let other = said(&["devices", "--learning-rate", "1"]);
        assert!(!other.contains("--lr here"), "{other}");
        let slip = said(&["train", "--batch-sise", "1"]);
        assert!(slip.contains("'--batch-size'") && !slip.contains(" here"), "{slip}");
    }

    #[test]
    fn every_subcommand_shows_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().unwrap().to_string();
            let example = format!("mpo-train {}", command.get_name());
            assert!(help.contains(&example), "{}", command.get_name());
        }
    }

    #[test]
    fn the_miniature_is_what_runs_without_a_subcommand() {
        let parse = |arguments: &[&str]| Cli::try_parse_from([&["mpo-train"][..], arguments].concat());
        let plain = parse(&[]).unwrap();
        assert!(plain.command.is_none() && !plain.miniature.any_given());
        assert!(parse(&["--json"]).unwrap().miniature.any_given());
        assert!(parse(&["--quiet", "devices"]).unwrap().quiet);
        assert!(parse(&["devices", "--quiet"]).unwrap().quiet);
        assert!(parse(&["score", "--model", "m", "--data", "d", "--rows", "0"]).is_err());
    }

    #[test]
    fn whoever_answers_checks_the_length_asked_for() {
        for (length, good) in [("1", true), ("1000000", true), ("1000001", false)] {
            for command in ["generate", "chat"] {
                let flags = ["mpo-train", command, "--model", "m"];
                let flags = [&flags[..], &["--max-new-tokens", length]].concat();
                let parsed = Cli::try_parse_from(flags);
                assert_eq!(parsed.is_ok(), good, "{command} {length}");
            }
        }
    }
}
