//! A model on this machine as a judge.

use super::{JudgeDefinition, Means};

/// The last of the list: whatever names no other judge names a model.
pub(super) static JUDGE: JudgeDefinition = JudgeDefinition {
    name: "model",
    help: "a model's folder or name",
    grades: true,
    is_meant: |_| true,
    ready: |settings| Ok(Means::Local(settings.asked.clone())),
};
