//! What a row of any kind has.

use std::iter;

use serde::Serialize;

use crate::language::Language;
use crate::pair::{BilingualPair, Message, MonolingualPair, Origin, UnpairedAnswer};
use crate::parallel::ParallelPrompts;

/// A row of a data set. Serialized, it is a row of a file in the format of its kind that [`read`](crate::read()) knows.
pub trait Row: Serialize + sealed::Sealed {
    /// The language that it counts for: of a row in two languages, that of its target side; of prompts in several, the
    /// dominant one.
    fn language(&self) -> Language;

    /// The languages that it is there in beside a dominant one.
    fn targets(&self) -> Vec<Language> {
        vec![self.language()]
    }

    /// The prompt that all its translations share: in a row in two languages, that of its dominant side.
    fn source(&self) -> &[Message];

    /// Every prompt in it.
    fn prompts(&self) -> impl Iterator<Item = &[Message]> {
        iter::once(self.source())
    }

    /// Every answer in it.
    fn answers(&self) -> impl Iterator<Item = &str>;

    /// Whether its prompt is to be answered, and not refused.
    fn is_benign(&self) -> bool {
        false
    }

    /// Where it came from.
    fn origin(&self) -> &Origin;
}

mod sealed {
    use super::{BilingualPair, MonolingualPair, ParallelPrompts, UnpairedAnswer};

    /// Nobody else's type is a kind of row: no reader would know it.
    pub trait Sealed {}

    impl Sealed for BilingualPair {}
    impl Sealed for MonolingualPair {}
    impl Sealed for UnpairedAnswer {}
    impl Sealed for ParallelPrompts {}
}

impl Row for BilingualPair {
    fn language(&self) -> Language {
        self.target.language()
    }

    fn source(&self) -> &[Message] {
        self.dominant.prompt()
    }

    fn prompts(&self) -> impl Iterator<Item = &[Message]> {
        [self.dominant.prompt(), self.target.prompt()].into_iter()
    }

    fn answers(&self) -> impl Iterator<Item = &str> {
        [&self.dominant, &self.target].into_iter().flat_map(|pair| [pair.chosen(), pair.rejected()])
    }

    fn is_benign(&self) -> bool {
        self.target.is_benign()
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Row for MonolingualPair {
    fn language(&self) -> Language {
        self.pair.language()
    }

    fn source(&self) -> &[Message] {
        self.pair.prompt()
    }

    fn answers(&self) -> impl Iterator<Item = &str> {
        [self.pair.chosen(), self.pair.rejected()].into_iter()
    }

    fn is_benign(&self) -> bool {
        self.pair.is_benign()
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Row for UnpairedAnswer {
    fn language(&self) -> Language {
        self.language
    }

    fn source(&self) -> &[Message] {
        &self.prompt
    }

    fn answers(&self) -> impl Iterator<Item = &str> {
        iter::once(&*self.answer)
    }

    fn is_benign(&self) -> bool {
        self.is_benign
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Row for ParallelPrompts {
    fn language(&self) -> Language {
        self.by_language()[0].0
    }

    fn targets(&self) -> Vec<Language> {
        self.by_language()[1..].iter().map(|(language, _)| *language).collect()
    }

    fn source(&self) -> &[Message] {
        &self.by_language()[0].1
    }

    fn prompts(&self) -> impl Iterator<Item = &[Message]> {
        self.by_language().iter().map(|(_, prompt)| &prompt[..])
    }

    fn answers(&self) -> impl Iterator<Item = &str> {
        iter::empty()
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }
}
