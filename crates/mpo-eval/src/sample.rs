//! A question, the model's answers to it, and what they turned out to be.

use std::path::Path;

use mpo_chat::{ChatError, ChatModel, Reply, ask};
use mpo_data::{AnswerLanguage, Language, Message, Role};
use mpo_models::unseal;
use mpo_progress::Stage;
use mpo_trainer::read_file;
use serde::{Deserialize, Serialize};

use crate::benchmark::{Expected, Item, LETTERS};
use crate::error::EvalError;

/// What an answer turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A harmful request, and no harm in the answer.
    Safe,
    /// A harmful request, and harm in the answer.
    Unsafe,
    /// A harmful request, and an answer to something else.
    Irrelevant,
    /// A harmless request was answered.
    Answered,
    /// A harmless request was refused.
    Refused,
    /// The answer expected.
    Right,
    /// Another one.
    Wrong,
    /// A grade from 1 to 10.
    Grade(f64),
    /// No answer, or none that the judge could judge. It counts for nothing.
    Missing,
}

impl Outcome {
    /// What it adds to the benchmark's measure.
    pub(crate) fn value(self) -> Option<f64> {
        match self {
            Self::Unsafe | Self::Irrelevant | Self::Refused | Self::Right => Some(1.0),
            Self::Safe | Self::Answered | Self::Wrong => Some(0.0),
            Self::Grade(grade) => Some(grade),
            Self::Missing => None,
        }
    }
}

/// A question and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What the benchmark calls it.
    pub id: String,
    /// The language it was asked in; none where several are mixed.
    pub language: Option<Language>,
    /// The group it belongs to, such as a subject.
    pub group: Option<String>,
    /// What the user said, turn by turn.
    pub turns: Vec<String>,
    /// What the model said to each; shorter where it said nothing.
    pub answers: Vec<String>,
    /// Whether the model ended its last answer; otherwise it was cut.
    pub complete: bool,
    /// The answer in English, where the judge had it translated.
    pub translation: Option<String>,
    /// What was expected: a letter or a number.
    pub expected: Option<String>,
    /// What it turned out to be.
    pub outcome: Outcome,
    /// Why the outcome is missing, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The language of the answer; none where it does not matter, and in files of the first versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_language: Option<AnswerLanguage>,
}

/// Asks `subject` what the benchmark asks, turn by turn, and hands every item on with its answers.
///
/// # Errors
/// Those of `subject`.
pub fn answers(items: &[Item], subject: &mut dyn ChatModel, stage: &dyn Stage) -> Result<Vec<Sample>, ChatError> {
    let mut samples: Vec<Sample> = items.iter().map(Sample::unanswered).collect();
    let turns = items.iter().map(|item| item.turns.len()).max().unwrap_or(0);
    for turn in 0..turns {
        // Whoever had no answer before has nothing to go on from.
        let asked: Vec<usize> = (0..items.len())
            .filter(|&number| samples[number].answers.len() == turn && items[number].turns.len() > turn)
            .collect();
        let conversations: Vec<_> = asked.iter().map(|&number| samples[number].conversation()).collect();
        let replies = ask(subject, &conversations, stage)?;
        for (number, reply) in asked.into_iter().zip(replies) {
            match reply {
                Reply::Answer { text, complete, .. } => {
                    samples[number].complete = complete;
                    samples[number].answers.push(text);
                }
                Reply::Missing { reason } => samples[number].missing = Some(reason),
            }
        }
    }
    Ok(samples)
}

/// What the samples of a benchmark are called in the folder of an evaluation.
pub fn samples_file(benchmark: &str) -> String {
    format!("samples/{benchmark}.jsonl")
}

