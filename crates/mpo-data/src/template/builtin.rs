//! Templates that the program carries.

/// A template that the program carries: those the released code trained with, and one for models without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltinTemplate {
    /// LLaMA 3, without the system block that its own template adds.
    Llama3,
    /// Gemma, whose responses end in `<eos>`.
    Gemma,
    /// Qwen: ChatML with Qwen's default system message.
    Qwen,
    /// The prompt as it is and a line break, for base models.
    Plain,
}

impl BuiltinTemplate {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama3 => "llama3",
            Self::Gemma => "gemma",
            Self::Qwen => "qwen",
            Self::Plain => "plain",
        }
    }

    pub(super) const ALL: [Self; 4] = [Self::Llama3, Self::Gemma, Self::Qwen, Self::Plain];

    /// Its source, which a saved model carries too: what it writes after an answer is what responses end with.
    pub(super) fn source(self) -> &'static str {
        match self {
            Self::Llama3 => {
                r"{{ '<|begin_of_text|>' }}{% for message in messages %}{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
            }
            Self::Gemma => {
                r"{{ '<bos>' }}{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('Gemma has no system role') }}{% endif %}{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else 'user') + '\n' + message.content + ('<eos>' if loop.last and message.role == 'assistant' else '<end_of_turn>\n') }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
            }
            Self::Qwen => {
                r"{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}{% endif %}{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
            }
            Self::Plain => {
                r"{% for message in messages %}{{ message.content + (eos_token if loop.last and message.role == 'assistant' else '\n') }}{% endfor %}"
            }
        }
    }

    /// What ends a response; the end-of-sequence token where none is named.
    pub(super) fn end_of_turn(self) -> Option<&'static str> {
        match self {
            Self::Llama3 => Some("<|eot_id|>"),
            Self::Gemma => Some("<eos>"),
            Self::Qwen => Some("<|im_end|>"),
            Self::Plain => None,
        }
    }

    /// A token that no response ends with in training, and that a model may end its turn with all the same: Gemma was
    /// tuned to before the released code taught it `<eos>`.
    pub(super) fn also_ends(self) -> Option<&'static str> {
        match self {
            Self::Gemma => Some("<end_of_turn>"),
            Self::Llama3 | Self::Qwen | Self::Plain => None,
        }
    }
}
