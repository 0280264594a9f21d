//! A table of known translations: most refusals are a few sentences. A text that is not in it as a whole is put together
//! from its sentences, where the table has each.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use mpo_data::Language;

use super::{Direction, Means, Translated, Translation, Translator, TranslatorDefinition};
use crate::error::PrepareError;

const NAME: &str = "phrases";

/// The table that comes with the program: usual refusals of chat models.
const OWN: &str = include_str!("../phrases.jsonl");

pub(super) static TRANSLATOR: TranslatorDefinition = TranslatorDefinition {
    name: NAME,
    usage: "phrases[=FILE]",
    help: "known translations, one {\"en\": …, \"sw\": …} a line; without a file, usual refusals in zh ja ko ar bn sw",
    ready: |settings| {
        let table = match &settings.value {
            None => Table::read("phrases.jsonl".as_ref(), OWN)?,
            Some(file) => {
                let path = Path::new(file);
                let text = fs::read_to_string(path).map_err(|error| problem(path, 1, &error))?;
                Table::read(path, &text)?
            }
        };
        Ok(Box::new(table))
    },
};

/// Texts in several languages that say the same.
struct Table {
    entries: Vec<HashMap<Language, String>>,
    /// The first entry that has a text, by its language and what it says.
    places: HashMap<(Language, String), usize>,
}

impl Table {
    fn read(path: &Path, text: &str) -> Result<Self, PrepareError> {
        let mut table = Self { entries: vec![], places: HashMap::new() };
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
            let entry: HashMap<Language, String> =
                serde_json::from_str(line).map_err(|error| problem(path, number, &error))?;
            if let Some((language, _)) = entry.iter().find(|(_, text)| text.trim().is_empty()) {
                return Err(problem(path, number, &format!("an empty text in {language}")));
            }
            for (language, text) in &entry {
                table.places.entry((*language, folded(text))).or_insert(table.entries.len());
            }
            table.entries.push(entry);
        }
        Ok(table)
    }

    /// A whole text, or each of its sentences.
    fn translation(&self, direction: Direction, text: &str) -> Option<String> {
        self.known(direction, text).map(str::to_owned).or_else(|| {
            let translated: Option<Vec<&str>> =
                sentences(text).into_iter().map(|sentence| self.known(direction, sentence)).collect();
            let without_spaces = ["zh", "ja"].contains(&direction.to.code());
            Some(translated?.join(if without_spaces { "" } else { " " }))
        })
    }

    fn known(&self, Direction { from, to }: Direction, text: &str) -> Option<&str> {
        let place = *self.places.get(&(from, folded(text)))?;
        self.entries[place].get(&to).map(String::as_str)
    }
}

impl Translator for Table {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_trusted(&self) -> bool {
        true
    }

    fn translate(&mut self, direction: Direction, texts: &[String], _: &Means<'_>) -> Result<Translated, PrepareError> {
        let translate = |text: &String| -> Translation {
            self.translation(direction, text).ok_or_else(|| "not in the table".into())
        };
        Ok(Translated { texts: texts.iter().map(translate).collect(), ..Translated::default() })
    }
}

/// A text with one space between words, one kind of apostrophe, and nothing around it.
fn folded(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace(['\u{2018}', '\u{2019}', '\u{02BC}', '`'], "'")
}

/// The sentences of a text: each ends in a sign and a space behind it, or where the text does.
fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = vec![];
    let mut begin = 0;
    let mut after_end = false;
    for (at, character) in text.char_indices() {
        if after_end && character.is_whitespace() {
            sentences.push(text[begin..at].trim());
            begin = at;
        }
        after_end = matches!(character, '.' | '!' | '?' | '。' | '！' | '？' | '।' | '؟');
    }
    sentences.push(text[begin..].trim());
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

fn problem(path: &Path, line: usize, problem: &dyn std::fmt::Display) -> PrepareError {
    PrepareError::Phrases { path: path.to_owned(), line, problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use mpo_data::Detector;
    use mpo_eval::is_refusal;

    use super::*;

    const TARGETS: [&str; 6] = ["zh", "ja", "ko", "ar", "bn", "sw"];

    fn to(code: &str) -> Direction {
        Direction { from: "en".parse().unwrap(), to: code.parse().unwrap() }
    }

    fn own() -> Table {
        Table::read("phrases.jsonl".as_ref(), OWN).unwrap()
    }

    #[test]
    fn spaces_and_apostrophes_do_not_matter_and_sentences_are_put_together() {
        let text = "{\"en\": \"I can't.\", \"sw\": \"Siwezi.\", \"zh\": \"我不能。\"}\n\n{\"en\": \"Ask me more!\", \"sw\": \"Niulize zaidi!\", \"zh\": \"再问我！\"}";
        let table = Table::read("t".as_ref(), text).unwrap();
        for (text, language, expected) in [
            ("I can\u{2019}t.", "sw", Some("Siwezi.")),
            (" I  can't.\n", "sw", Some("Siwezi.")),
            ("I can't. Ask me\nmore!", "sw", Some("Siwezi. Niulize zaidi!")),
            ("I can't. Ask me more!", "zh", Some("我不能。再问我！")),
            ("I can't. Go away!", "sw", None),
            ("I can't.", "ko", None),
        ] {
            assert_eq!(table.translation(to(language), text).as_deref(), expected, "{text}");
        }
        let back = Direction { from: "sw".parse().unwrap(), to: "en".parse().unwrap() };
        assert_eq!(table.translation(back, "Siwezi.").as_deref(), Some("I can't."));
    }

    #[test]
    fn a_table_that_is_none_is_told_with_its_line() {
        for (text, expected) in [
            ("{\"en\": \"a\"}\nno", "t, line 2"),
            ("{\"en\": \" \"}", "empty text in en"),
            ("{\"xx-?\": \"a\"}", "xx-?"),
        ] {
            let error = Table::read("t".as_ref(), text).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_table_of_the_program_is_whole_in_every_language_and_refuses_in_each() {
        let table = own();
        assert!(table.entries.len() >= 40, "{}", table.entries.len());
        let detector = Detector::new(None).unwrap();
        let english: Language = "en".parse().unwrap();
        let mut told = 0;
        for entry in &table.entries {
            for code in TARGETS {
                let language: Language = code.parse().unwrap();
                let text = &entry[&language];
                if let Some(found) = detector.detect(text) {
                    assert!(found.language == language || found.confidence < 0.8, "{text}: {found:?}");
                    told += usize::from(found.language == language);
                }
                // A table entry that is a refusal in English is one in every language, by the same heuristic.
                if is_refusal(&entry[&english], Some(english)) {
                    assert!(is_refusal(text, Some(language)), "{code}: {text}");
                }
            }
        }
        assert!(told > table.entries.len() * 5, "{told}");
        let stock = table.translation(to("sw"), "I'm sorry, but I can't assist with that.");
        assert!(stock.is_some());
    }
}
