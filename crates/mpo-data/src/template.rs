//! Chat templates: how a conversation is written as the text a model was trained on.

use std::path::PathBuf;
use std::str::FromStr;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::pair::{Message, Role};

/// Instructions, and bytes in 64s, that one rendering may spend: seconds at most, and enough for the longest row.
const FUEL: u64 = 2_000_000;

const NAME: &str = "chat_template";

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
    fn source(self) -> &'static str {
        match self {
            Self::Llama3 => {
                r"{{ '<|begin_of_text|>' }}{% for message in messages %}{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
            }
            Self::Gemma => {
                r"{{ '<bos>' }}{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('Gemma has no system role') }}{% endif %}{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else 'user') + '\n' + message.content + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
            }
            Self::Qwen => {
                r"{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}{% endif %}{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
            }
            Self::Plain => r"{% for message in messages %}{{ message.content + '\n' }}{% endfor %}",
        }
    }

    fn end_of_turn(self) -> EndOfTurn {
        match self {
            Self::Llama3 => EndOfTurn::Token("<|eot_id|>"),
            Self::Gemma => EndOfTurn::Token("<eos>"),
            Self::Qwen => EndOfTurn::Token("<|im_end|>"),
            Self::Plain => EndOfTurn::Eos,
        }
    }

    /// A token that no response ends with in training, and that a model may end its turn with all the same: Gemma was
    /// tuned to before the released code taught it `<eos>`.
    fn also_ends(self) -> Option<&'static str> {
        match self {
            Self::Gemma => Some("<end_of_turn>"),
            Self::Llama3 | Self::Qwen | Self::Plain => None,
        }
    }
}

/// Where a model's chat template is taken from. Written as `auto`, the name of a built-in one, or a `.jinja` file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TemplateChoice {
    /// The one in the model's folder.
    #[default]
    Auto,
    /// One that the program carries.
    Builtin(BuiltinTemplate),
    /// One in a file.
    File(PathBuf),
}

impl FromStr for TemplateChoice {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "auto" => Ok(Self::Auto),
            "llama3" => Ok(Self::Builtin(BuiltinTemplate::Llama3)),
            "gemma" => Ok(Self::Builtin(BuiltinTemplate::Gemma)),
            "qwen" => Ok(Self::Builtin(BuiltinTemplate::Qwen)),
            "plain" => Ok(Self::Builtin(BuiltinTemplate::Plain)),
            file if file.ends_with(".jinja") => Ok(Self::File(file.into())),
            _ => Err(DataError::UnknownTemplate(name.into())),
        }
    }
}

impl TryFrom<String> for TemplateChoice {
    type Error = DataError;

    fn try_from(name: String) -> Result<Self, DataError> {
        name.parse()
    }
}

impl From<TemplateChoice> for String {
    fn from(choice: TemplateChoice) -> Self {
        match choice {
            TemplateChoice::Auto => "auto".into(),
            TemplateChoice::Builtin(BuiltinTemplate::Llama3) => "llama3".into(),
            TemplateChoice::Builtin(BuiltinTemplate::Gemma) => "gemma".into(),
            TemplateChoice::Builtin(BuiltinTemplate::Qwen) => "qwen".into(),
            TemplateChoice::Builtin(BuiltinTemplate::Plain) => "plain".into(),
            TemplateChoice::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

/// The texts of the tokens that templates write by name; empty where the tokenizer has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a sequence.
    pub bos: String,
    /// Ends a sequence.
    pub eos: String,
}

/// What ends a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EndOfTurn {
    /// The tokenizer's end-of-sequence token.
    Eos,
    /// This token.
    Token(&'static str),
    /// This text, up to the first special token in it.
    Text(String),
}

/// A chat template, ready to render.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    tokens: SpecialTokens,
    builtin: Option<BuiltinTemplate>,
}

impl ChatTemplate {
    /// A template in the Jinja dialect of Hugging Face's Transformers.
    pub fn new(source: String, tokens: SpecialTokens) -> Result<Self, DataError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(template_error)?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", tojson);
        environment
            .add_template_owned(NAME, source)
            .map_err(template_error)?;
        Ok(Self {
            environment,
            tokens,
            builtin: None,
        })
    }

