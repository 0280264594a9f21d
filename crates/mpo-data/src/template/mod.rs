//! Chat templates: how a conversation is written as the text a model was trained on.

mod builtin;
mod characters;
mod conversation;
mod date;
mod dialect;
mod filters;
mod generator;
#[cfg(test)]
mod jinja2;
mod methods;
mod namespace;
mod options;
mod percent;
mod python;
mod renderer;
mod scan;
#[cfg(test)]
mod snippets;
mod sources;
mod turn;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use builtin::BuiltinTemplate;
pub use conversation::Conversation;
pub(crate) use conversation::Parts;
pub use options::{SystemMessage, TemplateArgument, TemplateArguments, TemplateChoice, TemplateOptions};
pub(crate) use sources::TemplateField;
pub use sources::{TemplateSource, TemplateSources};
pub(crate) use turn::{Turn, Turns};

use crate::error::DataError;
use crate::text::visible;
use crate::tokenizer::SpecialTokens;
use dialect::Problem;
use renderer::Renderer;

/// A chat template, ready to render.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    default: Arc<Loaded>,
    /// Takes the place of the other where a conversation has tools.
    with_tools: Option<Arc<Loaded>>,
    /// The special tokens and the arguments, by name.
    variables: Map<String, Value>,
    /// The names of the arguments.
    arguments: Vec<String>,
    system_message: SystemMessage,
    builtin: Option<BuiltinTemplate>,
}

/// A template and where it came from.
#[derive(Debug)]
struct Loaded {
    source: TemplateSource,
    renderer: Renderer,
}

impl Loaded {
    /// As Jinja2 reads it, every break of lines of the source, also one within a literal, is `\n`.
    fn new(mut source: TemplateSource) -> Result<Self, DataError> {
        source.text = source.text.replace("\r\n", "\n").replace('\r', "\n");
        let renderer = Renderer::new(source.text.clone());
        let renderer = renderer.map_err(|problem| source.error(problem))?;
        Ok(Self { source, renderer })
    }
}

impl TemplateSource {
    fn error(&self, problem: Problem) -> DataError {
        match problem {
            Problem::NoThread(error) => DataError::Thread { what: "chat template", error },
            Problem::Refused(message) => DataError::Refused(visible(&message)),
            Problem::Failed(problem) => DataError::Template { file: self.file.clone(), problem: visible(&problem) },
        }
    }
}

/// How many characters two names have in common at their beginning or end.
fn likeness(one: &str, other: &str) -> usize {
    let same = |(a, b): &(char, char)| a == b;
    let begin = one.chars().zip(other.chars()).take_while(same).count();
    let end = one.chars().rev().zip(other.chars().rev()).take_while(same).count();
    begin.max(end)
}

