//! `mpo-train eval`: how safe a model is in each language, and how good.

mod judges;
mod subject;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mpo_data::ReadOptions;
use mpo_eval::{
    Benchmark, BenchmarkResult, CachedChat, ChatError, EvalError, Evaluation, Item, LETTERS,
    Marking, Outcome, Projection, Sample, answer_states, answers, by_language,
    implicit_by_language, letter_log_probs, mark_by_grade, mark_by_judge, mark_by_letter,
    mark_by_number,
};
use mpo_models::{CausalLm, GenerateOptions};
use mpo_trainer::{TrainError, write_atomically};

use crate::cli::EvalArguments;
use crate::data;
use crate::failure::Failure;
use crate::measure::EvalSet;
use crate::model_folder::ModelFolder;
use crate::output;
use crate::report;
use crate::results::{load, store};
use crate::session::Session;
use crate::table;
use judges::{Judges, OpenJudge};
use subject::{Bar, LocalChat};

/// Every number that was found.
const EVALUATION: &str = "evaluation.json";
/// Tokens that go through the model at once where nothing is generated.
const AT_ONCE: usize = 4096;

pub(crate) fn run(arguments: &EvalArguments, quiet: bool) -> Result<(), Failure> {
    if arguments.benchmarks.is_empty() && arguments.data.is_none() {
        return Err(Failure::new(
            "expected something to evaluate on, got neither --benchmark nor --data",
            "such as --benchmark multijail=MultiJail.csv, or --data rows.json for reward gaps",
        ));
    }
    let session = Session::new(arguments.model.device, quiet)?;
    session.catch_interrupts()?;
    let output = output_folder(arguments)?;
    let mut asked: Vec<(&Benchmark, Vec<Item>)> = vec![];
    for (benchmark, path) in &arguments.benchmarks {
        if asked.iter().any(|(of, _)| of.name == benchmark.name) {
            return Err(Failure::new(
                format!(
                    "{}: expected each benchmark once, got it twice",
                    benchmark.name
                ),
                "evaluate on the second file into a folder of its own, with --output",
            ));
        }
        asked.push((
            benchmark,
            benchmark.items(path, &arguments.languages, arguments.limit)?,
        ));
    }
    if arguments.judge.is_refusal()
        && let Some((benchmark, _)) = asked.iter().find(|(of, _)| of.marking == Marking::Grade)
    {
        return Err(Failure::new(
            format!(
                "{}: expected a judge that grades, got refusal",
                benchmark.name
            ),
            "name an endpoint or a model with --judge",
        ));
    }
    let folder = ModelFolder::open(&arguments.model.model, &arguments.model.template, &session)?;
    let judges = Judges::new(arguments, &session)?;
    fs::create_dir_all(output.join("samples")).map_err(Failure::io(&output))?;
    let evaluator = Evaluator {
        arguments,
        session: &session,
        output: &output,
        hash: folder.content_hash(&session)?,
        model: folder.load_frozen(&session)?,
        folder,
    };
    let mut evaluation = Evaluation {
        model: arguments.model.model.clone(),
        model_hash: evaluator.hash.clone(),
        ..earlier(&output, &evaluator.hash)?
    };
    evaluator
        .gaps(&mut evaluation)
        .map_err(|failure| match failure {
            // Nothing was trained that could be resumed.
            Failure::Train(TrainError::Interrupted) => EvalError::from(ChatError::Stopped).into(),
            failure => failure,
        })?;
    let mut judge = judges.open(&output.join("judge.jsonl"))?;
    for (benchmark, items) in &asked {
        let before = judge.paid();
        let (mut result, samples) = evaluator.benchmark(benchmark, items, &mut judge)?;
        result.usage = judge.paid().since(before);
        write_samples(
            &output
                .join("samples")
                .join(format!("{}.jsonl", benchmark.name)),
            &samples,
        )?;
        session.note(format_args!(
            "{}: {} questions",
            benchmark.title,
            items.len()
        ));
        evaluation.replace(result);
    }
    let usage = evaluation.judging.usage;
    evaluation.judging.cost = arguments.judge_price.map(|price| price.of(usage));
    store(&output.join(EVALUATION), &evaluation)?;
    write_atomically(&output.join("evaluation.csv"), &evaluation.to_csv()?)?;
    report::write(&output)?;
    session.note(format_args!("written to {}", output.display()));
    match arguments.json {
        true => output::json(&evaluation),
        false => output::line(table::evaluation(&evaluation)),
    }
}

/// What the folder says of the same model already: measures that are not made anew are kept.
fn earlier(output: &Path, hash: &str) -> Result<Evaluation, Failure> {
    let path = output.join(EVALUATION);
    match load::<Evaluation>(&path)? {
        None => Ok(Evaluation::default()),
        Some(earlier) if earlier.model_hash == hash => Ok(earlier),
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
            format!(
                "{}: expected a model inside a run folder, or --output",
                arguments.model.model
            ),
            "name a folder for the results with --output",
        )),
    }
}

