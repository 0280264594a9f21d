//! What scores and answers say about a model: reward gaps, benchmarks and who judges them, projections, the report.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod benchmark;
mod chat;
mod choice;
mod error;
mod estimate;
mod evaluation;
mod evaluation_csv;
#[cfg(test)]
mod fuzz;
mod judge;
mod mark;
mod number;
mod projection;
mod refusal;
mod report;
mod reward_gap;
mod sample;
mod sealed;

pub use benchmark::{
    BENCHMARKS, Benchmark, Expected, Item, LETTERS, Marking, QuestionSet, Questions, benchmark, first_answer,
};
pub use chat::{
    ApiKey, CachedChat, ChatError, ChatModel, Endpoint, EndpointOptions, Listener, Progress, Reply, Usage, ask,
};
pub use choice::letter_log_probs;
pub use error::EvalError;
pub use estimate::Estimate;
pub use evaluation::{BenchmarkResult, Evaluation, Judging, LanguageResult, Settings};
pub use judge::{ChatJudge, Exchange, Graded, Judge, Judgement, RefusalJudge, Verdict, grade};
pub use mark::{mark_by_grade, mark_by_judge, mark_by_letter, mark_by_number};
pub use number::final_number;
pub use projection::{AnswerState, Point, Projection, Separation, answer_states};
pub use refusal::is_refusal;
pub use report::{RunReport, render};
pub use reward_gap::{ImplicitGap, LanguageGap, by_language, implicit_by_language};
pub use sample::{Outcome, Sample, answers, read_samples};
pub use sealed::seal;
