//! `mpo-train eval`: how safe a model is in each language, and how good.

mod arguments;
mod asked;
mod earlier;
mod gaps;
pub(super) mod judge;
mod notes;
mod price;

use std::fs;
use std::path::Path;

use mpo_chat::{ChatError, ModelFolder};
use mpo_data::Language;
use mpo_eval::{
    Asking, Benchmark, EVALUATION_FILE, Evaluation, Evaluator, Outcome, Sample, note_damaged, read_samples,
    samples_file,
};
use mpo_models::seal;
use mpo_progress::Progress as _;
use mpo_trainer::{Identity, Kind, RunFolder, TrainError, check_ours};

use super::report;
use crate::apart::{OUTPUT, check_apart};
use crate::failure::Failure;
use crate::output;
use crate::session::Session;
use crate::table;
pub(super) use arguments::EvalArguments;
use asked::asked;
use earlier::{earlier, output_folder};
use gaps::gaps;
use judge::Ready;

pub(super) fn run(arguments: &EvalArguments, quiet: bool) -> Result<(), Failure> {
    evaluate(arguments, quiet).map_err(Failure::without_resume)
}

fn evaluate(arguments: &EvalArguments, quiet: bool) -> Result<(), Failure> {
    if arguments.benchmarks.is_empty() && arguments.data.is_none() {
        return Err(Failure::new(
            "expected something to evaluate on, got neither --benchmark nor --data",
            "such as --benchmark multijail=MultiJail.csv, or --data rows.json for reward gaps",
        ));
    }
    let session = Session::new(arguments.model.device, quiet)?;
    session.catch_interrupts()?;
    let output = output_folder(arguments)?;
    check_ours(&output, Kind::Evaluation)?;
    check_apart((OUTPUT, &output), ("--model", Path::new(&arguments.model.model)))?;
    if let Some(data) = &arguments.data {
        check_apart((OUTPUT, &output), ("--data", data))?;
    }
    let asked = asked(arguments, &session)?;
    let model = &arguments.model;
    let folder = ModelFolder::open_to_ask(&model.model, &model.template_options(), &session)?;
    let ready = Ready::new(&arguments.judge, &session)?;
    let hash = folder.content_hash(&session)?;
    let guard = arguments.harm.guard(&folder, Some(&hash), &session)?;
    let model = arguments.model.load(&folder, &session)?;
    let held = RunFolder::enter(&output, Kind::Evaluation, Identity::default())?;
    let samples_path = |benchmark: &Benchmark| output.join(samples_file(benchmark.name));
    for (benchmark, _) in &asked {
        held.check_file(&samples_path(benchmark))?;
    }
    let asking = Asking {
        limit: arguments.limit,
        max_new_tokens: arguments.max_new_tokens,
        batch_size: arguments.batch_size,
        raw: arguments.raw,
    };
    let answers_of = arguments.model.answers_of(&hash);
    let evaluator = Evaluator::new(&folder, &model, &answers_of, &held, asking, &session);
    let evaluator = evaluator.guarded(guard.as_ref());
    let template = folder.template();
    // A model that is told of harm says other things: its results stand in a folder of their own.
    let (name, hash) = match &guard {
        None => (arguments.model.model.clone(), hash),
        Some(guard) => {
            (format!("{} with a harm classifier", arguments.model.model), format!("{hash} with {}", guard.identity()))
        }
    };
    let mut evaluation = Evaluation {
        model: name,
        model_hash: hash.clone(),
        template: Some(template.clone()),
        ..earlier(&output, &hash, &template)?
    };
    let judged_by = ready.identity();
    // What cannot stand beside earlier results is heard of before anything is computed.
    let mut kept = vec![];
    for (benchmark, items) in &asked {
        let settings = evaluator.settings(benchmark, &judged_by);
        let others = evaluation.others(benchmark, &settings, items)?;
        notes::unknown(benchmark, &others, &session);
        let others: Vec<_> = others.iter().map(|of| of.language).collect();
        kept.push((settings, others));
    }
    gaps(arguments, &folder, &model, &mut evaluation, &session).map_err(|failure| match failure {
        // Nothing was trained that could be resumed.
        Failure::Train(TrainError::Interrupted) => ChatError::Stopped.into(),
        failure => failure,
    })?;
    let mut judge = ready.open(&held, &session)?;
    let mut silent = None;
    // Written together at the end, so that files agree with each other.
    let mut files = vec![];
    for ((benchmark, items), (settings, others)) in asked.iter().zip(kept) {
        let (result, mut samples) = evaluator.benchmark(benchmark, items, &mut *judge)?;
        session.note(&format_args!("{}: {} questions", benchmark.title, items.len()));
        notes::doubtful(benchmark, &result, &session);
        if samples.iter().all(|sample| sample.outcome == Outcome::Missing) {
            silent.get_or_insert((benchmark.title, samples.len()));
        }
        let file = samples_path(benchmark);
        if !others.is_empty() {
            samples = with_earlier(samples, &file, benchmark, &others, &session)?;
        }
        files.push((file, samples));
        evaluation.add(result.decided_by(settings, items));
    }
    fs::create_dir_all(output.join("samples")).map_err(Failure::io(&output))?;
    for (path, samples) in &files {
        held.write(path, &lines(path, samples)?)?;
    }
    let usage = evaluation.judging.usage;
    evaluation.judging.cost = arguments.judge_price.map(|price| price.of(usage));
    held.write(&output.join(EVALUATION_FILE), &evaluation.to_json()?)?;
    held.write_table(&output.join("evaluation.csv"), &evaluation.to_csv()?)?;
    report::write(&held)?;
    session.note(&format_args!("written to {}", output.display()));
    if arguments.json {
        output::json(&evaluation)?;
    } else {
        output::line(table::evaluation(&evaluation))?;
    }
    match silent {
        None => Ok(()),
        Some((title, questions)) => Err(Failure::new(
            format!("{title}: expected an outcome, got none to {questions} questions"),
            "the reasons stand in samples/; a judge that reads these languages can be named with --judge",
        )),
    }
}

/// The samples behind those of an earlier command in `languages`, which were not asked in again.
fn with_earlier(
    mut samples: Vec<Sample>,
    file: &Path,
    benchmark: &Benchmark,
    languages: &[Option<Language>],
    session: &Session,
) -> Result<Vec<Sample>, Failure> {
    let kept = notes::listed(languages.iter().copied());
    session.note(&format_args!("{}: earlier results are kept in {kept}", benchmark.title));
    let (mut all, damaged) = read_samples(file)?;
    note_damaged(&samples_file(benchmark.name), &damaged, session);
    all.retain(|sample| languages.contains(&sample.language));
    all.append(&mut samples);
    Ok(all)
}

/// Samples, one per line.
fn lines(path: &Path, samples: &[Sample]) -> Result<Vec<u8>, Failure> {
    let line = |sample| seal(sample).map(String::into_bytes);
    let lines: Result<Vec<_>, _> = samples.iter().map(line).collect();
    Ok(lines.map_err(|error| Failure::io(path)(error.into()))?.concat())
}
