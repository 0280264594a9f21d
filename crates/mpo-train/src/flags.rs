//! Flags of the settings of a run: each follows from its declaration.

use std::ffi::OsString;
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, StyledStr, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use mpo_trainer::{
    Choice, DeviceChoice, OurFlag, SETTINGS, Setting, Takes, TrainOptions, flag_elsewhere, hyper_parameters,
    typed_value,
};

use crate::device::is_built_in;

/// The settings that flags give.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags(pub(crate) TrainOptions);

/// Reads one of a few words, which help lists.
pub(crate) fn choices<T: Choice + FromStr<Err = String> + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let words = T::ALL.iter().map(|&(_, name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(words).try_map(|text| text.parse::<T>())
}

/// Reads where to compute.
pub(crate) fn devices() -> impl TypedValueParser<Value = DeviceChoice> {
    let words = DeviceChoice::ALL.iter().map(|&(_, name, help)| device(name, help));
    PossibleValuesParser::new(words).try_map(|text| text.parse::<DeviceChoice>())
}

/// Help lists what this build computes on. The rest is read too, for who asks for it is told how to build it.
fn device(name: &'static str, help: &'static str) -> PossibleValue {
    let is_here = |choice| choice == DeviceChoice::Auto || is_built_in(choice);
    PossibleValue::new(name).help(help).hide(!name.parse().is_ok_and(is_here))
}

/// An error about what was typed; a flag that is called so in another program is told with what the command calls it.
pub(crate) fn with_our_name(mut error: clap::Error, command: &Command, typed: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return error };
    let named = typed.iter().find_map(|word| command.find_subcommand(word)).unwrap_or(command);
    let has = |flag: &str| named.get_arguments().any(|argument| argument.get_long() == Some(flag));
    // That there is no such thing is of interest to who trains.
    let fits = |ours: &OurFlag| has(ours.name.as_deref().unwrap_or("lr"));
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(OurFlag { tip, .. }) = flag_elsewhere(flag).filter(fits)
    {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let command = command.args(SETTINGS.iter().map(flag));
        command.args(hyper_parameters().into_iter().map(|(name, uses)| {
            let lines: Vec<String> = uses
                .iter()
                .map(|one| format!("{}: {} [default: {}]", one.objectives.join(", "), one.help, one.default))
                .collect();
            let flag = Arg::new(name)
                .long(name.replace('_', "-"))
                .value_name("X")
                .allow_negative_numbers(true)
                .help(lines.join("; "))
                .help_heading("Objective");
            if uses.iter().all(|one| one.is_switch) { switch(flag) } else { flag }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let Self(options) = self;
        for setting in SETTINGS {
            for text in matches.get_many::<String>(setting.key).into_iter().flatten() {
                let invalid = |problem| clap::Error::raw(ErrorKind::ValueValidation, problem);
                setting.set(options, text).map_err(invalid)?;
            }
        }
        for (name, _) in hyper_parameters() {
            if let Some(text) = matches.get_one::<String>(name) {
                options.hyper_parameters.0.insert(name.into(), typed_value(text));
            }
        }
        Ok(())
    }
}

/// The same for what is on or off: without a value, on.
fn switch(flag: Arg) -> Arg {
    flag.num_args(0..=1).default_missing_value("true")
}

/// The flag of a setting.
fn flag(setting: &'static Setting) -> Arg {
    let flag = Arg::new(setting.key)
        .long(setting.flag())
        .value_name(setting.placeholder)
        .help(help(setting))
        .help_heading(setting.group)
        .allow_negative_numbers(true);
    let flag = if setting.key == "output" { flag.short('o') } else { flag };
    let flag = match setting.takes {
        Takes::One => flag,
        Takes::Switch => switch(flag),
        Takes::Several => flag.action(ArgAction::Append),
    };
    let words = (setting.words)();
    if words.is_empty() {
        return flag
            .value_parser(move |text: &str| setting.set(&mut TrainOptions::default(), text).map(|()| text.to_owned()));
    }
    let is_device = setting.key == "device";
    let plain = |(word, help)| PossibleValue::new(word).help(help);
    let words = words.into_iter().map(|word| if is_device { device(word.0, word.1) } else { plain(word) });
    flag.value_parser(PossibleValuesParser::new(words))
}

/// What a setting does, without the marks of Markdown, and its default.
fn help(setting: &Setting) -> StyledStr {
    let text = setting.help.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.replace(" (see [data.md](data.md))", "");
    let default = match &*(setting.default)() {
        "required" | "none" | "`none`" => String::new(),
        default => format!(" [default: {default}]"),
    };
    format!("{text}{default}").replace('`', "").into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Of {
        #[command(flatten)]
        flags: Flags,
    }

    fn given(flags: &[&str]) -> Result<TrainOptions, clap::Error> {
        Of::try_parse_from([&["of"][..], flags].concat()).map(|of| of.flags.0)
    }

    #[test]
    fn every_setting_and_hyper_parameter_has_a_flag() {
        let command = Of::command();
        let flags: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
        for flag in ["batch-size", "template-arg", "recipe", "beta", "sft-weight"] {
            assert!(flags.contains(&flag), "{flag}");
        }
        assert_eq!(flags.len(), SETTINGS.len() + hyper_parameters().len());
    }

    #[test]
    fn flags_set_what_they_name() {
        let options = given(&[
            "--lr",
            "1e-5",
            "-o",
            "runs/x",
            "--shuffle",
            "false",
            "--skip-bad-rows",
            "--template-arg",
            "a=1",
            "--template-arg",
            "b=2",
            "--device",
            "flex",
            "--beta",
            "-1",
            "--one-sided",
            "--length-normalized",
            "false",
            "--dominant",
            "sw",
        ]);
        let options = options.unwrap();
        assert_eq!((options.lr, options.shuffle, options.skip_bad_rows), (Some(1e-5), Some(false), Some(true)));
        assert_eq!(options.output.as_deref(), Some("runs/x".as_ref()));
        assert!(options.template_args.is_some_and(|given| given.contains("a") && given.contains("b")));
        assert_eq!(options.hyper_parameters.0["beta"], -1);
        assert_eq!(options.hyper_parameters.0["one_sided"], true);
        assert_eq!(options.hyper_parameters.0["length_normalized"], false);
        assert_eq!(options.dominant, "sw".parse().ok());
        assert_eq!(options.model, None);
    }

    #[test]
    fn help_lists_the_devices_of_this_build_and_all_are_read() {
        let command = Of::command();
        let listed = command.get_arguments().find(|argument| argument.get_id() == "device").unwrap();
        let listed: Vec<String> = listed
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| value.get_name().to_owned())
            .collect();
        for &(choice, name, _) in DeviceChoice::ALL {
            let is_here = choice == DeviceChoice::Auto || is_built_in(choice);
            assert_eq!(listed.iter().any(|of| of == name), is_here, "{name}");
            assert_eq!(given(&["--device", name]).unwrap().device, Some(choice));
        }
    }

    #[test]
    fn what_a_flag_cannot_be_is_told() {
        for (flags, expected) in [
            (["--lr", "fast"], "expected a number, got fast"),
            (["--epochs", "two"], "expected a number, got two"),
            (["--device", "gpu"], "possible values: auto, flex"),
            (["--recipe", "gemma"], "or a YAML file, got gemma"),
            (["--language", "xx-what"], "xx-what"),
        ] {
            let error = given(&flags).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
