//! What scores and answers say about a model: reward gaps, benchmarks and who judges them, projections, comparisons of
//! methods, the report.
//!
//! The smallest program that evaluates a model behind an endpoint:
//!
//! ```no_run
//! use mpo_chat::{Endpoint, EndpointOptions};
//! use mpo_eval::{ChatJudge, EvalError, answers, benchmark, mark};
//! use mpo_progress::Silent;
//!
//! let benchmark = benchmark("multijail")?;
//! let questions = benchmark.items("MultiJail.csv".as_ref(), &[], None)?;
//! let mut model = Endpoint::new(EndpointOptions::new("http://localhost:8000/v1", "qwen"))?;
//! let mut samples = answers(&questions, &mut model, &Silent)?;
//! let judge = Endpoint::new(EndpointOptions::new("http://localhost:8001/v1", "judge"))?;
//! let mut judge = ChatJudge::new(judge, "judge");
//! for of in mark(benchmark, &questions, &mut samples, &mut judge, &Silent)?.languages {
//!     println!("{:?}: {:?}", of.language, of.estimate);
//! }
//! # Ok::<(), EvalError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod approach;
mod benchmark;
mod benchmark_result;
mod benign;
mod card;
mod choice;
pub mod compare;
mod difference;
mod error;
mod estimate;
mod evaluated;
mod evaluation;
mod evaluation_csv;
mod evaluator;
#[cfg(test)]
mod fuzz;
mod harm;
mod judge;
mod kept;
mod layers;
mod letters;
mod logistic;
mod mark;
mod measure;
mod notes;
mod number;
mod projection;
mod prompts;
mod refusal;
mod report;
mod results;
mod reward_gap;
mod room;
mod run_log;
mod sample;
mod sampling;
mod silhouette;
mod training;

pub use approach::{Approach, Approaches, Course, Goal};
pub use benchmark::{BENCHMARKS, Benchmark, Expected, Item, Marking, Metric, QuestionSet, Questions, benchmark};
pub use benchmark_result::{BenchmarkResult, LanguageResult, SafeAnswers, Settings};
pub use benign::{BUILT_IN, BenignPrompt, read_benign};
pub use card::{CardBase, ModelCard, TrainedOn, merged_card};
pub use difference::{Finding, LanguageDifference, MeasureDifference, differences};
pub use error::EvalError;
pub use estimate::Estimate;
pub use evaluated::Evaluated;
pub use evaluation::{EVALUATION_FILE, Evaluation, Judging};
pub use evaluator::{Asking, Evaluator};
pub use harm::{HarmAccuracy, HarmFit, HarmOptions, HarmSplit};
pub use judge::{
    ChatJudge, Exchange, Graded, JUDGES, Judge, JudgeDefinition, JudgeSettings, Judgement, Means, PhraseJudge, REPLY,
    Verdict,
};
pub use kept::{LanguageKept, MeanKept};
pub use layers::{Direction, LayerSilhouettes, Layers, PromptLabels, PromptSet};
pub use mark::mark;
pub use measure::EvalSet;
pub use notes::{note_damaged, note_not_as_written};
pub use number::final_number;
pub use projection::{AnswerState, Point, Projection, Separation, answer_states};
pub use refusal::is_refusal;
pub use report::{RunReport, render, render_comparison};
pub use results::{Change, MiniatureLanguage, MiniatureResults, RewardGaps, TrainResults};
pub use reward_gap::{ImplicitGap, LanguageGap, by_language, implicit_by_language};
pub use room::note_short;
pub use run_log::RunLog;
pub use sample::{Outcome, Sample, answers, read_samples, samples_file};
pub use sampling::{Sampled, Sampling};
pub use training::base;
