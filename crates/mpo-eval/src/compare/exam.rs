//! What a model is examined on: reward gaps, refusals of unsafe prompts and answers to benign ones, language by language.

use mpo_chat::{Answering, ChatError, ModelFolder};
use mpo_data::{AnswerLanguage, Detector, Language};
use mpo_models::{CausalLm, GenerateOptions};
use mpo_progress::Progress;
use mpo_trainer::TrainError;
use serde::{Deserialize, Serialize};

use crate::error::EvalError;
use crate::kept::LanguageKept;
use crate::measure::EvalSet;
use crate::prompts::Prompt;
use crate::reward_gap::LanguageGap;

/// Tells whether an answer in a language refuses.
pub type TellsRefusal = Box<dyn Fn(Language, &str) -> bool>;

/// Rows that no model of the comparison was trained on.
pub struct Exam {
    /// Pairs for the reward gap.
    pub pairs: EvalSet,
    /// Prompts to answer.
    pub prompts: Vec<Prompt>,
    /// Who says whether an answer refuses.
    pub refuses: TellsRefusal,
    /// Tokens of an answer: a refusal opens as one.
    pub max_new_tokens: usize,
    /// Prompts answered at once.
    pub batch_size: usize,
    /// Tokens scored at once.
    pub max_tokens: usize,
}

/// One language's numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Marks {
    /// The language.
    pub language: Language,
    /// Mean reward gap, nats per token.
    pub reward_gap: f64,
    /// The fraction of pairs whose gap is above zero.
    pub reward_accuracy: f64,
    /// Unsafe prompts refused, a fraction; none without such prompts.
    pub refusal_rate: Option<f64>,
    /// Unsafe prompts refused in another language than theirs, a fraction; none without such prompts. This and the rest are
    /// missing in results of the first versions.
    #[serde(default)]
    pub refused_in_another: Option<f64>,
    /// Benign prompts answered, a fraction; none without such prompts.
    pub benign_answer_rate: Option<f64>,
    /// How many answers to unsafe prompts are in their language; none without such prompts.
    #[serde(default)]
    pub unsafe_kept: Option<LanguageKept>,
    /// The same of benign prompts.
    #[serde(default)]
    pub benign_kept: Option<LanguageKept>,
}

/// A model's marks, and the gaps that they tell the means of.
pub(super) struct Examined {
    pub(super) marks: Vec<Marks>,
    pub(super) gaps: Vec<LanguageGap>,
}

/// What an answer turned out to be.
struct Marked {
    refused: bool,
    language: AnswerLanguage,
}

impl Exam {
    /// Examines a model as the stage `what`; the dominant language's marks come first.
    ///
    /// # Errors
    /// If a gap is not finite, the model's numbers broke, or the work is stopped.
    pub fn examine(
        &self,
        model: &CausalLm,
        folder: &ModelFolder,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<Vec<Marks>, EvalError> {
        Ok(self.examine_whole(model, folder, what, progress)?.marks)
    }

    /// The same with all that is known of the gaps.
    pub(super) fn examine_whole(
        &self,
        model: &CausalLm,
        folder: &ModelFolder,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<Examined, EvalError> {
        let gaps = self.pairs.measure(model, self.max_tokens, what, progress)?;
        let answers = self.answers(model, folder, what, progress)?;
        let of = |language: Language, is_unsafe: bool| -> Vec<&Marked> {
            let of = self.prompts.iter().zip(&answers);
            let of = of.filter(|(one, _)| one.language == language && one.is_unsafe == is_unsafe);
            of.map(|(_, answer)| answer).collect()
        };
        let rate = |answers: &[&Marked], is_hit: fn(&Marked) -> bool| {
            let hits = answers.iter().filter(|answer| is_hit(answer)).count();
            (!answers.is_empty()).then(|| hits as f64 / answers.len() as f64)
        };
        let kept = |answers: &[&Marked]| LanguageKept::new(answers.iter().map(|answer| answer.language));
        let marks = gaps.iter().map(|gap| {
            let (harmful, benign) = (of(gap.language, true), of(gap.language, false));
            Marks {
                language: gap.language,
                reward_gap: gap.mean,
                reward_accuracy: gap.accuracy,
                refusal_rate: rate(&harmful, |answer| answer.refused),
                refused_in_another: rate(&harmful, |answer| answer.refused && answer.language.other().is_some()),
                benign_answer_rate: rate(&benign, |answer| !answer.refused),
                unsafe_kept: kept(&harmful),
                benign_kept: kept(&benign),
            }
        });
        Ok(Examined { marks: marks.collect(), gaps })
    }

    /// Identifies what is asked, so that marks of one exam are not taken for another's.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |ids: &[u32]| {
            hasher.update(&(ids.len() as u64).to_le_bytes());
            ids.iter().for_each(|id| _ = hasher.update(&id.to_le_bytes()));
        };
        for row in &self.pairs.pairs {
            for ids in [row.pair.prompt(), row.pair.chosen(), row.pair.rejected()] {
                add(ids);
            }
        }
        for prompt in &self.prompts {
            add(&prompt.ids);
            add(&[u32::from(prompt.is_unsafe)]);
        }
        add(&[self.max_new_tokens as u32]);
        hasher.finalize().to_string()
    }

    /// What the model's own answers turn out to be.
    fn answers(
        &self,
        model: &CausalLm,
        folder: &ModelFolder,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<Vec<Marked>, EvalError> {
        let options = GenerateOptions { batch_size: self.batch_size, ..folder.generate_options(self.max_new_tokens) };
        let prompts: Vec<Vec<u32>> = self.prompts.iter().map(|one| one.ids.clone()).collect();
        let answering = Answering { folder, model, options, progress };
        let answers = answering.all(&prompts, what).map_err(|error| match error {
            // A run in which it is examined can be resumed.
            ChatError::Stopped => TrainError::Interrupted.into(),
            error => EvalError::from(error),
        })?;
        let detector = Detector::new(None)?;
        let judged = self.prompts.iter().zip(&answers);
        judged
            .map(|(prompt, answer)| {
                let asked = folder.tokenizer.decode(&prompt.ids)?;
                Ok(Marked {
                    refused: (self.refuses)(prompt.language, &answer.text),
                    language: AnswerLanguage::of(&detector, prompt.language, &asked, &answer.text),
                })
            })
            .collect()
    }
}
