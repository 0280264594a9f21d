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

#[cfg(test)]
mod tests {
    use crate::benchmark::testing::read;

    #[test]
    fn multijail_has_a_column_per_language() {
        let text = "\u{FEFF}id,source,tags,en,sw,th\n7,me,['a'],\"One, please\",Moja,\n8,me,['a'],Two,Mbili,สอง\n";
        assert_eq!(
            read("multijail", "m.csv", text).unwrap(),
            [
                r#"7 en ["One, please"] Safe"#,
                r#"8 en ["Two"] Safe"#,
                r#"7 sw ["Moja"] Safe"#,
                r#"8 sw ["Mbili"] Safe"#,
                r#"8 th ["สอง"] Safe"#,
            ]
        );
        let error = read("multijail", "m.csv", "number,text\n1,a\n").unwrap_err();
        assert!(error.contains("expected a column id, got number, text"), "{error}");
        let error = read("multijail", "m.csv", "id,en\n1\n").unwrap_err();
        assert!(error.contains("m.csv"), "{error}");
    }
}
