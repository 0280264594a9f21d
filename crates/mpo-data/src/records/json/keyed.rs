//! Rows that lie under a key of the one object that is the file.

use super::nesting::Nesting;
use super::repair::repair;
use crate::records::{Fields, Selection};

/// Whether the object that a file begins with may hold its rows: nothing comes after it, and it is no row itself. One that
/// goes on after `head` is too long for a row.
pub(super) fn is_one_object_of_rows(head: &[u8], selection: &Selection<'_>) -> bool {
    let mut nesting = Nesting::default();
    let Some(end) = head.iter().position(|byte| nesting.ends_with(*byte)) else {
        return true;
    };
    let (object, rest) = head.split_at(end + 1);
    rest.trim_ascii().is_empty() && !fields_of(object).is_some_and(|own| (selection.is_row)(&own))
}

fn fields_of(object: &[u8]) -> Option<Fields> {
    let text = str::from_utf8(object).ok()?;
    let repaired = || serde_json::from_str(&repair(text)?.text).ok();
    serde_json::from_str(text).ok().or_else(repaired)
}

/// The keys of the object at the start of a file that have a list under them whose first element is a row, each with the
/// offset after the `[`. Looked for as far as `head` reaches.
pub(super) fn keys_with_rows(head: &[u8], selection: &Selection<'_>) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let blank = |at: usize| {
        let rest = head.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
    };
    // Where the value that begins here ends.
    let value_end = |at: usize| {
        let mut nesting = Nesting::default();
        let nested = matches!(head.get(at), Some(b'{' | b'[' | b'"'));
        let end = head
            .get(at..)?
            .iter()
            .position(|byte| if nested { nesting.ends_with(*byte) } else { matches!(byte, b',' | b'}') })?;
        Some(at + end + usize::from(nested))
    };
    let mut at = blank(1);
    while head.get(at) == Some(&b'"') {
        let Some(end) = value_end(at) else { break };
        let Ok(key) = serde_json::from_slice::<String>(&head[at..end]) else {
            break;
        };
        let colon = blank(end);
        if head.get(colon) != Some(&b':') {
            break;
        }
        let value = blank(colon + 1);
        if head.get(value) == Some(&b'[') {
            let element = blank(value + 1);
            let row = value_end(element).map(|end| &head[element..end]);
            if row.and_then(fields_of).is_some_and(|fields| (selection.is_row)(&fields)) {
                found.push((key, value + 1));
            }
        }
        let Some(end) = value_end(value) else { break };
        at = blank(end);
        if head.get(at) != Some(&b',') {
            break;
        }
        at = blank(at + 1);
    }
    found
}
