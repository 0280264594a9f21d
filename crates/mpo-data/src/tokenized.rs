//! Pairs as token ids.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use crate::error::DataError;
use crate::language::Language;
use crate::pair::{BilingualPair, MonolingualPair, Origin, PreferencePair, UnpairedAnswer};
use crate::report::Dropped;
use crate::tokenizer::{Exchange, TextTokenizer};
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
    pub fn new(origin: &Origin, prompt: Vec<u32>, chosen: Vec<u32>, rejected: Vec<u32>) -> Result<Self, DataError> {
        let parts = [("prompt", &prompt), ("chosen answer", &chosen), ("rejected answer", &rejected)];
        not_empty(origin, parts)?;
        Ok(Self { prompt, chosen, rejected })
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
        let targets = rows.iter().map(|row| side(row.language, &row.target, &row.origin));
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

/// How rows become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenizeOptions {
    /// Where they are cut.
    pub truncation: Truncation,
    /// Whether a row that cannot be written as tokens is left out, instead of being an error.
    pub skip_bad_rows: bool,
}

impl From<Truncation> for TokenizeOptions {
    fn from(truncation: Truncation) -> Self {
        Self { truncation, skip_bad_rows: false }
    }
}

/// How much was cut, and which rows were left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TruncationReport {
    /// Pairs seen, two a bilingual row; or single answers.
    pub pairs: usize,
    /// Pairs of which anything was cut.
    pub truncated: usize,
    /// Prompts of which anything was cut: of these the end is lost, where the answer begins.
    pub prompts: usize,
    /// Tokens of the longest prompt and response together, before cutting.
    pub longest: usize,
    /// Rows left out: answers that are the same once they are cut, and, where that was asked for, what the chat template
    /// refuses.
    pub dropped: Vec<Dropped>,
    /// What generation adds to prompts and conversations do not have: it was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

impl TruncationReport {
    /// Whether there is anything to tell.
    pub fn is_worth_saying(&self) -> bool {
        self.truncated > 0 || !self.dropped.is_empty() || self.left_out.is_some()
    }

    fn left_out<const N: usize>(&mut self, exchange: &Exchange<N>) {
        if self.left_out.is_none() {
            self.left_out.clone_from(&exchange.left_out);
        }
    }

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
        /// Rows that are named.
        const NAMED: usize = 5;
        let Self { pairs, truncated, prompts, longest, dropped, left_out } = self;
        let mut line = "";
        if let Some(left_out) = left_out {
            write!(
                f,
                "prompts are scored and trained on without {:?}: the chat template writes it where an answer is asked for, and not in a conversation that has one",
                left_out
            )?;
            line = "\n";
        }
        if *truncated > 0 || (dropped.is_empty() && left_out.is_none()) {
            write!(f, "{line}{truncated} of {pairs} pairs or answers truncated; the longest had {longest} tokens")?;
            line = "\n";
        }
        if *prompts > 0 {
            write!(
                f,
                "; {prompts} lost the end of the prompt, where the answer is asked for: give more tokens, or limit answers"
            )?;
        }
        if !dropped.is_empty() {
            write!(f, "{line}{} rows dropped:", dropped.len())?;
            for Dropped { origin, reason } in dropped.iter().take(NAMED) {
                write!(f, "\n  {origin}: {reason}")?;
            }
            if dropped.len() > NAMED {
                write!(f, "\n  and {} more", dropped.len() - NAMED)?;
            }
        }
        Ok(())
    }
}

/// Rows on their way to tokens.
struct Tokenizing<'a> {
    tokenizer: &'a TextTokenizer,
    options: TokenizeOptions,
    report: TruncationReport,
}

impl<'a> Tokenizing<'a> {
    fn new(tokenizer: &'a TextTokenizer, options: TokenizeOptions) -> Self {
        Self { tokenizer, options, report: TruncationReport::default() }
    }

    /// What `tokenize` makes of every row, without those that are left out.
    fn all<R, T>(
        mut self,
        rows: &[R],
        origin: impl Fn(&R) -> &Origin,
        tokenize: impl Fn(&mut Self, &R) -> Result<Option<T>, DataError>,
    ) -> Result<(Vec<T>, TruncationReport), DataError> {
        let mut tokenized = Vec::with_capacity(rows.len());
        for row in rows {
            match tokenize(&mut self, row) {
                Ok(row) => tokenized.extend(row),
                Err(problem) if self.options.skip_bad_rows => {
                    self.drop(origin(row), problem.to_string());
                }
                // It names the row itself.
                Err(problem @ DataError::NoTokens { .. }) => return Err(problem),
                Err(problem) => {
                    return Err(DataError::Conversation { origin: origin(row).clone(), problem: problem.into() });
                }
            }
        }
        Ok((tokenized, self.report))
    }

