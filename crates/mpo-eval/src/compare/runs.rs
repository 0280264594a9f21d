//! The runs of a comparison: kept from an earlier call, or trained and examined now.

use std::path::Path;
use std::time::Instant;

use mpo_chat::ChatError;
use mpo_data::TokenizedRows;
use mpo_models::{CausalLm, SamplingError};
use mpo_trainer::{Identity, Kind, Run, RunFolder, TrainConfig, TrainError, TrainOptions, Watch, digest_rows};
use serde::{Deserialize, Serialize};

use super::exam::{Exam, Examined, Marks};
use super::plan::{Entrant, Point};
use super::results::{Comparison, RunResult, Tried};
use super::subject::Subject;
use super::{Compare, NextRun};
use crate::card::{CardBase, ModelCard, TrainedOn};
use crate::error::EvalError;
use crate::results::{RewardGaps, TrainResults};
use crate::reward_gap::LanguageGap;
use crate::training::base;

/// A folder in which other rows or another model were measured.
fn changed(path: &Path) -> EvalError {
    let what = "different rows to measure on, or a different model".into();
    TrainError::Changed { path: path.to_owned(), what }.into()
}

/// What the model was that every run begins with.
#[derive(Serialize, Deserialize)]
struct Before {
    exam: String,
    test: Vec<Marks>,
    /// All that is known of its gaps; comparisons of earlier versions kept their means alone.
    #[serde(default)]
    gaps: Vec<LanguageGap>,
}

/// A comparison at work.
pub(super) struct Comparing<'a> {
    pub(super) of: &'a Compare<'a>,
    pub(super) output: &'a Path,
    pub(super) held: &'a RunFolder,
    pub(super) model_hash: String,
    /// Identifies the model that runs begin with and the test.
    pub(super) start: String,
    /// Identifies these and the validation.
    pub(super) exam: String,
}

