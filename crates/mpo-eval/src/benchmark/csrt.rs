//! CSRT (Yoo et al., 2024, "Code-Switching Red-Teaming"): MultiJail's requests with up to ten languages in a sentence.

use super::table::Table;
use super::{Benchmark, Expected, Item, Marking};

pub(super) static BENCHMARK: Benchmark = Benchmark {
    name: "csrt",
    title: "CSRT",
    source: "Yoo et al., 2024: harmful requests that switch language from word to word",
    layout: "csrt.csv, with columns id and csrt",
    marking: Marking::AttackSuccess,
    max_new_tokens: 128,
    read: |path, _| {
        let table = Table::read(path)?;
        let (id, csrt) = (table.column("id")?, table.column("csrt")?);
        let item = |(_, row): (usize, &Vec<String>)| Item {
            id: row[id].clone(),
            language: None,
            group: None,
            turns: vec![row[csrt].clone()],
            expected: Expected::Safe,
        };
        Ok(table.filled(csrt).map(item).collect())
    },
};

#[cfg(test)]
mod tests {
    use crate::benchmark::testing::read;

    #[test]
    fn csrt_mixes_languages() {
        let text = "id,category,en,csrt\n0,['x'],One please,Moja 请\n";
        assert_eq!(read("csrt", "c.csv", text).unwrap(), [r#"0 mixed ["Moja 请"] Safe"#]);
    }
}
