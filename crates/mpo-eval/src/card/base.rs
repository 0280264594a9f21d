//! What a model was made from, as the head of its card says it.

use std::fmt::Write;
use std::path::Path;

use mpo_chat::ModelFolder;
use mpo_trainer::{TrainError, read_file};
use serde_json::{Map, Value};

/// What the head of the base's card says of its licence, which is that of what is made of it too.
const LICENCE: [&str; 3] = ["license", "license_name", "license_link"];

/// A head is a page or two.
const MOST_BYTES: usize = 1 << 20;

/// The model that another was made from.
#[derive(Debug, Clone, Copy)]
pub struct CardBase<'a> {
    /// As it was named: a folder, or `owner/name` on the hub.
    pub name: &'a str,
    /// Its folder, whose card says under what licence it is.
    pub dir: &'a Path,
    /// Whether it has an encoder, which prompts go into.
    pub encodes: bool,
}

impl<'a> CardBase<'a> {
    /// The model in a folder, or of the adapter that it is, its base.
    pub fn of(folder: &'a ModelFolder) -> Self {
        let encodes = folder.config.decoder.encoder.is_some();
        Self { name: folder.base_name(), dir: folder.base_dir(), encodes }
    }

    /// Its name on the hub, if it came from there.
    fn on_hub(&self) -> Option<&'a str> {
        Some(self.name).filter(|name| is_on_hub(name))
    }

    /// Its name without the place where it lies.
    pub(super) fn short_name(&self) -> String {
        short_name(self.name)
    }

    /// Its name, with its address where it is on the hub.
    pub(super) fn link(&self) -> String {
        link(self.name)
    }

    /// How what was made from it, a whole model or an adapter, is read and asked.
    pub(super) fn usage(&self, is_adapter: bool) -> String {
        let package = if is_adapter { "peft" } else { "transformers" };
        let class = match (is_adapter, self.encodes) {
            (true, false) => "AutoPeftModelForCausalLM",
            (true, true) => "AutoPeftModelForSeq2SeqLM",
            (false, false) => "AutoModelForCausalLM",
            (false, true) => "AutoModelForSeq2SeqLM",
        };
        format!(
            "## How to use it\n\
             `PATH` is this folder or repository.\n\n\
             ```python\n\
             from {package} import {class}\n\
             from transformers import AutoTokenizer\n\n\
             tokenizer = AutoTokenizer.from_pretrained(\"PATH\")\n\
             model = {class}.from_pretrained(\"PATH\")\n\
             ```\n\n\
             ```sh\n\
             mpo-train chat --model PATH\n\
             ```\n"
        )
    }

    /// The head of a card of what was made from it. Each text is in quotes: `no` would be a truth value to some who read it.
    pub(super) fn head<'t>(
        &self,
        library: &str,
        languages: &[&str],
        tags: impl IntoIterator<Item = &'t str>,
    ) -> Result<String, TrainError> {
        let mut head = format!("---\nlibrary_name: {library}\npipeline_tag: text-generation\n");
        if let Some(base) = self.on_hub() {
            _ = writeln!(head, "base_model: {}", Value::from(base));
        }
        for (key, value) in licence(self.dir)? {
            _ = writeln!(head, "{key}: {value}");
        }
        if !languages.is_empty() {
            head += "language:\n";
        }
        for language in languages {
            _ = writeln!(head, "- {}", Value::from(*language));
        }
        head += "tags:\n- mpo-train\n";
        for tag in tags {
            _ = writeln!(head, "- {tag}");
        }
        Ok(head + "---\n")
    }
}

fn is_on_hub(name: &str) -> bool {
    mpo_models::is_repository_name(name) && !Path::new(name).exists()
}

/// A model's name without the place where it lies.
fn short_name(name: &str) -> String {
    let last = Path::new(name).file_name();
    last.map_or_else(|| "a model".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A model's name as a card has it: with its address where it is on the hub, without its place where it is not.
pub(super) fn link(name: &str) -> String {
    if is_on_hub(name) { format!("[{name}](https://huggingface.co/{name})") } else { format!("`{}`", short_name(name)) }
}

/// What the base's card says of its licence, by key, as YAML: a text, or a list of them. A head that is no YAML says nothing.
fn licence(base: &Path) -> Result<Vec<(&'static str, Value)>, TrainError> {
    let bytes = read_file(&base.join("README.md"))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_BYTES)]).replace("\r\n", "\n");
    let text = text.trim_start_matches('\u{FEFF}');
    let head = text.strip_prefix("---\n").and_then(|text| text.split_once("\n---")).map(|(head, _)| head);
    let mut head: Map<String, Value> = head.and_then(|head| serde_saphyr::from_str(head).ok()).unwrap_or_default();
    let is_text = |value: &Value| match value {
        Value::Array(list) => !list.is_empty() && list.iter().all(Value::is_string),
        value => value.is_string(),
    };
    Ok(LICENCE.into_iter().filter_map(|key| Some((key, head.remove(key).filter(is_text)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn licence_of(readme: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("README.md"), readme).unwrap();
        let licence = licence(dir.path()).unwrap();
        licence.into_iter().map(|(key, value)| format!("{key}: {value}")).collect()
    }

    #[test]
    fn the_licence_is_the_bases_however_its_card_is_written() {
        assert_eq!(licence_of("---\nlicense: mit\n---\n# Base\n"), ["license: \"mit\""]);
        assert_eq!(licence_of("\u{FEFF}---\r\nlicense: mit\r\ntags: []\r\n---\r\n# Base\r\n"), ["license: \"mit\""]);
        let list = ["license: [\"mit\",\"apache-2.0\"]"];
        assert_eq!(licence_of("---\nlicense: [mit, apache-2.0]\n---\n"), list);
        assert_eq!(licence_of("---\nlicense:\n- mit\n- apache-2.0\n---\n"), list);
        for none in ["", "# Base\n", "---\nlicense: 3\n---\n", "---\nlicense: []\n---\n", "---\n: [\n---\n"] {
            assert_eq!(licence_of(none), [""; 0], "{none}");
        }
    }
}
