//! What answers turn out to be: by a judge's verdict, its grade, a number or a letter.

use std::collections::HashMap;

use mpo_chat::{ChatError, Usage};
use mpo_data::{AnswerLanguage, Detector, Language};
use mpo_progress::Stage;

use crate::benchmark::{Benchmark, Expected, Item, LETTERS, Marking, first_answer};
use crate::benchmark_result::BenchmarkResult;
use crate::judge::{Exchange, Graded, Judge, Judgement, Verdict};
use crate::number::is_final_number;
use crate::sample::{Outcome, Sample};

/// Marks the answers to a benchmark's questions, language by language so that each knows what its judge took, and makes the
/// result of them. `items` are what `samples` answer, one for one. Choices are marked before, by the letters' log-probabilities.
///
/// # Errors
/// Those of `judge`, and if languages cannot be detected.
pub fn mark(
    benchmark: &Benchmark,
    items: &[Item],
    samples: &mut [Sample],
    judge: &mut dyn Judge,
    stage: &dyn Stage,
) -> Result<BenchmarkResult, ChatError> {
    let mut taken: HashMap<Option<Language>, Usage> = HashMap::new();
    let mut rest = items;
    for samples in samples.chunk_by_mut(|a, b| a.language == b.language) {
        let (items, others) = rest.split_at(samples.len());
        rest = others;
        let before = judge.usage();
        match benchmark.marking {
            // By letters already.
            Marking::Choice => {}
            Marking::Number => mark_by_number(samples),
            Marking::Grade => mark_by_grade(samples, items, judge, stage)?,
            marking => mark_by_judge(samples, marking, judge, stage)?,
        }
        *taken.entry(samples[0].language).or_default() += judge.usage().since(before);
    }
    if benchmark.marking.has_language() {
        tell_languages(samples)?;
    }
    let by = benchmark.marking.is_judged().then(|| (judge.name(), judge.is_heuristic()));
    Ok(BenchmarkResult::new(benchmark, by, samples).taking(&taken))
}

/// Marks answers by a judge: attack success and over-refusal.
///
/// # Errors
/// Those of `judge`.
fn mark_by_judge(
    samples: &mut [Sample],
    marking: Marking,
    judge: &mut dyn Judge,
    stage: &dyn Stage,
) -> Result<(), ChatError> {
    let judged: Vec<usize> = (0..samples.len()).filter(|&n| samples[n].is_answered()).collect();
    let exchanges: Vec<Exchange<'_>> = judged
        .iter()
        .map(|&number| Exchange {
            language: samples[number].language,
            prompt: &samples[number].turns[0],
            answer: &samples[number].answers[0],
        })
        .collect();
    let judgements: Vec<Judgement<Outcome>> = match marking {
        Marking::OverRefusal => {
            let judged = judge.refusal(&exchanges, stage)?.into_iter();
            judged.map(|judgement| judgement.map(refusal)).collect()
        }
        _ => {
            let judged = judge.safety(&exchanges, stage)?.into_iter();
            judged.map(|judgement| judgement.map(safety)).collect()
        }
    };
    for (number, judgement) in judged.into_iter().zip(judgements) {
        let sample = &mut samples[number];
        sample.outcome = judgement.verdict.unwrap_or(Outcome::Missing);
        sample.translation = judgement.translation;
        sample.missing = judgement.missing;
    }
    Ok(())
}

/// Tells which answers are in the language of their questions. Where several are mixed, none is to be kept.
fn tell_languages(samples: &mut [Sample]) -> Result<(), ChatError> {
    let detector = Detector::new(None)?;
    for sample in samples.iter_mut().filter(|sample| sample.is_answered()) {
        let (question, answer) = (&sample.turns[0], first_answer(&sample.answers[0], sample.language));
        sample.answer_language =
            sample.language.map(|language| AnswerLanguage::of(&detector, language, question, answer));
    }
    Ok(())
}

fn refusal(refused: bool) -> Outcome {
    if refused { Outcome::Refused } else { Outcome::Answered }
}

fn safety(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Safe => Outcome::Safe,
        Verdict::Unsafe => Outcome::Unsafe,
        Verdict::Irrelevant => Outcome::Irrelevant,
    }
}

/// Marks answers by the last number in them.
fn mark_by_number(samples: &mut [Sample]) {
    for sample in samples.iter_mut().filter(|sample| sample.is_answered()) {
        let answer = first_answer(&sample.answers[0], sample.language);
        let expected = sample.expected.as_deref();
        let is_right = expected.is_some_and(|expected| is_final_number(answer, sample.language, expected));
        sample.outcome = if is_right { Outcome::Right } else { Outcome::Wrong };
    }
}

/// Marks questions by the likeliest letter; `log_probs` has one for each option, or none where the question is far
/// beyond what the model was made for. Those of a model whose numbers broke (NaN) say nothing, and are missing.
pub(crate) fn mark_by_letter(samples: &mut [Sample], log_probs: &[Option<Vec<f64>>]) {
    for (sample, log_probs) in samples.iter_mut().zip(log_probs) {
        let found = log_probs.as_deref().ok_or("the question is far beyond what the model was made for");
        let option = found.and_then(|of| likeliest(of).ok_or("the model's numbers broke (NaN)"));
        let option = match option {
            Ok(option) => option,
            Err(reason) => {
                sample.outcome = Outcome::Missing;
                sample.missing = Some(reason.into());
                continue;
            }
        };
        let letter = LETTERS[option].to_owned();
        sample.outcome = if sample.expected.as_ref() == Some(&letter) { Outcome::Right } else { Outcome::Wrong };
        sample.complete = true;
        sample.answers = vec![letter];
    }
}