struct Evaluator<'a> {
    arguments: &'a EvalArguments,
    session: &'a Session,
    output: &'a Path,
    folder: ModelFolder,
    model: CausalLm,
    hash: String,
}

impl Evaluator<'_> {
    /// Reward gaps and the projection, where there are rows.
    fn gaps(&self, evaluation: &mut Evaluation) -> Result<(), Failure> {
        let Some(path) = &self.arguments.data else {
            return Ok(());
        };
        let session = self.session;
        let data = data::read(
            path,
            &ReadOptions::default(),
            self.arguments.rows,
            None,
            session,
        )?;
        let truncation = self.arguments.truncation.limits()?;
        let (rows, _) = self.folder.tokenize(&data.rows, truncation, session)?;
        let eval = EvalSet::new(&rows, rows.len(), data.report.dominant);
        evaluation.dominant = data.report.dominant;
        let scores = eval.scores(&self.model, AT_ONCE, "reward gaps", session)?;
        evaluation.reward_gap = by_language(&scores, eval.dominant);
        // Those of an earlier command are of other rows.
        evaluation.implicit_gap.clear();
        if let Some(base) = &self.arguments.base {
            let folder = ModelFolder::open(base, &self.arguments.model.template, session)?;
            let (others, _) = folder.tokenize(&data.rows, truncation, session)?;
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
        let states =
            answer_states(&self.model, &eval.pairs, AT_ONCE, &bar).map_err(EvalError::from)?;
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
            ..self
                .folder
                .generate_options(max_new_tokens.unwrap_or(benchmark.max_new_tokens))
        };
        let subject = LocalChat {
            folder: &self.folder,
            model: &self.model,
            hash: &self.hash,
            options,
            // A sum is text that goes on; a request needs somebody who is asked.
            raw: self.arguments.raw && benchmark.marking == Marking::Number,
        };
        let cache = self.output.join("answers.jsonl");
        let mut subject = CachedChat::open(subject, &cache).map_err(EvalError::from)?;
        let mut samples = answers(items, &mut subject, &bar).map_err(EvalError::from)?;
        drop(bar);
        let judging = Bar::new(self.session, "judging", turns);
        let by = match benchmark.marking {
            Marking::Number | Marking::Choice => {
                mark_by_number(&mut samples);
                None
            }
            Marking::Grade => {
                let Some((name, chat)) = judge.chat() else {
                    return Err(
                        EvalError::from(ChatError::Model("no judge that grades".into())).into(),
                    );
                };
                let name = name.to_owned();
                mark_by_grade(&mut samples, items, chat, &judging).map_err(EvalError::from)?;
                Some((name, false))
            }
            marking => {
                let marked = judge.with(|judge| {
                    mark_by_judge(&mut samples, marking, judge, &judging)
                        .map(|()| (judge.name(), judge.is_heuristic()))
                });
                Some(marked.map_err(EvalError::from)?)
            }
        };
        self.note_missing(benchmark, &samples);
        Ok((BenchmarkResult::new(benchmark, by, &samples), samples))
    }

    /// Says how many samples have no outcome, and the commonest reason.
    fn note_missing(&self, benchmark: &Benchmark, samples: &[Sample]) {
        let missing: Vec<_> = samples
            .iter()
            .filter(|sample| sample.outcome == Outcome::Missing)
            .collect();
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in missing
            .iter()
            .filter_map(|sample| sample.missing.as_deref())
        {
            *reasons.entry(reason).or_default() += 1;
        }
        let commonest = reasons.into_iter().max_by_key(|(_, count)| *count);
        let why = commonest.map_or(String::new(), |(reason, count)| {
            format!(" ({count}: {reason})")
        });
        if !missing.is_empty() {
            self.session.note(format_args!(
                "{}: {} of {} without a verdict; they count for nothing{why}",
                benchmark.title,
                missing.len(),
                samples.len()
            ));
        }
    }

    /// log p of the four letters after each question.
    fn letters(&self, items: &[Item], bar: &Bar<'_>) -> Result<Vec<Vec<f64>>, Failure> {
        let encode = |text: &str| self.folder.encode_text(text);
        let mut prompts: Vec<Vec<u32>> = items
            .iter()
            .map(|item| encode(&item.turns[0]))
            .collect::<Result<_, _>>()?;
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
        let log_probs = letter_log_probs(&self.model, &prompts, &letters, AT_ONCE, bar);
        Ok(log_probs.map_err(EvalError::from)?)
    }
}

fn write_samples(path: &Path, samples: &[Sample]) -> Result<(), Failure> {
    let mut text = String::new();
    for sample in samples {
        let line = serde_json::to_string(sample);
        text += &line.map_err(|error| Failure::io(path)(error.into()))?;
        text.push('\n');
    }
    Ok(write_atomically(path, text.as_bytes())?)
}
