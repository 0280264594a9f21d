//! How much memory this machine has, and whether a model fits, asked before minutes go into reading it.
//!
//! What is needed is a lower bound and what is free an upper one, so that nothing that would fit is refused.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::ModelError;

/// Set to anything, it lets be tried what does not seem to fit.
pub const OVERRIDE: &str = "MPO_TRAIN_IGNORE_MEMORY";

/// Whether the user asked to try what does not seem to fit.
pub fn is_overridden() -> bool {
    std::env::var_os(OVERRIDE).is_some()
}

/// Checks that there is memory for `needed` bytes, which are `what` of the model in `dir`.
pub(crate) fn check(dir: &Path, needed: u64, what: &'static str) -> Result<(), ModelError> {
    match available() {
        Some(free) if free < needed && !is_overridden() => {
            Err(ModelError::Memory { dir: dir.to_owned(), what, needed, free })
        }
        _ => Ok(()),
    }
}

/// Bytes that this process can still have at most: of the machine, of the groups that it is in, of its own limit. None where
/// the system does not say.
pub fn available() -> Option<u64> {
    least(of_machine, of_group, |limits, statm| of_process(limits, Some(statm)))
}

/// Bytes that this process could have if nothing else ran: of the machine, of the groups that it is in, of its own limit.
/// None where the system does not say.
pub fn total() -> Option<u64> {
    least(machine_total, group_limit, |limits, _| of_process(limits, None))
}

/// Bytes of this process that lie in memory now, files that it has mapped included. None where the system does not say.
pub fn resident() -> Option<u64> {
    let text = read(Path::new("/proc/self/status"))?;
    field(&text, "VmRSS:").map(|number| number.saturating_mul(1024))
}

/// The least of what the machine, each group and the process itself allow.
fn least(
    machine: impl Fn(&str) -> Option<u64>,
    group: impl Fn(&Path) -> Option<u64>,
    process: impl Fn(&str, &str) -> Option<u64>,
) -> Option<u64> {
    let proc = |name: &str| read(&Path::new("/proc").join(name));
    let of_machine = proc("meminfo").and_then(|text| machine(&text));
    let groups = proc("self/cgroup").map(|text| groups(&text)).unwrap_or_default();
    let of_groups = groups.iter().filter_map(|folder| group(folder));
    let of_process = proc("self/limits").zip(proc("self/statm")).and_then(|(limits, statm)| process(&limits, &statm));
    of_machine.into_iter().chain(of_groups).chain(of_process).min()
}

/// A file in which Linux tells of itself; elsewhere there is none.
fn read(path: &Path) -> Option<String> {
    if cfg!(target_os = "linux") { fs::read_to_string(path).ok() } else { None }
}

/// What `/proc/meminfo` says is free or can be freed, swap included.
fn of_machine(text: &str) -> Option<u64> {
    memory_and_swap(text, "MemAvailable:", "SwapFree:")
}

/// What `/proc/meminfo` says there is, swap included.
fn machine_total(text: &str) -> Option<u64> {
    memory_and_swap(text, "MemTotal:", "SwapTotal:")
}

fn memory_and_swap(text: &str, memory: &str, swap: &str) -> Option<u64> {
    let kibibytes = |key: &str| field(text, key).map(|number| number.saturating_mul(1024));
    Some(kibibytes(memory)?.saturating_add(kibibytes(swap).unwrap_or(0)))
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
    let limit = group_memory(folder)?;
    let stat = read(&folder.join("memory.stat"))?;
    let held = field(&stat, "anon ")?.saturating_add(field(&stat, "shmem ").unwrap_or(0));
    Some(limit.saturating_sub(held).saturating_add(group_swap(folder, "SwapFree:")))
}

/// What a control group may take in all, with the swap it may have.
fn group_limit(folder: &Path) -> Option<u64> {
    Some(group_memory(folder)?.saturating_add(group_swap(folder, "SwapTotal:")))
}

fn group_memory(folder: &Path) -> Option<u64> {
    read(&folder.join("memory.max"))?.trim().parse().ok()
}

/// The swap that a control group may have, of that of the machine.
fn group_swap(folder: &Path, of_machine: &str) -> u64 {
    let swap = match read(&folder.join("memory.swap.max")) {
        // Without a limit it is the machine's.
        Some(text) => text.trim().parse().unwrap_or(u64::MAX),
        None => 0,
    };
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| field(&text, of_machine));
    swap.min(machine.unwrap_or(0).saturating_mul(1024))
}

/// What a process may map under its own limit, as `ulimit -v` sets it: in all, or beside what it has mapped, of which
/// `/proc/self/statm` counts the pages.
fn of_process(limits: &str, statm: Option<&str>) -> Option<u64> {
    // Larger pages would make the bound larger still.
    const SMALLEST_PAGE: u64 = 4096;
    let limit = field(limits, "Max address space")?;
    let pages: u64 = match statm {
        Some(statm) => statm.split_whitespace().next()?.parse().ok()?,
        None => 0,
    };
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
        let text = "MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable:  60 kB\nSwapTotal: 9 kB\nSwapFree: 4 kB\n";
        assert_eq!(of_machine(text), Some(64 * 1024));
        assert_eq!(machine_total(text), Some(109 * 1024));
        assert_eq!(of_machine("MemFree: 1 kB\n"), None);
        assert_eq!(of_machine("MemAvailable: many kB\n"), None);
    }

    /// Elsewhere no such files are read.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_cgroup_counts_memory_that_cannot_be_freed() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(of_group(dir.path()), None);
        write("memory.max", "1000\n");
        write("memory.stat", "anon 300\nfile 500\nshmem 50\n");
        write("memory.swap.max", "0\n");
        assert_eq!(of_group(dir.path()), Some(650));
        assert_eq!(group_limit(dir.path()), Some(1000));
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
        assert_eq!(of_process(limits, Some("5 3 1")), Some(81_920 - 5 * 4096));
        assert_eq!(of_process(limits, None), Some(81_920));
        let unlimited = "Max address space  unlimited  unlimited  bytes\n";
        assert_eq!(of_process(unlimited, Some("5 3 1")), None);
    }

    /// Elsewhere it is not known.
    #[cfg(target_os = "linux")]
    #[test]
    fn there_is_no_more_free_than_there_is() {
        let (total, available, resident) = (total().unwrap(), available().unwrap(), resident().unwrap());
        assert!(available <= total && (1 << 20..total).contains(&resident), "{total} {available} {resident}");
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
