//! A saved run, and whether this one is slower.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

/// Where runs are saved, and what counts as slower.
#[derive(Debug, Args)]
pub struct Guard {
    /// Save this run's times, to compare a later run with.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Compare with a saved run; exit with 1 if anything has become slower or larger.
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// How much slower or larger a number may be, as a fraction.
    #[arg(long, default_value_t = 0.15)]
    pub tolerance: f64,
}

/// Saves and compares as asked; returns the lines of what has grown by more than the tolerance.
///
/// `run` has a name for every number; numbers that only one of the two runs has are skipped, but two runs with none in
/// common are an error.
pub fn compare(guard: &Guard, run: &BTreeMap<String, f64>) -> Result<Vec<String>, String> {
    let failed = |path: &PathBuf, why: String| format!("{}: {why}", path.display());
    let mut grown = vec![];
    if let Some(path) = &guard.compare {
        let text = std::fs::read_to_string(path).map_err(|e| failed(path, e.to_string()))?;
        let before: BTreeMap<String, f64> =
            serde_json::from_str(&text).map_err(|e| failed(path, format!("expected a run saved with --save: {e}")))?;
        let common: Vec<_> = run.iter().filter_map(|(name, now)| Some((name, *now, *before.get(name)?))).collect();
        if common.is_empty() {
            return Err(failed(path, "expected the numbers of this bench, got none of them".into()));
        }
        grown = common
            .into_iter()
            .filter(|(_, now, before)| *now > before * (1.0 + guard.tolerance))
            .map(|(name, now, before)| {
                format!("{name}: {before:.4} before, {now:.4} now ({:+.0} %)", (now / before - 1.0) * 100.0)
            })
            .collect();
    }
    if let Some(path) = &guard.save {
        let text = serde_json::to_string_pretty(run).map_err(|e| failed(path, e.to_string()))?;
        std::fs::write(path, text).map_err(|e| failed(path, e.to_string()))?;
    }
    Ok(grown)
}
