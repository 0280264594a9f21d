//! What the value of a setting may be, and how it is read from text.

use std::env;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use mpo_data::{Columns, Language, SystemMessage, TemplateArgument, TemplateArguments, TemplateChoice};
use serde::Serialize;
use serde_json::Value;

use super::choices::{
    AdapterKind, Choice, ConsistencyKind, DeviceChoice, LogTo, OptimizerState, PrecisionChoice, QuantizationChoice,
    Recompute, SaveDtype, Schedule,
};
use super::lora_targets::LoraTargets;
use super::measure::Measure;
use super::method::Method;
use super::recipe::Recipe;
use super::sources::{Shares, Sources};

/// How a setting is given as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// One value.
    One,
    /// One value, or none for `true`.
    Switch,
    /// Several values, one at a time; the flag is named in the singular.
    Several,
}

/// A value that a setting can have.
pub(super) trait SettingValue: Serialize + Clone + PartialEq + Sized {
    /// What it is, in a few words.
    const WHAT: &'static str;
    const TAKES: Takes = Takes::One;

    /// Reads what is typed, beside what was typed `before` it.
    ///
    /// # Errors
    /// What was expected, and what was found.
    fn typed(text: &str, before: Option<Self>) -> Result<Self, String>;

    /// The words that it is one of, and what each means; none if it is no word.
    fn words() -> Vec<(&'static str, &'static str)> {
        vec![]
    }

    /// What it should be instead, if it can be no setting.
    fn expected(&self) -> Option<&'static str> {
        None
    }

    /// What is meant by it, where it was read from text.
    #[must_use]
    fn settled(self) -> Self {
        self
    }

    /// As a person would write it.
    fn shown(&self) -> String {
        match serde_json::to_value(self) {
            Ok(Value::String(text)) => text,
            Ok(Value::Object(map)) if map.is_empty() => "none".into(),
            Ok(value) => value.to_string(),
            Err(_) => String::new(),
        }
    }
}

/// A path, where `~/` at its beginning is the user's home: no shell puts that in its place in a configuration file or behind an
/// equals sign. Without a home it stays as it is.
pub fn at_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), env::home_dir()) {
        (Ok(within), Some(home)) => home.join(within),
        _ => path,
    }
}

/// A small number with its power of ten.
fn number_shown(number: &f64) -> String {
    if *number != 0.0 && number.abs() < 1e-3 { format!("{number:e}") } else { number.to_string() }
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// Values that are read from text by themselves, and say what is wrong with it.
macro_rules! values {
    ($($Type:ty: $what:literal,)+) => {
        $(impl SettingValue for $Type {
            const WHAT: &'static str = $what;

            fn typed(text: &str, _: Option<Self>) -> Result<Self, String> {
                parsed(text)
            }
        })+
    };
}

values! {
    Language: "a language",
    Columns: "a map",
    LoraTargets: "names",
    Shares: "numbers above 0 and up to 1",
    Measure: "`eval_loss`, `eval_rg` or `eval_rg/LANG`",
}

/// Numbers, whose own messages name neither what was expected nor what was found.
macro_rules! numbers {
    ($($Type:ty: $what:literal, $shown:path;)+) => {
        $(impl SettingValue for $Type {
            const WHAT: &'static str = $what;

            fn typed(text: &str, _: Option<Self>) -> Result<Self, String> {
                text.parse().map_err(|_| format!("expected {}, got {text}", $what))
            }

            fn shown(&self) -> String {
                $shown(self)
            }
        })+
    };
}

numbers! {
    usize: "a whole number", ToString::to_string;
    u64: "a whole number", ToString::to_string;
    f64: "a number", number_shown;
}

/// Values that are one of a few words.
macro_rules! words {
    ($($Type:ty),+) => {
        $(impl SettingValue for $Type {
            const WHAT: &'static str = "a word";

            fn typed(text: &str, _: Option<Self>) -> Result<Self, String> {
                parsed(text)
            }

            fn words() -> Vec<(&'static str, &'static str)> {
                Self::ALL.iter().map(|&(_, name, help)| (name, help)).collect()
            }
        })+
    };
}

words!(
    Schedule,
    AdapterKind,
    ConsistencyKind,
    OptimizerState,
    PrecisionChoice,
    QuantizationChoice,
    Recompute,
    SaveDtype,
    LogTo,
    DeviceChoice
);

/// Values that are the name of one that the program carries, or a file.
macro_rules! names_or_files {
    ($($Type:ty),+) => {
        $(impl SettingValue for $Type {
            const WHAT: &'static str = "a name or a file";

            fn typed(text: &str, _: Option<Self>) -> Result<Self, String> {
                parsed(text)
            }

            fn settled(self) -> Self {
                match self {
                    Self::File(path) => Self::File(at_home(path)),
                    named => named,
                }
            }
        })+
    };
}

names_or_files!(TemplateChoice, Recipe);

impl SettingValue for String {
    const WHAT: &'static str = "text";

    fn typed(text: &str, _: Option<Self>) -> Result<Self, String> {
        Ok(text.into())
    }

    fn expected(&self) -> Option<&'static str> {
        self.is_empty().then_some("text")
    }

    fn settled(self) -> Self {
        // So it does without a home in Unicode.
        at_home(PathBuf::from(&self)).into_os_string().into_string().unwrap_or(self)
    }
}

