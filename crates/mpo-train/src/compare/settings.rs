//! The settings that all runs of a comparison share: what is asked for now, and what it was started with.

use std::path::Path;

use mpo_trainer::{HyperParameters, RunFolder, TrainError, TrainOptions};

use super::plan::Entrant;
use super::subject::Subject;
use crate::cli::CompareArguments;
use crate::failure::Failure;
use crate::miniature;
use crate::session::Session;

/// What the comparison's own arguments say is not said by a run's as well.
pub(super) fn check_nothing_twice(options: &TrainOptions) -> Result<(), TrainError> {
    for (key, given, instead) in
        [("method", options.method.is_some(), "methods"), ("seed", options.seed.is_some(), "seeds")]
    {
        if given {
            let expected = format!("nothing beside --{instead}");
            return Err(TrainError::setting(key, expected, "a value"));
        }
    }
    Ok(())
}

/// The settings that a comparison was started with.
pub(super) fn started(held: &RunFolder) -> Result<TrainOptions, TrainError> {
    // Killed before they were written, it is started with what is asked for now.
    if !held.config_file().exists() {
        return Ok(TrainOptions::default());
    }
    let mut started = TrainOptions::from_file(&held.config_file())?;
    // The reference's numbers are where the folder is, even after it was moved.
    let within = started.output.as_ref().map(|path| path.join("reference"));
    if started.reference_cache == within {
        started.reference_cache = None;
    }
    Ok(started)
}

/// What is asked for now and, where that says nothing, what the comparison was started with.
pub(super) fn joined(options: TrainOptions, started: TrainOptions) -> Result<TrainOptions, TrainError> {
    let is_other = options.model.is_some() && options.model != started.model;
    let options = options.or(started);
    if is_other && is_miniature(&options) {
        let expected = "nothing beside the miniature's rows";
        let got = options.model.unwrap_or_default();
        return Err(TrainError::setting("model", expected, got));
    }
    Ok(options)
}

/// Whether the comparison is on what the program carries: nothing else is named, or it was started so.
pub(super) fn is_miniature(options: &TrainOptions) -> bool {
    match &options.data {
        Some(data) => data.as_path() == Path::new(miniature::DATA),
        None => options.model.is_none(),
    }
}

/// What the program carries has its own rows and prompts: settings that are for others would change nothing.
pub(super) fn check_miniature(options: &TrainOptions, arguments: &CompareArguments) -> Result<(), TrainError> {
    let given = [
        ("rows", options.rows.is_some()),
        ("dominant", options.dominant.is_some()),
        ("skip_bad_rows", options.skip_bad_rows.is_some()),
        ("language", options.language.is_some()),
        ("columns", options.columns.is_some()),
        ("split", options.split.is_some()),
        ("template", options.template.is_some()),
        ("template_args", options.template_args.is_some()),
        ("system_message", options.system_message.is_some()),
        ("special_tokens_in_text", options.special_tokens_in_text.is_some()),
        ("eval_rows", options.eval_rows.is_some()),
        ("eval_data", options.eval_data.is_some()),
        ("benign", arguments.benign.is_some()),
        ("max_new_tokens", arguments.max_new_tokens.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((key, _)) => {
            let expected = "nothing beside the miniature's own rows and prompts";
            Err(TrainError::setting(key, expected, "a value"))
        }
    }
}

/// A hyper-parameter that none of the methods has would change nothing, and nobody would notice.
pub(super) fn check_used(flags: &HyperParameters, entrants: &[Entrant]) -> Result<(), Failure> {
    let used = |key: &str| entrants.iter().any(|entrant| entrant.has(key));
    let Some(key) = flags.0.keys().find(|key| !used(key)) else {
        return Ok(());
    };
    let names: Vec<&str> = entrants.iter().map(|entrant| &*entrant.name).collect();
    let without = match &names[..] {
        [name] => format!("{name} does not have"),
        names => format!("{} do not have", names.join(", ")),
    };
    Err(Failure::new(
        format!("{key}: expected a hyper-parameter of one of the methods compared, got one that {without}"),
        format!("leave --{} out, or add a method that has it to --methods", key.replace('_', "-")),
    ))
}

/// Gives every run the settings that all share, and checks that they make a run: nothing is trained before.
pub(super) fn complete(
    entrants: &mut [Entrant],
    hyper_parameters: &HyperParameters,
    subject: &Subject,
    session: &Session,
) -> Result<(), Failure> {
    let mut told = vec![];
    for entrant in entrants {
        let mut own = hyper_parameters.clone();
        own.0.retain(|key, _| entrant.has(key));
        for point in &mut entrant.points {
            let weaker = TrainOptions { hyper_parameters: own.clone(), ..subject.options.clone() };
            point.options = point.options.clone().or(weaker);
            let (_, cut) = subject.rows(&point.options.clone().resolve()?)?;
            // Most runs are trained on the same rows, cut alike, and that is said once.
            if cut.is_worth_saying() && !told.contains(&cut) {
                session.note(&cut);
                told.push(cut);
            }
        }
    }
    Ok(())
}
