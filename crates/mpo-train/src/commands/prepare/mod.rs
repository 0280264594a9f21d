//! `mpo-train prepare`: rows from a model's own refusals.

mod arguments;
mod benign;
mod table;
mod translator;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use mpo_chat::ModelFolder;
use mpo_data::{DataError, Language, ReadReport};
use mpo_eval::{BenignPrompt, read_benign};
use mpo_models::{CausalLm, Sampling};
use mpo_prepare::{Asking, Cases, Checks, LocalSubject, Preparation, Prepared, RecipeDefinition, Sources, Subject};
use mpo_progress::Progress as _;
use mpo_trainer::{Identity, Kind, RunFolder, TrainError, check_ours, read_rows};
use serde_json::{Map, Value};

use crate::apart::{OUTPUT, check_apart};
use crate::commands::eval::judge::Ready;
use crate::failure::Failure;
use crate::output;
use crate::session::Session;
pub(super) use arguments::PrepareArguments;

pub(super) fn run(arguments: &PrepareArguments, quiet: bool) -> Result<(), Failure> {
    prepare(arguments, quiet).map_err(Failure::without_resume)
}

fn prepare(arguments: &PrepareArguments, quiet: bool) -> Result<(), Failure> {
    let session = Session::new(arguments.model.device, quiet)?;
    session.catch_interrupts()?;
    let (output, data) = (&arguments.output, &arguments.data);
    check_ours(output, Kind::Preparation)?;
    check_apart((OUTPUT, output), ("--model", Path::new(&arguments.model.model)))?;
    check_apart((OUTPUT, output), ("--data", data))?;
    for (option, read) in
        [("--reference", arguments.reference.as_deref().map(Path::new)), ("--benign", arguments.benign.file())]
    {
        read.map_or(Ok(()), |read| check_apart((OUTPUT, output), (option, read)))?;
    }
    check_recipe(arguments)?;
    Preparation::check_recipe(output, arguments.recipe)?;
    let asking = asking(arguments)?;
    let mut translators = arguments.translator.ready(&session.device)?;
    let Read { cases, dominant, read, dropped } = read(arguments, &session)?;
    Preparation::check_languages(dominant, &arguments.languages)?;
    let cases = match arguments.rows.rows {
        Some(most) => cases.limit(most),
        None => cases,
    };
    let benign = arguments.benign.prompts(dominant, arguments.recipe, &session)?;
    let folder = ModelFolder::open_to_ask(&arguments.model.model, &arguments.model.template_options(), &session)?;
    let ready = Ready::new(&arguments.judge, &session)?;
    let hash = arguments.model.answers_of(&folder.content_hash(&session)?);
    let model = arguments.model.load(&folder, &session)?;
    let held = RunFolder::enter(output, Kind::Preparation, Identity::default())?;
    let mut judge = ready.open(&held, &session)?;
    let (batch_size, progress) = (arguments.batch_size, &session);
    let subject = LocalSubject { folder: &folder, model: &model, hash: &hash, batch_size, progress };
    let other = arguments.reference.as_deref().map(|name| Loaded::new(name, arguments, &session)).transpose()?;
    let reference =
        other.as_ref().map(|Loaded { folder, model, hash }| LocalSubject { folder, model, hash, ..subject });
    let languages = once(&arguments.languages);
    let preparation = Preparation {
        dominant,
        recipe: arguments.recipe,
        languages: &languages,
        asking,
        dominant_pairs: arguments.dominant_pairs,
        checks: Checks { length_ratio: arguments.length_ratio, back_translation: arguments.back_translation },
        benign: benign.as_ref(),
        subject: &subject,
        reference: reference.as_ref().map(|reference| reference as &dyn Subject),
        held: &held,
        progress: &session,
    };
    let sources = Sources {
        model: arguments.model.model.clone(),
        model_hash: hash.clone(),
        data: data.clone(),
        read,
        dropped,
        settings: settings(arguments, &folder, &ready, other.as_ref(), asking)?,
    };
    let prepared = preparation.run(cases, sources, &mut *judge, &mut translators)?;
    note_calls(&prepared, &session);
    session.note(&format_args!("written to {}", preparation.rows_file().display()));
    if prepared.lines().any(|(of, is_benign)| is_benign && of.kept > 0) {
        session.note(&"MPO may lower the gaps of benign rows to the dominant one: train it on them with --one-sided");
    }
    if arguments.json {
        output::json(&prepared)?;
    } else {
        output::line(table::table(&prepared))?;
    }
    if prepared.kept() > 0 {
        return Ok(());
    }
    Err(Failure::new(
        format!("{}: expected rows, got none from {} prompts", output.display(), prepared.answers.prompts),
        format!(
            "report.html says why each was dropped; {}another --translator finds more translations",
            more(arguments.recipe)
        ),
    ))
}

