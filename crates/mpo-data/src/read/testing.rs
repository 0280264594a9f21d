//! Rows for tests, and how they are read.

use std::path::Path;

use mpo_progress::Silent;

use super::reading::Reading;
use super::{Dataset, ReadOptions, select};
use crate::detect::Detector;
use crate::error::DataError;
use crate::formats::Tags;
use crate::pair::BilingualPair;
use crate::records::Records;
use crate::rows::Rows;

pub(super) const ENGLISH: &str = "How do I bake bread without an oven at home?";
pub(super) const SWAHILI: &str = "Ninawezaje kuoka mkate bila kutumia tanuri nyumbani kwangu?";
pub(super) const REFUSAL: &str = "I am sorry, but I cannot help you with that request.";
pub(super) const ANSWER: &str = "Use a heavy pan with a lid over a low fire and wait.";

pub(super) fn load(file: &str, options: &ReadOptions) -> Result<Dataset, DataError> {
    load_bytes(file.as_bytes(), options)
}

pub(super) fn authors_row(source: &str, target: &str) -> String {
    let turn = |from: &str, value: &str| serde_json::json!({ "from": from, "value": value });
    serde_json::json!({
        "source_conversations": [turn("human", source)],
        "source_chosen": turn("gpt", REFUSAL),
        "source_rejected": turn("gpt", ANSWER),
        "target_conversations": [turn("human", target)],
        "target_chosen": turn("gpt", "Samahani, siwezi kukusaidia na ombi hilo kwa sababu si salama."),
        "target_rejected": turn("gpt", "Tumia sufuria nzito yenye kifuniko."),
    })
    .to_string()
}

pub(super) fn bilingual_row() -> String {
    let side = |language: &str, prompt: &str| serde_json::json!({ "language": language, "prompt": prompt, "chosen": REFUSAL, "rejected": ANSWER });
    serde_json::json!({ "dominant": side("en", ENGLISH), "target": side("jv", "Piye carane gawe roti?") }).to_string()
}

pub(super) fn load_bytes(file: &[u8], options: &ReadOptions) -> Result<Dataset, DataError> {
    let path = Path::new("f");
    let records = select(&options.columns, None, |selection| Records::of_bytes(path, file, selection))?;
    let mut reading = Reading::new(options, None, &Silent);
    reading.file(records, &options.columns, &Tags::default())?;
    reading.dataset(path, &Detector::new(options.languages.as_deref())?)
}

pub(super) fn bilingual(dataset: &Dataset) -> &[BilingualPair] {
    match &dataset.rows {
        Rows::Bilingual(rows) => rows,
        other => panic!("{other:?}"),
    }
}

pub(super) fn reasons(dataset: &Dataset) -> Vec<String> {
    dataset.report.dropped.iter().map(|row| format!("{}: {}", row.origin, row.reason)).collect()
}
