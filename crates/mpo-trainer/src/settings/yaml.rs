//! A configuration in YAML: what is wrong with it, told by line and key.

use serde::de::DeserializeOwned;
use serde_saphyr::Error;

/// Reads settings.
///
/// # Errors
/// What was expected and what was found, and where.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    // YAML 1.1 takes `no`, the code of Norwegian, for a truth value.
    let yaml = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, yaml).map_err(|error| problem(text, &error))
}

/// The line that a key stands in, counted from one.
pub(super) fn line(text: &str, key: &str) -> Option<usize> {
    let is_of_key = |line: &str| {
        let rest = line.trim_start_matches(['"', '\'']).strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
    };
    text.lines().position(is_of_key).map(|index| index + 1)
}

fn problem(text: &str, error: &Error) -> String {
    let error = error.without_snippet();
    let (line, column) = error.location().map_or((1, 1), |location| (location.line(), location.column()));
    let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(0);
    let written = text.lines().nth(index(line)).unwrap_or_default();
    let key = written.split_once(':').map(|(key, _)| key.trim()).filter(|key| is_key(key) && column > 1);
    let place = match key {
        Some(key) => format!("line {line}: {key}: "),
        None => format!("line {line}: "),
    };
    let value = abridged(written, index(column));
    let wrong = |expected: &str| format!("{place}expected {expected}, got {value}");
    match error {
        Error::InvalidScalar { ty, .. } if ty.starts_with('u') => wrong("a whole number, 0 or above"),
        Error::InvalidScalar { ty, .. } if ty.starts_with('f') => wrong("a number, such as 1e-6"),
        Error::InvalidScalar { ty, .. } => wrong(ty),
        Error::InvalidBooleanStrict { .. } => wrong("true or false"),
        Error::Unexpected { expected, .. } if expected.contains("scalar") => wrong("one value"),
        Error::Unexpected { expected, .. } if expected.contains("mapping") => {
            wrong("keys and values, such as `lr: 1e-6`")
        }
        Error::Unexpected { expected, .. } => wrong(expected),
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => wrong(expected),
        Error::SerdeUnknownVariant { expected, .. } => wrong(&format!("one of {}", expected.join(", "))),
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or(written);
            format!("line {line}: expected every key once, got {key} again")
        }
        // What our own types say names the key itself, or not.
        Error::Message { msg, .. } => {
            if key.is_some_and(|key| msg.starts_with(key)) {
                format!("line {line}: {msg}")
            } else {
                format!("{place}{msg}")
            }
        }
        Error::NonFiniteFloat { .. } => wrong("a finite number"),
        Error::MultipleDocuments { .. } => wrong("settings once, without `---` between them"),
        Error::UnknownAnchor { .. } => wrong(IN_QUOTES),
        Error::ExternalMessage { msg, .. } => wrong(belongs(msg)),
        _ => wrong(A_SETTING),
    }
}

const A_SETTING: &str = "a key and its value, such as `lr: 1e-6`";
const IN_QUOTES: &str = "a value in quotes, as its first sign means something in YAML";

/// What belongs where the parser stopped, which says so in the words of YAML's specification.
fn belongs(said: &str) -> &'static str {
    let expected = [
        ("mapping values", "one `: ` in a line, or a value in quotes"),
        ("tab", "spaces in place of tabs"),
        ("quote", "a value in quotes that are closed, in which only known signs follow `\\`"),
        ("bracket", "a bracket for every one that was opened"),
        ("flow", "a bracket for every one that was opened, and commas between values"),
        ("block mapping", "keys that all begin in the same column"),
        ("indent", "keys that all begin in the same column"),
        ("character", IN_QUOTES),
        ("anchor", IN_QUOTES),
        ("tag", IN_QUOTES),
        ("directive", IN_QUOTES),
    ];
    let found = expected.into_iter().find(|(word, _)| said.to_lowercase().contains(word));
    found.map_or(A_SETTING, |(_, expected)| expected)
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

