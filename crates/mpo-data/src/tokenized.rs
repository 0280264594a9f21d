//! Pairs as token ids.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use crate::error::DataError;
use crate::language::Language;
use crate::pair::{BilingualPair, MonolingualPair, Origin, PreferencePair, UnpairedAnswer};
use crate::tokenizer::TextTokenizer;
use crate::truncation::{Lengths, Truncation};

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
    /// The language of the dominant side.
    pub dominant_language: Language,
    /// The language of the target side.
    pub language: Language,
    /// The row it came from.
    pub origin: Origin,
}

/// A pair as token ids, and its language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanguagePair {
    /// The language of the prompt.
    pub language: Language,
    /// The token ids.
    pub pair: TokenizedPair,
    /// The row it came from.
    pub origin: Origin,
}

impl LanguagePair {
    /// Every pair of bilingual rows once: the target sides in their order, then the dominant sides, each once however
    /// many languages it was translated to.
    pub fn of_rows(rows: &[TokenizedRow]) -> Vec<Self> {
        let side = |language: Language, pair: &TokenizedPair, origin: &Origin| Self {
            language,
            pair: pair.clone(),
            origin: origin.clone(),
        };
        let mut seen = HashSet::new();
        let targets = rows
            .iter()
            .map(|row| side(row.language, &row.target, &row.origin));
        let dominants = rows
            .iter()
            .filter(|row| seen.insert((row.dominant_language, &row.dominant)))
            .map(|row| side(row.dominant_language, &row.dominant, &row.origin));
        targets.chain(dominants).collect()
    }
}

/// A single answer as token ids, none of it empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledAnswer {
    /// The language of the prompt.
    pub language: Language,
    /// The prompt's tokens.
    pub prompt: Vec<u32>,
    /// The answer's tokens.
    pub answer: Vec<u32>,
    /// Whether the answer is one to learn, or one to avoid.
    pub desirable: bool,
    /// The row it came from.
    pub origin: Origin,
}

/// How much was cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TruncationReport {
    /// Pairs seen, two a bilingual row; or single answers.
    pub pairs: usize,
    /// Pairs of which anything was cut.
    pub truncated: usize,
    /// Prompts of which anything was cut: of these the end is lost, where the answer begins.
    pub prompts: usize,
    /// Tokens of the longest prompt and response together, before cutting.
    pub longest: usize,
}

impl TruncationReport {
    /// Counts a prompt and its longer answer, and says what is kept of them.
    fn count(&mut self, truncation: Truncation, prompt: usize, response: usize) -> Lengths {
        let keep = truncation.lengths(prompt, response);
        self.pairs += 1;
        self.truncated += usize::from(keep.prompt < prompt || keep.response < response);
        self.prompts += usize::from(keep.prompt < prompt);
        self.longest = self.longest.max(prompt + response);
        keep
    }
}

impl fmt::Display for TruncationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pairs,
            truncated,
            prompts,
            longest,
        } = self;
        write!(
            f,
            "{truncated} of {pairs} pairs or answers truncated; the longest had {longest} tokens"
        )?;
        match prompts {
            0 => Ok(()),
            _ => write!(
                f,
                "; {prompts} lost the end of the prompt, where the answer is asked for: give more tokens, or limit answers"
            ),
        }
    }
}

/// The token ids of one pair, cut to the limit; `report` counts it.
fn tokenize_pair(
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
    let keep = report.count(truncation, prompt.len(), response);
    prompt.truncate(keep.prompt);
    chosen.truncate(keep.response);
    rejected.truncate(keep.response);
    TokenizedPair::new(origin, prompt, chosen, rejected)
}

/// The token ids of every single answer, cut to the limit.
pub fn tokenize_answers(
    answers: &[UnpairedAnswer],
    tokenizer: &TextTokenizer,
    truncation: Truncation,
) -> Result<(Vec<LabelledAnswer>, TruncationReport), DataError> {
    let mut report = TruncationReport::default();
    let tokenized = answers
        .iter()
        .map(|row| {
            let mut prompt = tokenizer.encode_prompt(&row.prompt)?;
            let mut answer = tokenizer.encode_response(&row.answer)?;
            for (part, ids) in [("prompt", &prompt), ("completion", &answer)] {
                if ids.is_empty() {
                    let origin = row.origin.clone();
                    return Err(DataError::NoTokens { origin, part });
                }
            }
            let keep = report.count(truncation, prompt.len(), answer.len());
            prompt.truncate(keep.prompt);
            answer.truncate(keep.response);
            Ok(LabelledAnswer {
                language: row.language,
                prompt,
                answer,
                desirable: row.desirable,
                origin: row.origin.clone(),
            })
        })
        .collect::<Result<_, DataError>>()?;
    Ok((tokenized, report))
}

/// The token ids of every single pair, cut to the limit.
pub fn tokenize_pairs(
    pairs: &[MonolingualPair],
    tokenizer: &TextTokenizer,
    truncation: Truncation,
) -> Result<(Vec<LanguagePair>, TruncationReport), DataError> {
    let mut report = TruncationReport::default();
    let tokenized = pairs
        .iter()
        .map(|MonolingualPair { pair, origin }| {
            Ok(LanguagePair {
                language: pair.language(),
                pair: tokenize_pair(pair, origin, tokenizer, truncation, &mut report)?,
                origin: origin.clone(),
            })
        })
        .collect::<Result<_, DataError>>()?;
    Ok((tokenized, report))
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
                    dominant_language: dominant.language(),
                    language: target.language(),
                    origin: origin.clone(),
                })
            },
        )
        .collect::<Result<_, DataError>>()?;
    Ok((tokenized, report))
}
