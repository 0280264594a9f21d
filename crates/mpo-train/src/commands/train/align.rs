//! The work of a run: it measures, trains, measures again and saves.

use mpo_chat::ModelFolder;
use mpo_data::TokenizedRows;
use mpo_eval::{CardBase, EvalSet, ModelCard, RewardGaps, TrainResults, TrainedOn, by_language};
use mpo_models::CausalLm;
use mpo_progress::Progress as _;
use mpo_trainer::{Run, TrainError, told_by_first, warn_of_lowered_gaps};

use crate::failure::Failure;
use crate::planning::gigabytes;
use crate::progress::Lines;
use crate::ranks::Ranks;
use crate::session::Session;

/// Measures, trains, measures again and saves. Ranks share the work; the first one has the results.
pub(super) fn align(
    run: &Run<'_>,
    model: CausalLm,
    rows: TokenizedRows,
    eval: &EvalSet,
    folder: &ModelFolder,
    session: &Session,
    ranks: &Ranks,
) -> Result<TrainResults, Failure> {
    let trained_on = TrainedOn::of(&rows);
    let results = aligned(run, model, rows, eval, session, ranks);
    if let Err(Failure::Train(TrainError::Interrupted)) = results {
        // All have come to the same.
        ranks.stop();
    }
    let (model, results) = results?;
    if !ranks.all().is_first() {
        return Ok(results);
    }
    let card = ModelCard {
        config: run.config,
        base: CardBase::of(folder),
        is_adapter: !run.saves_whole(&model),
        rows: &trained_on,
        is_held_out: run.config.holds_out(),
        results: &results,
    };
    run.save(&model, Some(&card.text()?), session)?;
    run.folder.write_value(&run.folder.results_file(), &results)?;
    Ok(results)
}

/// Measures, trains, and measures again: the trained model, and what came of it.
fn aligned(
    run: &Run<'_>,
    model: CausalLm,
    rows: TokenizedRows,
    eval: &EvalSet,
    session: &Session,
    ranks: &Ranks,
) -> Result<(CausalLm, TrainResults), Failure> {
    let (dominant, all) = (eval.dominant, ranks.all());
    let max_tokens = run.config.micro_batch_tokens;
    let scores = |model: &CausalLm, what| eval.scores_among(all, model, max_tokens, what, session);
    // The gaps before training are measured once a run.
    let file = run.folder.before_file();
    let known = run.folder.read_value(&file, session)?;
    let is_known = told_by_first(all, || Ok(known.is_some()))?;
    let before = if is_known {
        known.unwrap_or_default()
    } else {
        let scored = scores(&model, "measuring before")?;
        warn_of_lowered_gaps(&scored, eval.dominant, &*run.config.objective()?, session);
        let gaps = by_language(&scored, dominant);
        run.folder.write_value(&file, &gaps)?;
        gaps
    };
    let mut lines = Lines::new(session);
    let trained = run.train_among(all, model, rows, session, &mut |event| lines.event(event))?;
    if all.is_many() {
        let (ranks, sent) = (all.size(), gigabytes(all.sent()));
        session.note(&format_args!("{:<10} {ranks}, of which this one gave {sent} to the others", "ranks"));
    }
    let after = by_language(&scores(&trained.model, "measuring after")?, dominant);
    let reward_gap = RewardGaps { before, after };
    let drawn_to = run.config.drawn_to();
    let results = TrainResults { steps: trained.steps, best: trained.best, dominant, drawn_to, reward_gap };
    Ok((trained.model, results))
}