impl ChatTemplate {
    /// Templates in the Jinja dialect of Hugging Face's Transformers.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn new(sources: TemplateSources, tokens: &SpecialTokens, options: &TemplateOptions) -> Result<Self, DataError> {
        let load = |source| Loaded::new(source).map(Arc::new);
        let mut variables = tokens.variables().clone();
        let arguments = options.arguments.iter();
        variables.extend(arguments.map(|(name, value)| (name.clone(), value.clone())));
        Ok(Self {
            default: load(sources.default)?,
            with_tools: sources.with_tools.map(load).transpose()?,
            variables,
            arguments: options.arguments.iter().map(|(name, _)| name.clone()).collect(),
            system_message: options.system_message,
            builtin: None,
        })
    }

    /// A template that the program carries.
    ///
    /// # Errors
    /// If no thread can be started for it.
    pub fn builtin(
        builtin: BuiltinTemplate,
        tokens: &SpecialTokens,
        options: &TemplateOptions,
    ) -> Result<Self, DataError> {
        Ok(Self { builtin: Some(builtin), ..Self::new(builtin.into(), tokens, options)? })
    }

    /// Writes a conversation; with `add_generation_prompt`, up to where the assistant begins to speak.
    ///
    /// The variables are those of Transformers' `apply_chat_template`: every special token by name, `tools` and
    /// `documents`, which are none unless given, and the arguments.
    ///
    /// # Errors
    /// If the template refuses the conversation, or fails on it.
    pub fn render<'a>(
        &self,
        conversation: impl Into<Conversation<'a>>,
        add_generation_prompt: bool,
    ) -> Result<String, DataError> {
        self.render_parts(conversation.into().into(), add_generation_prompt)
    }

    /// The same, of a conversation as JSON.
    pub(crate) fn render_parts(&self, parts: Parts, add_generation_prompt: bool) -> Result<String, DataError> {
        let written = self.write(parts.clone(), add_generation_prompt);
        let refused = match (&written, parts.system()) {
            (Err(DataError::Refused(_)), Some(_)) => true,
            (Ok(text), Some(system)) if !text.contains(system.trim()) => {
                // It may be there in another form, such as a JSON string.
                let other = parts.clone().with_other_system();
                self.write(other, add_generation_prompt).is_ok_and(|other| other == *text)
            }
            _ => false,
        };
        if !refused {
            return written;
        }
        let merged = parts.merged().map(|parts| self.write(parts, add_generation_prompt));
        match (merged, written) {
            (Some(Ok(text)), _) if self.system_message == SystemMessage::Merge => Ok(text),
            // What merging it would do is told only where that would help.
            (Some(Ok(_)), Err(DataError::Refused(why))) => Err(DataError::RefusedSystem(why)),
            (_, Ok(_)) => Err(DataError::DroppedSystem),
            (_, written) => written,
        }
    }

    /// The arguments that the template does not read, each with the variables that it does read and that are no others' to
    /// give, those of similar names first.
    pub fn unread_arguments(&self) -> Vec<(String, Vec<String>)> {
        let templates = [Some(&self.default), self.with_tools.as_ref()];
        let read: BTreeSet<&String> =
            templates.into_iter().flatten().flat_map(|template| template.renderer.variables()).collect();
        let unread = self.arguments.iter().filter(|name| !read.contains(name));
        let free = |name: &&&String| !options::is_ours(name) && !name.ends_with("_token");
        unread
            .map(|argument| {
                let mut others: Vec<String> = read.iter().filter(free).map(|name| (*name).clone()).collect();
                others.sort_by_key(|other| Reverse(likeness(argument, other)));
                (argument.clone(), others)
            })
            .collect()
    }

    fn write(&self, parts: Parts, add_generation_prompt: bool) -> Result<String, DataError> {
        let template = match &self.with_tools {
            Some(template) if !parts.tools.is_null() => template,
            _ => &self.default,
        };
        let mut variables = self.variables.clone();
        for (name, value) in [
            ("messages", parts.messages),
            ("tools", parts.tools),
            ("documents", parts.documents),
            ("add_generation_prompt", add_generation_prompt.into()),
        ] {
            variables.insert(name.into(), value);
        }
        let text = template.renderer.render(Value::Object(variables));
        text.map_err(|problem| template.source.error(problem))
    }

    /// Whether the template reads a variable of this name.
    pub fn mentions(&self, name: &str) -> bool {
        self.default.source.text.contains(name)
    }

    /// The template's source.
    pub fn source(&self) -> &str {
        &self.default.source.text
    }

    /// Whether this is the built-in template without any format, for models that have none.
    pub(crate) fn is_plain(&self) -> bool {
        self.builtin == Some(BuiltinTemplate::Plain)
    }

    /// The token that a built-in template says to end responses with.
    pub(crate) fn end_token(&self) -> Option<&'static str> {
        self.builtin.and_then(BuiltinTemplate::end_of_turn)
    }

    /// A token that ends a turn beside what ends a response.
    pub(crate) fn also_ends(&self) -> Option<&'static str> {
        self.builtin.and_then(BuiltinTemplate::also_ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::{Message, Role};

    fn template(source: &str, options: &TemplateOptions) -> Result<ChatTemplate, DataError> {
        let tokens = [("bos_token", "<s>"), ("eos_token", "</s>"), ("image_token", "<i>")];
        let source = TemplateSource { file: "chat.jinja".into(), text: source.into() };
        ChatTemplate::new(source.into(), &tokens.into_iter().collect(), options)
    }

    fn render(source: &str) -> Result<String, DataError> {
        template(source, &TemplateOptions::default())?.render(&[Message::user("Hi <b> 'x' \\u003c")], true)
    }

    #[test]
    fn line_breaks_of_a_source_are_those_of_jinja2() {
        let source = "a\r\nb\rc{{ 'd\r\ne\rf\\r' }}\r\n{% if true %}\r\ng{% endif %}\r\n";
        assert_eq!(render(source).unwrap(), "a\nb\ncd\ne\nf\r\ng");
        assert_eq!(template("a\r\nb", &TemplateOptions::default()).unwrap().source(), "a\nb");
    }

    #[test]
    fn builtin_templates_write_what_the_released_code_does() {
        let cases = [
            (
                BuiltinTemplate::Llama3,
                "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
                 <|start_header_id|>assistant<|end_header_id|>\n\n",
            ),
            (BuiltinTemplate::Gemma, "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"),
            (
                BuiltinTemplate::Qwen,
                "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n\
                 <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
            ),
            (BuiltinTemplate::Plain, "Hi\n"),
        ];
        for (builtin, expected) in cases {
            let template =
                ChatTemplate::builtin(builtin, &SpecialTokens::default(), &TemplateOptions::default()).unwrap();
            assert_eq!(template.render(&[Message::user("Hi")], true).unwrap(), expected);
        }
    }

    #[test]
    fn templates_speak_the_dialect_of_transformers() {
        for (source, expected) in [
            ("{{ bos_token }}|{{ eos_token }}|{{ image_token }}|{{ pad_token }}", "<s>|</s>|<i>|"),
            ("{% if pad_token is defined %}x{% endif %}", ""),
            ("{% if add_generation_prompt %}\nyes\n{% endif %}\n", "yes\n"),
            ("a\n  {% if true %}\nb{% endif %}", "a\nb"),
            ("{% if messages[0]['role'].upper().startswith('US') %}yes{% endif %}", "yes"),
            ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
            ("{{ messages[0].content | tojson }}", r#""Hi <b> 'x' \\u003c""#),
            ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
            ("{{ 'a\r\nb\u{b}c'.splitlines() }}{{ 'a#b'.partition('#') }}", "['a', 'b', 'c']('a', '#', 'b')"),
            ("{{ 'abcab'.find('a', 1) }}{{ 'abcab'.count('a', 0, -2) }}{{ 'abc'.startswith('b', 1) }}", "31True"),
            ("{{ tools is iterable }}{{ messages is iterable }}{{ 'a' is iterable }}", "FalseTrueTrue"),
            // Not given is none, and not undefined.
            ("{{ tools is none }}{{ documents is none }}{{ tools is defined }}", "TrueTrueTrue"),
            ("{{ [1, 2.0, none, true, 'a\"b', (1,)] }}", "[1, 2.0, None, True, 'a\"b', (1,)]"),
            ("{{ {'a': {'b': [1, 'é']}} | tojson }}", r#"{"a": {"b": [1, "é"]}}"#),
            ("{{ {'b': 1, 'a': 'é'} | tojson(ensure_ascii=true, sort_keys=true) }}", r#"{"a": "\u00e9", "b": 1}"#),
            ("{{ {'a': [1], 'b': {}} | tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}"),
            ("{{ {'a': [1, 2]} | tojson(separators=(',', ':')) }}", r#"{"a":[1,2]}"#),
            ("{{ 1e22 | tojson }} {{ 0.00001 }} {{ 1.5 }}", "1e+22 1e-05 1.5"),
            ("{%- generation -%}\n a {% endgeneration %}b", "a b"),
            ("{{ 'a|b|c'.rsplit('|', 1)[0].removeprefix('a') }}", "|b"),
            ("{{ 'x#y'.partition('#')[2] ~ 'x'.rpartition('#')[2] ~ ' a b'.split(maxsplit=1)[1] }}", "yxb"),
            ("{{ 'ab'.center(5, '*') ~ '7'.zfill(3) ~ '-7'.zfill(3) ~ 'abc'.index('c') }}", "**ab*007-072"),
            ("{{ '\u{1c}a\u{a0}'.strip() ~ '|' ~ 'xay'.strip('xy') }}", "a|a"),
            ("{{ '[%s] %03d' % (messages[0].role, 7) }}{{ '%s' % true }}", "[user] 007True"),
            ("{% set n = namespace(a=1) %}{% for i in range(3) %}{% set n.a = n.a + i %}{% endfor %}{{ n.a }}", "4"),
            ("{% set n = namespace() %}{% set n.t %}\nx{% endset %}{{ n.t }}|{{ n.u is defined }}", "x|False"),
            (
                "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join }}",
                "Hi <b> 'x' \\u003c",
            ),
            ("{% for m in messages recursive %}{{ loop.previtem is defined }}{{ loop.nextitem }}{% endfor %}", "False"),
            ("{{ [1, none, true, 'a'] | join('-') }}{{ messages | join(attribute='role') }}", "1-None-True-auser"),
            ("{{ ' a ' | trim }}|{{ 'xax' | trim('x') }}|{{ 'a' | center(3) }}|{{ 'a b' | wordcount }}", "a|a| a |2"),
            ("{{ \"they're so-so\".title() }}", "They'Re So-So"),
            ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "a1"),
        ] {
            assert_eq!(render(source).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn bad_templates_are_errors() {
        for (source, expected) in [
            ("{% for %}", "syntax error"),
            ("{{ strftime_now('%Q') }}", "date field"),
            ("a\n\n{{ 'x'.translate(1) }}", "line 3: unknown method: string has no method named translate"),
            ("{{ messages | nofilter }}", "line 1: unknown filter"),
            ("{{ [1].append(2) }}", "append"),
            ("{% set n = 1 %}{% set n.a = 2 %}", "line 1: invalid operation: cannot set an attribute"),
        ] {
            let error = render(source).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(expected), "{source}: {error}");
            assert!(text.starts_with("chat template (chat.jinja): "), "{error}");
            assert!(error.hint().unwrap().contains("--template"));
        }
        let refusal = render("{{ raise_exception('roles \u{1b}[2J alternate') }}").unwrap_err();
        assert!(matches!(&refusal, DataError::Refused(why) if why == "roles \\u{1b}[2J alternate"));
    }

    /// Each is a way to crash, to hang or to fill memory.
    #[test]
    fn hostile_templates_are_errors() {
        let started = std::time::Instant::now();
        for (source, expected) in [
            ("{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}", "more work"),
            ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
            ("{% set n = namespace() %}{% set n.a = [n] %}{{ n.a | tojson }}{{ n.a }}", "no JSON"),
            ("{% for a in [1] %}{{ loop.cycle() }}{% endfor %}", "fails"),
            (
                "{% set n = namespace(a=[1]) %}{% for i in range(40) %}{% set n.a = n.a + n.a %}{% endfor %}{{ n.a | length }}",
                "",
            ),
            (
                "{% set n = namespace(a=[1]) %}{% for i in range(40) %}{% set n.a = n.a + n.a %}{% endfor %}{{ n.a }}",
                "",
            ),
            (
                "{% set n = namespace(a='x') %}{% for i in range(40) %}{% set n.a = n.a ~ n.a %}{% endfor %}{{ n.a }}",
                "more work",
            ),
            (
                "{% set n = namespace(a='x') %}{% for i in range(40) %}{% set n.a = n.a.replace('x', 'xx') %}{% endfor %}",
                "more work",
            ),
            (
                "{% set n = namespace(a=[]) %}{% for i in range(20000) %}{% set n.a = [n.a] %}{% endfor %}{{ n.a | tojson }}",
                "deep",
            ),
            (
                "{% set n = namespace(a=[]) %}{% for i in range(90000) %}{% set n.a = [n.a] %}{% endfor %}{{ n.a ~ '' }}",
                "",
            ),
            ("{{ [1] | tojson(indent=10**9) }}", "indent"),
            ("{{ '{:>2000000000}'.format('x') }}", "width"),
            ("{{ '{:>{}}'.format('x', 2000000000) }}", "format"),
            ("{{ '%2000000000d' % 1 }}{{ '%*d' % (2000000000, 1) }}", "width"),
            ("{{ '%2000000000d' | format(1) }}", ""),
            ("{{ 'x'.ljust(2000000000) }}", "width"),
            ("{{ 'x' * 2000000000 }}", ""),
            ("{{ [1] * 2000000000 }}", ""),
            ("{{ range(2000000000) | list }}", ""),
            ("{{ 'x' | indent(2000000000, true) }}", ""),
            ("{{ 'x\n' * 100000 | indent(100000) }}", ""),
        ] {
            match render(source) {
                Err(error) => assert!(error.to_string().contains(expected), "{source}: {error}"),
                Ok(text) => assert!(expected.is_empty() && text.len() < 100_000_000, "{source}"),
            }
        }
        for chain in ["|upper", " + 1", " and x", ".a", "(1)", " if x else y"] {
            assert!(render(&format!("{{{{ x{} }}}}", chain.repeat(20_000))).is_err(), "{chain}");
            // Whatever comes of it, it comes to an end.
            _ = render(&format!("{{{{ x{} }}}}", chain.repeat(1_600)));
        }
        assert!(started.elapsed().as_secs() < 60);
    }

    #[test]
    fn arguments_and_tools_are_variables() {
        let arguments = ["enable_thinking=false", "bos_token=<x>"];
        let options = TemplateOptions {
            arguments: arguments.iter().map(|text| text.parse().unwrap()).collect(),
            ..TemplateOptions::default()
        };
        let source = "{{ bos_token }}{{ enable_thinking }}{{ tools | tojson }}{{ documents }}";
        let template = template(source, &options).unwrap();
        assert!(template.mentions("enable_thinking") && !template.mentions("thinking_budget"));
        let messages = [Message::user("Hi")];
        assert_eq!(template.render(&messages, true).unwrap(), "<x>FalsenullNone");
        let tools = serde_json::json!([{ "name": "f" }]);
        let conversation = Conversation { tools: Some(&tools), ..Conversation::from(&messages) };
        assert_eq!(template.render(conversation, true).unwrap(), "<x>False[{\"name\": \"f\"}]None");
    }

    #[test]
    fn arguments_that_nothing_reads_are_named() {
        let arguments = ["enable_thinkin=false", "style=plain", "bos_token=<x>"];
        let options = TemplateOptions {
            arguments: arguments.iter().map(|text| text.parse().unwrap()).collect(),
            ..TemplateOptions::default()
        };
        let source = "{{ bos_token }}{% if enable_thinking is defined %}{{ namespace(a=budget) }}{% endif %}\
                      {% set own = 1 %}{{ own }}{{ raise_exception }}{{ messages }}";
        let names = ["enable_thinking", "budget"].map(String::from).to_vec();
        let unread = template(source, &options).unwrap().unread_arguments();
        assert_eq!(unread[0], ("enable_thinkin".into(), names));
        assert_eq!((unread.len(), &*unread[1].0), (2, "style"));
    }

    #[test]
    fn a_template_of_its_own_writes_conversations_with_tools() {
        let source = |text: &str| TemplateSource { file: "f".into(), text: text.into() };
        let sources = TemplateSources { default: source("without"), with_tools: Some(source("with")) };
        let options = TemplateOptions::default();
        let template = ChatTemplate::new(sources, &SpecialTokens::default(), &options).unwrap();
        let messages = [Message::user("Hi")];
        assert_eq!(template.render(&messages, true).unwrap(), "without");
        let conversation = Conversation { tools: Some(&Value::Array(vec![])), ..Conversation::from(&messages) };
        assert_eq!(template.render(conversation, true).unwrap(), "with");
    }

    #[test]
    fn a_system_message_that_is_refused_is_merged_where_that_was_asked_for() {
        let system = |role, content: &str| Message { role, content: content.into() };
        let asked = [system(Role::System, "Be kind."), Message::user("Hi")];
        let with = |system_message, source: &str| {
            let options = TemplateOptions { system_message, ..TemplateOptions::default() };
            template(source, &options).unwrap().render(&asked, true)
        };
        let refusing =
            "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ messages[0].content }}";
        let deaf = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}";
        let refused = with(SystemMessage::Keep, refusing).unwrap_err();
        assert!(matches!(&refused, DataError::RefusedSystem(why) if why == "no"), "{refused}");
        assert!(refused.hint().unwrap().contains("--system-message merge"));
        for source in [refusing, deaf] {
            let merged = with(SystemMessage::Merge, source).unwrap();
            assert_eq!(merged, "Be kind.\n\nHi");
        }
        let dropped = with(SystemMessage::Keep, deaf).unwrap_err();
        assert!(matches!(dropped, DataError::DroppedSystem), "{dropped}");
        assert!(dropped.hint().unwrap().contains("--system-message merge"));
        // One of its own in the place of ours is no better.
        let other = format!("{{% if messages[0].role != 'system' %}}default{{% endif %}}{deaf}");
        assert!(with(SystemMessage::Keep, &other).is_err());
        // Not left out, but written otherwise.
        let otherwise = "{{ messages[0].content | upper }}";
        for choice in [SystemMessage::Keep, SystemMessage::Merge] {
            assert_eq!(with(choice, otherwise).unwrap(), "BE KIND.");
        }
        let chatml = "{% for m in messages %}{{ m.role + m.content }}{% endfor %}";
        assert_eq!(with(SystemMessage::Merge, chatml).unwrap(), "systemBe kind.userHi");
        let always = "{{ raise_exception('never') }}";
        for choice in [SystemMessage::Keep, SystemMessage::Merge] {
            assert!(matches!(with(choice, always), Err(DataError::Refused(_))));
        }
    }
}
