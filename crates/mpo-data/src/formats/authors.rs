//! The released data of the paper: `source_*` is the dominant side, `target_*` the other, and no field names a
//! language. Texts went through a translation service that left HTML entities in them.

use super::side::{side, within};
use super::{DraftSide, PairDraft, Row, Unfit};
use crate::records::Fields;
use crate::report::WarningKind;

pub(super) fn draft(row: &mut Row<'_>) -> Result<PairDraft, Unfit> {
    let mut oddities = Vec::new();
    let mut cleaned = false;
    let mut of = |prefix: &'static str| {
        let mut fields = Fields::new();
        for key in ["conversations", "chosen", "rejected"] {
            fields.insert(key.into(), row.need(&format!("{prefix}{key}"))?);
        }
        let mut side = within(row, fields, prefix, |row| side(row, &mut oddities))?;
        cleaned |= clean(&mut side);
        Ok::<_, Unfit>(side)
    };
    let (dominant, target) = (of("source_")?, of("target_")?);
    oddities.extend(cleaned.then_some(WarningKind::EntitiesCleaned));
    Ok(PairDraft { dominant: Some(dominant), target, oddities })
}

/// Replaces HTML entities by what they stand for, and says whether there were any.
fn clean(side: &mut DraftSide) -> bool {
    let mut cleaned = false;
    let prompt = side.prompt.iter_mut().map(|message| &mut message.content);
    for text in prompt.chain([&mut side.chosen, &mut side.rejected]) {
        let decoded = html_escape::decode_html_entities(text).into_owned();
        cleaned |= decoded != *text;
        *text = decoded;
    }
    cleaned
}