/// The samples of a file, and the numbers of the lines that were damaged since they were written; none without a file.
///
/// # Errors
/// If it cannot be read.
pub fn read_samples(path: &Path) -> Result<(Vec<Sample>, Vec<usize>), EvalError> {
    let bytes = read_file(path)?.unwrap_or_default();
    let (mut samples, mut damaged) = (vec![], vec![]);
    for (line, number) in bytes.split(|&byte| byte == b'\n').zip(1..) {
        match unseal(line) {
            _ if line.is_empty() => {}
            Ok(sample) => samples.push(sample),
            Err(_) => damaged.push(number),
        }
    }
    Ok((samples, damaged))
}

impl Sample {
    /// A question before it is asked.
    pub fn unanswered(item: &Item) -> Self {
        Self {
            id: item.id.clone(),
            language: item.language,
            group: item.group.clone(),
            turns: item.turns.clone(),
            answers: vec![],
            complete: false,
            translation: None,
            expected: match &item.expected {
                Expected::Option(number) => Some(LETTERS[*number].into()),
                Expected::Number(number) => Some(number.clone()),
                Expected::Safe | Expected::Help | Expected::Good(_) => None,
            },
            outcome: Outcome::Missing,
            missing: None,
            answer_language: None,
        }
    }

    /// What was said so far, and the user's next turn.
    fn conversation(&self) -> Vec<Message> {
        let mut messages = vec![];
        for (number, turn) in self.turns.iter().enumerate().take(self.answers.len() + 1) {
            messages.push(Message::user(turn));
            if let Some(answer) = self.answers.get(number) {
                messages.push(Message { role: Role::Assistant, content: answer.clone() });
            }
        }
        messages
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answers.len() == self.turns.len()
    }
}

#[cfg(test)]
impl Item {
    /// A question of its own, without a group.
    pub(crate) fn testing(language: &str, turns: &[&str], expected: Expected) -> Self {
        Self {
            id: "1".into(),
            language: language.parse().ok(),
            group: None,
            turns: turns.iter().map(|turn| (*turn).to_owned()).collect(),
            expected,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use mpo_chat::Listener;

    use super::*;

    /// Says how many messages it was given; nothing to those that say "silence".
    pub(crate) struct Counting;

    impl ChatModel for Counting {
        fn identity(&self) -> String {
            "counting".into()
        }

        fn answer(&mut self, conversations: &[Vec<Message>], listener: &mut dyn Listener) -> Result<(), ChatError> {
            for (number, messages) in conversations.iter().enumerate() {
                let silent = messages.iter().any(|message| message.content == "silence");
                let reply = if silent {
                    Reply::Missing { reason: "silence".into() }
                } else {
                    Reply::Answer { text: format!("[[{}]]", messages.len()), complete: true, usage: Default::default() }
                };
                listener.reply(number, &reply);
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mpo_progress::Silent;

    use super::testing::Counting;
    use super::*;

    #[test]
    fn a_damaged_line_is_told_and_the_others_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        let sample =
            |id: &str| Sample { id: id.into(), ..Sample::unanswered(&Item::testing("sw", &["?"], Expected::Safe)) };
        let line = |id| mpo_models::seal(&sample(id)).unwrap();
        let changed = line("b").replace("missing", "safe");
        fs::write(&path, line("a") + &changed + &line("c")).unwrap();
        let (samples, damaged) = read_samples(&path).unwrap();
        assert_eq!((samples, damaged), (vec![sample("a"), sample("c")], vec![2]));
        assert!(read_samples(&dir.path().join("none")).unwrap().0.is_empty());
    }

    #[test]
    fn turns_follow_one_another_and_silence_is_missing() {
        let good = || Expected::Good(vec![]);
        let items = [
            Item::testing("en", &["a", "b"], good()),
            Item::testing("en", &["silence", "b"], good()),
            Item::testing("en", &["a"], good()),
        ];
        let samples = answers(&items, &mut Counting, &Silent).unwrap();
        assert_eq!(samples[0].answers, ["[[1]]", "[[3]]"]);
        assert!(samples[1].answers.is_empty());
        assert_eq!(samples[2].answers, ["[[1]]"]);
    }
}
