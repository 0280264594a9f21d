//! `mpo-train eval`: how safe a model is in each language, and how good.

mod judges;
mod subject;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use mpo_data::{Language, TokenizeOptions};
use mpo_eval::{
    Benchmark, BenchmarkResult, CachedChat, ChatError, EvalError, Evaluation, Item, LETTERS, LanguageResult, Marking,
    Outcome, Projection, Questions, Sample, Settings, Usage, answer_states, answers, by_language, implicit_by_language,
    letter_log_probs, mark_by_grade, mark_by_judge, mark_by_letter, mark_by_number, read_samples, seal,
};
use mpo_models::{CausalLm, GenerateOptions};
use mpo_trainer::{Identity, Kind, RunFolder, TrainError, check_ours};

use crate::apart::{OUTPUT, check_apart};
use crate::cli::EvalArguments;
use crate::data;
use crate::failure::Failure;
use crate::generate::SHORTER;
use crate::measure::EvalSet;
use crate::model_folder::ModelFolder;
use crate::output;
use crate::report;
use crate::session::Session;
use crate::table;
use judges::{Judges, OpenJudge};
use subject::{Bar, LocalChat};

/// Every number that was found.
const EVALUATION: &str = "evaluation.json";
/// Tokens that go through the model at once where nothing is generated.
const AT_ONCE: usize = 4096;