impl Comparing<'_> {
    /// Makes every run that is not kept yet.
    pub(super) fn compare(
        &self,
        entrants: &[Entrant],
        on_run: &mut dyn FnMut(NextRun<'_>),
    ) -> Result<Comparison, EvalError> {
        let seeds = &self.of.request.seeds;
        let before = self.before()?;
        let points: usize = entrants.iter().map(|entrant| entrant.points.len()).sum();
        let of = points * seeds.len();
        let (began, mut done, mut trained) = (Instant::now(), 0, 0);
        let mut methods = vec![];
        for entrant in entrants {
            let mut tried = vec![];
            for point in &entrant.points {
                let mut runs = vec![];
                for &seed in seeds {
                    let left = (trained > 0).then(|| began.elapsed() / trained * (of - done) as u32);
                    done += 1;
                    let (name, settings) = (&*entrant.name, &*point.label);
                    on_run(NextRun { number: done, of, name, settings, seed, left });
                    let (result, is_new) = self.run(entrant, point, seed, &before.gaps)?;
                    trained += u32::from(is_new);
                    if let Some(failure) = &result.failure {
                        self.of.progress.note(failure);
                    }
                    runs.push(result);
                }
                tried.push(Tried::new(point.label.clone(), seeds, runs));
            }
            methods.push((entrant.name.clone(), tried));
        }
        Ok(Comparison::new(self.of.subject.dominant, seeds, before.test, methods))
    }

    /// The marks of the model that every run begins with.
    fn before(&self) -> Result<Before, EvalError> {
        let path = self.held.before_file();
        if let Some(before) = self.held.read_value::<Before>(&path, self.of.progress)? {
            return if before.exam == self.start { Ok(before) } else { Err(changed(self.output)) };
        }
        let model = self.load(&self.of.subject.options.clone().resolve()?)?;
        let Subject { folder, test, .. } = self.of.subject;
        let Examined { marks, gaps } = test.examine_whole(&model, folder, "measuring before", self.of.progress)?;
        let before = Before { exam: self.start.clone(), test: marks, gaps };
        self.held.write_value(&path, &before)?;
        Ok(before)
    }

    /// The results of an earlier call, if one came to its end.
    pub(super) fn earlier(&self) -> Result<Option<Comparison>, EvalError> {
        let earlier = self.held.read_value::<Comparison>(&self.held.results_file(), self.of.progress)?;
        let same = |earlier: &Comparison| earlier.is_of(self.of.subject.dominant, &self.exam);
        if earlier.as_ref().is_none_or(same) { Ok(earlier) } else { Err(changed(self.output)) }
    }

    fn load(&self, config: &TrainConfig) -> Result<CausalLm, EvalError> {
        let Compare { subject, device, progress, .. } = *self.of;
        let model = subject.folder.load_to_train(config.lora().as_ref(), config.quantization(), device, progress)?;
        Ok(model.with_precision(config.precision()))
    }

    /// One run: the kept result if it was finished earlier, else trained and examined. Says whether it was trained now. `before`
    /// are the gaps of the model that it begins with.
    fn run(
        &self,
        entrant: &Entrant,
        point: &Point,
        seed: u64,
        before: &[LanguageGap],
    ) -> Result<(RunResult, bool), EvalError> {
        let mut path = self.output.join("runs").join(&entrant.name);
        if !point.label.is_empty() {
            path.push(&point.label);
        }
        path.push(format!("seed-{seed}"));
        let options = TrainOptions { output: Some(path.clone()), seed: Some(seed), ..point.options.clone() };
        let config = options.resolve()?;
        let choosing = entrant.points.len() > 1;
        let (rows, _) = self.of.subject.rows(&config)?;
        let folder = self.enter(&path, &config, &rows)?;
        if let Some(result) = folder.read_value::<RunResult>(&folder.results_file(), self.of.progress)? {
            if result.exam != self.exam {
                return Err(changed(&path));
            }
            if self.is_whole(&result, &folder, choosing) {
                // Killed when its result was written.
                folder.remove_checkpoints()?;
                return Ok((result, false));
            }
        }
        let base = base(&self.of.subject.folder, &self.model_hash);
        // Its answers are asked for at its end.
        let watch = Some(Watch { rows: &self.of.subject.held_out, trained_on: false, sampler: None });
        let prompts = self.of.subject.consistent.as_ref();
        let work = Run { config: &config, folder: &folder, base, prompts, watch };
        let began = Instant::now();
        let result = match self.train_and_examine(&work, rows, choosing, before) {
            Ok(result) => result,
            // A choice of settings that ruins the model is a result too, whether its loss or its answers show it.
            Err(
                failure @ (EvalError::Train(TrainError::NotFinite { .. } | TrainError::Diverged { .. })
                | EvalError::Chat(ChatError::Sampling(SamplingError::NotFinite { .. }))),
            ) => RunResult {
                exam: self.exam.clone(),
                steps: 0,
                seconds: began.elapsed().as_secs_f64(),
                failure: Some(failure.to_string()),
                test: vec![],
                validation: vec![],
            },
            Err(failure) => return Err(failure),
        };
        folder.write_value(&folder.results_file(), &result)?;
        folder.remove_checkpoints()?;
        Ok((result, true))
    }

    /// Whether a kept result lacks nothing: a run that was alone in its day has no marks to be chosen by, and one whose
    /// model was not to be kept has none. Such a run is made again.
    fn is_whole(&self, result: &RunResult, folder: &RunFolder, choosing: bool) -> bool {
        let has_marks = !choosing || !result.validation.is_empty();
        let has_model = !self.of.save_models || folder.model_dir().exists();
        result.failure.is_some() || (has_marks && has_model)
    }

    /// Trains a run, examines its model, and saves it if it is to be kept.
    fn train_and_examine(
        &self,
        run: &Run<'_>,
        rows: TokenizedRows,
        choosing: bool,
        before: &[LanguageGap],
    ) -> Result<RunResult, EvalError> {
        let Compare { subject, progress, .. } = *self.of;
        let (began, trained_on) = (Instant::now(), TrainedOn::of(&rows));
        let trained = run.train(self.load(run.config)?, rows, progress, &mut |_| {})?;
        let seconds = began.elapsed().as_secs_f64();
        let examine = |exam: &Exam, what: &str| exam.examine_whole(&trained.model, &subject.folder, what, progress);
        let validation = if choosing { examine(&subject.validation, "choosing")?.marks } else { vec![] };
        let Examined { marks: test, gaps } = examine(&subject.test, "measuring")?;
        if self.of.save_models {
            let results = TrainResults {
                steps: trained.steps,
                best: trained.best,
                dominant: subject.dominant,
                drawn_to: run.config.drawn_to(),
                reward_gap: RewardGaps { before: before.to_vec(), after: gaps },
            };
            let card = ModelCard {
                config: run.config,
                base: CardBase::of(&subject.folder),
                is_adapter: !run.saves_whole(&trained.model),
                rows: &trained_on,
                is_held_out: true,
                results: &results,
            };
            run.save(&trained.model, Some(&card.text()?), progress)?;
        }
        Ok(RunResult { exam: self.exam.clone(), steps: trained.steps, seconds, failure: None, test, validation })
    }

    /// The folder of a run, new or begun with the same settings and rows.
    fn enter(&self, path: &Path, config: &TrainConfig, rows: &TokenizedRows) -> Result<RunFolder, EvalError> {
        let identity =
            Identity::new(config.deciding()?).with("model", &*self.model_hash).with("rows", digest_rows(rows));
        let consistent = self.of.subject.consistent.as_ref().filter(|_| config.consistency_weight.is_some());
        let identity = match consistent {
            Some(rows) => identity.with("prompts held consistent", digest_rows(rows)),
            None => identity,
        };
        let folder = RunFolder::enter(path, Kind::ComparedRun, identity)?;
        if !folder.config_file().exists() {
            folder.start(&folder.config_file(), config.to_yaml()?.as_bytes())?;
        }
        if self.of.save_models {
            folder.check_model()?;
        }
        Ok(folder)
    }
}
