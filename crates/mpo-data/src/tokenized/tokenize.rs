//! From rows to their token ids, cut to a limit.

use super::{
    LabelledAnswer, LanguagePair, TokenizedPair, TokenizedPrompts, TokenizedRow, TokenizedRows, TruncationReport,
    not_empty,
};
use crate::error::DataError;
use crate::pair::{BilingualPair, MonolingualPair, Origin, PreferencePair, UnpairedAnswer};
use crate::parallel::ParallelPrompts;
use crate::report::Dropped;
use crate::rows::{Row, Rows};
use crate::tokenizer::TextTokenizer;
use crate::truncation::Truncation;

/// How rows become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenizeOptions {
    /// Where they are cut.
    pub truncation: Truncation,
    /// Whether a row that cannot be written as tokens is dropped, instead of being an error.
    pub skip_bad_rows: bool,
}

impl From<Truncation> for TokenizeOptions {
    fn from(truncation: Truncation) -> Self {
        Self { truncation, skip_bad_rows: false }
    }
}

impl Rows {
    /// The token ids of every row, each side cut to the limit by itself, and how much was cut.
    ///
    /// # Errors
    /// If a row cannot be written as tokens, unless [`TokenizeOptions::skip_bad_rows`].
    pub fn tokenize(
        &self,
        tokenizer: &TextTokenizer,
        options: impl Into<TokenizeOptions>,
    ) -> Result<(TokenizedRows, TruncationReport), DataError> {
        let mut work = Tokenizing { tokenizer, options: options.into(), report: TruncationReport::default() };
        let rows = match self {
            Self::Bilingual(rows) => TokenizedRows::Bilingual(work.all(rows)?),
            Self::Monolingual(rows) => TokenizedRows::Monolingual(work.all(rows)?),
            Self::Unpaired(rows) => TokenizedRows::Unpaired(work.all(rows)?),
            Self::Parallel(rows) => TokenizedRows::Parallel(work.all(rows)?),
        };
        Ok((rows, work.report))
    }
}

/// A row that becomes token ids.
trait Tokenize: Row {
    type Tokens;

    /// Its token ids, cut to the limit; none if it is dropped, which the report says then.
    fn tokenize(&self, work: &mut Tokenizing<'_>) -> Result<Option<Self::Tokens>, DataError>;
}

/// Rows on their way to tokens.
struct Tokenizing<'a> {
    tokenizer: &'a TextTokenizer,
    options: TokenizeOptions,
    report: TruncationReport,
}

impl Tokenizing<'_> {
    /// The token ids of every row that is not dropped.
    fn all<R: Tokenize>(&mut self, rows: &[R]) -> Result<Vec<R::Tokens>, DataError> {
        let mut tokenized = Vec::with_capacity(rows.len());
        for row in rows {
            match row.tokenize(self) {
                Ok(row) => tokenized.extend(row),
                Err(problem) if self.options.skip_bad_rows => {
                    self.drop(row.origin(), problem.to_string());
                }
                // It names the row itself.
                Err(problem @ DataError::NoTokens { .. }) => return Err(problem),
                Err(problem) => {
                    return Err(DataError::Conversation { origin: row.origin().clone(), problem: problem.into() });
                }
            }
        }
        Ok(tokenized)
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
        self.report.count_good(pair.language(), keep.response < chosen.len());
        prompt.truncate(keep.prompt);
        chosen.truncate(keep.response);
        rejected.truncate(keep.response);
        if chosen == rejected {
            let reason = if keep.response < response {
                format!(
                    "the {} answers are the same in their first {} tokens, which are kept",
                    pair.language(),
                    keep.response
                )
            } else {
                format!("the {} answers are the same as tokens", pair.language())
            };
            self.drop(origin, reason);
            return Ok(None);
        }
        let tokenized = TokenizedPair::new(origin, prompt, chosen, rejected)?;
        Ok(Some(tokenized.with_benign(pair.is_benign())))
    }
}

impl Tokenize for BilingualPair {
    type Tokens = TokenizedRow;

    fn tokenize(&self, work: &mut Tokenizing<'_>) -> Result<Option<TokenizedRow>, DataError> {
        let Self { dominant, target, origin } = self;
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
    }
}

impl Tokenize for MonolingualPair {
    type Tokens = LanguagePair;

    fn tokenize(&self, work: &mut Tokenizing<'_>) -> Result<Option<LanguagePair>, DataError> {
        let Self { pair, origin } = self;
        let tokenized = work.pair(pair, origin)?;
        Ok(tokenized.map(|tokenized| LanguagePair {
            language: pair.language(),
            pair: tokenized,
            origin: origin.clone(),
        }))
    }
}

impl Tokenize for UnpairedAnswer {
    type Tokens = LabelledAnswer;

    fn tokenize(&self, work: &mut Tokenizing<'_>) -> Result<Option<LabelledAnswer>, DataError> {
        let exchange = work.tokenizer.encode_exchange(self, [&*self.answer])?;
        work.report.left_out(&exchange);
        let mut prompt = exchange.prompt;
        let [mut answer] = exchange.answers;
        not_empty(&self.origin, [("prompt", &prompt), ("completion", &answer)])?;
        let keep = work.report.count(work.options.truncation, prompt.len(), answer.len());
        prompt.truncate(keep.prompt);
        answer.truncate(keep.response);
        Ok(Some(LabelledAnswer {
            language: self.language,
            prompt,
            answer,
            desirable: self.desirable,
            is_benign: self.is_benign,
            origin: self.origin.clone(),
        }))
    }
}

