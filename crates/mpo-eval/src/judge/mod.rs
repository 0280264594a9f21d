//! Who says what an answer is worth: one file per judge. Adding one takes a file beside these and its line in [`JUDGES`].

mod chat;
mod endpoint;
mod grade;
mod keywords;
mod label;
mod local;
mod phrases;
mod refusal;
mod translation;
mod verdict;

use std::time::Duration;

use mpo_chat::EndpointOptions;

use crate::error::EvalError;

pub use chat::ChatJudge;
pub use grade::Graded;
pub use phrases::PhraseJudge;
pub use verdict::{Exchange, Judge, Judgement, Verdict};

#[cfg(test)]
pub(crate) use {grade::parse, label::label};

/// Every judge. The first that is meant is taken, and the last is meant by anything.
pub static JUDGES: &[&JudgeDefinition] = &[&refusal::JUDGE, &keywords::JUDGE, &endpoint::JUDGE, &local::JUDGE];

/// Tokens of a judge's reply: room for a translation, or for reasons and a grade.
pub const REPLY: usize = 512;

/// A kind of judge.
#[derive(Debug)]
pub struct JudgeDefinition {
    /// Its name in messages.
    pub name: &'static str,
    /// What it is asked for by, and what it is.
    pub help: &'static str,
    /// Whether it grades conversations too, and not only judges single answers.
    pub grades: bool,
    /// Whether it is meant by what was asked for.
    is_meant: fn(&str) -> bool,
    /// Checks what it is asked for with.
    ready: fn(&JudgeSettings) -> Result<Means, EvalError>,
}

/// What a judge is asked for with.
#[derive(Debug, Clone, Default)]
pub struct JudgeSettings {
    /// What names it: a word, an address, a model.
    pub asked: String,
    /// The name of the model at an endpoint.
    pub model: Option<String>,
    /// The environment variable with the key for an endpoint.
    pub key_variable: Option<String>,
    /// Requests to an endpoint at once.
    pub concurrency: usize,
    /// Requests to an endpoint in a minute at most.
    pub requests_per_minute: Option<u32>,
    /// How long a request may take.
    pub timeout: Duration,
}

/// How a judge comes to its verdicts. `L` is the model on this machine that it asks: its folder or name, or itself once it
/// is loaded.
pub enum Means<L = String> {
    /// By phrases.
    Phrases(PhraseJudge),
    /// By asking a chat model at an endpoint.
    Endpoint(EndpointOptions),
    /// By asking a model on this machine.
    Local(L),
}

impl JudgeDefinition {
    /// The judge of what was asked for.
    pub fn of(asked: &str) -> &'static Self {
        let meant = JUDGES.iter().find(|judge| (judge.is_meant)(asked));
        meant.expect("the last judge of the list is meant by anything")
    }

    /// How it comes to its verdicts, before it is asked anything.
    ///
    /// # Errors
    /// If `settings` lack something, or name an address or a key that cannot be used.
    pub fn ready(&self, settings: &JudgeSettings) -> Result<Means, EvalError> {
        (self.ready)(settings)
    }
}

#[cfg(test)]
mod tests {
    use mpo_progress::Silent;

    use super::*;

    fn asked(for_it: &str) -> JudgeSettings {
        JudgeSettings {
            asked: for_it.into(),
            model: Some("judge".into()),
            key_variable: None,
            concurrency: 1,
            requests_per_minute: None,
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_judge_is_known_by_what_it_is_asked_for_by() {
        for (asked, name) in [
            ("http://localhost:8000/v1", "endpoint"),
            ("runs/qwen/model", "model"),
            ("Qwen/Qwen2.5-7B-Instruct", "model"),
            ("", "model"),
        ] {
            assert_eq!(JudgeDefinition::of(asked).name, name, "{asked}");
        }
    }

    #[test]
    fn every_judge_by_phrases_is_asked_for_by_its_name_and_knows_a_refusal() {
        let mut seen = 0;
        for judge in JUDGES {
            let Ok(Means::Phrases(mut by_phrases)) = judge.ready(&asked(judge.name)) else {
                continue;
            };
            seen += 1;
            assert_eq!(JudgeDefinition::of(judge.name).name, judge.name);
            assert_eq!(by_phrases.asked, judge.name);
            let exchange = |answer| Exchange { language: "en".parse().ok(), prompt: "How?", answer };
            let exchanges = [exchange("I'm sorry, but I can't help with that."), exchange("Boil the water.")];
            let judged = by_phrases.safety(&exchanges, &Silent).unwrap();
            let verdicts: Vec<_> = judged.iter().map(|judgement| judgement.verdict).collect();
            assert_eq!(verdicts, [Some(Verdict::Safe), Some(Verdict::Unsafe)], "{}", judge.name);
            let judged = by_phrases.refusal(&exchanges, &Silent).unwrap();
            let verdicts: Vec<_> = judged.iter().map(|judgement| judgement.verdict).collect();
            assert_eq!(verdicts, [Some(true), Some(false)], "{}", judge.name);
            // What cannot grade is refused before anything is asked.
            assert!(!judge.grades && by_phrases.grades(&[], &Silent).is_err());
        }
        assert!(seen > 0);
    }

    #[test]
    fn an_endpoint_needs_the_name_of_a_model_and_an_address() {
        let settings = asked("http://localhost:8000/v1");
        let judge = JudgeDefinition::of(&settings.asked);
        let Ok(Means::Endpoint(options)) = judge.ready(&settings) else {
            panic!("expected an endpoint");
        };
        assert_eq!((options.model.as_str(), options.max_tokens), ("judge", REPLY));
        let nameless = JudgeSettings { model: None, ..settings };
        let Err(error) = judge.ready(&nameless) else {
            panic!("expected an error");
        };
        assert!(error.to_string().contains("expected the judge's name there, got none"), "{error}");
        assert!(judge.ready(&asked("nowhere://")).is_err());
    }
}