/// What finds more rows of a recipe beside translations.
fn more(recipe: &RecipeDefinition) -> &'static str {
    match (recipe.refuses, recipe.is_greedy()) {
        (true, _) => "more --samples find more refusals, ",
        (false, true) => "",
        (false, false) => "more --samples give more answers to choose of, ",
    }
}

/// A second model.
struct Loaded {
    folder: ModelFolder,
    model: CausalLm,
    hash: String,
}

impl Loaded {
    fn new(name: &str, arguments: &PrepareArguments, session: &Session) -> Result<Self, Failure> {
        let folder = ModelFolder::open(name, &arguments.model.template_options(), session)?;
        let hash = arguments.model.answers_of(&folder.content_hash(session)?);
        let model = arguments.model.load(&folder, session)?;
        Ok(Self { folder, model, hash })
    }
}

/// Whether the recipe has what it needs, and nothing that it does not.
fn check_recipe(arguments: &PrepareArguments) -> Result<(), Failure> {
    let (recipe, reference) = (arguments.recipe, &arguments.reference);
    recipe.check_reference(reference.is_some())?;
    if let (Some(reference), false) = (reference, recipe.needs_reference) {
        return Err(Failure::new(
            format!("--reference: expected a recipe that asks a second model, got {} with {reference}", recipe.name),
            "leave it out, or name the recipe icr",
        ));
    }
    if arguments.dominant_pairs && !recipe.is_of_one_language() {
        return Err(Failure::new(
            format!("--dominant-pairs: expected a recipe that makes rows of one language, got {}", recipe.name),
            "leave it out, or name the recipe mapo, lacomsa or icr",
        ));
    }
    if recipe.is_greedy() && (arguments.samples.is_some_and(|samples| samples > 1) || arguments.sampling.draws()) {
        return Err(Failure::new(
            format!(
                "--samples, --temperature, --top-p, --top-k: expected a recipe that draws answers, got {}",
                recipe.name
            ),
            "leave them out: it takes the most probable answer",
        ));
    }
    if !recipe.refuses && arguments.judge.is_named() {
        return Err(Failure::new(
            format!("--judge: expected a recipe whose answers are judged, got {}", recipe.name),
            "leave it out: nothing is judged",
        ));
    }
    if recipe.draws.is_some() && arguments.samples == Some(1) {
        return Err(Failure::new(
            format!("--samples: expected at least 2, of which {} chooses, got 1", recipe.name),
            "leave it out, or give more",
        ));
    }
    Ok(())
}

/// How the model is asked.
fn asking(arguments: &PrepareArguments) -> Result<Asking, Failure> {
    let (samples, given) = (arguments.samples.or(arguments.recipe.draws).unwrap_or(1), &arguments.sampling);
    let mut sampling = given.sampling()?;
    if samples > 1 && sampling.is_none() {
        if given.temperature.is_some() {
            return Err(Failure::new(
                format!(
                    "--samples {samples}: expected a temperature above 0, got 0, at which all answers are the same"
                ),
                "give another --temperature, or one sample",
            ));
        }
        sampling = Some(Sampling::new(1.0, given.top_k, given.top_p.unwrap_or(1.0), given.seed)?);
    }
    Ok(Asking { max_new_tokens: arguments.max_new_tokens, samples, sampling })
}

/// The prompts of the data.
struct Read {
    cases: Cases,
    dominant: Language,
    /// Rows that were read, and those of them that the reader dropped.
    read: usize,
    dropped: usize,
}

/// Reads rows; or prompts alone, where the recipe needs no bad answers.
fn read(arguments: &PrepareArguments, session: &Session) -> Result<Read, Failure> {
    let data = &arguments.data;
    match read_rows(data, &arguments.rows.options(), None, None, session) {
        Ok(dataset) => {
            let (dominant, report) = (dominant(arguments, &dataset.report)?, dataset.report);
            let (read, dropped) = (report.read, report.read - report.kept);
            Ok(Read { cases: Cases::of(dataset.rows, dominant, arguments.recipe), dominant, read, dropped })
        }
        Err(error) if arguments.recipe.refuses => Err(prompts_alone(error)),
        Err(error) if !is_of_no_format(&error) || !are_prompts(data) => Err(error.into()),
        Err(_) => {
            let prompts = read_benign(data)?;
            note_parallel(&prompts, session);
            let first = prompts.first().map(|prompt| prompt.language);
            let dominant = arguments.rows.dominant.or(first).ok_or(TrainError::NoRows)?;
            let read = prompts.len();
            Ok(Read { cases: Cases::of_prompts(prompts, data, dominant)?, dominant, read, dropped: 0 })
        }
    }
}