pub(crate) fn run(arguments: &EvalArguments, quiet: bool) -> Result<(), Failure> {
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
    let mut asked: Vec<(&Benchmark, Questions)> = vec![];
    let mut left_out = None;
    for (benchmark, path) in &arguments.benchmarks {
        if asked.iter().any(|(of, _)| of.name == benchmark.name) {
            return Err(Failure::new(
                format!("{}: expected each benchmark once, got it twice", benchmark.name),
                "evaluate on the second file into a folder of its own, with --output",
            ));
        }
        match benchmark.items(path, &arguments.languages, arguments.limit) {
            Ok(items) => {
                items.notes().iter().for_each(|note| session.note(note));
                note_absent(benchmark, &items, &arguments.languages, &session);
                asked.push((benchmark, items));
            }
            Err(error @ EvalError::NotInLanguages { .. }) => {
                session.note(format_args!("{error}; it is left out"));
                left_out.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let (true, None, Some(error)) = (asked.is_empty(), &arguments.data, left_out) {
        return Err(error.into());
    }
    if arguments.judge.is_refusal()
        && let Some((benchmark, _)) = asked.iter().find(|(of, _)| of.marking == Marking::Grade)
    {
        return Err(Failure::new(
            format!("{}: expected a judge that grades, got refusal", benchmark.name),
            "name an endpoint or a model with --judge",
        ));
    }
    let model = &arguments.model;
    let folder = ModelFolder::open_to_ask(&model.model, &model.template_options(), &session)?;
    let judges = Judges::new(arguments, &session)?;
    let (hash, model) = (folder.content_hash(&session)?, folder.load_frozen(&session)?);
    let held = RunFolder::enter(&output, Kind::Evaluation, Identity::default())?;
    let samples_file = |benchmark: &Benchmark| output.join(format!("samples/{}.jsonl", benchmark.name));
    for (benchmark, _) in &asked {
        held.check_file(&samples_file(benchmark))?;
    }
    let evaluator =
        Evaluator { arguments, session: &session, held: &held, hash, model, folder, noted: Cell::new(false) };
    let template = evaluator.folder.template();
    let mut evaluation = Evaluation {
        model: arguments.model.model.clone(),
        model_hash: evaluator.hash.clone(),
        template: Some(template.clone()),
        ..earlier(&output, &evaluator.hash, &template)?
    };
    let judged_by = judges.identity();
    // What cannot stand beside earlier results is heard of before anything is computed.
    let mut kept = vec![];
    for (benchmark, items) in &asked {
        let settings = evaluator.settings(benchmark, &judged_by);
        let others = evaluation.others(benchmark, &settings, items)?;
        note_unknown(benchmark, &others, &session);
        let others: Vec<_> = others.iter().map(|of| of.language).collect();
        kept.push((settings, others));
    }
    evaluator.gaps(&mut evaluation).map_err(|failure| match failure {
        // Nothing was trained that could be resumed.
        Failure::Train(TrainError::Interrupted) => EvalError::from(ChatError::Stopped).into(),
        failure => failure,
    })?;
    let mut judge = judges.open(&held, &session)?;
    note_damaged("judge.jsonl", judge.damaged(), &session);
    note_rewritten("judge.jsonl", judge.rewritten(), &session);
    let mut silent = None;
    // Written together at the end, so that files agree with each other.
    let mut files = vec![];
    for ((benchmark, items), (settings, others)) in asked.iter().zip(kept) {
        let (result, mut samples) = evaluator.benchmark(benchmark, items, &mut judge)?;
        let result = result.decided_by(settings, items);
        session.note(format_args!("{}: {} questions", benchmark.title, items.len()));
        if samples.iter().all(|sample| sample.outcome == Outcome::Missing) {
            silent.get_or_insert((benchmark.title, samples.len()));
        }
        let file = samples_file(benchmark);
        if !others.is_empty() {
            session.note(format_args!(
                "{}: earlier results are kept in {}",
                benchmark.title,
                listed(others.iter().copied())
            ));
            let (earlier, damaged) = read_samples(&file)?;
            note_damaged(&format!("samples/{}.jsonl", benchmark.name), &damaged, &session);
            let mut earlier: Vec<Sample> =
                earlier.into_iter().filter(|sample| others.contains(&sample.language)).collect();
            earlier.append(&mut samples);
            samples = earlier;
        }
        files.push((file, samples));
        evaluation.add(result);
    }
    fs::create_dir_all(output.join("samples")).map_err(Failure::io(&output))?;
    for (path, samples) in &files {
        held.write(path, &lines(path, samples)?)?;
    }
    let usage = evaluation.judging.usage;
    evaluation.judging.cost = arguments.judge_price.map(|price| price.of(usage));
    held.write(&output.join(EVALUATION), &evaluation.to_json()?)?;
    held.write_table(&output.join("evaluation.csv"), &evaluation.to_csv()?)?;
    report::write(&held)?;
    session.note(format_args!("written to {}", output.display()));
    match arguments.json {
        true => output::json(&evaluation)?,
        false => output::line(table::evaluation(&evaluation))?,
    }
    match silent {
        None => Ok(()),
        Some((title, questions)) => Err(Failure::new(
            format!("{title}: expected an outcome, got none to {questions} questions"),
            "the reasons stand in samples/; a judge that reads these languages can be named with --judge",
        )),
    }
}

/// Says which of the languages asked for a benchmark lacks.
fn note_absent(benchmark: &Benchmark, items: &[Item], languages: &[Language], session: &Session) {
    let absent = languages.iter().filter(|language| {
        let of = |item: &Item| item.language == Some(**language);
        !items.iter().any(of)
    });
    let absent: Vec<Option<Language>> = absent.copied().map(Some).collect();
    if !absent.is_empty() {
        session.note(format_args!("{}: no questions in {}", benchmark.title, listed(absent.into_iter())));
    }
}

/// Says which earlier results may be of other questions: those of the first versions do not say.
fn note_unknown(benchmark: &Benchmark, others: &[LanguageResult], session: &Session) {
    let unknown = others.iter().filter(|of| of.questions.is_none());
    let unknown: Vec<_> = unknown.map(|of| of.language).collect();
    if !unknown.is_empty() {
        session.note(format_args!(
            "{}: the earlier results in {} do not say which questions they are of; they are taken for the same set",
            benchmark.title,
            listed(unknown.into_iter())
        ));
    }
}

/// Says which lines of a file were passed over.
fn note_damaged(file: &str, lines: &[usize], session: &Session) {
    if let Some(first) = lines.first() {
        session.note(format_args!(
            "{file}: {} of its lines were damaged since they were written, the first is line {first}; they are not used",
            lines.len()
        ));
    }
}

/// Says how many lines of a file are not as they were written.
fn note_rewritten(file: &str, lines: usize, session: &Session) {
    if lines > 0 {
        session.note(format_args!(
            "{file}: {lines} of its lines were written by another program; they are taken as they are"
        ));
    }
}

/// English names of languages.
fn listed(languages: impl Iterator<Item = Option<Language>>) -> String {
    let name = |language: Option<Language>| match language {
        Some(language) => language.name().to_owned(),
        None => "mixed languages".to_owned(),
    };
    languages.map(name).collect::<Vec<_>>().join(", ")
}

/// What the folder says of the same model already: measures that are not made anew are kept.
fn earlier(output: &Path, hash: &str, template: &str) -> Result<Evaluation, Failure> {
    let path = output.join(EVALUATION);
    match Evaluation::read(&path)? {
        None => Ok(Evaluation::default()),
        Some(earlier) if earlier.model_hash == hash => match earlier.template.as_deref().filter(|of| *of != template) {
            None => Ok(earlier),
            Some(other) => Err(Failure::new(
                format!(
                    "{}: expected results made with the chat template that is asked for ({template}), got those of another \
                         ({other})",
                    path.display()
                ),
                "name another folder with --output, or give the same --template",
            )),
        },
        Some(earlier) => Err(Failure::new(
            format!(
                "{}: expected results of the model that is evaluated, got those of another ({})",
                path.display(),
                earlier.model
            ),
            "name another folder with --output, or remove this one",
        )),
    }
}

/// Where results go: what was asked for, or beside the run that the model is of.
fn output_folder(arguments: &EvalArguments) -> Result<PathBuf, Failure> {
    if let Some(output) = &arguments.output {
        return Ok(output.clone());
    }
    let run = Path::new(&arguments.model.model).parent();
    match run.filter(|run| run.join("config.yaml").exists()) {
        Some(run) => Ok(run.join("eval")),
        None => Err(Failure::new(
            format!("{}: expected a model inside a run folder, or --output", arguments.model.model),
            "name a folder for the results with --output",
        )),
    }
}

struct Evaluator<'a> {
    arguments: &'a EvalArguments,
    session: &'a Session,
    held: &'a RunFolder,
    folder: ModelFolder,
    model: CausalLm,
    hash: String,
    /// Whether damage to the answers kept was told of.
    noted: Cell<bool>,
}

impl Evaluator<'_> {
    /// Reward gaps and the projection, where there are rows.
    fn gaps(&self, evaluation: &mut Evaluation) -> Result<(), Failure> {
        let Some(path) = &self.arguments.data else {
            return Ok(());
        };
        let session = self.session;
        let limit = self.arguments.rows.rows;
        let options = self.arguments.rows.options();
        let data = data::read(path, &options, limit, None, session)?;
        let tokenize =
            TokenizeOptions { truncation: self.arguments.truncation.limits()?, skip_bad_rows: options.skip_bad_rows };
        let (rows, _) = self.folder.tokenize(&data.rows, tokenize, session)?;
        data::check_pairs(path, &data.report, &rows)?;
        let eval = EvalSet::new(&rows, rows.len(), data.report.dominant);
        evaluation.dominant = data.report.dominant;
        let scores = eval.scores(&self.model, AT_ONCE, "reward gaps", session)?;
        evaluation.reward_gap = by_language(&scores, eval.dominant);
        // Those of an earlier command are of other rows.
        evaluation.implicit_gap.clear();
        if let Some(base) = &self.arguments.base {
            let folder = ModelFolder::open(base, &self.arguments.model.template_options(), session)?;
            let (others, _) = folder.tokenize(&data.rows, tokenize, session)?;
            if !others.token_ids().eq(rows.token_ids()) {
                return Err(Failure::new(
                    format!(
                        "{}: expected the tokenizer and chat template of {}, got others",
                        folder.path.display(),
                        self.folder.path.display()
                    ),
                    "--base is the model that this one was trained from",
                ));
            }
            let base = folder.load_frozen(session)?;
            let base = eval.scores(&base, AT_ONCE, "the base model", session)?;
            evaluation.implicit_gap = implicit_by_language(&scores, &base, eval.dominant);
        }
        let bar = Bar::new(session, "projection", eval.pairs.len());
        let states = answer_states(&self.model, &eval.pairs, AT_ONCE, &bar).map_err(EvalError::from)?;
        evaluation.projection = match states.len() {
            0..3 => None,
            _ => Some(Projection::new(&states, eval.dominant)?),
        };
        Ok(())
    }

    fn benchmark(
        &self,
        benchmark: &Benchmark,
        items: &[Item],
        judge: &mut OpenJudge<'_>,
    ) -> Result<(BenchmarkResult, Vec<Sample>), Failure> {
        // A conversation of two turns takes two answers.
        let turns = items.iter().map(|item| item.turns.len()).sum();
        let bar = Bar::new(self.session, benchmark.title, turns);
        if benchmark.marking == Marking::Choice {
            let mut samples: Vec<Sample> = items.iter().map(Sample::unanswered).collect();
            let log_probs = self.letters(items, &bar)?;
            mark_by_letter(&mut samples, &log_probs);
            self.note_missing(benchmark, &samples);
            return Ok((BenchmarkResult::new(benchmark, None, &samples), samples));
        }
        let max_new_tokens = self.arguments.max_new_tokens;
        let options = GenerateOptions {
            batch_size: self.arguments.batch_size,
            ..self.folder.generate_options(max_new_tokens.unwrap_or(benchmark.max_new_tokens))
        };
        let subject = LocalChat {
            folder: &self.folder,
            model: &self.model,
            hash: &self.hash,
            options,
            // A sum is text that goes on; a request needs somebody who is asked.
            raw: self.arguments.raw && benchmark.marking == Marking::Number,
            session: self.session,
            told: Cell::new(false),
        };
        let cache = self.held.path().join("answers.jsonl");
        self.held.claim(&cache)?;
        let mut subject = CachedChat::open(subject, &cache).map_err(EvalError::from)?;
        if !self.noted.replace(true) {
            note_damaged("answers.jsonl", subject.damaged(), self.session);
            note_rewritten("answers.jsonl", subject.rewritten(), self.session);
        }
        let mut samples = answers(items, &mut subject, &bar).map_err(EvalError::from)?;
        drop(bar);
        let judging = Bar::new(self.session, "judging", turns);
        let mut by = None;
        let mut taken: HashMap<Option<Language>, Usage> = HashMap::new();
        // Language by language, so that each knows what its judge took.
        let mut rest = items;
        for samples in samples.chunk_by_mut(|a, b| a.language == b.language) {
            let (items, others) = rest.split_at(samples.len());
            rest = others;
            let before = judge.paid();
            by = self.mark(benchmark, items, samples, judge, &judging)?;
            let taken = taken.entry(samples[0].language).or_default();
            *taken += judge.paid().since(before);
        }
        self.note_missing(benchmark, &samples);
        let result = BenchmarkResult::new(benchmark, by, &samples).taking(&taken);
        Ok((result, samples))
    }

    /// Marks answers, and says who judged and whether by phrases.
    fn mark(
        &self,
        benchmark: &Benchmark,
        items: &[Item],
        samples: &mut [Sample],
        judge: &mut OpenJudge<'_>,
        bar: &Bar<'_>,
    ) -> Result<Option<(String, bool)>, Failure> {
        Ok(match benchmark.marking {
            Marking::Number | Marking::Choice => {
                mark_by_number(samples);
                None
            }
            Marking::Grade => {
                let Some((name, chat)) = judge.chat() else {
                    return Err(EvalError::from(ChatError::Model("no judge that grades".into())).into());
                };
                let name = name.to_owned();
                mark_by_grade(samples, items, chat, bar).map_err(EvalError::from)?;
                Some((name, false))
            }
            marking => {
                let marked = judge.with(|judge| {
                    mark_by_judge(samples, marking, judge, bar).map(|()| (judge.name(), judge.is_heuristic()))
                });
                Some(marked.map_err(EvalError::from)?)
            }
        })
    }

    /// What a benchmark's answers and verdicts depend on, beside the model and its template.
    fn settings(&self, benchmark: &Benchmark, judge: &str) -> Settings {
        let or_all = |limit: Option<usize>| limit.map_or("all".to_owned(), |limit| limit.to_string());
        let mut settings = Settings::from([("--limit".to_owned(), or_all(self.arguments.limit))]);
        if benchmark.marking != Marking::Choice {
            let tokens = self.arguments.max_new_tokens;
            let tokens = tokens.unwrap_or(benchmark.max_new_tokens).to_string();
            settings.insert("--max-new-tokens".into(), tokens);
        }
        if benchmark.marking == Marking::Number {
            settings.insert("--raw".into(), self.arguments.raw.to_string());
        }
        let is_judged = !matches!(benchmark.marking, Marking::Choice | Marking::Number);
        if is_judged {
            settings.insert("--judge".into(), judge.to_owned());
        }
        settings
    }

    /// Says how many samples have no outcome, and the commonest reason.
    fn note_missing(&self, benchmark: &Benchmark, samples: &[Sample]) {
        let missing: Vec<_> = samples.iter().filter(|sample| sample.outcome == Outcome::Missing).collect();
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in missing.iter().filter_map(|sample| sample.missing.as_deref()) {
            *reasons.entry(reason).or_default() += 1;
        }
        let commonest = reasons.into_iter().max_by_key(|(_, count)| *count);
        let why = commonest.map_or(String::new(), |(reason, count)| format!(" ({count}: {reason})"));
        if !missing.is_empty() {
            self.session.note(format_args!(
                "{}: {} of {} without a verdict; they count for nothing{why}",
                benchmark.title,
                missing.len(),
                samples.len()
            ));
        }
    }

    /// log p of the four letters after each question; none after one that is far beyond what the model was made for.
    fn letters(&self, items: &[Item], bar: &Bar<'_>) -> Result<Vec<Option<Vec<f64>>>, Failure> {
        let encode = |text: &str| self.folder.encode_text(text);
        let mut prompts: Vec<Vec<u32>> = items.iter().map(|item| encode(&item.turns[0])).collect::<Result<_, _>>()?;
        let context = encode("Answer:")?;
        let (mut letters, mut spaces) = (vec![], vec![]);
        for letter in LETTERS {
            // As it stands behind a question. Where the space is a token of its own, it comes before any letter.
            let whole = encode(&format!("Answer: {letter}"))?;
            match whole.strip_prefix(&context[..]) {
                Some([space @ .., id]) => {
                    letters.push(*id);
                    spaces.push(space.to_vec());
                }
                _ => spaces.push(whole),
            }
        }
        if letters.len() < LETTERS.len() || spaces.iter().any(|space| *space != spaces[0]) {
            return Err(Failure::new(
                format!("expected the letters after a space to be one token each, got {spaces:?}"),
                "leave MMLU out for this tokenizer",
            ));
        }
        for prompt in &mut prompts {
            prompt.extend(&spaces[0]);
        }
        let lengths = prompts.iter().map(Vec::len);
        self.folder.check_positions(lengths, SHORTER, self.session)?;
        let in_reach = |prompt: &Vec<u32>| self.folder.is_in_reach(prompt.len());
        let asked: Vec<Vec<u32>> = prompts.iter().filter(|of| in_reach(of)).cloned().collect();
        let found = letter_log_probs(&self.model, &asked, &letters, AT_ONCE, bar);
        let mut found = found.map_err(EvalError::from)?.into_iter();
        let or_none = |prompt| if in_reach(prompt) { found.next() } else { None };
        Ok(prompts.iter().map(or_none).collect())
    }
}

/// Samples, a line each.
fn lines(path: &Path, samples: &[Sample]) -> Result<Vec<u8>, Failure> {
    let line = |sample| seal(sample).map(String::into_bytes);
    let lines: Result<Vec<_>, _> = samples.iter().map(line).collect();
    Ok(lines.map_err(|error| Failure::io(path)(error.into()))?.concat())
}
