//! Whether ranks are of one run: found before anything is trained, and not by numbers that make no sense.

use std::env;
use std::io;

use mpo_collective::Collective;

use crate::error::TrainError;

/// Identifies the program that this process runs, build and all.
///
/// # Errors
/// If its file cannot be read.
pub fn program() -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(env::current_exe()?)?;
    Ok(hasher.finalize().to_string())
}

/// Whether all ranks are of one run: `own` says of everything that decides it which one it is, the same things on each.
///
/// # Errors
/// If one differs from the first; all ranks have the same one.
pub fn check_alike(ranks: &dyn Collective, own: &[(&str, String)]) -> Result<(), TrainError> {
    let text: Vec<u8> = own.iter().flat_map(|(_, says)| format!("{says}\0").into_bytes()).collect();
    let all = ranks.share(&text);
    let says =
        |rank: usize| -> Vec<String> { String::from_utf8_lossy(&all[rank]).split('\0').map(str::to_owned).collect() };
    let first = says(0);
    for rank in 1..ranks.size() {
        let other = says(rank);
        let differs = own.iter().zip(first.iter().zip(&other)).find(|(_, (first, other))| first != other);
        if let Some(((what, _), (first, other))) = differs {
            let problem = format!("{what} {other} on rank {rank}, and {first} on the first");
            return Err(TrainError::Ranks { problem });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mpo_collective::among_threads;

    use super::*;

    #[test]
    fn all_know_which_rank_is_of_another_run_and_in_what() {
        let of = |rows: [&'static str; 3]| {
            among_threads(3, move |ranks| {
                let own = [("the weights", "a".to_owned()), ("rows", rows[ranks.rank()].to_owned())];
                check_alike(ranks, &own).map_err(|error| error.to_string())
            })
        };
        assert_eq!(of(["b", "b", "b"]), [Ok(()), Ok(()), Ok(())]);
        let expected = "expected ranks of one run, got rows c on rank 2, and b on the first";
        assert_eq!(of(["b", "b", "c"]), [(); 3].map(|()| Err(expected.to_owned())));
    }
}
