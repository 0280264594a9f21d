//! `mpo-train compare`: several methods on one model and one data set, each from the same start, measured on rows that
//! none was trained on.

mod arguments;
mod settings;
mod table;

use std::path::{Path, PathBuf};

use indicatif::HumanDuration;
use mpo_eval::compare::{self, Compare, NextRun, Request, Subject};
use mpo_eval::note_short;
use mpo_progress::Progress as _;
use mpo_trainer::{Identity, Kind, RunFolder, TrainError, TrainOptions, check_ours, is_marked};

use crate::apart::{check_cache, check_run};
use crate::failure::Failure;
use crate::miniature::Miniature;
use crate::output;
use crate::session::Session;
pub(super) use arguments::CompareArguments;
use settings::{check_miniature, check_nothing_twice, check_used, is_miniature, joined};

pub(crate) fn run(arguments: CompareArguments, quiet: bool) -> Result<(), Failure> {
    let mut options = arguments.options.0.clone();
    if let Some(file) = &arguments.config {
        options = options.or(TrainOptions::from_file(file)?);
    }
    options = options.with_shared_recipe()?;
    check_nothing_twice(&options)?;
    let output = options.output.get_or_insert_with(|| PathBuf::from("runs/compare")).clone();
    run_in(&output, options, arguments, quiet).map_err(|failure| {
        if is_marked(&output, Kind::Compare) {
            failure
        } else {
            // A start that failed left nothing to resume.
            failure.without_resume()
        }
    })
}

/// Compares in a folder.
fn run_in(output: &Path, options: TrainOptions, arguments: CompareArguments, quiet: bool) -> Result<(), Failure> {
    let flags = arguments.options.0.hyper_parameters.clone();
    let mut held = if arguments.resume {
        Some(RunFolder::open(output, Kind::Compare)?)
    } else {
        RunFolder::check_new(output, Kind::Compare)?;
        None
    };
    let started = held.as_ref().map(compare::started).transpose()?.unwrap_or_default();
    let request = request(&arguments).completed(held.as_ref())?;
    let mut options = joined(options, started)?;
    if let (None, Some((_, first))) = (&options.data, request.data_sets().first()) {
        options.data = Some(first.to_path_buf().into());
    }
    if let Some(cache) = &options.reference_cache {
        check_cache(cache, output)?;
        check_ours(cache, Kind::Reference)?;
    }
    options.reference_cache.get_or_insert_with(|| output.join("reference"));
    let is_miniature = is_miniature(&options);
    if is_miniature {
        check_miniature(&options, &arguments)?;
    }
    // Hyper-parameters are checked with the method that they belong to.
    let hyper_parameters = std::mem::take(&mut options.hyper_parameters);
    let device = options.device.unwrap_or(mpo_trainer::DeviceChoice::Auto);
    let session = Session::new(device, quiet)?;
    session.catch_interrupts()?;
    if let Some(held) = &held {
        held.mend_reference(&session)?;
    }
    let subject = if is_miniature {
        // It is unpacked there.
        let taken = match held.take() {
            Some(taken) => taken,
            None => RunFolder::create(output, Kind::Compare, Identity::default())?,
        };
        let subject = Miniature::new(&taken, &session)?.subject(options)?;
        held = Some(taken);
        subject
    } else {
        check_run(&options.clone().resolve()?)?;
        let subject = Subject::read(options, &request, &session)?;
        let asked = subject.test.prompts.iter().map(|prompt| prompt.language);
        let refuses = |language, answer: &str| Ok((subject.test.refuses)(language, answer));
        note_short(&subject.folder, asked, subject.test.max_new_tokens, refuses, &session)?;
        subject
    };
    let other = subject.other_language().ok_or(TrainError::NoRows)?;
    let entrants = compare::entrants(&request, other)?;
    check_used(&flags, &entrants)?;
    let work = Compare {
        subject: &subject,
        request: &request,
        hyper_parameters: &hyper_parameters,
        save_models: arguments.save_models,
        device: &session.device,
        progress: &session,
    };
    let comparison = work.run(entrants, output, held, &mut |run| note_run(run, &session))?;
    if arguments.json { output::json(&comparison) } else { output::line(table::table(&comparison)) }
}

/// What the command line asks for.
fn request(arguments: &CompareArguments) -> Request {
    Request {
        methods: arguments.methods.clone(),
        all: arguments.all,
        grid: arguments.grid.clone(),
        search: arguments.search,
        seeds: arguments.seeds.clone(),
        benign: arguments.benign.clone(),
        max_new_tokens: arguments.max_new_tokens,
    }
}

/// Tells the user which run comes next, and how long all may take.
fn note_run(run: NextRun<'_>, session: &Session) {
    let NextRun { number, of, name, settings, seed, left } = run;
    let left = left.map_or(String::new(), |left| format!("; about {:#} left", HumanDuration(left)));
    let name = [name, settings].join(" ");
    session.note(&format_args!("{number}/{of}  {}, seed {seed}{left}", name.trim_end()));
}