    /// A template that the program carries.
    pub fn builtin(builtin: BuiltinTemplate, tokens: SpecialTokens) -> Result<Self, DataError> {
        Ok(Self {
            builtin: Some(builtin),
            ..Self::new(builtin.source().into(), tokens)?
        })
    }

    /// Writes a conversation; with `add_generation_prompt`, up to where the assistant begins to speak.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, DataError> {
        let messages: Value = messages
            .iter()
            .map(|message| context! { role => message.role.as_str(), content => message.content.as_str() })
            .collect();
        let template = self
            .environment
            .get_template(NAME)
            .map_err(template_error)?;
        template
            .render(context! {
                messages => messages,
                add_generation_prompt => add_generation_prompt,
                bos_token => self.tokens.bos.as_str(),
                eos_token => self.tokens.eos.as_str(),
            })
            .map_err(template_error)
    }

    /// A token that ends a turn beside what ends a response.
    pub(crate) fn also_ends(&self) -> Option<&'static str> {
        self.builtin.and_then(BuiltinTemplate::also_ends)
    }

    /// What ends a response: a template that is not ours is asked what it writes after one.
    pub(crate) fn end_of_turn(&self) -> Result<EndOfTurn, DataError> {
        const RESPONSE: &str = "ResponseToBeFound";
        if let Some(builtin) = self.builtin {
            return Ok(builtin.end_of_turn());
        }
        let response = Message {
            role: Role::Assistant,
            content: RESPONSE.into(),
        };
        let text = self.render(&[Message::user("Prompt"), response], false)?;
        match text.rsplit_once(RESPONSE) {
            Some((_, "")) => Ok(EndOfTurn::Eos),
            Some((_, after)) => Ok(EndOfTurn::Text(after.into())),
            None => Err(DataError::Template(
                "expected the assistant's message in its output, got none".into(),
            )),
        }
    }
}