    fn drop(&mut self, origin: &Origin, reason: impl Into<String>) {
        self.report.dropped.push(Dropped { origin: origin.clone(), reason: reason.into() });
    }

    /// The token ids of one pair, cut to the limit; none if its answers are the same then.
    fn pair(&mut self, pair: &PreferencePair, origin: &Origin) -> Result<Option<TokenizedPair>, DataError> {
        let answers = [pair.chosen(), pair.rejected()];
        let exchange = self.tokenizer.encode_exchange(pair, answers)?;
        self.report.left_out(&exchange);
        let mut prompt = exchange.prompt;
        let [mut chosen, mut rejected] = exchange.answers;
        let response = chosen.len().max(rejected.len());
        let keep = self.report.count(self.options.truncation, prompt.len(), response);
        prompt.truncate(keep.prompt);
        chosen.truncate(keep.response);
        rejected.truncate(keep.response);
        if chosen == rejected {
            let reason = match keep.response < response {
                true => format!(
                    "the {} answers are the same in their first {} tokens, which are kept",
                    pair.language(),
                    keep.response
                ),
                false => format!("the {} answers are the same as tokens", pair.language()),
            };
            self.drop(origin, reason);
            return Ok(None);
        }
        TokenizedPair::new(origin, prompt, chosen, rejected).map(Some)
    }
}

/// The token ids of every single answer, cut to the limit.
///
/// # Errors
/// If a row cannot be written as tokens, and is not to be left out then.
pub fn tokenize_answers(
    answers: &[UnpairedAnswer],
    tokenizer: &TextTokenizer,
    options: impl Into<TokenizeOptions>,
) -> Result<(Vec<LabelledAnswer>, TruncationReport), DataError> {
    Tokenizing::new(tokenizer, options.into()).all(
        answers,
        |row| &row.origin,
        |work, row| {
            let exchange = tokenizer.encode_exchange(row, [&*row.answer])?;
            work.report.left_out(&exchange);
            let mut prompt = exchange.prompt;
            let [mut answer] = exchange.answers;
            not_empty(&row.origin, [("prompt", &prompt), ("completion", &answer)])?;
            let keep = work.report.count(work.options.truncation, prompt.len(), answer.len());
            prompt.truncate(keep.prompt);
            answer.truncate(keep.response);
            Ok(Some(LabelledAnswer {
                language: row.language,
                prompt,
                answer,
                desirable: row.desirable,
                origin: row.origin.clone(),
            }))
        },
    )
}

/// The token ids of every single pair, cut to the limit.
///
/// # Errors
/// If a row cannot be written as tokens, and is not to be left out then.
pub fn tokenize_pairs(
    pairs: &[MonolingualPair],
    tokenizer: &TextTokenizer,
    options: impl Into<TokenizeOptions>,
) -> Result<(Vec<LanguagePair>, TruncationReport), DataError> {
    Tokenizing::new(tokenizer, options.into()).all(
        pairs,
        |row| &row.origin,
        |work, MonolingualPair { pair, origin }| {
            let tokenized = work.pair(pair, origin)?;
            Ok(tokenized.map(|tokenized| LanguagePair {
                language: pair.language(),
                pair: tokenized,
                origin: origin.clone(),
            }))
        },
    )
}

/// The token ids of every row, each side cut to the limit by itself.
///
/// # Errors
/// If a row cannot be written as tokens, and is not to be left out then.
pub fn tokenize_rows(
    rows: &[BilingualPair],
    tokenizer: &TextTokenizer,
    options: impl Into<TokenizeOptions>,
) -> Result<(Vec<TokenizedRow>, TruncationReport), DataError> {
    Tokenizing::new(tokenizer, options.into()).all(
        rows,
        |row| &row.origin,
        |work, row| {
            let BilingualPair { dominant, target, origin } = row;
            let Some(dominant_pair) = work.pair(dominant, origin)? else {
                return Ok(None);
            };
            let target_pair = work.pair(target, origin)?;
            Ok(target_pair.map(|target_pair| TokenizedRow {
                dominant: dominant_pair,
                target: target_pair,
                dominant_language: dominant.language(),
                language: target.language(),
                origin: origin.clone(),
            }))
        },
    )
}

/// Names the first part without tokens.
fn not_empty<const N: usize>(origin: &Origin, parts: [(&'static str, &Vec<u32>); N]) -> Result<(), DataError> {
    match parts.iter().find(|(_, ids)| ids.is_empty()) {
        Some((part, _)) => Err(DataError::NoTokens { origin: origin.clone(), part }),
        None => Ok(()),
    }
}