impl Tokenize for ParallelPrompts {
    type Tokens = TokenizedPrompts;

    fn tokenize(&self, work: &mut Tokenizing<'_>) -> Result<Option<TokenizedPrompts>, DataError> {
        let mut prompts = vec![];
        for (language, prompt) in self.by_language() {
            let mut ids = work.tokenizer.encode_prompt(&prompt[..])?;
            not_empty(&self.origin, [("prompt", &ids)])?;
            ids.truncate(work.report.count(work.options.truncation, ids.len(), 0).prompt);
            prompts.push((*language, ids));
        }
        Ok(Some(TokenizedPrompts { prompts, origin: self.origin.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::{Message, Position};
    use crate::template::TemplateChoice;
    use crate::tokenizer::testing::{CHATML, config, load};

    #[test]
    fn rows_are_cut_to_the_limit_and_counted() {
        let tokenizer = load(false, &config(CHATML), TemplateChoice::Auto).unwrap();
        let pair = |language: &str, chosen: &str| {
            let prompt = vec![Message::user("bake bread")];
            PreferencePair::new(language.parse().unwrap(), prompt, chosen.into(), "bread".into()).unwrap()
        };
        let row = BilingualPair {
            dominant: pair("en", "bake"),
            target: pair("sw", &"bake ".repeat(20)).with_benign(true),
            origin: Origin { file: "f".into(), position: Position::Line(1) },
        };
        // The prompt has 7 tokens; the longer response 21, its end included. 2·7 < 16 leaves it 9.
        let truncation = Truncation::new(16, None).unwrap();
        let (rows, report) = Rows::Bilingual(vec![row]).tokenize(&tokenizer, truncation).unwrap();
        let TokenizedRows::Bilingual(rows) = rows else { panic!("{rows:?}") };
        assert_eq!((report.pairs, report.truncated, report.longest), (2, 1, 28));
        // The one good answer in Swahili is cut, the one in English is not.
        let said = report.to_string();
        assert!(said.contains("most good answers in Swahili are cut, and not"), "{said}");
        let (dominant, target) = (&rows[0].dominant, &rows[0].target);
        assert_eq!((dominant.chosen(), dominant.rejected()), (&[7, 3][..], &[8, 3][..]));
        assert_eq!((target.prompt().len(), target.chosen()), (7, &[7; 9][..]));
        assert_eq!(target.rejected(), [8, 3]);
        assert!(target.is_benign() && !dominant.is_benign());
    }

    #[test]
    fn answers_that_are_the_same_once_cut_are_dropped_and_counted() {
        let tokenizer = load(false, &config(CHATML), TemplateChoice::Auto).unwrap();
        let pair = |language: &str, chosen: &str, rejected: &str| {
            let prompt = vec![Message::user("bake")];
            let language = language.parse().unwrap();
            PreferencePair::new(language, prompt, chosen.into(), rejected.into()).unwrap()
        };
        let row = |line, dominant, target| BilingualPair {
            dominant,
            target,
            origin: Origin { file: "f".into(), position: Position::Line(line) },
        };
        let (long, longer) = ("bake bake bake", "bake bake bake bread");
        let rows = Rows::Bilingual(vec![
            row(1, pair("en", long, longer), pair("sw", "bake", "bread")),
            row(2, pair("en", "bake", "bread"), pair("sw", long, longer)),
            row(3, pair("en", "bake", "bread"), pair("sw", "bread", "bake")),
        ]);
        let cut = Truncation::new(64, Some(2)).unwrap();
        let (kept, report) = rows.tokenize(&tokenizer, cut).unwrap();
        let TokenizedRows::Bilingual(kept) = kept else { panic!("{kept:?}") };
        assert_eq!((kept.len(), report.dropped.len()), (1, 2));
        assert_eq!(kept[0].origin.position, Position::Line(3));
        let told = report.to_string();
        assert!(told.contains("f, line 1: the en answers are the same in their first 2 tokens"), "{told}");
        assert!(told.contains("f, line 2: the sw answers"), "{told}");
        let (kept, report) = rows.tokenize(&tokenizer, Truncation::UNLIMITED).unwrap();
        assert_eq!((kept.len(), report.dropped.len()), (3, 0));
        assert!(!report.is_worth_saying());
    }

    #[test]
    fn a_row_that_the_template_refuses_is_named_and_can_be_left_out() {
        let template =
            format!("{{% if messages[0].content == 'no' %}}{{{{ raise_exception('not this') }}}}{{% endif %}}{CHATML}");
        let tokenizer = load(false, &config(&template), TemplateChoice::Auto).unwrap();
        let row = |line, prompt: &str| MonolingualPair {
            pair: PreferencePair::new(
                "en".parse().unwrap(),
                vec![Message::user(prompt)],
                "bake".into(),
                "bread".into(),
            )
            .unwrap(),
            origin: Origin { file: "f".into(), position: Position::Line(line) },
        };
        let rows = Rows::Monolingual(vec![row(1, "bake"), row(2, "no"), row(3, "bake")]);
        let mut options = TokenizeOptions::from(Truncation::UNLIMITED);
        let error = rows.tokenize(&tokenizer, options).unwrap_err();
        assert_eq!(error.to_string(), "f, line 2: the chat template refuses the conversation: not this");
        assert!(error.hint().unwrap().contains("--skip-bad-rows"));
        options.skip_bad_rows = true;
        let (kept, report) = rows.tokenize(&tokenizer, options).unwrap();
        assert_eq!((kept.len(), report.dropped.len()), (2, 1));
        assert!(report.to_string().contains("f, line 2: the chat template refuses"));
    }
}
