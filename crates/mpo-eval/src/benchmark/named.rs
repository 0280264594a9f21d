//! The language that a file or folder is named by.

use std::path::Path;

use mpo_data::Language;

use super::table::is_region;

/// Codes that are words, which a part of a name may be without meaning a language.
const WORDS: &str = "am an as at be by go he hi id in is it me my na no nr of on or os pi se so to";

/// The language in the name of a file or folder: the name as a whole (`ar`, `DE`, `pt-BR`, `Arabic`), or a part of it, the
/// last first (`mmlu_AR-XY.csv`, `MMLU_zh`, `mmlu_arabic`, `question_ko.jsonl`).
pub(super) fn language(path: &Path) -> Option<Language> {
    // `.` and `..` are called as the folder that they are, and so is a link whose own name says nothing.
    called(path).or_else(|| called(&path.canonicalize().ok()?))
}

fn called(path: &Path) -> Option<Language> {
    let name = if path.is_dir() { path.file_name()? } else { Path::new(path.file_name()?).file_prefix()? };
    in_name(name.to_str()?)
}

/// Says that a part of a benchmark is left out: no language is known for it.
pub(super) fn without(path: &Path) -> String {
    format!("{}: expected a name with a language's code in it, got none; it is left out", path.display())
}

fn in_name(name: &str) -> Option<Language> {
    if let Some(language) = parsed(name) {
        return Some(language);
    }
    // A region belongs to its code: AR-XY is Arabic.
    let parts = name.rsplit(['_', ' ', '.']);
    let halves = name.rsplit(['_', ' ', '.', '-']);
    let mut parts = parts.enumerate().chain(halves.enumerate());
    parts.find_map(|(from_end, part)| {
        let is_word = is_word(part) && from_end > 0;
        // Three letters are a word or an abbreviation far more often than a code; and MT is no Maltese in MT-Bench.
        let is_other = part.len() == 3 || part.eq_ignore_ascii_case("mt");
        if is_word || is_other { None } else { parsed(part) }
    })
}

/// Whether a name is a word, and a code as well.
pub(super) fn is_word(name: &str) -> bool {
    WORDS.split(' ').any(|word| word == name)
}

/// The language of a code, a code with a region, or a name.
fn parsed(name: &str) -> Option<Language> {
    let (code, region) = name.split_at(name.find(['-', '_']).unwrap_or(name.len()));
    let is_tag = region.is_empty() || code.len() <= 3 && is_region(region);
    if !is_tag {
        return None;
    }
    let language: Language = code.parse().ok()?;
    // Bench is a language too: of names, only those of languages with a code of two letters are taken for one.
    (code.len() <= 3 || language.code().len() == 2).then_some(language)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::benchmark;
    use crate::benchmark::testing::files;

    #[test]
    fn a_name_or_a_part_of_it_is_a_language() {
        for (name, code) in [
            ("ar", "ar"),
            ("DE", "de"),
            ("MMLU_zh", "zh"),
            ("question_ko", "ko"),
            ("mgsm_sw", "sw"),
            ("sw_mmlu", "sw"),
            ("mmlu_arabic", "ar"),
            ("Swahili", "sw"),
            ("mgsm-fr", "fr"),
            ("mgsm_it", "it"),
            ("mmlu_AR-XY", "ar"),
            ("zh_Hans", "zh"),
            ("MT_Bench_de", "de"),
        ] {
            assert_eq!(in_name(name), code.parse().ok(), "{name}");
        }
        for name in ["mmlu", "data", "question", "how_to_do_things", "mmlu_dev", "eval_set", "mt-bench", "MT-Bench"] {
            assert_eq!(in_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_folder_is_called_as_it_is_however_it_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sw/inside");
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(language(&folder.join("..")), "sw".parse().ok());
        #[cfg(unix)]
        for (name, to, code) in [("th", "inside", "th"), ("link", "sw", "sw")] {
            let link = dir.path().join(name);
            std::os::unix::fs::symlink(dir.path().join(to), &link).unwrap();
            assert_eq!(language(&link), code.parse().ok());
        }
        assert_eq!(language(&dir.path().join("mgsm_th.tsv.gz")), "th".parse().ok());
    }

    #[test]
    fn what_has_no_language_is_left_out_and_noted() {
        let table = "Question,A,B,C,D,Answer,Subject\nT?,1,2,3,4,A,art\n";
        let turns = "{\"question_id\": 1, \"category\": \"x\", \"turns\": [\"a\"]}\n";
        let (_dir, path) = files(&[
            ("mmlu_SW-KE.csv", table),
            ("questions.csv", table),
            ("klingonese/test/x.csv", "T,1,2,3,4,A\n"),
            ("notes/notes.txt", "mine"),
            ("bench/sw/question.jsonl", turns),
            ("bench/klingonese/question.jsonl", turns),
        ]);
        let read = |name: &str, path: &Path| benchmark(name).unwrap().items(path, &[], None).unwrap();
        let found = read("mmlu", &path);
        assert_eq!((found.len(), found.notes().len()), (1, 2));
        assert!(found.notes()[0].contains("klingonese: expected a name with a language's code"));
        assert!(found.notes()[1].contains("questions.csv"));
        let found = read("mt-bench", &path.join("bench"));
        assert_eq!((found.len(), found.notes().len()), (1, 1));
    }
}
