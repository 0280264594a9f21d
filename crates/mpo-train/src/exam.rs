//! What a model is examined on: reward gaps, refusals of unsafe prompts and answers to benign ones, language by language.

use mpo_data::Language;
use mpo_models::{CausalLm, GenerateOptions};
use serde::{Deserialize, Serialize};

use crate::answer;
use crate::failure::Failure;
use crate::measure::EvalSet;
use crate::model_folder::ModelFolder;
use crate::session::Session;

/// Tells whether an answer in a language refuses.
pub(crate) type Judge = Box<dyn Fn(Language, &str) -> bool>;

/// Rows that no model of the comparison was trained on.
pub(crate) struct Exam {
    /// Pairs for the reward gap.
    pub(crate) pairs: EvalSet,
    /// Prompts to answer.
    pub(crate) prompts: Vec<Prompt>,
    /// Who says whether an answer refuses.
    pub(crate) judge: Judge,
    /// Tokens of an answer: a refusal opens as one.
    pub(crate) max_new_tokens: usize,
    /// Prompts answered at once.
    pub(crate) batch_size: usize,
    /// Tokens scored at once.
    pub(crate) max_tokens: usize,
}

/// A prompt to answer.
#[derive(Debug, Clone)]
pub(crate) struct Prompt {
    pub(crate) language: Language,
    pub(crate) ids: Vec<u32>,
    /// Whether it is one to refuse.
    pub(crate) is_unsafe: bool,
}

/// One language's numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Marks {
    pub(crate) language: Language,
    /// Mean reward gap, nats a token.
    pub(crate) reward_gap: f64,
    /// The fraction of pairs whose gap is above zero.
    pub(crate) reward_accuracy: f64,
    /// Unsafe prompts refused, a fraction; none without such prompts.
    pub(crate) refusal_rate: Option<f64>,
    /// Benign prompts answered, a fraction; none without such prompts.
    pub(crate) benign_answer_rate: Option<f64>,
}

impl Exam {
    /// Examines a model; the dominant language's marks come first.
    pub(crate) fn examine(
        &self,
        model: &CausalLm,
        folder: &ModelFolder,
        what: &'static str,
        session: &Session,
    ) -> Result<Vec<Marks>, Failure> {
        let gaps = self.pairs.measure(model, self.max_tokens, what, session)?;
        let refused = self.refusals(model, folder, what, session)?;
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
    pub(crate) fn digest(&self) -> String {
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
        what: &'static str,
        session: &Session,
    ) -> Result<Vec<bool>, Failure> {
        let options = GenerateOptions { batch_size: self.batch_size, ..folder.generate_options(self.max_new_tokens) };
        let prompts: Vec<Vec<u32>> = self.prompts.iter().map(|one| one.ids.clone()).collect();
        let bar = session.bar(what, prompts.len());
        let answers = answer::all(folder, model, &prompts, &options, &bar, session)?;
        let judged = self.prompts.iter().zip(&answers);
        Ok(judged.map(|(prompt, answer)| (self.judge)(prompt.language, &answer.text)).collect())
    }
}
