//! A model that is evaluated: it answers a benchmark's questions, and its answers are kept and marked.

use std::cell::Cell;

use mpo_chat::{CachedChat, ChatError, HarmGuard, LocalChat, ModelFolder};
use mpo_models::{CausalLm, GenerateOptions, Precision};
use mpo_progress::{Progress, Silent, Stage};
use mpo_trainer::RunFolder;

use crate::benchmark::{Benchmark, Item, Marking};
use crate::benchmark_result::{BenchmarkResult, Settings};
use crate::error::EvalError;
use crate::judge::{Exchange, Judge};
use crate::letters::letters;
use crate::mark::{mark, mark_by_letter};
use crate::notes::{note_missing, note_not_as_written};
use crate::room::note_short;
use crate::sample::{Sample, answers};

/// How a model is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// Questions in each language at most.
    pub limit: Option<usize>,
    /// Tokens of an answer at most; none for the benchmark's own limit.
    pub max_new_tokens: Option<usize>,
    /// Questions answered at once.
    pub batch_size: usize,
    /// Whether sums are asked without the chat template.
    pub raw: bool,
}

/// A model, and where its answers are kept.
pub struct Evaluator<'a> {
    folder: &'a ModelFolder,
    model: &'a CausalLm,
    hash: &'a str,
    held: &'a RunFolder,
    asking: Asking,
    guard: Option<&'a HarmGuard>,
    progress: &'a dyn Progress,
    /// Whether damage to the answers kept was told of.
    noted: Cell<bool>,
}

impl<'a> Evaluator<'a> {
    /// Of a model with this content hash, whose answers are kept in `held`.
    pub fn new(
        folder: &'a ModelFolder,
        model: &'a CausalLm,
        hash: &'a str,
        held: &'a RunFolder,
        asking: Asking,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { folder, model, hash, held, asking, guard: None, progress, noted: Cell::new(false) }
    }

    /// The same with a note behind the questions in which `guard` finds harm.
    #[must_use]
    pub fn guarded(self, guard: Option<&'a HarmGuard>) -> Self {
        Self { guard, ..self }
    }

    /// Asks the questions of a benchmark and has the answers marked.
    ///
    /// # Errors
    /// If the model or the judge cannot be asked, or what is kept cannot be read or written.
    pub fn benchmark(
        &self,
        benchmark: &Benchmark,
        items: &[Item],
        judge: &mut dyn Judge,
    ) -> Result<(BenchmarkResult, Vec<Sample>), EvalError> {
        if matches!(benchmark.marking, Marking::AttackSuccess | Marking::OverRefusal) && judge.is_heuristic() {
            self.note_short(benchmark, items, judge)?;
        }
        // A conversation of two turns takes two answers.
        let turns = items.iter().map(|item| item.turns.len()).sum();
        let stage = self.progress.begin(benchmark.title, Some(turns));
        let mut samples = if benchmark.marking == Marking::Choice {
            let mut samples: Vec<Sample> = items.iter().map(Sample::unanswered).collect();
            mark_by_letter(&mut samples, &letters(self.folder, self.model, items, &*stage, self.progress)?);
            samples
        } else {
            self.answers(benchmark, items, &*stage)?
        };
        drop(stage);
        let judging = self.progress.begin("judging", Some(turns));
        let result = mark(benchmark, items, &mut samples, judge, &*judging)?;
        note_missing(benchmark, &samples, self.progress);
        Ok((result, samples))
    }

    /// Says where a refusal is cut before `judge`, who goes by phrases, knows it for one. Whoever reads meaning sees that it is cut.
    fn note_short(&self, benchmark: &Benchmark, items: &[Item], judge: &mut dyn Judge) -> Result<(), EvalError> {
        let asked = items.iter().filter_map(|item| item.language);
        let max_new_tokens = self.asking.max_new_tokens.unwrap_or(benchmark.max_new_tokens);
        let refuses = |language, answer: &str| -> Result<bool, ChatError> {
            let exchange = Exchange { language: Some(language), prompt: "", answer };
            let judged = judge.refusal(&[exchange], &Silent)?;
            Ok(judged.iter().any(|judgement| judgement.verdict == Some(true)))
        };
        Ok(note_short(self.folder, asked, max_new_tokens, refuses, self.progress)?)
    }

    /// The model's answers, each of which is kept.
    fn answers(&self, benchmark: &Benchmark, items: &[Item], stage: &dyn Stage) -> Result<Vec<Sample>, EvalError> {
        let max_new_tokens = self.asking.max_new_tokens.unwrap_or(benchmark.max_new_tokens);
        let options =
            GenerateOptions { batch_size: self.asking.batch_size, ..self.folder.generate_options(max_new_tokens) };
        // A sum is text that goes on; a request needs somebody who is asked.
        let is_raw = self.asking.raw && benchmark.marking == Marking::Number;
        let subject = LocalChat::new(self.folder, self.model, self.hash, options, self.progress);
        let subject = subject.raw(is_raw).guarded(self.guard);
        let file = "answers.jsonl";
        let cache = self.held.path().join(file);
        self.held.claim(&cache)?;
        let mut subject = CachedChat::open(subject, &cache)?;
        if !self.noted.replace(true) {
            note_not_as_written(file, &subject, self.progress);
        }
        Ok(answers(items, &mut subject, stage)?)
    }

    /// What a benchmark's answers and verdicts depend on, beside the model and its template.
    pub fn settings(&self, benchmark: &Benchmark, judge: &str) -> Settings {
        let or_all = |limit: Option<usize>| limit.map_or("all".to_owned(), |limit| limit.to_string());
        let mut settings = Settings::from([("--limit".to_owned(), or_all(self.asking.limit))]);
        if benchmark.marking != Marking::Choice {
            let tokens = self.asking.max_new_tokens;
            let tokens = tokens.unwrap_or(benchmark.max_new_tokens).to_string();
            settings.insert("--max-new-tokens".into(), tokens);
        }
        if benchmark.marking == Marking::Number {
            settings.insert("--raw".into(), self.asking.raw.to_string());
        }
        if benchmark.marking.is_judged() {
            settings.insert("--judge".into(), judge.to_owned());
        }
        if self.model.precision() == Precision::Bf16 {
            settings.insert("--precision".into(), "bf16".into());
        }
        settings
    }
}
