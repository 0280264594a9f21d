//! Parts of pages that are made of the code: between `<!-- made: NAME -->` and `<!-- end -->`.

use std::fs;

use crate::page::root;

const END: &str = "<!-- end -->";

/// Holds such a part of a page against what it should be; with `UPDATE_DOCS` it is written anew instead.
pub(crate) fn check(page: &str, name: &str, expected: &str) {
    let path = root().join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
    let begin = format!("<!-- made: {name} -->\n");
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    let Some((before, (kept, after))) = parts else {
        panic!("{page}: expected lines `{}` and `{END}`", begin.trim_end());
    };
    let expected = format!("{}\n", expected.trim_end());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{begin}{expected}{END}{after}")).unwrap();
    } else {
        assert!(kept == expected, "{page}, {name}: stale; run the test with UPDATE_DOCS=1. Expected:\n{expected}");
    }
}