/// What a line has from one of its characters on, without the comment behind it.
fn abridged(line: &str, from: usize) -> String {
    const LONGEST: usize = 40;
    let value: String = line.chars().skip(from).collect();
    let value = value.split(" #").next().unwrap_or_default().trim();
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None if value.is_empty() => "nothing".into(),
        None => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TrainOptions;

    #[test]
    fn the_line_of_a_key_is_found() {
        let text = "lr: 1\nlearning_rate_x: 1\n\"learning_rate\" : 2\n";
        assert_eq!(line(text, "learning_rate"), Some(3));
        assert_eq!(line("{a: 1}", "a"), None);
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_key() {
        for (text, expected) in [
            ("batch_size: two", "line 1: batch_size: expected a whole number, 0 or above, got two"),
            ("lr: 1\nbatch_size: -1 # few", "line 2: batch_size: expected a whole number, 0 or above, got -1"),
            ("max_steps: 99999999999999999999999", "expected a whole number, 0 or above, got 999"),
            ("lr: fast", "line 1: lr: expected a number, such as 1e-6, got fast"),
            ("shuffle: 1", "line 1: shuffle: expected true or false, got 1"),
            ("lr: 1\nseed: 1\nlr: 2", "line 3: expected every key once, got lr again"),
            ("batch_size: [1]", "line 1: batch_size: expected one value, got [1]"),
            ("template_args: x", "template_args: expected keys and values"),
            ("- a", "line 1: expected keys and values, such as `lr: 1e-6`, got - a"),
            ("save_dtype: f64", "save_dtype: expected one of auto, f32, f16, bf16, got f64"),
            ("template: nope", "line 1: template: expected the name of a chat template"),
            ("method: foo", "line 1: method: expected one of mpo"),
            ("a: b: c", "line 1: a: expected one `: ` in a line, or a value in quotes, got : c"),
            ("lr: 1\n\tseed: 2", "expected spaces in place of tabs"),
            ("model: \"m", "expected a value in quotes that are closed"),
            ("lora_targets: [q_proj", "expected a bracket for every one that was opened"),
            (
                "model: @m",
                "line 1: model: expected a value in quotes, as its first sign means something in YAML, got @m",
            ),
            ("model: *m", "line 1: model: expected a value in quotes"),
            ("model: `m`", "line 1: model: expected a value in quotes"),
            ("lr: 1\n---\nlr: 2", "expected settings once, without `---` between them"),
            ("lr: 1\n: : :", "line 2: expected a key and its value, such as `lr: 1e-6`, got : : :"),
            ("template_args: {a: .nan}", "line 1: template_args: expected a finite number, got .nan}"),
            ("lora_targets: {a: 1}", "line 1: lora_targets: expected names such as q_proj,v_proj or all-linear"),
        ] {
            let problem = read::<TrainOptions>(text).unwrap_err();
            assert!(problem.contains(expected), "no {expected:?} in {problem}");
            assert!(!OF_THE_LIBRARY.iter().any(|word| problem.contains(word)), "{problem}");
        }
    }

    /// What its messages are made of.
    const OF_THE_LIBRARY: [&str; 10] =
        ["Policy", "u64", "scalar", "mapping", "token", "anchor", "while ", "document", "deserial", "variant"];

    /// Odd input is told of in our words, whatever it is.
    #[test]
    fn no_message_is_the_librarys() {
        let signs = [
            "a", ":", " ", "\n", "\t", "-", "[", "]", "{", "}", ",", "\"", "'", "&", "*", "!", "%", "@", "`", "|", ">",
            "?", "#", "~", "\\",
        ];
        let mut state = 1_u32;
        for _ in 0..20_000 {
            let mut next = |below: usize| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as usize % below
            };
            let length = 1 + next(8);
            let text: String = (0..length).map(|_| signs[next(signs.len())]).collect();
            if let Err(problem) = read::<TrainOptions>(&format!("model: {text}")) {
                assert!(!OF_THE_LIBRARY.iter().any(|word| problem.contains(word)), "{text:?}: {problem}");
                assert!(problem.starts_with("line "), "{text:?}: {problem}");
            }
        }
    }
}