impl SettingValue for bool {
    const WHAT: &'static str = "`true` or `false`";
    const TAKES: Takes = Takes::Switch;

    fn typed(text: &str, _: Option<Self>) -> Result<Self, String> {
        text.parse().map_err(|_| format!("expected true or false, got {text}"))
    }
}

impl SettingValue for PathBuf {
    const WHAT: &'static str = "a path";

    fn typed(text: &str, _: Option<Self>) -> Result<Self, String> {
        Ok(text.into())
    }

    fn expected(&self) -> Option<&'static str> {
        match self.to_str() {
            // It is written into files that hold Unicode.
            None => Some("a path in Unicode"),
            // The present folder is somebody's.
            Some("") => Some("a path"),
            Some(_) => None,
        }
    }

    fn settled(self) -> Self {
        at_home(self)
    }

    fn shown(&self) -> String {
        self.display().to_string()
    }
}

impl SettingValue for Sources {
    const WHAT: &'static str = "a path, or a list of paths";
    const TAKES: Takes = Takes::Several;

    fn typed(text: &str, before: Option<Self>) -> Result<Self, String> {
        Ok(match before {
            None => text.into(),
            Some(before) => before.and(text.into()),
        })
    }

    fn expected(&self) -> Option<&'static str> {
        if self.paths().is_empty() {
            return Some("at least one path");
        }
        self.paths().iter().find_map(SettingValue::expected)
    }

    fn settled(self) -> Self {
        self.at_home()
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for TemplateArguments {
    const WHAT: &'static str = "a map";
    const TAKES: Takes = Takes::Several;

    fn typed(text: &str, before: Option<Self>) -> Result<Self, String> {
        let argument: TemplateArgument = parsed(text)?;
        Ok(before.unwrap_or_default().into_iter().chain([argument]).collect())
    }
}

impl SettingValue for SystemMessage {
    const WHAT: &'static str = "a word";

    fn typed(text: &str, _: Option<Self>) -> Result<Self, String> {
        parsed(text)
    }

    fn words() -> Vec<(&'static str, &'static str)> {
        vec![("keep", "The row is an error"), ("merge", "Its text is put before the first user turn")]
    }
}

impl SettingValue for Method {
    const WHAT: &'static str = "a word";

    fn typed(text: &str, _: Option<Self>) -> Result<Self, String> {
        parsed(text)
    }

    fn words() -> Vec<(&'static str, &'static str)> {
        Self::all().map(|method| (method.definition().name, method.definition().source)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_read_or_told_in_words() {
        assert_eq!(f64::typed("1e-6", None), Ok(1e-6));
        assert_eq!(f64::typed("fast", None).unwrap_err(), "expected a number, got fast");
        assert_eq!(u64::typed("-1", None).unwrap_err(), "expected a whole number, got -1");
        assert_eq!(bool::typed("no", None).unwrap_err(), "expected true or false, got no");
    }

    #[test]
    fn what_may_be_given_several_times_adds_up() {
        let first = TemplateArguments::typed("enable_thinking=false", None).unwrap();
        let both = TemplateArguments::typed("style=short", Some(first)).unwrap();
        assert!(both.contains("enable_thinking") && both.contains("style"));
    }

    #[test]
    fn numbers_are_shown_as_people_write_them() {
        let shown = [6e-7, 0.0, 0.1, 1.0, f64::NAN].map(|number| number.shown());
        assert_eq!(shown, ["6e-7", "0", "0.1", "1", "NaN"]);
        assert_eq!(1024_usize.shown(), "1024");
    }

    #[test]
    fn a_tilde_at_the_beginning_of_a_path_is_the_users_home() {
        let home = env::home_dir().unwrap();
        for (given, settled) in [("~/models/x", home.join("models/x")), ("~", home.join("")), ("a/~/b", "a/~/b".into())]
        {
            assert_eq!(PathBuf::from(given).settled(), settled);
            assert_eq!(given.to_owned().settled(), settled.to_str().unwrap());
        }
        assert_eq!(
            TemplateChoice::typed("~/a.jinja", None).unwrap().settled(),
            TemplateChoice::File(home.join("a.jinja"))
        );
        assert_eq!(Recipe::typed("~/a.yaml", None).unwrap().settled(), Recipe::File(home.join("a.yaml")));
        // Another user's home is asked of the system, and no name on the hub begins so.
        assert_eq!("~other/x".to_owned().settled(), "~other/x");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_must_be_text() {
        use std::os::unix::ffi::OsStrExt;
        let path: PathBuf = std::ffi::OsStr::from_bytes(b"r\xff").into();
        assert_eq!(path.expected(), Some("a path in Unicode"));
        assert_eq!(PathBuf::new().expected(), Some("a path"));
        assert_eq!(String::new().expected(), Some("text"));
    }
}
