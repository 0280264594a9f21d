//! A finished run that is given a later end, and goes on to it.

use mpo_objectives::Settings;
use mpo_progress::{Counted, Progress};

use crate::checkpoint;
use crate::error::TrainError;
use crate::folder::{Identity, RunFolder};
use crate::settings::TrainConfig;

/// A finished run, and the later end that its settings say.
#[derive(Debug)]
pub struct Extension<'a> {
    run: &'a RunFolder,
    config: &'a TrainConfig,
    identity: Identity,
    from: u64,
    to: u64,
}

impl<'a> Extension<'a> {
    /// Of a run on so many rows that was finished after `taken` steps, to the end that `config` says. `identity` is that of the run
    /// with it.
    ///
    /// # Errors
    /// If the run is another in anything else, stopped early, has no checkpoint left, or the end is no later.
    pub fn new(
        run: &'a RunFolder,
        config: &'a TrainConfig,
        identity: &Identity,
        rows: usize,
        taken: u64,
    ) -> Result<Self, TrainError> {
        // Other rows may make another number of steps, which is nothing to speak of ends by.
        run.check_extended(identity)?;
        let before = config.with_end(&run.end()).steps(rows);
        let to = config.steps(rows);
        let refused = |expected: String, got: String, hint| {
            Err(TrainError::NotExtended { path: run.path().to_owned(), expected, got, hint })
        };
        if taken < before {
            let expected = "a run that came to its last step, to give it a later one".to_owned();
            let hint = "start another with a larger early_stop, or without";
            return refused(expected, format!("one that stopped early, after step {taken} of {before}"), hint);
        }
        if to <= taken {
            let expected = format!("a later end than that after {}", Counted(taken, "step"));
            let hint =
                "the earlier of the ends that epochs and max_steps say counts, so it may take a larger value of both";
            return refused(expected, format!("one after {}", Counted(to, "step")), hint);
        }
        if !checkpoint::is_any(run)? {
            let expected = "a run with a checkpoint, whose optimizer state a later end goes on from".to_owned();
            let got = "one without: save_only_model removed them at its end, or somebody did".to_owned();
            return refused(expected, got, "train anew, to the later end, in another --output");
        }
        Ok(Self { run, config, identity: identity.clone(), from: taken, to })
    }

    /// What is wrong with giving a run that is not finished the end that `settings` say.
    pub fn unfinished(run: &RunFolder, settings: &Settings) -> TrainError {
        let changed = run.changed_settings(settings).unwrap_or_default();
        TrainError::NotExtended {
            path: run.path().to_owned(),
            expected: "a finished run, to give it a later end".into(),
            got: format!("one that is not finished, and {changed}"),
            hint: "let it come to its end by --resume alone, and extend it then",
        }
    }

    /// Says what it means, above all for the learning rate.
    pub fn tell(&self, progress: &dyn Progress) {
        let Self { run, config, from, to, .. } = *self;
        let [last, next] = [config.with_end(&run.end()).learning_rate(from - 1, from), config.learning_rate(from, to)];
        progress.note(&format_args!(
            "extending from {from} to {to} steps: from here on the learning rate is that of a run of {to} steps \
             ({}: {last:.2e} at step {from}, {next:.2e} at step {})",
            config.schedule,
            from + 1
        ));
        let eval = run.path().join("eval");
        if eval.exists() {
            progress.note(&format_args!(
                "{}: what was measured there is of the model as it was; evaluate the new one into another folder",
                eval.display()
            ));
        }
    }

    /// Makes it the run's end.
    ///
    /// # Errors
    /// If the run's folder cannot be written.
    pub fn begin(self) -> Result<(), TrainError> {
        self.run.extend(self.identity, self.from, self.config.to_yaml()?.as_bytes())
    }
}
