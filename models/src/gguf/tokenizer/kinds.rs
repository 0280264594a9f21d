//! The ways to cut a text into words before its bytes are merged, which llama.cpp knows by names.

use serde_json::{Value, json};

/// One of the ways.
pub(super) struct Kind {
    /// llama.cpp's name for it.
    pub(super) name: &'static str,
    /// Its other names for the same.
    aliases: &'static [&'static str],
    steps: &'static [Step],
    /// Whether a word that is a token is taken whole.
    pub(super) ignore_merges: bool,
    /// Whether text is brought to composed characters first. llama.cpp leaves that out.
    composes: bool,
    /// Whether a sequence begins with a token for it, where a file does not say.
    pub(super) adds_bos: bool,
}

/// A step, as a `tokenizer.json` has it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// Matches are words of their own.
    Split(&'static str),
    /// Digits are words of their own.
    Digits,
    /// Bytes are written as characters, after GPT-2's expression has cut the text where `true`.
    Bytes(bool),
}

const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

static KINDS: [Kind; 5] = [
    Kind {
        name: "llama-bpe",
        aliases: &["llama3", "llama-v3"],
        steps: &[Step::Split(LLAMA_3), Step::Bytes(false)],
        ignore_merges: true,
        composes: false,
        adds_bos: true,
    },
    Kind {
        name: "dbrx",
        aliases: &["smaug-bpe"],
        steps: &[Step::Split(LLAMA_3), Step::Bytes(false)],
        ignore_merges: false,
        composes: false,
        adds_bos: false,
    },
    Kind {
        name: "qwen2",
        aliases: &["deepseek-r1-qwen"],
        steps: &[Step::Split(QWEN_2), Step::Bytes(false)],
        ignore_merges: false,
        composes: true,
        adds_bos: false,
    },
    Kind {
        name: "smollm",
        aliases: &[],
        steps: &[Step::Digits, Step::Bytes(true)],
        ignore_merges: false,
        composes: false,
        adds_bos: false,
    },
    Kind {
        name: "gpt-2",
        aliases: &[],
        steps: &[Step::Bytes(true)],
        ignore_merges: false,
        composes: false,
        adds_bos: false,
    },
];

/// The names that are known, for errors.
pub(super) const KNOWN: &str = "llama-bpe, dbrx, qwen2, smollm or gpt-2";

impl Kind {
    /// The one of this name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name || kind.aliases.contains(&name))
    }

    /// The one that a `tokenizer.json` describes.
    pub(super) fn of(tokenizer: &Value) -> Option<&'static Self> {
        let steps = steps(tokenizer.get("pre_tokenizer")?)?;
        let whole = tokenizer["model"]["ignore_merges"] == true;
        let composes = match tokenizer.get("normalizer").filter(|step| !step.is_null()) {
            None => false,
            Some(step) if step["type"] == "NFC" => true,
            Some(_) => return None,
        };
        KINDS.iter().find(|kind| {
            // Text that is not composed is rare, and llama.cpp does not compose it in any way.
            kind.steps == steps && kind.ignore_merges == whole && (kind.composes || !composes)
        })
    }

    /// What a `tokenizer.json` has as `normalizer` and `pre_tokenizer`.
    pub(super) fn to_json(&self) -> (Value, Value) {
        let normalizer = if self.composes { json!({ "type": "NFC" }) } else { Value::Null };
        let steps: Vec<Value> = self.steps.iter().map(|step| step.to_json()).collect();
        let pre_tokenizer = match &steps[..] {
            [step] => step.clone(),
            steps => json!({ "type": "Sequence", "pretokenizers": steps }),
        };
        (normalizer, pre_tokenizer)
    }
}

impl Step {
    fn to_json(self) -> Value {
        match self {
            Self::Split(regex) => {
                json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false })
            }
            Self::Digits => json!({ "type": "Digits", "individual_digits": true }),
            Self::Bytes(regex) => {
                json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex })
            }
        }
    }

    fn of(step: &Value) -> Option<Self> {
        let is = |key: &str, value: bool| step[key] == value;
        match step["type"].as_str()? {
            // What matches and what does not are words alike.
            "Split" if step["behavior"] == "Isolated" || (step["behavior"] == "Removed" && is("invert", true)) => {
                let regex = step["pattern"]["Regex"].as_str()?;
                [LLAMA_3, QWEN_2].into_iter().find(|known| *known == regex).map(Self::Split)
            }
            "Digits" if is("individual_digits", true) => Some(Self::Digits),
            "ByteLevel" if is("add_prefix_space", false) => Some(Self::Bytes(!is("use_regex", false))),
            _ => None,
        }
    }
}

/// The steps that are known; none if there is another.
fn steps(step: &Value) -> Option<Vec<Step>> {
    match step["pretokenizers"].as_array() {
        Some(inner) => inner.iter().map(Step::of).collect(),
        None => Step::of(step).map(|step| vec![step]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_known_by_what_it_writes() {
        for kind in &KINDS {
            let (normalizer, pre_tokenizer) = kind.to_json();
            let model = json!({ "ignore_merges": kind.ignore_merges });
            let tokenizer = json!({ "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "model": model });
            assert_eq!(Kind::of(&tokenizer).unwrap().name, kind.name);
            assert!(KNOWN.contains(kind.name) && Kind::named(kind.name).is_some());
        }
        let other = json!({ "type": "Split", "pattern": { "Regex": "x" }, "behavior": "Isolated", "invert": false });
        assert!(Kind::of(&json!({ "pre_tokenizer": other, "model": {} })).is_none());
        assert_eq!(Kind::named("llama3").unwrap().name, "llama-bpe");
        assert!(Kind::named("default").is_none());
    }
}
