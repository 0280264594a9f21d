//! Rows as TRL has them: a prompt and its answers in one language each, and a column that says which language it is.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Value, json};

use super::write::{RowWriter, line_of};
use super::{Row, Rows, each};
use crate::error::DataError;
use crate::pair::{BilingualPair, MonolingualPair};

/// Rows that TRL is trained on: pairs in one language, or single answers with a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrlRows(Rows);

impl TrlRows {
    /// The same rows. One in two languages becomes two: its target side, and before it the dominant side, which is there once
    /// however many rows share it. None of prompts without answers.
    pub fn new(rows: Rows) -> Option<Self> {
        match rows {
            Rows::Bilingual(rows) => Some(Self(Rows::Monolingual(sides(rows)))),
            Rows::Parallel(_) => None,
            rows => Some(Self(rows)),
        }
    }

    /// The rows, of one language each.
    pub fn rows(&self) -> &Rows {
        &self.0
    }

    /// Writes a file of JSON Lines that TRL's trainers read, and [`read`](crate::read()) the same rows from. It is there whole
    /// or not at all.
    ///
    /// # Errors
    /// If it cannot be written; then what was there before is untouched.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        self.0.write_for_trl(path)
    }
}

impl Rows {
    fn write_for_trl(&self, path: &Path) -> Result<(), DataError> {
        each!(self, rows => write(path, rows, self.have_tools()))
    }

    fn have_tools(&self) -> bool {
        match self {
            Self::Monolingual(rows) => rows.iter().any(|row| row.pair.tools().is_some()),
            Self::Unpaired(rows) => rows.iter().any(|row| row.tools.is_some()),
            Self::Bilingual(_) | Self::Parallel(_) => false,
        }
    }
}

/// Every side of these rows by itself.
fn sides(rows: Vec<BilingualPair>) -> Vec<MonolingualPair> {
    let mut seen = HashSet::new();
    let mut sides = Vec::with_capacity(2 * rows.len());
    for BilingualPair { dominant, target, origin } in rows {
        if seen.insert(dominant.clone()) {
            sides.push(MonolingualPair { pair: dominant, origin: origin.clone() });
        }
        sides.push(MonolingualPair { pair: target, origin });
    }
    sides
}

fn write<R: Row>(path: &Path, rows: &[R], have_tools: bool) -> Result<(), DataError> {
    let say_benign = rows.iter().any(Row::is_benign);
    let mut writer = RowWriter::<R>::create(path)?;
    for row in rows {
        let mut value = serde_json::to_value(row).map_err(|error| DataError::row(row.origin(), error.to_string()))?;
        // `datasets` takes the columns of a file from its beginning, so a column is in all rows or in none.
        if let Value::Object(fields) = &mut value {
            if have_tools {
                // As a text: as a table, descriptions of different tools would have the fields of all of them.
                let tools = fields.get("tools").map(Value::to_string);
                fields.insert("tools".into(), tools.into());
            }
            if say_benign {
                fields.insert("provenance".into(), json!({ "benign": row.is_benign() }));
            }
        }
        writer.put(&line_of(row, &value)?)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::{Message, Origin, Position, PreferencePair, Tools, UnpairedAnswer};

    fn origin() -> Origin {
        Origin { file: "f".into(), position: Position::Line(1) }
    }

    fn side(language: &str, text: &str) -> PreferencePair {
        let prompt = vec![Message::user(text)];
        PreferencePair::new(language.parse().unwrap(), prompt, "a".into(), "b".into()).unwrap()
    }

    fn lines(rows: Rows) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        TrlRows::new(rows).unwrap().write(&path).unwrap();
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_dominant_side_that_rows_share_is_there_once() {
        let row = |dominant: &str, language, target| BilingualPair {
            dominant: side("en", dominant),
            target: side(language, target),
            origin: origin(),
        };
        let rows = vec![row("one", "sw", "moja"), row("one", "bn", "ek"), row("two", "sw", "mbili")];
        let rows = TrlRows::new(Rows::Bilingual(rows)).unwrap();
        let Rows::Monolingual(sides) = rows.rows() else { panic!("sides are of one language") };
        let said = sides.iter().map(|row| format!("{}={}", row.pair.language(), row.pair.prompt()[0].content));
        assert_eq!(said.collect::<Vec<_>>(), ["en=one", "sw=moja", "bn=ek", "en=two", "sw=mbili"]);
    }

    #[test]
    fn a_line_is_what_trl_calls_a_conversational_preference() {
        let row = MonolingualPair { pair: side("sw", "Kwa nini?"), origin: origin() };
        let expected = r#"{"language":"sw","prompt":[{"role":"user","content":"Kwa nini?"}],"chosen":[{"role":"assistant","content":"a"}],"rejected":[{"role":"assistant","content":"b"}]}"#;
        assert_eq!(lines(Rows::Monolingual(vec![row])), [expected]);
    }

    #[test]
    fn a_column_is_in_all_rows_or_in_none() {
        let answer = |tools: Option<Tools>, is_benign| UnpairedAnswer {
            language: "sw".parse().unwrap(),
            prompt: vec![Message::user("Kwa nini?")],
            tools,
            answer: "Basi.".into(),
            desirable: true,
            is_benign,
            origin: origin(),
        };
        let columns = |rows: Vec<UnpairedAnswer>| {
            let lines = lines(Rows::Unpaired(rows));
            let values = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
            values.map(|row| [row.get("tools").cloned(), row.get("provenance").cloned()]).collect::<Vec<_>>()
        };
        assert_eq!(columns(vec![answer(None, false)]), [[None, None]]);
        let tools = Tools::new(vec![json!({ "name": "clock" })]);
        assert_eq!(
            columns(vec![answer(None, false), answer(Some(tools), true)]),
            [
                [Some(Value::Null), Some(json!({ "benign": false }))],
                [Some(json!("[{\"name\":\"clock\"}]")), Some(json!({ "benign": true }))],
            ]
        );
    }
}
