//! What the translation services on the network have in common: they are asked for plain texts, and speak a protocol of
//! their own.

use mpo_chat::{Endpoint, EndpointOptions, Protocol, Reply, Usage};
use mpo_data::Message;

use super::kept::{read, translations};
use super::{Direction, Means, Translated, Translator};
use crate::error::PrepareError;

/// A service that is asked in one direction by the protocol `P`.
pub(super) struct Service<P> {
    pub(super) name: &'static str,
    pub(super) options: EndpointOptions,
    pub(super) protocol: fn(Direction) -> P,
}

impl<P: Protocol + 'static> Service<P> {
    /// The service, if its address can be one.
    pub(super) fn new(
        name: &'static str,
        options: EndpointOptions,
        protocol: fn(Direction) -> P,
    ) -> Result<Self, PrepareError> {
        // An address is good or not for any protocol.
        Endpoint::new(options.clone())?;
        Ok(Self { name, options, protocol })
    }
}

impl<P: Protocol + 'static> Translator for Service<P> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn translate(
        &mut self,
        direction: Direction,
        texts: &[String],
        means: &Means<'_>,
    ) -> Result<Translated, PrepareError> {
        let requests: Vec<_> = texts.iter().map(|text| vec![Message::user(text)]).collect();
        let mut endpoint = Endpoint::speaking((self.protocol)(direction), self.options.clone())?;
        let translated = translations(&mut endpoint, direction, &requests, &|reply| read(reply).is_ok(), means)?;
        Ok(Translated { requests: endpoint.requests(), ..translated })
    }
}

/// The texts of conversations of one message.
pub(super) fn texts<'a>(conversations: &[&'a [Message]]) -> Vec<&'a str> {
    conversations.iter().map(|messages| messages.last().map_or("", |message| &*message.content)).collect()
}

/// A translation as a reply; services write signs of HTML as entities even where they are asked for plain text.
pub(super) fn reply(translation: &str) -> Reply {
    let text = html_escape::decode_html_entities(translation).into_owned();
    Reply::Answer { text, complete: true, usage: Usage::default() }
}
