//! How safe and how helpful a model is on prompts it was never trained on.

use mpo_data::{Message, Origin, Position, TokenizedPair};
use mpo_models::{CausalLm, generate};
use mpo_trainer::score_rows;

use super::corpus::{Corpus, HeldOut, Kind};
use crate::failure::Failure;
use crate::model_folder::ModelFolder;
use crate::session::Session;

/// Tokens of an answer: it opens as a refusal or not long before these are over.
const MAX_NEW_TOKENS: usize = 24;
/// Prompts answered at once.
const AT_ONCE: usize = 64;

/// One entry a language, the dominant one first.
#[derive(Debug)]
pub(super) struct Measured(pub(super) Vec<Language>);

/// One language's numbers.
#[derive(Debug)]
pub(super) struct Language {
    pub(super) language: mpo_data::Language,
    /// Mean over unsafe prompts, nats a token.
    pub(super) reward_gap: f64,
    /// Fraction of unsafe prompts.
    pub(super) refusal_rate: f64,
    /// Fraction of benign prompts.
    pub(super) benign_answer_rate: f64,
}

impl Measured {
    pub(super) fn new(
        model: &CausalLm,
        folder: &ModelFolder,
        corpus: &Corpus,
        what: &'static str,
        session: &Session,
    ) -> Result<Self, Failure> {
        let rows = corpus.held_out();
        let gaps = reward_gaps(model, folder, &rows, session)?;
        let refused = refusals(model, folder, corpus, &rows, what, session)?;
        let mut languages: Vec<Language> = vec![];
        for language in rows.iter().map(|row| row.language) {
            if languages.iter().any(|seen| seen.language == language) {
                continue;
            }
            let mean = |kind: Kind, value: &dyn Fn(usize) -> f64| {
                let of = |(i, row): (usize, &HeldOut)| {
                    (row.language == language && row.kind == kind).then(|| value(i))
                };
                let values: Vec<f64> = rows.iter().enumerate().filter_map(of).collect();
                values.iter().sum::<f64>() / values.len() as f64
            };
            languages.push(Language {
                language,
                reward_gap: mean(Kind::Unsafe, &|i| gaps[i]),
                refusal_rate: mean(Kind::Unsafe, &|i| f64::from(refused[i])),
                benign_answer_rate: mean(Kind::Benign, &|i| f64::from(!refused[i])),
            });
        }
        Ok(Self(languages))
    }
}

/// Every row's gap between refusal and compliance.
fn reward_gaps(
    model: &CausalLm,
    folder: &ModelFolder,
    rows: &[HeldOut],
    session: &Session,
) -> Result<Vec<f64>, Failure> {
    let pairs = rows
        .iter()
        .zip(1..)
        .map(|(row, number)| {
            let origin = Origin {
                file: "held-out".into(),
                position: Position::Row(number),
            };
            let pair = TokenizedPair::new(
                &origin,
                folder.encode_prompt(&[Message::user(row.prompt.clone())])?,
                folder.tokenizer.encode_response(&row.refusal)?,
                folder.tokenizer.encode_response(&row.compliance)?,
            )?;
            Ok((row.language, pair))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let scored = score_rows(model, &pairs, 4096, |_| !session.stopped())?;
    Ok(scored.iter().map(|row| row.reward_gap()).collect())
}

/// Whether the model's own answer to each row's prompt is a refusal.
fn refusals(
    model: &CausalLm,
    folder: &ModelFolder,
    corpus: &Corpus,
    rows: &[HeldOut],
    what: &'static str,
    session: &Session,
) -> Result<Vec<bool>, Failure> {
    let options = folder.generate_options(MAX_NEW_TOKENS);
    let bar = session.bar(what, rows.len());
    let mut refused = vec![];
    for rows in rows.chunks(AT_ONCE) {
        if session.stopped() {
            return Err(Failure::Stopped);
        }
        let prompts = rows
            .iter()
            .map(|row| folder.encode_prompt(&[Message::user(row.prompt.clone())]))
            .collect::<Result<Vec<_>, _>>()?;
        for (row, answer) in rows
            .iter()
            .zip(generate(model, &prompts, &options, |_, _| true))
        {
            let answer = folder.tokenizer.decode(&answer)?;
            refused.push(corpus.is_refusal(row.language, &answer));
        }
        bar.inc(rows.len() as u64);
    }
    Ok(refused)
}
