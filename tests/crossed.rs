//! Answers of both languages behind one prompt: the losses of rows together are those of every answer scored by itself, under
//! the policy and under a reference that differs from it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use mpo_data::{Origin, Position, TokenizedPair, TokenizedRow, TokenizedRows};
use mpo_kernels::SequenceScore;
use mpo_models::{Batch, CausalLm, Initializer};
use mpo_objectives::{CrossedAnswer, Loss, Side};
use mpo_progress::Silent;
use mpo_trainer::{Reference, TrainOptions, build_task};

fn floats(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn rows() -> Vec<TokenizedRow> {
    let origin = || Origin { file: "f".into(), position: Position::Row(1) };
    let pair = |prompt: &[u32], chosen: &[u32], rejected: &[u32]| {
        TokenizedPair::new(&origin(), prompt.to_vec(), chosen.to_vec(), rejected.to_vec()).unwrap()
    };
    let row = |dominant, target| TokenizedRow {
        dominant,
        target,
        dominant_language: "en".parse().unwrap(),
        language: "sw".parse().unwrap(),
        origin: origin(),
    };
    vec![
        row(pair(&[5, 17, 200], &[40, 41, 7], &[77, 8]), pair(&[31, 9], &[90, 12], &[13, 14, 15, 16])),
        row(pair(&[6, 6, 18], &[51], &[52, 53]), pair(&[110, 111, 112, 113], &[61, 62, 63], &[64])),
    ]
}

/// Σ log p of an answer, alone in its batch.
fn score(model: &CausalLm, prompt: &[u32], answer: &[u32]) -> SequenceScore {
    let mut batch = Batch::default();
    let prompt = batch.prompt(prompt);
    let answer = batch.answer(prompt, answer);
    let scores = batch.want_scores([answer]);
    model.forward(&batch).scores(scores)
}

#[test]
fn losses_are_those_of_every_answer_by_itself() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/mpo-train/miniature/model");
    let device = Device::flex();
    let (before, config) = CausalLm::load(&path, &device).unwrap();
    let after =
        CausalLm::new(config.decoder.clone(), &mut Initializer::new(config.decoder.norm.offset), &device).unwrap();
    for method in ["crpo", "clo"] {
        let options = TrainOptions {
            model: Some("model".into()),
            data: Some("rows".into()),
            output: Some("run".into()),
            method: method.parse().ok(),
            ..TrainOptions::default()
        };
        let config = options.resolve().unwrap();
        let objective = config.objective().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut reference = Reference::new(&before, "hash", dir.path().join("reference"), 1024, &Silent);
        let task = build_task(&*objective, TokenizedRows::Bilingual(rows()), &config, 0, &mut reference).unwrap();
        let order = [1, 0];
        let work = task.losses(&order, None);
        // Each prompt once.
        assert_eq!(work.batch.tokens(), task.tokens(0) + task.tokens(1));
        let found = floats((work.then)(&after.forward(&work.batch)).losses);
        let Loss::Crossed(loss) = objective.loss() else { panic!("{method}") };
        for (row, found) in order.into_iter().map(|row| rows().swap_remove(row)).zip(found) {
            let side = |side: Side| if side == Side::Target { &row.target } else { &row.dominant };
            let scores = |model: &CausalLm| -> Vec<SequenceScore> {
                let of = |&CrossedAnswer { prompt, answer, is_chosen }: &CrossedAnswer| {
                    let answers = side(answer);
                    let answer = if is_chosen { answers.chosen() } else { answers.rejected() };
                    score(model, side(prompt).prompt(), answer)
                };
                loss.answers().iter().map(of).collect()
            };
            let wanted = floats(loss.losses(&scores(&after), &scores(&before)).losses)[0];
            assert!((found - wanted).abs() <= 1e-4 * wanted.abs().max(1.0), "{method}: {found} {wanted}");
        }
    }
}
