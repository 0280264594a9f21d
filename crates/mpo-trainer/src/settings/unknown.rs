//! Keys of a file that are no settings. Whoever gives another program's file has many, and is told of all at once.

use serde_json::{Map, Value};

use super::list::SETTINGS;
use super::meant::suggestion;
use super::method::HyperParameters;
use super::yaml;

/// What is said of the keys in this text that are none of ours; none where all are.
pub(super) fn problem(text: &str) -> Option<String> {
    // What is no map of keys is told of by who reads the settings.
    let keys: Map<String, Value> = yaml::read(text).ok()?;
    let unknown: Vec<&str> = keys.keys().map(String::as_str).filter(|key| !is_setting(key)).collect();
    let line = |key: &str| yaml::line(text, key).map_or(String::new(), |line| format!("line {line}: "));
    match &unknown[..] {
        [] => None,
        [key] => Some(format!("{}expected a key of the configuration, got {key}{}", line(key), suggestion(key))),
        several => {
            let told = several.iter().map(|key| format!("\n  {}{key}{}", line(key), suggestion(key)));
            let told = told.collect::<String>();
            Some(format!("expected keys of the configuration, got {} that are none:{told}", several.len()))
        }
    }
}

fn is_setting(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key == key) || HyperParameters::is_known(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_program_is_told_of_at_once() {
        // LLaMA-Factory's, with a value that ours could not have.
        let text = "### model\nmodel_name_or_path: m\nstage: dpo\ntemplate: default\nlora_rank: 8\nbf16: true\n\
                    logging_steps: 10\n\"learning_rat\": 1.0e-5\nbeta: 0.1\ncolour: red\n";
        let expected = "expected keys of the configuration, got 6 that are none:\n  \
                        line 2: model_name_or_path; did you mean model?\n  \
                        line 3: stage; did you mean method?\n  \
                        line 6: bf16; did you mean precision: bf16?\n  \
                        line 7: logging_steps; leave it out: every step is logged\n  \
                        line 8: learning_rat; did you mean lr, learning_rate elsewhere?\n  \
                        line 10: colour";
        assert_eq!(problem(text).unwrap(), expected);
    }

    #[test]
    fn one_key_is_told_of_in_a_line_and_none_not_at_all() {
        let one = "line 2: expected a key of the configuration, got learning_rate; did you mean lr?";
        assert_eq!(problem("beta: 1\nlearning_rate: 2").unwrap(), one);
        assert_eq!(problem("{beta: 1, colour: 2}").unwrap(), "expected a key of the configuration, got colour");
        for text in ["lr: 1\nbeta: 2\nrecipe: x", "- a", "lr: [", "lr: 1\nlr: 2"] {
            assert_eq!(problem(text), None, "{text}");
        }
    }
}