fn template_error(error: Error) -> DataError {
    match error.kind() {
        ErrorKind::OutOfFuel => DataError::Template(
            "expected it to end, got more work than any conversation needs".into(),
        ),
        _ => DataError::Template(error.to_string()),
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// The date of "now". Two runs of one configuration must see the same prompts, so it is always the day that the LLaMA
/// templates fall back to: Friday, 26 July 2024, at midnight.
fn strftime_now(format: String) -> Result<String, Error> {
    let mut date = String::new();
    let mut rest = format.chars();
    while let Some(next) = rest.next() {
        if next != '%' {
            date.push(next);
            continue;
        }
        date.push_str(match rest.next() {
            Some('Y') => "2024",
            Some('y') => "24",
            Some('m') => "07",
            Some('d') => "26",
            Some('B') => "July",
            Some('b' | 'h') => "Jul",
            Some('A') => "Friday",
            Some('a') => "Fri",
            Some('j') => "208",
            Some('F') => "2024-07-26",
            Some('T') => "00:00:00",
            Some('H' | 'M' | 'S') => "00",
            Some('I') => "12",
            Some('p') => "AM",
            Some('%') => "%",
            other => {
                let message =
                    format!("strftime_now: expected a known date field after `%`, got {other:?}");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        });
    }
    Ok(date)
}

/// JSON as Transformers writes it: the engine's own filter escapes `<`, `>`, `&` and `'` for HTML besides.
fn tojson(value: &Value, indent: Option<Value>, options: Kwargs) -> Result<String, Error> {
    let html = minijinja::filters::tojson(value, indent, options)?.to_string();
    let mut json = String::with_capacity(html.len());
    let mut rest = html.as_str();
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        json.push_str(before);
        let html_escapes = [
            ("\\u003c", "<"),
            ("\\u003e", ">"),
            ("\\u0026", "&"),
            ("\\u0027", "'"),
        ];
        let (written, length) = match html_escapes
            .iter()
            .find(|(code, _)| escape.starts_with(code))
        {
            Some((code, plain)) => (*plain, code.len()),
            // Any other escape is a backslash and an ASCII character, and may be an escaped backslash.
            None => (escape.get(..2).unwrap_or(escape), escape.len().min(2)),
        };
        json.push_str(written);
        rest = escape.get(length..).unwrap_or_default();
    }
    json.push_str(rest);
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<String, DataError> {
        let tokens = SpecialTokens {
            bos: "<s>".into(),
            eos: "</s>".into(),
        };
        ChatTemplate::new(source.into(), tokens)?
            .render(&[Message::user("Hi <b> 'x' \\u003c")], true)
    }

    #[test]
    fn builtin_templates_write_what_the_released_code_does() {
        let cases = [
            (
                BuiltinTemplate::Llama3,
                "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
                 <|start_header_id|>assistant<|end_header_id|>\n\n",
            ),
            (
                BuiltinTemplate::Gemma,
                "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
            ),
            (
                BuiltinTemplate::Qwen,
                "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n\
                 <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
            ),
            (BuiltinTemplate::Plain, "Hi\n"),
        ];
        for (builtin, expected) in cases {
            let template = ChatTemplate::builtin(builtin, SpecialTokens::default()).unwrap();
            assert_eq!(
                template.render(&[Message::user("Hi")], true).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn templates_speak_the_dialect_of_transformers() {
        for (source, expected) in [
            ("{{ bos_token }}|{{ eos_token }}", "<s>|</s>"),
            (
                "{% if add_generation_prompt %}\nyes\n{% endif %}\n",
                "yes\n",
            ),
            ("a\n  {% if true %}\nb{% endif %}", "a\nb"),
            (
                "{% if messages[0]['role'].upper().startswith('US') %}yes{% endif %}",
                "yes",
            ),
            (
                "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}",
                "01",
            ),
            (
                "{{ messages[0].content | tojson }}",
                r#""Hi <b> 'x' \\u003c""#,
            ),
            ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
            (
                "{% if tools is defined %}tools{% else %}none{% endif %}",
                "none",
            ),
        ] {
            assert_eq!(render(source).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn bad_templates_are_errors() {
        for (source, expected) in [
            ("{% for %}", "syntax error"),
            (
                "{{ raise_exception('roles must alternate') }}",
                "roles must alternate",
            ),
            ("{{ strftime_now('%Q') }}", "date field"),
            (
                "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}",
                "expected it to end",
            ),
            (
                "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
                "chat template: ",
            ),
        ] {
            let error = render(source).unwrap_err();
            assert!(error.to_string().contains(expected), "{source}: {error}");
            assert!(error.hint().unwrap().contains("plain"));
        }
    }

    #[test]
    fn the_end_of_a_turn_is_what_follows_the_response() {
        let chatml = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}";
        for (source, expected) in [
            (chatml, Some(EndOfTurn::Text("<|im_end|>\n".into()))),
            (
                "{% for m in messages %}{{ m.content }}{% endfor %}",
                Some(EndOfTurn::Eos),
            ),
            ("nothing", None),
        ] {
            let template = ChatTemplate::new(source.into(), SpecialTokens::default()).unwrap();
            assert_eq!(template.end_of_turn().ok(), expected, "{source}");
        }
    }

    #[test]
    fn choices_are_written_as_they_are_read() {
        for name in ["auto", "llama3", "gemma", "qwen", "plain", "mine.jinja"] {
            assert_eq!(String::from(name.parse::<TemplateChoice>().unwrap()), name);
        }
        assert!(
            matches!("llama4".parse::<TemplateChoice>(), Err(DataError::UnknownTemplate(name)) if name == "llama4")
        );
    }
}
