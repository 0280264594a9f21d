//! Grades from 1 to 10 for the answers of a conversation, as MT-Bench gives them.

use mpo_chat::{ChatError, ChatModel, Reply, ask_for};
use mpo_data::Message;
use mpo_progress::Stage;

use super::label::without_thoughts;

/// A conversation to grade: turns of the user, answers, and reference answers where there are some.
#[derive(Debug, Clone, Copy)]
pub struct Graded<'a> {
    /// What the user said.
    pub turns: &'a [String],
    /// What the model said to each.
    pub answers: &'a [String],
    /// What a good model said to each.
    pub references: &'a [String],
}

/// The mean over turns of each conversation's grades; none where a grade is missing.
///
/// # Errors
/// Those of `model`.
pub(super) fn grade(
    model: &mut dyn ChatModel,
    conversations: &[Graded<'_>],
    stage: &dyn Stage,
) -> Result<Vec<Option<f64>>, ChatError> {
    let mut requests = vec![];
    for conversation in conversations {
        for turn in 0..conversation.turns.len() {
            requests.push(vec![Message::user(question(conversation, turn))]);
        }
    }
    let is_grade = |reply: &Reply| reply.text().and_then(parse).is_some();
    let mut replies = ask_for(model, &requests, &is_grade, stage)?.into_iter();
    let mut mean = |conversation: &Graded<'_>| {
        let turns = conversation.turns.len();
        let grades: Vec<Option<f64>> =
            (0..turns).map(|_| replies.next().and_then(|reply| parse(reply.text()?))).collect();
        let sum: Option<f64> = grades.into_iter().sum();
        Some(sum? / turns as f64)
    };
    Ok(conversations.iter().map(&mut mean).collect())
}

fn question(conversation: &Graded<'_>, turn: usize) -> String {
    let mut text = String::from(
        "You grade how well an AI assistant answered a user. Look at whether it is helpful, to the point, correct, deep \
         enough and clear; length alone is no merit. ",
    );
    if !conversation.references.is_empty() {
        text += "Compare it with the reference answer, and mark down what is wrong. ";
    }
    text += "Explain in a few sentences, then write the grade from 1 to 10 in double brackets, such as [[5]].";
    for number in 0..=turn {
        text += &format!("\n\n[User]\n{}", conversation.turns[number]);
        if let Some(reference) = conversation.references.get(number) {
            text += &format!("\n\n[Reference answer]\n{reference}");
        }
        text += &format!("\n\n[Assistant]\n{}", conversation.answers[number]);
    }
    if turn > 0 {
        text += "\n\nGrade the assistant's last answer only.";
    }
    text
}

/// The grade in double brackets, which may be said again; none if there are several.
pub(crate) fn parse(reply: &str) -> Option<f64> {
    let bracketed = without_thoughts(reply).split("[[").skip(1);
    let mut grades = bracketed.map(|after| {
        let (number, _) = after.split_once("]]")?;
        let number = number.trim();
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let grade: f64 = number.parse().ok().filter(|_| is_plain)?;
        (1.0..=10.0).contains(&grade).then_some(grade)
    });
    let grade = grades.next()??;
    grades.all(|other| other == Some(grade)).then_some(grade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades_are_in_double_brackets() {
        for (reply, grade) in [
            ("Good. [[8]]", Some(8.0)),
            ("Rating: [[ 7.5 ]] indeed", Some(7.5)),
            ("[[7]], that is: [[7.0]]", Some(7.0)),
            ("<think>[[3]]? No.</think>Good. [[8]]", Some(8.0)),
            ("[[7]] [[3]]", None),
            ("[[7]] [[A]]", None),
            ("[[1e1]]", None),
            ("[[+5]]", None),
            ("[[inf]]", None),
            ("[[11]]", None),
            ("[[0]]", None),
            ("[[A]]", None),
            ("8", None),
            ("[[8", None),
        ] {
            assert_eq!(parse(reply), grade, "{reply}");
        }
    }

    #[test]
    fn the_second_turn_is_graded_beside_the_first() {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (turns, answers, references) = (own(&["1+1?", "2+2?"]), own(&["2", "5"]), own(&["two", "four"]));
        let conversation = Graded { turns: &turns, answers: &answers, references: &references };
        let second = question(&conversation, 1);
        for part in ["1+1?", "2+2?", "[Assistant]\n5", "[Reference answer]\nfour", "last answer only"] {
            assert!(second.contains(part), "{part}");
        }
        assert!(!question(&conversation, 0).contains("2+2?"));
    }
}
