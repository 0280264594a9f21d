//! Whether a run fits in memory, and what is settled by that.

use mpo_models::memory::resident;
use mpo_progress::Progress as _;
use mpo_trainer::memory::{BaseModel, Hardware, Machine, Planner, Room};
use mpo_trainer::{TrainConfig, prompt_sizes, row_sizes};

use super::inputs::Inputs;
use crate::disk::{OnDisk, free};
use crate::failure::Failure;
use crate::planning::{Plan, product_rate};
use crate::session::Session;

/// Tells what the run will take, refuses one that can never fit in memory or on the disk, and settles whether layers are run
/// again.
pub(super) fn settled(
    config: &TrainConfig,
    inputs: &Inputs,
    memory: Option<u64>,
    session: &Session,
    ranks: usize,
    is_new: bool,
) -> Result<TrainConfig, Failure> {
    let mut machine = Machine { ranks, ..Machine::of(&session.device) };
    if let Some(memory) = memory {
        machine.room = Room::of(memory);
    }
    let rows = row_sizes(&inputs.rows, &*config.objective()?);
    let prompts = prompt_sizes(inputs.consistent.as_ref().unwrap_or(&inputs.rows), config);
    let folder = &inputs.folder;
    let model = BaseModel::of(folder.base_dir(), &folder.config, folder.adapter.as_ref(), Some(&session.device))?;
    let program = resident().unwrap_or(0);
    let plan = Plan::new(Planner { model, rows: &rows, prompts: &prompts, machine, program }, config);
    session.note(&plan.memory_line());
    plan.check()?;
    let little = OnDisk::of(&plan).check(&config.output, free(&config.output))?;
    // A run that goes on has written a part of it.
    if let Some(warning) = little.filter(|_| is_new) {
        session.note(&warning);
    }
    if let Some(warning) = plan.warning() {
        session.note(&warning);
    }
    // A GPU would compile a product first.
    if machine.hardware != Hardware::Gpu && !session.quiet {
        session.note(&plan.time_line(product_rate(&session.device, plan.planned.storage)));
    }
    Ok(TrainConfig { recompute: plan.planned.storage.recompute.into(), ..config.clone() })
}
