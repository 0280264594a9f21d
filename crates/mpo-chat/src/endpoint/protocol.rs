//! What is sent to a service, and how its replies are read. When to send it, and how often, is the endpoint's.

use mpo_data::Message;
use serde_json::Value;

use super::EndpointOptions;
use crate::model::Reply;

/// Where a request has the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    /// In the header `Authorization`, behind `Bearer`.
    Bearer,
    /// In the address, behind the question mark, by this name.
    Query(&'static str),
    /// In the body, by this name.
    Field(&'static str),
}

/// How much one request may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimit {
    /// Conversations.
    pub conversations: usize,
    /// Characters of all of them; one that has more is asked alone.
    pub characters: usize,
}

impl RequestLimit {
    /// One conversation, of any length.
    pub const ONE: Self = Self { conversations: 1, characters: usize::MAX };

    /// The numbers of conversations that are asked together, in their order.
    pub(super) fn batches(self, conversations: &[Vec<Message>], numbers: &[usize]) -> Vec<Vec<usize>> {
        let mut batches: Vec<Vec<usize>> = vec![];
        let mut characters = 0;
        for &number in numbers {
            let own: usize = conversations[number].iter().map(|message| message.content.chars().count()).sum();
            match batches.last_mut() {
                Some(batch) if batch.len() < self.conversations && characters + own <= self.characters => {
                    batch.push(number);
                    characters += own;
                }
                _ => {
                    batches.push(vec![number]);
                    characters = own;
                }
            }
        }
        batches
    }
}

/// What a service wants to be asked, and how it replies, both in JSON.
pub trait Protocol: Send + Sync {
    /// What follows the address, such as `/translate`.
    fn path(&self) -> &str;

    /// Where a key goes, if there is one.
    fn key_place(&self) -> KeyPlace {
        KeyPlace::Bearer
    }

    /// How much one request may ask.
    fn request_limit(&self) -> RequestLimit {
        RequestLimit::ONE
    }

    /// Every setting that changes replies: what a cache is keyed by beside the address.
    fn identity(&self, options: &EndpointOptions) -> String;

    /// The body of a request, an object, for as many conversations as a request may ask.
    fn body(&self, options: &EndpointOptions, conversations: &[&[Message]]) -> Value;

    /// What the body of a successful response replies to each conversation, in their order.
    ///
    /// # Errors
    /// What was expected and is not there; then the request is made again.
    fn replies(&self, text: &str) -> Result<Vec<Reply>, String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_hold_no_more_than_they_may() {
        let conversations = ["aaaa", "bb", "c", "ddddddd", "e", "f", "g"].map(|text| vec![Message::user(text)]);
        let limit = RequestLimit { conversations: 3, characters: 6 };
        let all: Vec<usize> = (0..conversations.len()).collect();
        let expected: [&[usize]; 4] = [&[0, 1], &[2], &[3], &[4, 5, 6]];
        assert_eq!(limit.batches(&conversations, &all), expected);
        assert_eq!(RequestLimit::ONE.batches(&conversations, &[3, 1]), [[3], [1]]);
    }
}
