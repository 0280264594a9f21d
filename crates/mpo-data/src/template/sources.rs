//! Where a model's chat template lies.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::builtin::BuiltinTemplate;
use crate::error::DataError;

/// A template's text and what to call it in an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSource {
    /// The file it came from, or its name.
    pub file: String,
    /// The template.
    pub text: String,
}

/// The template of conversations, and the one of conversations with tools where that is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSources {
    /// For conversations.
    pub default: TemplateSource,
    /// For conversations with tools.
    pub with_tools: Option<TemplateSource>,
}

impl From<TemplateSource> for TemplateSources {
    fn from(default: TemplateSource) -> Self {
        Self { default, with_tools: None }
    }
}

impl From<BuiltinTemplate> for TemplateSources {
    fn from(builtin: BuiltinTemplate) -> Self {
        let file = format!("built-in template {}", builtin.name());
        TemplateSource { file, text: builtin.source().into() }.into()
    }
}

/// `chat_template` of a configuration: one template, or several with a name each.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a chat template as a string or as a list of {name, template}")]
pub(crate) enum TemplateField {
    One(String),
    Named(Vec<NamedTemplate>),
    ByName(BTreeMap<String, String>),
}

#[derive(Debug, Deserialize)]
pub(crate) struct NamedTemplate {
    name: String,
    template: String,
}

impl TemplateField {
    fn into_named(self) -> BTreeMap<String, String> {
        match self {
            Self::One(template) => BTreeMap::from([("default".into(), template)]),
            Self::Named(named) => named.into_iter().map(|one| (one.name, one.template)).collect(),
            Self::ByName(named) => named,
        }
    }
}

/// The file of a processor of old, which holds a template for its tokenizer too.
#[derive(Deserialize)]
struct ProcessorFile {
    chat_template: Option<TemplateField>,
}

impl TemplateSources {
    /// A template in a file.
    pub(crate) fn read(path: &Path) -> Result<Self, DataError> {
        Ok(source(path)?.into())
    }

    /// The templates of a model's folder, in the order of Transformers: those in files of their own, else those that
    /// `tokenizer_config.json` gives (`field`), else those in `chat_template.json`.
    ///
    /// # Errors
    /// If there is none for conversations, or a file cannot be read.
    pub(crate) fn find(dir: &Path, field: Option<TemplateField>) -> Result<Self, DataError> {
        let mut named = own_files(dir)?;
        if named.is_empty()
            && let Some(field) = field
        {
            named = label(field, &dir.join("tokenizer_config.json"));
        }
        let path = dir.join("chat_template.json");
        if named.is_empty() && path.is_file() {
            let file: ProcessorFile =
                serde_json::from_str(&text(&path)?).map_err(|error| DataError::tokenizer_json(&path, error))?;
            if let Some(field) = file.chat_template {
                named = label(field, &path);
            }
        }
        let with_tools = named.remove("tool_use");
        match named.remove("default") {
            Some(default) => Ok(Self { default, with_tools }),
            None => {
                let others = named.into_keys().chain(with_tools.map(|_| "tool_use".into()));
                Err(DataError::NoTemplate { folder: dir.into(), others: others.collect() })
            }
        }
    }
}

fn label(field: TemplateField, path: &Path) -> BTreeMap<String, TemplateSource> {
    let file = path.display().to_string();
    let named = field.into_named().into_iter();
    named
        .map(|(name, text)| {
            let file = file.clone();
            (name, TemplateSource { file, text })
        })
        .collect()
}

/// `chat_template.jinja` and `additional_chat_templates/NAME.jinja`.
fn own_files(dir: &Path) -> Result<BTreeMap<String, TemplateSource>, DataError> {
    let mut named = BTreeMap::new();
    let path = dir.join("chat_template.jinja");
    if path.is_file() {
        named.insert("default".into(), source(&path)?);
    }
    let folder = dir.join("additional_chat_templates");
    let io_error = |source: io::Error| DataError::Io { path: folder.clone(), source };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(named),
        Err(error) => return Err(io_error(error)),
    };
    for entry in entries {
        let path = entry.map_err(io_error)?.path();
        if path.extension().is_some_and(|extension| extension == "jinja")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            named.insert(name.to_owned(), source(&path)?);
        }
    }
    Ok(named)
}

fn source(path: &Path) -> Result<TemplateSource, DataError> {
    Ok(TemplateSource { file: path.display().to_string(), text: text(path)? })
}

fn text(path: &Path) -> Result<String, DataError> {
    fs::read_to_string(path).map_err(|source| DataError::Io { path: path.into(), source })
}
