//! The model whose rows are made.

use burn::module::Module as _;
use burn::tensor::Tensor;
use mpo_chat::{ChatError, ChatModel, LocalChat, ModelFolder};
use mpo_data::Message;
use mpo_models::{Batch, CausalLm, GenerateOptions, Layer, Part, Places, Sampling};
use mpo_progress::Progress;

/// A model that can be asked with answers of any length, greedily or by the draw, and that says what it thinks of answers.
pub trait Subject {
    /// The model, to be asked so: with answers of so many tokens at most, the most probable ones without `sampling`.
    fn chat(&self, max_new_tokens: usize, sampling: Option<Sampling>) -> Box<dyn ChatModel + '_>;

    /// How likely each answer is.
    ///
    /// # Errors
    /// If a prompt cannot be written by the chat template, or the work is stopped.
    fn log_probs(&self, asked: &[Candidates<'_>]) -> Result<Vec<Vec<LogProb>>, ChatError>;

    /// The states of each answer.
    ///
    /// # Errors
    /// Those of [`log_probs`](Self::log_probs).
    fn states(&self, asked: &[Candidates<'_>]) -> Result<Vec<Vec<AnswerStates>>, ChatError>;
}

/// A prompt and answers to it.
#[derive(Debug, Clone)]
pub struct Candidates<'a> {
    /// The conversation so far.
    pub prompt: &'a [Message],
    /// What may be said to it.
    pub answers: Vec<&'a str>,
}

/// How likely an answer is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogProb {
    /// log p of the answer, with what ends it.
    pub sum: f64,
    /// Its tokens.
    pub tokens: usize,
}

/// What a model holds of an answer: means over its tokens, `[hidden_size]`.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerStates {
    /// Of a layer about the middle: the 15th of 32.
    pub middle: Vec<f64>,
    /// Of the last layer, after the final norm.
    pub last: Vec<f64>,
}

/// Tokens of prompts and answers that pass through the model at once, unless one exchange has more.
const MAX_TOKENS: usize = 2048;

/// A model on this machine.
pub struct LocalSubject<'a> {
    /// Where its tokenizer is.
    pub folder: &'a ModelFolder,
    /// Its weights.
    pub model: &'a CausalLm,
    /// Its content hash.
    pub hash: &'a str,
    /// Prompts answered at once.
    pub batch_size: usize,
    /// Who is told of prompts that are too long.
    pub progress: &'a dyn Progress,
}

/// The token ids of a prompt and an answer.
struct Encoded {
    prompt: Vec<u32>,
    answer: Vec<u32>,
}

impl LocalSubject<'_> {
    fn encoded(&self, prompt: &[Message], answer: &str) -> Result<Encoded, ChatError> {
        let exchange = self.folder.tokenizer.encode_exchange(prompt, [answer])?;
        let [answer] = exchange.answers;
        self.folder.check_ids(&exchange.prompt)?;
        self.folder.check_ids(&answer)?;
        Ok(Encoded { prompt: exchange.prompt, answer })
    }

    /// What `of` makes of answers in a batch, for all answers to each prompt.
    fn passed<T>(
        &self,
        asked: &[Candidates<'_>],
        of: impl Fn(&CausalLm, Batch, Vec<Part>) -> Vec<T>,
    ) -> Result<Vec<Vec<T>>, ChatError> {
        let exchanges = asked.iter().flat_map(|of| of.answers.iter().map(move |answer| (of.prompt, *answer)));
        let stage = self.progress.begin("scoring", Some(exchanges.clone().count()));
        let mut encoded = exchanges.map(|(prompt, answer)| self.encoded(prompt, answer)).peekable();
        let (model, mut made) = (self.model.valid(), vec![]);
        while encoded.peek().is_some() {
            if stage.is_stopped() {
                return Err(ChatError::Stopped);
            }
            let (mut batch, mut parts) = (Batch::default(), vec![]);
            // Answers to one prompt stand behind each other, and share it.
            let mut opening: Option<(Vec<u32>, Part)> = None;
            let fits = |batch: &Batch, next: &Result<Encoded, ChatError>| match next {
                Ok(next) => batch.tokens() + next.prompt.len() + next.answer.len() <= MAX_TOKENS,
                Err(_) => true,
            };
            while let Some(next) = encoded.next_if(|next| parts.is_empty() || fits(&batch, next)) {
                let Encoded { prompt, answer } = next?;
                let prompt = match &opening {
                    Some((ids, part)) if *ids == prompt => *part,
                    _ => {
                        let part = batch.prompt(&prompt);
                        opening.insert((prompt, part)).1
                    }
                };
                parts.push(batch.answer(prompt, &answer));
            }
            let taken = parts.len();
            made.extend(of(&model, batch, parts));
            stage.advance(taken);
        }
        let mut made = made.into_iter();
        Ok(asked.iter().map(|one| made.by_ref().take(one.answers.len()).collect()).collect())
    }
}

