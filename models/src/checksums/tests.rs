use tempfile::TempDir;

use super::*;

/// A folder with a file, one in a folder below, and their list.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("below")).unwrap();
    fs::write(dir.path().join("a"), vec![7; 100_000]).unwrap();
    fs::write(dir.path().join("below/b c"), "text").unwrap();
    let sums = Checksums::of_folder(dir.path()).unwrap();
    sums.write(dir.path()).unwrap();
    dir
}

fn verify(dir: &TempDir) -> Result<(), ChecksumError> {
    let sums = Checksums::read(dir.path())?.unwrap();
    sums.verify(dir.path(), |_| true)
}

#[test]
fn the_list_is_one_that_b3sum_reads() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    let sums = Checksums::of_folder(dir.path()).unwrap();
    sums.write(dir.path()).unwrap();
    let text = fs::read_to_string(dir.path().join(CHECKSUMS_FILE)).unwrap();
    // The BLAKE3 of nothing, as its authors publish it.
    let of_nothing = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    assert_eq!(text, format!("{of_nothing}  empty\n"));
    assert_eq!(Checksums::read(dir.path()).unwrap(), Some(sums));
}

#[test]
fn every_flipped_bit_is_found() {
    let dir = folder();
    verify(&dir).unwrap();
    for (name, at) in [("a", 0), ("a", 77_777), ("below/b c", 3)] {
        let path = dir.path().join(name);
        let good = fs::read(&path).unwrap();
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            fs::write(&path, &bad).unwrap();
            let error = verify(&dir).unwrap_err();
            assert!(matches!(error, ChecksumError::Differs { .. }), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            assert!(error.hint().unwrap().contains(CHECKSUMS_FILE));
        }
        fs::write(&path, &good).unwrap();
    }
    verify(&dir).unwrap();
}

#[test]
fn a_flipped_bit_in_the_list_is_found_or_harmless() {
    let dir = folder();
    let path = dir.path().join(CHECKSUMS_FILE);
    let good = fs::read(&path).unwrap();
    let sums = Checksums::read(dir.path()).unwrap().unwrap();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            fs::write(&path, &bad).unwrap();
            // A digit in capitals is the same digit; nothing else may pass.
            let read = Checksums::read(dir.path());
            let same = read.as_ref().is_ok_and(|read| read.as_ref() == Some(&sums));
            assert!(same || verify(&dir).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_change_that_is_meant_is_accepted_by_deleting_its_line() {
    let dir = folder();
    fs::write(dir.path().join("a"), "other").unwrap();
    assert!(verify(&dir).is_err());
    let list = dir.path().join(CHECKSUMS_FILE);
    let text = fs::read_to_string(&list).unwrap();
    let rest: Vec<&str> = text.lines().filter(|line| !line.ends_with("  a")).collect();
    fs::write(&list, rest.join("\n")).unwrap();
    verify(&dir).unwrap();
}

#[test]
fn unlisted_and_missing_files_are_found() {
    let nothing_else = |dir: &TempDir| {
        let sums = Checksums::read(dir.path()).unwrap().unwrap();
        sums.verify_nothing_else(dir.path())
    };
    let dir = folder();
    nothing_else(&dir).unwrap();
    fs::write(dir.path().join("below/notes"), "mine").unwrap();
    let error = nothing_else(&dir).unwrap_err();
    assert!(matches!(error, ChecksumError::Unlisted { .. }), "{error}");
    fs::remove_file(dir.path().join("below/notes")).unwrap();
    fs::remove_file(dir.path().join("a")).unwrap();
    let error = nothing_else(&dir).unwrap_err();
    assert!(matches!(error, ChecksumError::Gone { .. }), "{error}");
}

#[test]
fn a_list_that_leads_out_of_the_folder_is_refused() {
    let dir = folder();
    let sum = blake3::hash(b"").to_hex();
    for name in ["../a", "/etc/hosts", "below/../../a", ".", ""] {
        fs::write(dir.path().join(CHECKSUMS_FILE), format!("{sum}  {name}\n")).unwrap();
        let error = Checksums::read(dir.path()).unwrap_err();
        assert!(matches!(error, ChecksumError::List { .. }), "{name}: {error}");
    }
    let none = tempfile::tempdir().unwrap();
    assert_eq!(Checksums::read(none.path()).unwrap(), None);
}
