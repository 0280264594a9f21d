//! The pictures of `docs/health.md`: charts of the program's own reports on runs of the miniature.

use std::fs;

use crate::binary::{model, mpo_train};
use crate::kitchen::{Words, lines};
use crate::page::root;

/// Runs of the miniature's model: what each is called on the page, and its learning rate.
const RUNS: [(&str, &str); 2] = [("healthy", "1e-4"), ("too fast", "5e-3")];

/// Charts of a report on these runs, by their titles, and the files that they go to.
const CHARTS: [(&[&str], &str, &str); 5] = [
    (&["healthy", "too fast"], "Loss", "loss"),
    (&["healthy"], "Held-out reward gap by language", "gap-healthy"),
    (&["too fast"], "Held-out reward gap by language", "gap-too-fast"),
    (&["healthy"], "Held-out log p of safe answers, a token by language", "chosen-healthy"),
    (&["too fast"], "Held-out log p of safe answers, a token by language", "chosen-too-fast"),
];

/// The chart of a page with this title: black on white, without what a pointer shows.
fn chart(page: &str, title: &str) -> String {
    let (_, rest) =
        page.split_once(&format!("<figcaption>{title}</figcaption>")).unwrap_or_else(|| panic!("no {title}"));
    let (svg, _) = rest.split_once("</svg>").unwrap();
    let tips = svg.find("fill=\"transparent\"").and_then(|at| svg[..at].rfind("<rect"));
    let (head, body) = svg[..tips.unwrap_or(svg.len())].split_once('>').unwrap();
    let white = r##"<rect width="100%" height="100%" fill="#FFFFFF"/>"##;
    format!("{head}>\n{white}{}</svg>\n", body.replace("currentColor", "#000000"))
}

#[test]
fn a_chart_is_taken_out_of_its_page() {
    let page = "<figure><figcaption>Loss</figcaption><svg width=\"1\">\n<text fill=\"currentColor\">a</text>\
                <rect x=\"1\" fill=\"transparent\"><title>step 1</title></rect></svg></figure>";
    let white = "<rect width=\"100%\" height=\"100%\" fill=\"#FFFFFF\"/>";
    let expected = format!("<svg width=\"1\">\n{white}\n<text fill=\"#000000\">a</text></svg>\n");
    assert_eq!(chart(page, "Loss"), expected);
}

#[test]
#[ignore = "draws pictures anew, in minutes: UPDATE_DOCS=1 cargo test --release --workspace --test book pictures -- --ignored"]
fn the_pictures_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("rows.jsonl"), lines(&Words::new().both())).unwrap();
    for (name, lr) in RUNS {
        let mut command = mpo_train();
        command.args([
            "train",
            "--recipe",
            "miniature",
            "--eval-split",
            "0.1",
            "--eval-every",
            "10",
            "--device",
            "flex",
        ]);
        command.args(["--data", "rows.jsonl", "--lr", lr, "--output", name, "--model"]).arg(model());
        assert!(command.current_dir(dir.path()).status().unwrap().success());
    }
    for (runs, title, file) in CHARTS {
        let mut command = mpo_train();
        command.args(["report", "--quiet", "--output", "page.html"]).args(runs).current_dir(dir.path());
        assert!(command.status().unwrap().success());
        let page = fs::read_to_string(dir.path().join("page.html")).unwrap();
        let picture = chart(&page, title);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(root().join(format!("docs/pictures/{file}.svg")), picture).unwrap();
        }
    }
}
