//! Another dominant language: rows that share their dominant side say the same thing, so any of their languages can
//! take its place.

use std::collections::HashMap;

use crate::language::Language;
use crate::pair::{BilingualPair, PreferencePair};

/// The rows with `language` as the dominant one, without those whose prompt is not translated to it.
pub(super) fn pivot(rows: Vec<BilingualPair>, language: Language) -> Vec<BilingualPair> {
    let translations: HashMap<PreferencePair, PreferencePair> = rows
        .iter()
        .filter(|row| row.target.language() == language)
        .map(|row| (row.dominant.clone(), row.target.clone()))
        .collect();
    rows.into_iter()
        .filter_map(|row| {
            if row.dominant.language() == language {
                return Some(row);
            }
            let translation = translations.get(&row.dominant)?;
            Some(BilingualPair {
                target: if row.target.language() == language { row.dominant } else { row.target },
                dominant: translation.clone(),
                origin: row.origin,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::{Message, Origin, Position};

    fn side(text: &str) -> PreferencePair {
        let language = text[..2].parse().unwrap();
        PreferencePair::new(language, vec![Message::user(text)], "a".into(), "b".into()).unwrap()
    }

    /// Rows such as `en1-sw1`.
    fn rows(text: &str) -> Vec<BilingualPair> {
        text.split(' ')
            .map(|row| {
                let (dominant, target) = row.split_once('-').unwrap();
                BilingualPair {
                    dominant: side(dominant),
                    target: side(target),
                    origin: Origin { file: "f".into(), position: Position::Row(1) },
                }
            })
            .collect()
    }

    #[test]
    fn a_translation_takes_the_dominant_place() {
        let pivoted = pivot(rows("en1-zh1 en1-sw1 en1-bn1 en2-sw2 en2-zh2 en3-sw3 zh9-sw9"), "zh".parse().unwrap());
        // The third prompt has no Chinese; the last row is dominated by it already.
        assert_eq!(pivoted, rows("zh1-en1 zh1-sw1 zh1-bn1 zh2-sw2 zh2-en2 zh9-sw9"));
    }
}
