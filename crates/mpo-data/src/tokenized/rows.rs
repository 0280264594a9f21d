//! The token ids of a data set's rows, of one kind each, and what can be done with them whatever their kind.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter;

use super::{LabelledAnswer, LanguagePair, Note, TokenizedPair, TokenizedPrompts, TokenizedRow};
use crate::language::Language;
use crate::pair::Origin;
use crate::rows::{BILINGUAL, MONOLINGUAL, PARALLEL, UNPAIRED, each, evenly};

/// Rows of one kind, as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizedRows {
    /// Pairs in the dominant and in a target language.
    Bilingual(Vec<TokenizedRow>),
    /// Pairs in one language.
    Monolingual(Vec<LanguagePair>),
    /// Single answers.
    Unpaired(Vec<LabelledAnswer>),
    /// One prompt in several languages.
    Parallel(Vec<TokenizedPrompts>),
}

impl TokenizedRows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        each!(self, rows => rows.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What kind of rows they are, for people: `pairs in two languages`, `pairs in one language`, `single answers` or `prompts
    /// in several languages`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bilingual(_) => BILINGUAL,
            Self::Monolingual(_) => MONOLINGUAL,
            Self::Unpaired(_) => UNPAIRED,
            Self::Parallel(_) => PARALLEL,
        }
    }

    /// Whether every row has two answers to compare.
    pub fn are_pairs(&self) -> bool {
        match self {
            Self::Bilingual(_) | Self::Monolingual(_) => true,
            Self::Unpaired(_) | Self::Parallel(_) => false,
        }
    }

    /// Whether all answers are good ones (true) or all bad ones (false); none where there are both, as in pairs.
    pub fn only_label(&self) -> Option<bool> {
        let Self::Unpaired(answers) = self else {
            return None;
        };
        let first = answers.first()?.desirable;
        answers.iter().all(|answer| answer.desirable == first).then_some(first)
    }

    /// At most `limit` rows: those that are taken first when languages take turns, in the order they came.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        each!(self, rows, of_kind => of_kind(evenly(rows, limit, Tokens::language)))
    }

    /// The rows that [`limit`](Self::limit) keeps, of rows that stay.
    #[must_use]
    pub fn some(&self, limit: usize) -> Self {
        each!(self, rows, of_kind => {
            let some = evenly(rows.iter().collect(), limit, |row| row.language());
            of_kind(some.into_iter().cloned().collect())
        })
    }

    /// How many rows are there in each language; of rows with a dominant one, in each of the others.
    pub fn by_language(&self) -> BTreeMap<Language, usize> {
        let mut counts = BTreeMap::new();
        each!(self, rows => rows.iter().flat_map(Tokens::targets).for_each(|language| *counts.entry(language).or_default() += 1));
        counts
    }

    /// The dominant language of most rows in two languages; none of rows in one.
    pub fn dominant(&self) -> Option<Language> {
        let dominants: Vec<Language> = match self {
            Self::Bilingual(rows) => rows.iter().map(|row| row.dominant_language).collect(),
            Self::Parallel(rows) => rows.iter().filter_map(|row| Some(row.prompts.first()?.0)).collect(),
            Self::Monolingual(_) | Self::Unpaired(_) => return None,
        };
        let mut counts: BTreeMap<Language, usize> = BTreeMap::new();
        for language in dominants {
            *counts.entry(language).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, rows)| *rows).map(|(language, _)| language)
    }

    /// The place that each row came from.
    pub fn origins(&self) -> Box<dyn Iterator<Item = &Origin> + '_> {
        each!(self, rows => Box::new(rows.iter().map(Tokens::origin)))
    }

    /// Every list of token ids in them.
    pub fn token_ids(&self) -> impl Iterator<Item = &[u32]> {
        self.asked().flat_map(|asked| iter::once(asked.prompt).chain(asked.answers))
    }

    /// How many tokens each sequence has, a prompt with one of its answers or without any.
    pub fn sequence_lengths(&self) -> impl Iterator<Item = usize> {
        self.asked().flat_map(|Asked { prompt, answers }| {
            let alone = answers.is_empty().then_some(prompt.len());
            answers.into_iter().map(move |answer| prompt.len() + answer.len()).chain(alone)
        })
    }

    /// Every pair once: of rows in two languages the target sides in their order, then the dominant sides, each once
    /// however many languages it was translated to. None of rows without pairs.
    pub fn into_pairs(self) -> Option<Vec<LanguagePair>> {
        match self {
            Self::Bilingual(rows) => Some(sides(&rows)),
            Self::Monolingual(pairs) => Some(pairs),
            Self::Unpaired(_) | Self::Parallel(_) => None,
        }
    }

    /// Every prompt with all its languages: of rows in two languages those that share a dominant prompt together, in the order
    /// in which they came. None of rows that are there in one language.
    pub fn parallel_prompts(&self) -> Option<Vec<TokenizedPrompts>> {
        match self {
            Self::Parallel(rows) => Some(rows.clone()),
            Self::Bilingual(rows) => Some(together(rows)),
            Self::Monolingual(_) | Self::Unpaired(_) => None,
        }
    }

    /// Every answer once: of a pair the chosen one as good, then the rejected one as bad.
    pub fn into_answers(self) -> Vec<LabelledAnswer> {
        match self {
            Self::Bilingual(rows) => sides(&rows).iter().flat_map(both_answers).collect(),
            Self::Monolingual(pairs) => pairs.iter().flat_map(both_answers).collect(),
            Self::Unpaired(answers) => answers,
            Self::Parallel(_) => vec![],
        }
    }

    /// The same with `note` behind those prompts that are not benign and for which `is_noted` holds: between the prompt and its
    /// answers, as a part of what they follow.
    #[must_use]
    pub fn with_notes(self, note: &Note, mut is_noted: impl FnMut(&[u32]) -> bool) -> Self {
        let mut pair = |pair: TokenizedPair| match !pair.is_benign() && is_noted(pair.prompt()) {
            true => pair.with_note(note),
            false => pair,
        };
        match self {
            Self::Bilingual(rows) => {
                let rows = rows.into_iter();
                let rows =
                    rows.map(|row| TokenizedRow { dominant: pair(row.dominant), target: pair(row.target), ..row });
                Self::Bilingual(rows.collect())
            }
            Self::Monolingual(rows) => {
                Self::Monolingual(rows.into_iter().map(|row| LanguagePair { pair: pair(row.pair), ..row }).collect())
            }
            Self::Unpaired(mut rows) => {
                for row in rows.iter_mut().filter(|row| !row.is_benign) {
                    if is_noted(&row.prompt) {
                        note.write(&mut row.prompt);
                    }
                }
                Self::Unpaired(rows)
            }
            // Nothing answers them.
            Self::Parallel(rows) => Self::Parallel(rows),
        }
    }

    fn asked(&self) -> Box<dyn Iterator<Item = Asked<'_>> + '_> {
        each!(self, rows => Box::new(rows.iter().flat_map(Tokens::asked)))
    }
}

