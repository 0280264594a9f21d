//! The settings that all runs of a comparison share: what is asked for now, and what it was started with.

use std::path::Path;

use mpo_eval::compare::Entrant;
use mpo_trainer::{Decides, HyperParameters, SETTINGS, Setting, TrainError, TrainOptions};

use super::CompareArguments;
use crate::failure::Failure;
use crate::miniature;

/// What the comparison's own arguments say is not said by a run's as well. A file of one run's settings has both, and
/// hyper-parameters of its method that would be given to others.
pub(super) fn check_nothing_twice(options: &TrainOptions) -> Result<(), Failure> {
    let method = options.method.map(|method| method.to_string());
    let seed = options.seed.map(|seed| seed.to_string());
    let benign = options.eval_benign.as_ref().map(|path| path.display().to_string());
    for (key, given, instead) in
        [("method", method, "methods"), ("seed", seed, "seeds"), ("eval_benign", benign, "benign")]
    {
        if let Some(given) = given {
            let error = TrainError::setting(key, format!("nothing beside --{instead}"), given);
            return Err(Failure::new(
                options.locate(error).to_string(),
                format!(
                    "say it as --{instead}; of a file of one run's settings, leave out method, seed and the method's hyper-parameters"
                ),
            ));
        }
    }
    Ok(())
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
        Some(data) => data.single() == Some(Path::new(miniature::DATA)),
        None => options.model.is_none(),
    }
}

/// What the program carries has its own rows and prompts: settings that are for others would change nothing.
pub(super) fn check_miniature(options: &TrainOptions, arguments: &CompareArguments) -> Result<(), TrainError> {
    let of_rows = |setting: &&Setting| setting.decides == Decides::Identity || setting.key == "eval_data";
    let mut given: Vec<&str> = SETTINGS
        .iter()
        .filter(of_rows)
        .filter(|setting| setting.is_given(options))
        .map(|setting| setting.key)
        .collect();
    let asked = [("benign", arguments.benign.is_some()), ("max_new_tokens", arguments.max_new_tokens.is_some())];
    given.extend(asked.iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key));
    match given.first() {
        None => Ok(()),
        Some(&key) => {
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
