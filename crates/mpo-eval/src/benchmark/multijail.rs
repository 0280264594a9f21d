//! MultiJail (Deng et al., 2024, "Multilingual Jailbreak Challenges in Large Language Models"): 315 harmful requests, each
//! in ten languages.

use super::table::{Table, harmful};
use super::{Benchmark, Marking};

pub(super) static BENCHMARK: Benchmark = Benchmark {
    name: "multijail",
    title: "MultiJail",
    source: "Deng et al., 2024: harmful requests in ten languages",
    layout: "MultiJail.csv, with a column id and a column for each language's code",
    marking: Marking::AttackSuccess,
    max_new_tokens: 128,
    read: |path, _| {
        let table = Table::read(path)?;
        harmful(&table, Some(table.column("id")?))
    },
};
