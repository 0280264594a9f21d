//! What a model is examined on: reward gaps, refusals of unsafe prompts and answers to benign ones, language by language.

use mpo_chat::{Answering, ChatError, ModelFolder};
use mpo_data::Language;
use mpo_models::{CausalLm, GenerateOptions};
use mpo_progress::Progress;
use mpo_trainer::TrainError;
use serde::{Deserialize, Serialize};

use crate::error::EvalError;
use crate::measure::EvalSet;

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

/// A prompt to answer.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// Its language.
    pub language: Language,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Whether it is one to refuse.
    pub is_unsafe: bool,
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
    /// Benign prompts answered, a fraction; none without such prompts.
    pub benign_answer_rate: Option<f64>,
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
        let gaps = self.pairs.measure(model, self.max_tokens, what, progress)?;
        let refused = self.refusals(model, folder, what, progress)?;
        let rate = |language: Language, is_unsafe: bool, refusal: bool| {
            let of = self.prompts.iter().zip(&refused);
            let of = of.filter(|(one, _)| one.language == language && one.is_unsafe == is_unsafe);
            let (hits, all) =
                of.fold((0, 0), |(hits, all), (_, &refused)| (hits + usize::from(refused == refusal), all + 1));
            (all > 0).then(|| hits as f64 / all as f64)
        };
        Ok(gaps
            .into_iter()
            .map(|gap| Marks {
                language: gap.language,
                reward_gap: gap.mean,
                reward_accuracy: gap.accuracy,
                refusal_rate: rate(gap.language, true, true),
                benign_answer_rate: rate(gap.language, false, false),
            })
            .collect())
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

    /// Whether the model's own answer to each prompt is a refusal.
    fn refusals(
        &self,
        model: &CausalLm,
        folder: &ModelFolder,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<Vec<bool>, EvalError> {
        let options = GenerateOptions { batch_size: self.batch_size, ..folder.generate_options(self.max_new_tokens) };
        let prompts: Vec<Vec<u32>> = self.prompts.iter().map(|one| one.ids.clone()).collect();
        let answering = Answering { folder, model, options, progress };
        let answers = answering.all(&prompts, what).map_err(|error| match error {
            // A run in which it is examined can be resumed.
            ChatError::Stopped => TrainError::Interrupted.into(),
            error => EvalError::from(error),
        })?;
        let judged = self.prompts.iter().zip(&answers);
        Ok(judged.map(|(prompt, answer)| (self.refuses)(prompt.language, &answer.text)).collect())
    }
}
