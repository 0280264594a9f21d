//! The work of a run: it measures, trains, measures again and saves.

use mpo_chat::ModelFolder;
use mpo_data::TokenizedRows;
use mpo_eval::{CardBase, EvalSet, ModelCard, RewardGaps, TrainResults, TrainedOn, by_language};
use mpo_models::CausalLm;
use mpo_trainer::{Run, warn_of_lowered_gaps};

use crate::failure::Failure;
use crate::progress::Lines;
use crate::session::Session;

/// Measures, trains, measures again and saves.
pub(super) fn align(
    run: &Run<'_>,
    model: CausalLm,
    rows: TokenizedRows,
    eval: &EvalSet,
    folder: &ModelFolder,
    session: &Session,
) -> Result<TrainResults, Failure> {
    let (trained_on, dominant) = (TrainedOn::of(&rows), eval.dominant);
    let scores = |model: &CausalLm, what| eval.scores(model, run.config.micro_batch_tokens, what, session);
    // The gaps before training are measured once a run.
    let file = run.folder.before_file();
    let before = match run.folder.read_value(&file, session)? {
        Some(gaps) => gaps,
        None => {
            let scored = scores(&model, "measuring before")?;
            warn_of_lowered_gaps(&scored, eval.dominant, &*run.config.objective()?, session);
            let gaps = by_language(&scored, dominant);
            run.folder.write_value(&file, &gaps)?;
            gaps
        }
    };
    let mut lines = Lines::new(session);
    let trained = run.train(model, rows, session, &mut |event| lines.event(event))?;
    let after = by_language(&scores(&trained.model, "measuring after")?, dominant);
    let reward_gap = RewardGaps { before, after };
    let drawn_to = run.config.drawn_to();
    let results = TrainResults { steps: trained.steps, best: trained.best, dominant, drawn_to, reward_gap };
    let card = ModelCard {
        config: run.config,
        base: CardBase::of(folder),
        is_adapter: !run.saves_whole(&trained.model),
        rows: &trained_on,
        is_held_out: run.config.holds_out(),
        results: &results,
    };
    run.save(&trained.model, Some(&card.text()?), session)?;
    run.folder.write_value(&run.folder.results_file(), &results)?;
    Ok(results)
}
