//! Conversations written as one text, as in Anthropic's HH: a turn begins with `Human:` or `Assistant:` after an empty
//! line.

use crate::pair::{Message, Role};

const SPEAKERS: [(&str, Role); 2] = [("Human:", Role::User), ("Assistant:", Role::Assistant)];

/// The messages of a transcript, from a first `Human:` on; none if the text is no transcript.
pub(super) fn messages(text: &str) -> Option<Vec<Message>> {
    let start = text.trim_start();
    if !start.starts_with("Human:") || !start.contains("\n\nAssistant:") {
        return None;
    }
    let mut messages: Vec<Message> = Vec::new();
    for paragraph in start.split("\n\n") {
        let turn = SPEAKERS.iter().find_map(|(name, role)| Some((*role, paragraph.strip_prefix(name)?)));
        match (turn, messages.last_mut()) {
            (Some((role, content)), _) => messages.push(Message { role, content: content.into() }),
            (None, Some(last)) => {
                last.content += "\n\n";
                last.content += paragraph;
            }
            (None, None) => return None,
        }
    }
    for message in &mut messages {
        message.content = message.content.trim().into();
    }
    Some(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_begin_after_an_empty_line() {
        let read = |text: &str| {
            messages(text).map(|messages| {
                let messages = messages.iter();
                messages
                    .map(|message| format!("{}={}", message.role.as_str(), message.content))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
        };
        for (text, expected) in [
            ("\n\nHuman: a\n\nAssistant: b", Some("user=a assistant=b")),
            (
                "\n\nHuman: a\n\nb\n\nAssistant: c\nHuman: d\n\nHuman: e\n\nAssistant:",
                Some("user=a\n\nb assistant=c\nHuman: d user=e assistant="),
            ),
            ("Human: a", None),
            ("I said:\n\nHuman: a\n\nAssistant: b", None),
            ("", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text:?}");
        }
    }
}
