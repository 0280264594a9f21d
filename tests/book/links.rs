//! Links: to pages, headings, pictures and files of the repository.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::page::{BOOK, Page, root};

/// Where the repository stands, for links out of the book: a book holds its own pages and nothing else.
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/");
const SUMMARY: &str = "docs/SUMMARY.md";

/// A path without `.` and `..`; none if it leads out of the repository.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir if plain.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(plain)
}

/// What is wrong with a link of `page`; `anchors` are those of all pages.
fn fault(page: &Page, link: &str, anchors: &HashMap<PathBuf, Vec<String>>) -> Option<String> {
    let (target, anchor) = link.split_once('#').map_or((link, None), |(target, anchor)| (target, Some(anchor)));
    let path = match target.strip_prefix(REPOSITORY) {
        Some(rest) => match rest.strip_prefix("blob/main/").or(rest.strip_prefix("tree/main/")) {
            Some(rest) => PathBuf::from(rest),
            None => return Some("a link into the repository begins with blob/main/ or tree/main/".into()),
        },
        None if target.contains("://") || target.starts_with("mailto:") => return None,
        None if target.is_empty() => page.path.clone(),
        None => match plain(&page.path.parent().unwrap().join(target)) {
            Some(path) if page.is_in_book() && !path.starts_with(BOOK) => {
                return Some(format!(
                    "a page of the book links out of it: write {REPOSITORY}blob/main/{}",
                    path.display()
                ));
            }
            Some(path) => path,
            None => return Some("it leads out of the repository".into()),
        },
    };
    if !root().join(&path).exists() {
        return Some(format!("there is no {}", path.display()));
    }
    match (anchor, anchors.get(&path)) {
        (Some(anchor), Some(of)) if !of.iter().any(|one| one == anchor) => {
            Some(format!("{} has no heading {anchor}", path.display()))
        }
        (Some(_), None) => Some(format!("{} is no page with headings", path.display())),
        _ => None,
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = Page::all();
    let anchors = pages.iter().map(|page| (page.path.clone(), page.anchors())).collect();
    let mut faults = vec![];
    for page in &pages {
        for (line, link) in page.links() {
            let fault = fault(page, link, &anchors);
            faults.extend(fault.map(|fault| format!("{}:{line}: {link}: {fault}", page.path.display())));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_told() {
    let page = Page::read("docs/design.md");
    let anchors = HashMap::from([(PathBuf::from("docs/data.md"), vec!["bilingual".to_owned()])]);
    let told = |link: &str| fault(&page, link, &anchors);
    for good in ["data.md", "data.md#bilingual", "https://elsewhere.org/x#y", "miniature.svg"] {
        assert_eq!(told(good), None, "{good}");
    }
    assert_eq!(told(&format!("{REPOSITORY}tree/main/recipes")), None);
    for bad in [
        "date.md",
        "data.md#monolingual",
        "miniature.svg#x",
        "../README.md",
        "../../x",
        &format!("{REPOSITORY}blob/main/no.md"),
        &format!("{REPOSITORY}recipes"),
    ] {
        assert!(told(bad).is_some(), "{bad}");
    }
}

#[test]
fn the_summary_has_every_page_once() {
    let summary = Page::read(SUMMARY);
    let listed: Vec<PathBuf> = summary.links().iter().map(|(_, link)| Path::new(BOOK).join(link)).collect();
    let once: BTreeSet<&PathBuf> = listed.iter().collect();
    assert_eq!(once.len(), listed.len(), "a page is listed twice");
    let mut pages = Page::of_book();
    pages.retain(|page| page.path != Path::new(SUMMARY));
    let pages: BTreeSet<&PathBuf> = pages.iter().map(|page| &page.path).collect();
    assert_eq!(once, pages);
}

#[test]
fn the_book_is_made_of_these_pages() {
    let config = fs::read_to_string(root().join("book.toml")).unwrap();
    assert!(config.contains(&format!("src = \"{BOOK}\"")), "{config}");
}