/// What a row of any kind is as token ids.
trait Tokens {
    /// The language that it counts for: of a row in two languages, that of its target side.
    fn language(&self) -> Language;

    /// The languages that it is there in beside a dominant one.
    fn targets(&self) -> Vec<Language> {
        vec![self.language()]
    }

    /// What is asked in it, that of the dominant side first.
    fn asked(&self) -> Vec<Asked<'_>>;

    /// The place it came from.
    fn origin(&self) -> &Origin;
}

/// A prompt and the answers to it.
struct Asked<'r> {
    prompt: &'r [u32],
    answers: Vec<&'r [u32]>,
}

impl<'r> From<&'r TokenizedPair> for Asked<'r> {
    fn from(pair: &'r TokenizedPair) -> Self {
        Self { prompt: pair.prompt(), answers: vec![pair.chosen(), pair.rejected()] }
    }
}

impl Tokens for TokenizedRow {
    fn language(&self) -> Language {
        self.language
    }

    fn asked(&self) -> Vec<Asked<'_>> {
        vec![(&self.dominant).into(), (&self.target).into()]
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Tokens for LanguagePair {
    fn language(&self) -> Language {
        self.language
    }

    fn asked(&self) -> Vec<Asked<'_>> {
        vec![(&self.pair).into()]
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Tokens for LabelledAnswer {
    fn language(&self) -> Language {
        self.language
    }

    fn asked(&self) -> Vec<Asked<'_>> {
        vec![Asked { prompt: &self.prompt, answers: vec![&self.answer] }]
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Tokens for TokenizedPrompts {
    fn language(&self) -> Language {
        self.prompts[0].0
    }

    fn targets(&self) -> Vec<Language> {
        self.prompts[1..].iter().map(|(language, _)| *language).collect()
    }

    fn asked(&self) -> Vec<Asked<'_>> {
        self.prompts.iter().map(|(_, ids)| Asked { prompt: ids, answers: vec![] }).collect()
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// The prompts of rows that share a dominant one, as one row each; of two in one language the first.
fn together(rows: &[TokenizedRow]) -> Vec<TokenizedPrompts> {
    let mut all: Vec<TokenizedPrompts> = vec![];
    let mut known: HashMap<(Language, &[u32]), usize> = HashMap::new();
    for row in rows {
        let dominant = (row.dominant_language, row.dominant.prompt());
        let at = *known.entry(dominant).or_insert_with(|| {
            let prompts = vec![(dominant.0, dominant.1.to_vec())];
            all.push(TokenizedPrompts { prompts, origin: row.origin.clone() });
            all.len() - 1
        });
        let prompts = &mut all[at].prompts;
        if prompts.iter().all(|(language, _)| *language != row.language) {
            prompts.push((row.language, row.target.prompt().to_vec()));
        }
    }
    all
}

/// The target sides of rows, then their dominant sides, each once.
fn sides(rows: &[TokenizedRow]) -> Vec<LanguagePair> {
    let side = |language: Language, pair: &TokenizedPair, origin: &Origin| LanguagePair {
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

fn both_answers(row: &LanguagePair) -> [LabelledAnswer; 2] {
    [(row.pair.chosen(), true), (row.pair.rejected(), false)].map(|(answer, desirable)| LabelledAnswer {
        language: row.language,
        prompt: row.pair.prompt().to_vec(),
        answer: answer.to_vec(),
        desirable,
        is_benign: row.pair.is_benign(),
        origin: row.origin.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::Position;

    fn origin() -> Origin {
        Origin { file: "f".into(), position: Position::Row(1) }
    }

    fn pair(prompt: u32) -> TokenizedPair {
        TokenizedPair::new(&origin(), vec![prompt], vec![1, 2], vec![3]).unwrap()
    }

    /// A row in `language` whose dominant prompt is the token `prompt`.
    fn row(language: &str, prompt: u32) -> TokenizedRow {
        TokenizedRow {
            dominant: pair(prompt),
            target: pair(100 + prompt),
            dominant_language: "en".parse().unwrap(),
            language: language.parse().unwrap(),
            origin: origin(),
        }
    }

    fn answer(desirable: bool) -> LabelledAnswer {
        LabelledAnswer {
            language: "sw".parse().unwrap(),
            prompt: vec![7],
            answer: vec![1, 2],
            desirable,
            is_benign: false,
            origin: origin(),
        }
    }

    #[test]
    fn a_dominant_side_is_one_pair_however_often_it_is_translated() {
        let rows = TokenizedRows::Bilingual(vec![row("sw", 7), row("sw", 8), row("bn", 7), row("bn", 8)]);
        let seen = |limit| {
            let pairs = rows.clone().limit(limit).into_pairs().unwrap();
            let seen = pairs.iter().map(|row| format!("{}{}", row.language, row.pair.prompt()[0]));
            seen.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(seen(4), "sw107 sw108 bn107 bn108 en7 en8");
        assert_eq!(seen(2), "sw107 bn107 en7");
        assert_eq!(seen(0), "");
        for limit in [0, 2, 3, 9] {
            assert_eq!(rows.some(limit), rows.clone().limit(limit), "{limit}");
        }
    }

    #[test]
    fn rows_that_share_a_dominant_prompt_are_one_prompt_in_all_their_languages() {
        let mut again = row("sw", 7);
        again.target = pair(300);
        let rows = TokenizedRows::Bilingual(vec![row("sw", 7), row("sw", 8), row("bn", 7), again]);
        let prompts = rows.parallel_prompts().unwrap();
        let seen = prompts.iter().map(|row| {
            let prompts = row.prompts.iter().map(|(language, ids)| format!("{language}{}", ids[0]));
            prompts.collect::<Vec<_>>().join(" ")
        });
        assert_eq!(seen.collect::<Vec<_>>(), ["en7 sw107 bn107", "en8 sw108"]);
        let rows = TokenizedRows::Parallel(prompts.clone());
        assert_eq!(rows.parallel_prompts(), Some(prompts));
        assert_eq!(rows.sequence_lengths().collect::<Vec<_>>(), [1; 5]);
        assert_eq!(rows.by_language().values().collect::<Vec<_>>(), [&1, &2]);
        assert_eq!((rows.clone().into_pairs(), rows.clone().into_answers()), (None, vec![]));
        assert!(!rows.are_pairs() && rows.only_label().is_none());
        assert!(TokenizedRows::Unpaired(vec![answer(true)]).parallel_prompts().is_none());
    }

    #[test]
    fn sequences_of_every_kind_are_counted() {
        let bilingual = TokenizedRows::Bilingual(vec![row("sw", 7)]);
        let pairs = TokenizedRows::Monolingual(bilingual.clone().into_pairs().unwrap());
        let answers = TokenizedRows::Unpaired(pairs.clone().into_answers());
        let counted = |rows: &TokenizedRows| (rows.len(), rows.sequence_lengths().collect::<Vec<_>>());
        assert_eq!(counted(&bilingual), (1, vec![3, 2, 3, 2]));
        assert_eq!(counted(&pairs), (2, vec![3, 2, 3, 2]));
        assert_eq!(counted(&answers), (4, vec![3, 2, 3, 2]));
        let ids: Vec<&[u32]> = bilingual.token_ids().collect();
        assert_eq!(ids, [&[7][..], &[1, 2], &[3], &[107], &[1, 2], &[3]]);
        assert_eq!([&bilingual, &pairs, &answers].map(TokenizedRows::dominant), ["en".parse().ok(), None, None]);
        assert_eq!(bilingual.into_answers(), pairs.into_answers());
    }

    #[test]
    fn a_note_stands_behind_unsafe_prompts_and_is_no_part_of_answers() {
        let benign = TokenizedRow { target: pair(9).with_benign(true), ..row("sw", 8) };
        let rows = TokenizedRows::Bilingual(vec![row("sw", 7), benign]);
        let noted = rows.clone().with_notes(&Note::new(vec![50, 51], None), |prompt| prompt != [107]);
        let prompts = |rows: &TokenizedRows| -> Vec<Vec<u32>> {
            let pairs = rows.clone().into_pairs().unwrap();
            pairs.iter().map(|row| row.pair.prompt().to_vec()).collect()
        };
        // Targets 107 and the benign 9, then dominants 7 and 8.
        assert_eq!(prompts(&noted), [vec![107], vec![9], vec![7, 50, 51], vec![8, 50, 51]]);
        let answers =
            |rows: TokenizedRows| -> Vec<Vec<u32>> { rows.into_answers().into_iter().map(|row| row.answer).collect() };
        assert_eq!(answers(noted), answers(rows.clone()));
        let singles = TokenizedRows::Unpaired(rows.into_answers());
        let noted = singles.with_notes(&Note::new(vec![50], None), |_| true).into_answers();
        let prompts: Vec<_> = noted.iter().map(|row| &row.prompt[..]).collect();
        assert_eq!(prompts[..4], [&[107, 50][..], &[107, 50], &[9], &[9]]);
    }

    #[test]
    fn single_answers_may_be_of_one_class() {
        let label =
            |labels: &[bool]| TokenizedRows::Unpaired(labels.iter().copied().map(answer).collect()).only_label();
        assert_eq!(label(&[true, true]), Some(true));
        assert_eq!(label(&[false]), Some(false));
        assert_eq!(label(&[true, false]), None);
        assert_eq!(label(&[]), None);
        let pairs = TokenizedRows::Bilingual(vec![row("sw", 7)]);
        assert!(pairs.only_label().is_none() && pairs.are_pairs());
    }
}