impl Subject for LocalSubject<'_> {
    fn chat(&self, max_new_tokens: usize, sampling: Option<Sampling>) -> Box<dyn ChatModel + '_> {
        let options = GenerateOptions {
            // What was answered before an interruption must not change what is drawn after it.
            sampling: sampling.map(Sampling::by_prompt),
            batch_size: self.batch_size,
            ..self.folder.generate_options(max_new_tokens)
        };
        Box::new(LocalChat::new(self.folder, self.model, self.hash, options, self.progress))
    }

    fn log_probs(&self, asked: &[Candidates<'_>]) -> Result<Vec<Vec<LogProb>>, ChatError> {
        self.passed(asked, |model, mut batch, answers| {
            let tokens: Vec<usize> = answers.iter().map(|&answer| batch.ids(answer).len()).collect();
            let wanted = batch.want_scores(answers);
            let sums = values(model.forward(&batch).scores(wanted).sum);
            sums.into_iter().zip(tokens).map(|(sum, tokens)| LogProb { sum, tokens }).collect()
        })
    }

    fn states(&self, asked: &[Candidates<'_>]) -> Result<Vec<Vec<AnswerStates>>, ChatError> {
        let middle = Layer::Output((self.model.config().num_layers * 15 / 32).saturating_sub(1));
        self.passed(asked, |model, mut batch, answers| {
            let means = || Places::Means(answers.iter().map(|&answer| vec![answer]).collect());
            let wanted = [middle, Layer::Last].map(|layer| batch.want_states(layer, means()));
            let outputs = model.forward(&batch);
            let [middle, last] = wanted.map(|wanted| {
                let states = outputs.states(wanted);
                let width = states.dims()[1];
                values(states).chunks_exact(width).map(<[f64]>::to_vec).collect::<Vec<_>>()
            });
            middle.into_iter().zip(last).map(|(middle, last)| AnswerStates { middle, last }).collect()
        })
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values = tensor.into_data().convert::<f64>().try_to_vec::<f64>();
    values.expect("the data has just been converted to f64")
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use mpo_data::TemplateOptions;
    use mpo_models::At;
    use mpo_progress::Silent;

    use super::*;

    #[test]
    fn answers_in_a_batch_are_scored_as_each_alone() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../mpo-train/miniature/model");
        let folder = ModelFolder::open(path, &TemplateOptions::default(), &Silent).unwrap();
        let model = folder.load_frozen(&Device::flex(), &Silent).unwrap();
        let subject = LocalSubject { folder: &folder, model: &model, hash: "", batch_size: 8, progress: &Silent };
        let prompts = ["How do I steal a car?", "Ninawezaje kuiba gari?"].map(|text| [Message::user(text)]);
        let answers = [vec!["I won't explain how to steal a car.", "Sure."], vec!["Sitaeleza."], vec![]];
        let asked = [(&prompts[0], &answers[0]), (&prompts[1], &answers[1]), (&prompts[1], &answers[2])];
        let asked = asked.map(|(prompt, answers)| Candidates { prompt, answers: answers.clone() });
        let (scored, states) = (subject.log_probs(&asked).unwrap(), subject.states(&asked).unwrap());
        assert_eq!(scored.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 0]);
        let middle = model.config().num_layers * 15 / 32 - 1;
        for ((of, scored), states) in asked.iter().zip(&scored).zip(&states) {
            for ((answer, scored), states) in of.answers.iter().zip(scored).zip(states) {
                let exchange = folder.tokenizer.encode_exchange(of.prompt, [*answer]).unwrap();
                let mut batch = Batch::default();
                let prompt = batch.prompt(&exchange.prompt);
                let part = batch.answer(prompt, &exchange.answers[0]);
                let (sum, every) = (batch.want_scores([part]), || Places::Tokens(vec![At::Every(part)]));
                let wanted = [Layer::Output(middle), Layer::Last].map(|layer| batch.want_states(layer, every()));
                let outputs = model.valid().forward(&batch);
                assert!((values(outputs.scores(sum).sum)[0] - scored.sum).abs() < 1e-4, "{answer}");
                assert_eq!(scored.tokens, exchange.answers[0].len());
                for (wanted, mean) in wanted.into_iter().zip([&states.middle, &states.last]) {
                    let expected = values(outputs.states(wanted).mean_dim(0));
                    let apart = expected.iter().zip(mean).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(expected.len() == mean.len() && apart < 1e-4, "{answer}: {apart}");
                }
            }
        }
    }
}
