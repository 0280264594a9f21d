//! Pairs as token ids.

use std::fmt;

use serde::Serialize;

use crate::error::DataError;
use crate::language::Language;
use crate::pair::{BilingualPair, Origin, PreferencePair};
use crate::tokenizer::TextTokenizer;
use crate::truncation::Truncation;

/// A prompt and its two responses, none of them empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenizedPair {
    prompt: Vec<u32>,
    chosen: Vec<u32>,
    rejected: Vec<u32>,
}

impl TokenizedPair {
    /// Makes the pair; `origin` names the row should a part be empty.
    pub fn new(
        origin: &Origin,
        prompt: Vec<u32>,
        chosen: Vec<u32>,
        rejected: Vec<u32>,
    ) -> Result<Self, DataError> {
        for (part, ids) in [
            ("prompt", &prompt),
            ("chosen answer", &chosen),
            ("rejected answer", &rejected),
        ] {
            if ids.is_empty() {
                return Err(DataError::NoTokens {
                    origin: origin.clone(),
                    part,
                });
            }
        }
        Ok(Self {
            prompt,
            chosen,
            rejected,
        })
    }

    /// The prompt, up to where the assistant begins to speak.
    pub fn prompt(&self) -> &[u32] {
        &self.prompt
    }

    /// The answer to prefer, with the token that ends it unless it was cut.
    pub fn chosen(&self) -> &[u32] {
        &self.chosen
    }

    /// The answer to avoid, with the token that ends it unless it was cut.
    pub fn rejected(&self) -> &[u32] {
        &self.rejected
    }

    /// Tokens of all three parts: what the pair costs a model that computes its prompt once.
    pub fn tokens(&self) -> usize {
        self.prompt.len() + self.chosen.len() + self.rejected.len()
    }
}

/// A bilingual row as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedRow {
    /// The side whose reward gap is the measure.
    pub dominant: TokenizedPair,
    /// The side that is aligned to it.
    pub target: TokenizedPair,
    /// The language of the target side.
    pub language: Language,
    /// The row it came from.
    pub origin: Origin,
}

/// How much was cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TruncationReport {
    /// Pairs seen: two a bilingual row.
    pub pairs: usize,
    /// Pairs of which anything was cut.
    pub truncated: usize,
    /// Tokens of the longest prompt and response together, before cutting.
    pub longest: usize,
}

impl fmt::Display for TruncationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pairs,
            truncated,
            longest,
        } = self;
        write!(
            f,
            "{truncated} of {pairs} pairs truncated; the longest had {longest} tokens"
        )
    }
}

/// The token ids of one pair, cut to the limit; `report` counts it.
pub fn tokenize_pair(
    pair: &PreferencePair,
    origin: &Origin,
    tokenizer: &TextTokenizer,
    truncation: Truncation,
    report: &mut TruncationReport,
) -> Result<TokenizedPair, DataError> {
    let mut prompt = tokenizer.encode_prompt(pair.prompt())?;
    let mut chosen = tokenizer.encode_response(pair.chosen())?;
    let mut rejected = tokenizer.encode_response(pair.rejected())?;
    let response = chosen.len().max(rejected.len());
    let keep = truncation.lengths(prompt.len(), response);
    report.pairs += 1;
    report.truncated += usize::from(keep.prompt < prompt.len() || keep.response < response);
    report.longest = report.longest.max(prompt.len() + response);
    prompt.truncate(keep.prompt);
    chosen.truncate(keep.response);
    rejected.truncate(keep.response);
    TokenizedPair::new(origin, prompt, chosen, rejected)
}

/// The token ids of every row, each side cut to the limit by itself.
pub fn tokenize_rows(
    rows: &[BilingualPair],
    tokenizer: &TextTokenizer,
    truncation: Truncation,
) -> Result<(Vec<TokenizedRow>, TruncationReport), DataError> {
    let mut report = TruncationReport::default();
    let mut side = |pair, origin| tokenize_pair(pair, origin, tokenizer, truncation, &mut report);
    let tokenized = rows
        .iter()
        .map(
            |BilingualPair {
                 dominant,
                 target,
                 origin,
             }| {
                Ok(TokenizedRow {
                    dominant: side(dominant, origin)?,
                    target: side(target, origin)?,
                    language: target.language(),
                    origin: origin.clone(),
                })
            },
        )
        .collect::<Result<_, DataError>>()?;
    Ok((tokenized, report))
}
