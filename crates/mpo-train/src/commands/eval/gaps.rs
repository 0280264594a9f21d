//! Reward gaps of preference rows, and where their answers and prompts lie.

use mpo_chat::ModelFolder;
use mpo_data::{TokenizeOptions, Truncation};
use mpo_eval::{EvalSet, Evaluation, Projection, PromptSet, answer_states, by_language, implicit_by_language};
use mpo_models::CausalLm;
use mpo_progress::Progress as _;
use mpo_trainer::{check_pairs, read_rows};

use super::arguments::EvalArguments;
use crate::failure::Failure;
use crate::session::Session;

/// Tokens that go through the model at once.
const AT_ONCE: usize = 4096;

/// Reward gaps, the projection and what layers tell, where there are rows.
pub(super) fn gaps(
    arguments: &EvalArguments,
    own: &ModelFolder,
    model: &CausalLm,
    evaluation: &mut Evaluation,
    session: &Session,
) -> Result<(), Failure> {
    let Some(path) = &arguments.data else {
        return Ok(());
    };
    let limit = arguments.rows.rows;
    let options = arguments.rows.options();
    let data = read_rows(path, &options, limit, None, session)?;
    let cut = TokenizeOptions { truncation: arguments.truncation.limits()?, skip_bad_rows: options.skip_bad_rows };
    let (rows, _) = own.tokenize(&data.rows, cut, session)?;
    check_pairs(path, &data.report, &rows)?;
    let eval = EvalSet::new(&rows, rows.len(), data.report.dominant);
    evaluation.dominant = data.report.dominant;
    let scores = eval.scores(model, AT_ONCE, "reward gaps", session)?;
    evaluation.reward_gap = by_language(&scores, eval.dominant);
    // Those of an earlier command are of other rows.
    evaluation.implicit_gap.clear();
    if let Some(base) = &arguments.base {
        let folder = ModelFolder::open(base, &arguments.model.template_options(), session)?;
        let (others, _) = folder.tokenize(&data.rows, cut, session)?;
        if !others.token_ids().eq(rows.token_ids()) {
            return Err(Failure::new(
                format!(
                    "{}: expected the tokenizer and chat template of {}, got others",
                    folder.path.display(),
                    own.path.display()
                ),
                "--base is the model that this one was trained from",
            ));
        }
        let base = arguments.model.load(&folder, session)?;
        let base = eval.scores(&base, AT_ONCE, "the base model", session)?;
        evaluation.implicit_gap = implicit_by_language(&scores, &base, eval.dominant);
    }
    let stage = session.begin("projection", Some(eval.pairs.len()));
    let states = answer_states(model, &eval.pairs, AT_ONCE, &*stage)?;
    evaluation.projection = match states.len() {
        0..3 => None,
        _ => Some(Projection::new(&states, eval.dominant)?),
    };
    drop(stage);
    // Whole: the last token of a prompt that was cut is not where the model is asked.
    let uncut = TokenizeOptions { truncation: Truncation::UNLIMITED, ..cut };
    let (whole, _) = own.tokenize_quietly(&data.rows, uncut)?;
    let prompts = PromptSet::new(&whole, &arguments.benign, own)?;
    let stage = session.begin("layers", Some(prompts.len()));
    // Where rows are of one language, others are compared with English.
    let layers = prompts.layers(model, eval.dominant.or("en".parse().ok()), AT_ONCE, &*stage)?;
    evaluation.layers = (!layers.is_empty()).then_some(layers);
    Ok(())
}
