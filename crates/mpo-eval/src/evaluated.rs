//! What the folder of an evaluation holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::EvalError;
use crate::evaluation::{EVALUATION_FILE, Evaluation};
use crate::sample::{Sample, read_samples, samples_file};

/// The numbers of an evaluation and what they were made of.
#[derive(Debug, Default)]
pub struct Evaluated {
    /// The folder, as it was named.
    pub folder: PathBuf,
    /// Every number.
    pub evaluation: Evaluation,
    /// The questions and answers of each benchmark, by its name.
    pub samples: BTreeMap<String, Vec<Sample>>,
    /// What was damaged since it was written and is left out, in words.
    pub damaged: Vec<String>,
}

impl Evaluated {
    /// What is in a folder, or in the folder `eval` of a run; none without an evaluation.
    ///
    /// # Errors
    /// If a file cannot be read, or is not as it was written.
    pub fn find(folder: &Path) -> Result<Option<Self>, EvalError> {
        let mut places = [folder.to_owned(), folder.join("eval")].into_iter();
        let Some(place) = places.find(|place| place.join(EVALUATION_FILE).exists()) else {
            return Ok(None);
        };
        let Some(evaluation) = Evaluation::read(&place.join(EVALUATION_FILE))? else {
            return Ok(None);
        };
        let (mut samples, mut damaged) = (BTreeMap::new(), vec![]);
        for result in &evaluation.benchmarks {
            let file = samples_file(&result.benchmark);
            let (read, lines) = read_samples(&place.join(&file))?;
            damaged.extend(lines.first().map(|line| {
                format!(
                    "{file}: lines that were damaged since they were written, the first is line {line}, are not shown"
                )
            }));
            samples.insert(result.benchmark.clone(), read);
        }
        Ok(Some(Self { folder: folder.to_owned(), evaluation, samples, damaged }))
    }
}
