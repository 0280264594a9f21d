//! What the pages of benchmarks have from the code: the list of them, and of each what its files look like.

use std::fmt::Write;

use mpo_eval::BENCHMARKS;

use crate::made;

#[test]
fn the_list_of_benchmarks_is_that_of_the_code() {
    let mut list = "| name | what | measure |\n|---|---|---|\n".to_owned();
    for of in BENCHMARKS {
        let measure = of.marking.metric().name();
        _ = writeln!(list, "| [`{0}`](evaluation/{0}.md) | {1} | {measure} |", of.name, of.source);
    }
    made::check("docs/evaluation.md", "benchmarks", &list);
}

#[test]
fn every_benchmark_has_a_page_with_its_layout() {
    for of in BENCHMARKS {
        let metric = of.marking.metric();
        let better = if metric.less_is_better() { "less" } else { "more" };
        let measure = format!("Measure: {}; {better} is better.", metric.name());
        let text = format!(
            "{}.\n\nFiles: {}.\n\n{measure} An answer may have {} tokens, unless `--max-new-tokens` says otherwise.\n",
            of.source, of.layout, of.max_new_tokens
        );
        made::check(&format!("docs/evaluation/{}.md", of.name), "benchmark", &text);
    }
}