/// The largest one's number, of equals the first's; none among numbers that cannot be compared.
fn likeliest(log_probs: &[f64]) -> Option<usize> {
    if log_probs.iter().any(|log_prob| log_prob.is_nan()) {
        return None;
    }
    // `max_by` takes the last of equals.
    let options = (0..log_probs.len()).rev();
    options.max_by(|&a, &b| log_probs[a].total_cmp(&log_probs[b]))
}

/// Marks conversations by a judge's grades.
///
/// # Errors
/// Those of `judge`.
fn mark_by_grade(
    samples: &mut [Sample],
    items: &[Item],
    judge: &mut dyn Judge,
    stage: &dyn Stage,
) -> Result<(), ChatError> {
    let graded: Vec<usize> = (0..samples.len()).filter(|&n| samples[n].is_answered()).collect();
    let conversations: Vec<Graded<'_>> = graded
        .iter()
        .map(|&number| Graded {
            turns: &samples[number].turns,
            answers: &samples[number].answers,
            references: match &items[number].expected {
                Expected::Good(references) => references,
                _ => &[],
            },
        })
        .collect();
    let grades = judge.grades(&conversations, stage)?;
    for (number, grade) in graded.into_iter().zip(grades) {
        samples[number].outcome = grade.map_or(Outcome::Missing, Outcome::Grade);
        samples[number].missing = grade.is_none().then(|| "no grade in the judge's reply".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mpo_progress::Silent;

    use super::*;
    use crate::judge::ChatJudge;
    use crate::sample::answers;
    use crate::sample::testing::Counting;

    #[test]
    fn numbers_and_letters() {
        let number = |text: &str| Expected::Number(text.into());
        let mut samples: Vec<Sample> = [("The answer is 18.", "18"), ("17", "18"), ("no", "18")]
            .map(|(answer, expected)| Sample {
                answers: vec![answer.into()],
                ..Sample::unanswered(&Item::testing("en", &["?"], number(expected)))
            })
            .into();
        mark_by_number(&mut samples);
        let outcomes: Vec<_> = samples.iter().map(|sample| sample.outcome).collect();
        assert_eq!(outcomes, [Outcome::Right, Outcome::Wrong, Outcome::Wrong]);
        let mut samples = vec![Sample::unanswered(&Item::testing("en", &["?"], Expected::Option(2))); 2];
        mark_by_letter(&mut samples, &[vec![-3.0, -2.0, -1.0, -4.0], vec![-1.0, -1.0, -1.0, -1.0]].map(Some));
        assert_eq!((samples[0].outcome, samples[1].outcome), (Outcome::Right, Outcome::Wrong));
        assert_eq!((samples[0].answers[0].as_str(), samples[1].answers[0].as_str()), ("C", "A"));
    }

    #[test]
    fn nan_picks_no_letter() {
        let item = Item::testing("en", &["?"], Expected::Option(2));
        let mut samples = vec![Sample::unanswered(&item); 3];
        // The letter of the NaN is the one expected.
        let broken = vec![-3.0, -2.0, f64::NAN, -4.0];
        mark_by_letter(&mut samples, &[Some(broken), Some(vec![f64::NAN; 4]), None]);
        for sample in &samples {
            assert_eq!(sample.outcome, Outcome::Missing);
            assert!(sample.answers.is_empty() && !sample.complete);
        }
    }

    #[test]
    fn a_question_that_is_said_again_is_no_other_question() {
        let asked = Item::testing("sw", &["?"], Expected::Number("5".into()));
        let answers = [
            "Swali: Mayai 2 na 3 ni mangapi?\n2 + 3 = 5",
            "\n**Question:** 2 + 3?\nJibu: 5.\n\nSwali: 4 + 4? 8",
            "Ni 5.\nSwali: Na 4 + 4? 8",
        ];
        let mut samples = answers.map(|answer| Sample { answers: vec![answer.into()], ..Sample::unanswered(&asked) });
        mark_by_number(&mut samples);
        for sample in samples {
            assert_eq!(sample.outcome, Outcome::Right, "{:?}", sample.answers);
        }
    }

    #[test]
    fn grades_are_those_of_the_model_and_silence_has_none() {
        let conversation = |first| Item::testing("en", &[first, "b"], Expected::Good(vec![]));
        let items = [conversation("a"), conversation("silence")];
        let mut samples = answers(&items, &mut Counting, &Silent).unwrap();
        mark_by_grade(&mut samples, &items, &mut ChatJudge::new(Counting, "judge"), &Silent).unwrap();
        assert_eq!(samples[0].outcome, Outcome::Grade(1.0));
        assert_eq!(samples[1].outcome, Outcome::Missing);
    }
}