/// Whether a file has prompts and nothing else, by its first line.
fn are_prompts(path: &Path) -> bool {
    let mut lines =
        fs::File::open(path).into_iter().flat_map(|file| BufReader::new(file).lines().map_while(Result::ok));
    let first = lines.find(|line| !line.trim().is_empty());
    let first: Option<Map<String, Value>> = first.and_then(|line| serde_json::from_str(&line).ok());
    first.is_some_and(|line| line.contains_key("prompt") && line.keys().all(|key| key == "prompt" || key == "language"))
}

/// Tells that prompts of several languages are taken as the same, by their order alone.
fn note_parallel(prompts: &[BenignPrompt], session: &Session) {
    let languages: BTreeSet<Language> = prompts.iter().map(|prompt| prompt.language).collect();
    if languages.len() > 1 {
        let each = prompts.len() / languages.len();
        session
            .note(&format_args!("{each} prompts taken as the same in {} languages, in their order", languages.len()));
    }
}

/// Whether rows have no answers where a format has them.
fn is_of_no_format(error: &TrainError) -> bool {
    matches!(error, TrainError::Data(DataError::UnknownFormat { .. } | DataError::MissingField { .. }))
}

/// The language of the prompts: the one that is named, else the dominant one of the rows, else that of most.
fn dominant(arguments: &PrepareArguments, report: &ReadReport) -> Result<Language, Failure> {
    let most = report.languages.iter().max_by_key(|(language, rows)| (**rows, std::cmp::Reverse(**language)));
    let dominant = arguments.rows.dominant.or(report.dominant).or(most.map(|(language, _)| *language));
    dominant.ok_or_else(|| Failure::from(TrainError::NoRows))
}

/// Rows of no known format may be prompts alone, and what is missing is a bad answer.
fn prompts_alone(error: TrainError) -> Failure {
    match error {
        error if is_of_no_format(&error) => Failure::new(
            error.to_string(),
            "prompts alone are not enough: each needs a bad answer, `rejected`, beside a `chosen` one, which is not used",
        ),
        error => error.into(),
    }
}

/// Languages in their order, each once.
fn once(languages: &[Language]) -> Vec<Language> {
    let mut once = vec![];
    for language in languages {
        if !once.contains(language) {
            once.push(*language);
        }
    }
    once
}

/// What decides the rows beside model and data, for the report.
fn settings(
    arguments: &PrepareArguments,
    folder: &ModelFolder,
    judge: &Ready,
    reference: Option<&Loaded>,
    asking: Asking,
) -> Result<BTreeMap<&'static str, String>, Failure> {
    let or_none = |value: Option<f64>| value.map_or("none".to_owned(), |value| value.to_string());
    let given = &arguments.sampling;
    let mut settings = BTreeMap::from([
        ("template", folder.template()),
        ("judge", judge.identity()),
        ("translators", arguments.translator.identity()?),
        ("max_new_tokens", asking.max_new_tokens.to_string()),
        ("samples", asking.samples.to_string()),
        ("length_ratio", arguments.length_ratio.to_string()),
        ("back_translation", or_none(arguments.back_translation)),
    ]);
    settings.extend(arguments.benign.settings());
    if !arguments.recipe.refuses {
        // Nothing is judged.
        settings.remove("judge");
        settings.extend(arguments.reference.clone().map(|reference| ("reference", reference)));
        settings.extend(reference.map(|reference| ("reference_hash", reference.hash.clone())));
    }
    if arguments.dominant_pairs {
        settings.insert("dominant_pairs", "true".into());
    }
    if asking.sampling.is_some() {
        settings.insert("temperature", given.temperature.unwrap_or(1.0).to_string());
        settings.insert("top_p", given.top_p.unwrap_or(1.0).to_string());
        settings.insert("top_k", given.top_k.map_or("all".to_owned(), |top_k| top_k.to_string()));
        settings.insert("seed", given.seed.to_string());
    }
    Ok(settings)
}

/// Says what translators were asked for now: the report has what they did in all.
fn note_calls(prepared: &Prepared, session: &Session) {
    for of in prepared.translators.iter().filter(|of| of.texts > 0 || of.asked > 0) {
        let sent = match of.requests {
            0 => String::new(),
            requests => format!(" in {requests} requests"),
        };
        session.note(&format_args!(
            "{}: {} texts translated, {} characters, {} tokens; {} asked for now{sent}",
            of.translator,
            of.texts,
            of.characters,
            of.usage.prompt_tokens + of.usage.completion_tokens,
            of.asked
        ));
    }
}
