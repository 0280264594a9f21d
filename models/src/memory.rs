//! Whether a model fits in memory, asked before minutes go into reading it.
//!
//! What is needed is a lower bound and what is free an upper one, so that nothing that would fit is refused.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::ModelError;

/// Set to anything, it lets a model be tried that does not seem to fit.
pub(crate) const OVERRIDE: &str = "MPO_TRAIN_IGNORE_MEMORY";

/// Checks that there is memory for `needed` bytes, which are `what` of the model in `dir`.
pub(crate) fn check(dir: &Path, needed: u64, what: &'static str) -> Result<(), ModelError> {
    match available() {
        Some(free) if free < needed && std::env::var_os(OVERRIDE).is_none() => {
            Err(ModelError::Memory { dir: dir.to_owned(), what, needed, free })
        }
        _ => Ok(()),
    }
}

/// Bytes that this process can still have at most: of the machine, of the groups that it is in, of its own limit. None where
/// the system does not say.
fn available() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let read = |path: &str| fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| of_machine(&text));
    let groups = read("/proc/self/cgroup").map(|text| groups(&text)).unwrap_or_default();
    let groups = groups.iter().filter_map(|folder| of_group(folder));
    let limit =
        read("/proc/self/limits").zip(read("/proc/self/statm")).and_then(|(limits, pages)| of_process(&limits, &pages));
    machine.into_iter().chain(groups).chain(limit).min()
}

/// What `/proc/meminfo` says is free or can be freed, swap included.
fn of_machine(text: &str) -> Option<u64> {
    let kibibytes = |key: &str| field(text, key).map(|number| number.saturating_mul(1024));
    let swap = kibibytes("SwapFree:").unwrap_or(0);
    Some(kibibytes("MemAvailable:")?.saturating_add(swap))
}

/// The folders of the control groups in `/proc/self/cgroup`, from the innermost to the outermost; of version 2.
fn groups(text: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let Some(own) = own.filter(|own| !own.split('/').any(|part| part == "..")) else {
        return vec![];
    };
    let ancestors = Path::new(own).ancestors();
    ancestors.map(|group| root.join(group)).collect()
}

/// What a control group may still take: its limit without what cannot be freed, and the swap it may have.
fn of_group(folder: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let limit = number("memory.max")?;
    let stat = read("memory.stat")?;
    let held = field(&stat, "anon ")?.saturating_add(field(&stat, "shmem ").unwrap_or(0));
    let swap = match read("memory.swap.max") {
        // Without a limit it is the machine's.
        Some(text) => text.trim().parse().unwrap_or(u64::MAX),
        None => 0,
    };
    let swap = swap.min(of_swap().unwrap_or(0));
    Some(limit.saturating_sub(held).saturating_add(swap))
}

fn of_swap() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    field(&text, "SwapFree:").map(|number| number.saturating_mul(1024))
}

/// What a process may still map under its own limit, as `ulimit -v` sets it; `/proc/self/statm` counts pages.
fn of_process(limits: &str, statm: &str) -> Option<u64> {
    // Larger pages would make the bound larger still.
    const SMALLEST_PAGE: u64 = 4096;
    let limit = field(limits, "Max address space")?;
    let pages: u64 = statm.split_whitespace().next()?.parse().ok()?;
    Some(limit.saturating_sub(pages.saturating_mul(SMALLEST_PAGE)))
}

/// The first number behind `key` at the beginning of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_counts_what_can_be_freed_and_swap() {
        let text = "MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable:  60 kB\nSwapFree: 4 kB\n";
        assert_eq!(of_machine(text), Some(64 * 1024));
        assert_eq!(of_machine("MemFree: 1 kB\n"), None);
        assert_eq!(of_machine("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn a_cgroup_counts_memory_that_cannot_be_freed() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(of_group(dir.path()), None);
        write("memory.max", "1000\n");
        write("memory.stat", "anon 300\nfile 500\nshmem 50\n");
        write("memory.swap.max", "0\n");
        assert_eq!(of_group(dir.path()), Some(650));
        write("memory.max", "max\n");
        assert_eq!(of_group(dir.path()), None);
    }

    #[test]
    fn version_2_cgroups_are_listed_from_the_inside_out() {
        let folders = groups("12:memory:/old\n0::/a/b\n");
        let expected = ["a/b", "a", ""].map(|group| Path::new("/sys/fs/cgroup").join(group));
        assert_eq!(folders, expected);
        assert!(groups("0::/../x\n").is_empty() && groups("").is_empty());
    }

    #[test]
    fn a_limit_of_the_process_counts_what_is_mapped() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax address space  81920  unlimited  bytes\n";
        assert_eq!(of_process(limits, "5 3 1"), Some(81_920 - 5 * 4096));
        let unlimited = "Max address space  unlimited  unlimited  bytes\n";
        assert_eq!(of_process(unlimited, "5 3 1"), None);
    }

    #[test]
    fn what_fits_is_not_refused() {
        check(Path::new("model"), 1, "weights").unwrap();
    }

    /// Elsewhere free memory is not known.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_cannot_fit_is_refused_with_numbers() {
        let error = check(Path::new("model"), 1 << 60, "weights").unwrap_err();
        let text = format!("{error}\n{}", error.hint().unwrap());
        assert!(text.contains("1152921504.6 GB for weights"), "{text}");
        assert!(text.contains(OVERRIDE), "{text}");
    }
}
