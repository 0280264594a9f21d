//! The paper in miniature: a tiny model and harmless rows that the program carries, measured, aligned, measured again.

mod base;
mod corpus;

use std::path::Path;
use std::rc::Rc;

pub(crate) use base::build;
use corpus::{Corpus, HeldOut, Kind, origin};
use mpo_chat::ModelFolder;
use mpo_data::{Language, LanguagePair, Message, Rows, TokenizedPair, TokenizedRows};
use mpo_eval::EvalSet;
use mpo_eval::compare::{Exam, Prompt, Subject};
use mpo_trainer::{Recipe, RunFolder, TrainOptions};

use crate::failure::Failure;
use crate::session::Session;

/// Prompts of each target language that are trained on.
pub(crate) const PROMPTS: usize = 256;
/// What the configuration says of the data.
pub(crate) const DATA: &str = "miniature";

/// The model and the rows, ready for use.
pub(crate) struct Miniature {
    pub(crate) folder: ModelFolder,
    /// To train on.
    pub(crate) rows: Rows,
    pub(crate) dominant: Language,
    /// How to train, with a method's own settings beside these.
    pub(crate) options: TrainOptions,
    corpus: Rc<Corpus>,
}

impl Miniature {
    /// Unpacks the model into a run folder.
    pub(crate) fn new(run: &RunFolder, session: &Session) -> Result<Self, Failure> {
        let corpus = Rc::new(Corpus::embedded());
        let base = run.path().join("base");
        base::unpack(run, &base)?;
        let model = path_text(&base)?;
        Ok(Self {
            folder: ModelFolder::open(&model, &Default::default(), session)?,
            rows: Rows::Bilingual(corpus.preferences(PROMPTS)),
            dominant: corpus.dominant(),
            options: TrainOptions {
                model: Some(model),
                data: Some(DATA.into()),
                output: Some(run.path().to_owned()),
                ..Recipe::Carried("miniature").options()?
            },
            corpus,
        })
    }

    /// Prompts that no training row contains.
    pub(crate) fn test(&self) -> Result<Exam, Failure> {
        self.exam(&self.corpus.held_out())
    }

    /// What a comparison is of, with `options` where they say something.
    pub(crate) fn subject(self, options: TrainOptions) -> Result<Subject, Failure> {
        // To choose settings by: not trained on, and none of the test's.
        let validation = self.exam(&self.corpus.validation(PROMPTS))?;
        Ok(Subject {
            test: self.test()?,
            held_out: TokenizedRows::Monolingual(validation.pairs.pairs.clone()),
            validation,
            options: options.or(self.options),
            folder: self.folder,
            dominant: Some(self.dominant),
            rows: self.rows,
            other_rows: vec![],
            consistent: None,
        })
    }

    fn exam(&self, rows: &[HeldOut]) -> Result<Exam, Failure> {
        let (mut pairs, mut prompts) = (vec![], vec![]);
        for (row, number) in rows.iter().zip(1..) {
            let ids = self.folder.encode_prompt(&[Message::user(row.prompt.clone())])?;
            if row.kind == Kind::Unsafe {
                let answer = |text: &str| self.folder.tokenizer.encode_response(text);
                let (refusal, compliance) = (answer(&row.refusal)?, answer(&row.compliance)?);
                let origin = origin(number);
                pairs.push(LanguagePair {
                    language: row.language,
                    pair: TokenizedPair::new(&origin, ids.clone(), refusal, compliance)?,
                    origin,
                });
            }
            prompts.push(Prompt { language: row.language, ids, is_unsafe: row.kind == Kind::Unsafe });
        }
        let corpus = Rc::clone(&self.corpus);
        Ok(Exam {
            pairs: EvalSet { pairs, dominant: Some(self.dominant) },
            prompts,
            refuses: Box::new(move |language, answer| corpus.is_refusal(language, answer)),
            max_new_tokens: 24,
            batch_size: 64,
            max_tokens: 4096,
        })
    }
}

fn path_text(path: &Path) -> Result<String, Failure> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("{}: expected a path in Unicode", path.display()), "name another --output"))
}
