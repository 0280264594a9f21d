//! One prompt in several languages: `{"prompts": {"en": …, "sw": …}}`, each a text or messages.

use serde_json::Value;

use super::side::{asked, within};
use super::{PromptsDraft, Row, Unfit};
use crate::language::Language;
use crate::pair::Message;
use crate::parallel::IN_ONE_LANGUAGE;

pub(super) fn draft(row: &mut Row<'_>) -> Result<PromptsDraft, Unfit> {
    // It is for people.
    row.take("provenance");
    let Value::Object(fields) = row.need("prompts")? else {
        return Err("prompts: expected an object of prompts by language".to_owned().into());
    };
    let prompts = within(row, fields, "prompts.", by_language)?;
    if prompts.len() < 2 {
        return Err(Unfit::NoPreference(IN_ONE_LANGUAGE));
    }
    Ok(PromptsDraft { prompts })
}

/// The prompt in every language that is not left blank: a table has a cell for each.
fn by_language(row: &mut Row<'_>) -> Result<Vec<(Language, Vec<Message>)>, Unfit> {
    let is_blank = |value: &Value| value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
    row.fields.retain(|_, value| !is_blank(value));
    let names: Vec<String> = row.fields.keys().cloned().collect();
    let mut prompts: Vec<(Language, Vec<Message>)> = vec![];
    for name in names {
        let language = name.parse::<Language>().map_err(|error| format!("{}: {error}", row.name(&name)))?;
        if prompts.iter().any(|(known, _)| *known == language) {
            return Err(format!("prompts: expected each language once, got {} twice", language.name()).into());
        }
        prompts.push((language, asked(row, &name)?.messages));
    }
    Ok(prompts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{parsed, problem};

    #[test]
    fn prompts_are_texts_or_messages_by_language() {
        let said = json!([{ "role": "system", "content": "Be kind." }, { "role": "user", "content": "Kwa nini?" }]);
        let row = json!({ "prompts": { "English": "Why?", "sw": said, "bn": null, "ar": " " }, "provenance": {} });
        let expected = "en user: Why? | sw system: Be kind. / user: Kwa nini?";
        assert_eq!(parsed(row).unwrap(), expected);
        let one = json!({ "prompts": { "en": "Why?" } });
        assert_eq!(problem(one), "dropped: the prompt is there in fewer than two languages");
        for (row, expected) in [
            (json!({ "prompts": { "en": "Why?", "xx": "?" } }), "prompts.xx: expected a language, got `xx`"),
            (json!({ "prompts": { "en": "Why?", "eng": "?" } }), "prompts: expected each language once"),
            (json!({ "prompts": { "en": "Why?", "sw": 3 } }), "prompts.sw: expected a string or a list"),
        ] {
            let problem = problem(row.clone());
            assert!(problem.starts_with(expected), "{row}: {problem}");
        }
    }
}
