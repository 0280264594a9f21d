//! Jinja as Transformers sets it up: an `ImmutableSandboxedEnvironment` with loop controls, `trim_blocks` and
//! `lstrip_blocks`, and Transformers' own filter and functions.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use super::generator::is_generator;
use super::python::{self, text_of};
use super::{date, filters, methods, namespace, scan};

/// Instructions, and bytes in 64s, that one rendering may spend: seconds at most, and enough for the longest row.
const FUEL: u64 = 2_000_000;

/// Why a template wrote nothing.
#[derive(Debug)]
pub(crate) enum Problem {
    /// It refuses the conversation, with these words.
    Refused(String),
    /// It cannot be used at all, or not for this conversation.
    Failed(String),
    /// The system gives no thread for it.
    NoThread(io::Error),
}

/// What a template says with `raise_exception`.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The name of the only template.
pub(super) const NAME: &str = "chat_template";

/// An engine that holds a template.
pub(super) fn environment(source: &str) -> Result<Environment<'static>, Problem> {
    let source = scan::prepare(source).map_err(Problem::Failed)?;
    let mut environment = Environment::new();
    let syntax =
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(|error| problem(&error))?;
    environment.set_syntax(syntax);
    minijinja_contrib::add_to_environment(&mut environment);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(|out, state, value| {
        if let Some(text) = value.as_str() {
            return out.write_str(text).map_err(Error::from);
        }
        let text = text_of(value)?;
        state.consume_fuel(text.len() as u64 / 16)?;
        out.write_str(&text).map_err(Error::from)
    });
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", |format: &str| date::strftime_now(format).map_err(python::error));
    environment.add_function("namespace", namespace::namespace);
    filters::add(&mut environment);
    // As Python sees it: what can be asked for its length and items, texts included, and none cannot.
    let is_iterable = |value: &Value| {
        use ValueKind::{Iterable, Map, Seq, String, Undefined};
        matches!(value.kind(), String | Seq | Map | Iterable | Undefined)
    };
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", move |value: &Value| is_iterable(value) && !is_generator(value));
    environment.add_template_owned(NAME, source).map_err(|error| problem(&error))?;
    Ok(environment)
}

/// The names of the variables that the template reads, those that the engine itself knows aside.
pub(super) fn variables(environment: &Environment<'_>) -> Result<BTreeSet<String>, Problem> {
    let template = environment.get_template(NAME).map_err(|error| problem(&error))?;
    let mut names: BTreeSet<String> = template.undeclared_variables(false).into_iter().collect();
    for (name, _) in environment.globals() {
        names.remove(name);
    }
    Ok(names)
}

/// The problem that an error of the engine means.
pub(super) fn problem(error: &Error) -> Problem {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut innermost = error;
    while let Some(this) = cause {
        if let Some(Refusal(message)) = this.downcast_ref() {
            return Problem::Refused(message.clone());
        }
        innermost = this.downcast_ref::<Error>().unwrap_or(innermost);
        cause = this.source();
    }
    if error.kind() == ErrorKind::OutOfFuel || innermost.kind() == ErrorKind::OutOfFuel {
        return Problem::Failed("it does more work than any conversation needs".into());
    }
    let line = innermost.line().or(error.line());
    let place = line.map_or(String::new(), |line| format!("line {line}: "));
    let kind = innermost.kind();
    Problem::Failed(match innermost.detail() {
        Some(detail) => format!("{place}{kind}: {detail}"),
        None => format!("{place}{kind}"),
    })
}

fn raise_exception(message: &Value) -> Result<Value, Error> {
    let message = text_of(message)?;
    Err(python::error("raise_exception").with_source(Refusal(message)))
}
