//! How the tokens of an answer are drawn.

use clap::Args;
use mpo_models::{Sampling, SamplingError};

/// Settings of the draw.
#[derive(Debug, Args)]
pub(crate) struct SamplingArguments {
    /// Draw tokens at this temperature; 0 takes the most probable one [default: 1 with --top-p or --top-k, else 0]
    #[arg(long, value_name = "X")]
    pub(crate) temperature: Option<f64>,
    /// Draw from the most probable tokens that together have this probability [default: 1]
    #[arg(long, value_name = "X")]
    pub(crate) top_p: Option<f64>,
    /// Draw from this many most probable tokens [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) top_k: Option<usize>,
    /// Seed of what is drawn
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
}

impl SamplingArguments {
    /// Whether any of it is asked for that makes a draw.
    pub(crate) fn draws(&self) -> bool {
        self.temperature.is_some_and(|temperature| temperature != 0.0) || self.top_p.is_some() || self.top_k.is_some()
    }

    /// None to take the most probable token.
    pub(crate) fn sampling(&self) -> Result<Option<Sampling>, SamplingError> {
        // Whoever says what to draw from wants to draw.
        let draws = self.top_p.is_some() || self.top_k.is_some();
        let temperature = self.temperature.unwrap_or(if draws { 1.0 } else { 0.0 });
        let top_p = self.top_p.unwrap_or(1.0);
        let sampling = |temperature| Sampling::new(temperature, self.top_k, top_p, self.seed);
        match temperature {
            // The other settings are checked all the same.
            0.0 => sampling(1.0).map(|_| None),
            temperature => sampling(temperature).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        sampling: SamplingArguments,
    }

    /// The sampling that a command with these flags is asked for.
    fn sampling(flags: &[&str]) -> Result<Option<Sampling>, SamplingError> {
        let typed = Typed::try_parse_from([&["mpo-train"][..], flags].concat());
        typed.unwrap().sampling.sampling()
    }

    #[test]
    fn whoever_says_what_to_draw_from_draws() {
        assert_eq!(sampling(&[]).unwrap(), None);
        assert_eq!(sampling(&["--temperature", "0"]).unwrap(), None);
        for (flags, temperature, top_k, top_p) in [
            (&["--top-p", "0.9"][..], 1.0, None, 0.9),
            (&["--top-k", "40"], 1.0, Some(40), 1.0),
            (&["--temperature", "0.7"], 0.7, None, 1.0),
            (&["--temperature", "0.7", "--top-p", "0.9"], 0.7, None, 0.9),
        ] {
            let expected = Sampling::new(temperature, top_k, top_p, 42).unwrap();
            assert_eq!(sampling(flags).unwrap(), Some(expected), "{flags:?}");
        }
        assert!(sampling(&["--temperature", "0", "--top-k", "0"]).is_err());
    }
}
