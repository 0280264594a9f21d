//! What a run reads: the model's folder, rows to train on, rows to measure on, and prompts to ask meanwhile.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use mpo_chat::ModelFolder;
use mpo_data::{LanguagePair, Origin, Rows, TokenizeOptions, TokenizedRows, Truncation};
use mpo_eval::{EvalSet, Sampled, Sampling};
use mpo_objectives::Settings;
use mpo_progress::{Counted, Progress as _};
use mpo_trainer::{
    Identity, TrainConfig, TrainError, check_alike, check_consistency, check_held_out, check_pairs, check_rows,
    consistency_rows, digest_rows, read_data, read_options, read_rows, warn_of_one_class, with_harm_notes,
};

use crate::failure::Failure;
use crate::output;
use crate::ranks::Ranks;
use crate::session::Session;

/// What a run reads and does not change.
pub(super) struct Inputs {
    pub(super) folder: ModelFolder,
    pub(super) rows: TokenizedRows,
    /// Rows whose prompts are held consistent, where they are others.
    pub(super) consistent: Option<TokenizedRows>,
    /// To measure on: rows of their own, or some of those above.
    pub(super) held_out: TokenizedRows,
    /// Their pairs.
    pub(super) eval: EvalSet,
    /// Their prompts, whole: a model goes on with a request that was cut, which is no refusal.
    pub(super) prompts: Vec<LanguagePair>,
}

impl Inputs {
    pub(super) fn read(config: &TrainConfig, session: &Session) -> Result<Self, Failure> {
        let folder = ModelFolder::open(&config.model, &config.template_options(), session)?;
        config.check_adapter(&folder.config, folder.adapter.as_ref())?;
        let read = |path: &Path, limit| read_rows(path, &read_options(config), limit, config.pivot, session);
        let tokenize = |rows: &Rows| -> Result<TokenizedRows, Failure> {
            Ok(folder.tokenize(rows, config.tokenize_options()?, session)?.0)
        };
        let data = read_data(config, config.pivot, session)?;
        let dominant = data.report.dominant;
        let (texts, apart) = match config.held_out_share()? {
            Some(share) => {
                let (rest, apart) = hold_out(data.rows, share, session)?;
                (rest, Some(apart))
            }
            None => (data.rows, None),
        };
        let rows = tokenize(&texts)?;
        check_rows(&rows, &*config.objective()?, config)?;
        warn_of_one_class(&rows, config, session);
        let (held_out, texts) = match (&config.eval_data, apart) {
            (Some(path), _) => {
                let data = read(path, Some(config.eval_rows))?;
                let pairs = tokenize(&data.rows)?;
                // Whoever trains on single answers may have nothing else to measure on.
                if config.eval_rows > 0 && rows.are_pairs() {
                    check_pairs(path, &data.report, &pairs)?;
                }
                (pairs.limit(config.eval_rows), data.rows)
            }
            (None, Some(apart)) => (tokenize(&apart)?.limit(config.eval_rows), apart),
            (None, None) => (rows.some(config.eval_rows), texts),
        };
        check_held_out(&held_out, &*config.objective()?, config)?;
        let measured: Vec<&Rows> = Some(&texts).filter(|_| config.holds_out()).into_iter().collect();
        let consistent = match consistency_rows(config, &measured, session)? {
            Some(texts) => Some(tokenize(&texts)?),
            None => None,
        };
        let layers = folder.config.decoder.prompt_layers();
        check_consistency(config, consistent.as_ref().unwrap_or(&rows), layers)?;
        let eval = EvalSet::new(&held_out, config.eval_rows, dominant);
        let prompts = if config.samples() {
            let uncut = TokenizeOptions { truncation: Truncation::UNLIMITED, skip_bad_rows: config.skip_bad_rows };
            let measured: HashSet<&Origin> = held_out.origins().collect();
            let (whole, _) = folder.tokenize_quietly(&texts.at(&measured), uncut)?;
            whole.into_pairs().unwrap_or_default()
        } else {
            vec![]
        };
        let rows = with_harm_notes(rows, &folder.tokenizer, config, session)?;
        Ok(Self { folder, rows, consistent, held_out, eval, prompts })
    }

    /// What decides the outcome of a run with these settings on them, from weights with this hash.
    pub(super) fn identity(&self, deciding: &Settings, model_hash: &str) -> Identity {
        let identity = Identity::new(deciding.clone())
            .with("model", model_hash)
            .with("rows", digest_rows(&self.rows))
            .with("rows to measure on", self.eval.digest());
        match &self.consistent {
            Some(rows) => identity.with("prompts held consistent", digest_rows(rows)),
            None => identity,
        }
    }

    /// Whether all ranks have the same.
    pub(super) fn check_alike(&self, model_hash: &str, ranks: &Ranks) -> Result<(), Failure> {
        let mut own = vec![
            ("weights", model_hash.to_owned()),
            ("rows", digest_rows(&self.rows)),
            ("rows to measure on", self.eval.digest()),
        ];
        own.extend(self.consistent.as_ref().map(|rows| ("prompts held consistent", digest_rows(rows))));
        Ok(check_alike(ranks.all(), &own)?)
    }

    /// Refuses a model that lies where the trained one is written.
    pub(super) fn refuse_own_model(&self, output: &Path) -> Result<(), Failure> {
        [&*self.folder.path, self.folder.base_dir()].into_iter().try_for_each(|model| refuse_own_model(model, output))
    }

    /// Says what a run would go on with.
    pub(super) fn tell(&self) -> Result<(), Failure> {
        let (rows, measured) = (Counted(self.rows.len() as u64, "row"), self.held_out.len());
        output::line(format_args!("{rows} to train on, {measured} to measure on; nothing was trained or written"))
    }
}

/// The rows to train on, and those of a `share` of the prompts.
fn hold_out(rows: Rows, share: f64, session: &Session) -> Result<(Rows, Rows), Failure> {
    let all = rows.len();
    // The same for every seed of a run, so that runs can be compared.
    let (rest, apart) = rows.hold_out(share, 0);
    if apart.is_empty() {
        let got = format!("{all} rows of fewer");
        return Err(TrainError::setting("eval_split", "rows of at least three prompts", got).into());
    }
    session.note(&format_args!(
        "{:<10} {} of {all} rows, with all translations of their prompts",
        "held out",
        apart.len()
    ));
    Ok((rest, apart))
}

/// The trained model is written to `model/` in the run folder, so the one that training begins with may not be there.
fn refuse_own_model(model: &Path, output: &Path) -> Result<(), Failure> {
    let canonical = |path: &Path| fs::canonicalize(path).ok();
    match (canonical(model), canonical(&output.join("model"))) {
        (Some(model), Some(result)) if model.starts_with(&result) => Err(TrainError::OwnModel { path: model }.into()),
        _ => Ok(()),
    }
}

/// Who asks the model for answers while it trains, if anybody is to.
pub(super) fn sampling<'a>(
    config: &TrainConfig,
    folder: &'a ModelFolder,
    prompts: &[LanguagePair],
    session: &Session,
) -> Result<Option<Sampling<'a>>, Failure> {
    if !config.samples() {
        return Ok(None);
    }
    let asked = Sampled {
        count: config.eval_samples,
        benign: config.eval_benign.as_deref(),
        max_tokens: config.tokenize_options()?.truncation.max_tokens(),
        max_new_tokens: config.eval_max_new_tokens,
    };
    Ok(Some(Sampling::new(folder, prompts, asked, session)?))
}
