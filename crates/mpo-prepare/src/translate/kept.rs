//! Translations by whoever answers conversations, each kept in a file: nothing is asked twice.

use mpo_chat::{CachedChat, ChatModel, Reply, ask_for};
use mpo_data::Message;
use mpo_eval::note_not_as_written;

use super::{Direction, Means, Translated, Translation};
use crate::error::PrepareError;

/// The file that keeps translations.
pub(crate) const TRANSLATIONS_FILE: &str = "translations.jsonl";

/// Asks `chat` each of `requests`, the translation of a text. Replies that are not `worth_keeping` are not kept, and are asked
/// for again where another may come out otherwise.
pub(super) fn translations(
    chat: &mut dyn ChatModel,
    direction: Direction,
    requests: &[Vec<Message>],
    worth_keeping: &dyn Fn(&Reply) -> bool,
    means: &Means<'_>,
) -> Result<Translated, PrepareError> {
    let path = means.held.path().join(TRANSLATIONS_FILE);
    means.held.claim(&path)?;
    let mut chat = CachedChat::open(chat, &path)?;
    // The file is opened for each language, and what is wrong with it is told once.
    if !means.noted.replace(true) {
        note_not_as_written(TRANSLATIONS_FILE, &chat, means.progress);
    }
    let stage = means.progress.begin(&format!("translating to {}", direction.to.name()), Some(requests.len()));
    let replies = ask_for(&mut chat, requests, worth_keeping, &*stage)?;
    let texts = replies.iter().map(read).collect();
    Ok(Translated { texts, usage: chat.usage(), asked: chat.asked(), requests: 0 })
}

/// What a reply says in the language asked for.
pub(super) fn read(reply: &Reply) -> Translation {
    match reply {
        Reply::Missing { reason } => Err(reason.clone()),
        Reply::Answer { complete: false, .. } => Err("longer than a translation may be".into()),
        Reply::Answer { text, .. } if text.trim().is_empty() => Err("an empty translation".into()),
        Reply::Answer { text, .. } => Ok(text.trim().to_owned()),
    }
}
