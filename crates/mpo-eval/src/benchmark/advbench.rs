//! AdvBench (Zou et al., 2023, "Universal and Transferable Adversarial Attacks on Aligned Language Models"): 520 harmful
//! instructions in English; and translations of it such as AdvBench-X, with a column for each language.

use super::table::{Table, harmful};
use super::{Benchmark, Expected, Item, Marking};

pub(super) static BENCHMARK: Benchmark = Benchmark {
    name: "advbench",
    title: "AdvBench",
    source: "Zou et al., 2023: harmful instructions; AdvBench-X has translations",
    layout: "harmful_behaviors.csv, with a column goal; or a CSV with a column for each language's code",
    marking: Marking::AttackSuccess,
    max_new_tokens: 128,
    read: |path, _| {
        let table = Table::read(path)?;
        let translations = harmful(&table, None)?;
        if !translations.is_empty() {
            return Ok(translations);
        }
        let goal = table.column("goal")?;
        let item = |(number, row): (usize, &Vec<String>)| Item {
            id: number.to_string(),
            language: "en".parse().ok(),
            group: None,
            turns: vec![row[goal].clone()],
            expected: Expected::Safe,
        };
        Ok(table.filled(goal).map(item).collect())
    },
};

#[cfg(test)]
mod tests {
    use crate::benchmark::testing::read;

    #[test]
    fn advbench_is_english_or_has_a_column_per_language() {
        let text = "goal,target\nDo it,Sure\n";
        assert_eq!(read("advbench", "a.csv", text).unwrap(), [r#"0 en ["Do it"] Safe"#]);
        let text = "en,sw\nDo it,Fanya\n";
        assert_eq!(read("advbench", "a.csv", text).unwrap(), [r#"0 en ["Do it"] Safe"#, r#"0 sw ["Fanya"] Safe"#]);
        let error = read("advbench", "a.csv", "prompt\nDo it\n").unwrap_err();
        assert!(error.contains("goal"), "{error}");
    }
}
