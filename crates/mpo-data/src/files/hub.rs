//! A data set on the Hugging Face Hub: the files of its split, brought into the usual cache.

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::{HFClientSync, HFError, HFRepositorySync, HFResult, RepoTypeDataset};

use super::configurations::README;
use super::shards;
use crate::error::DataError;
use crate::records::Selection;

/// Where the hub keeps what it made of data sets that have no files of a known kind.
const CONVERTED: &str = "refs/convert/parquet";

/// `owner/name` of a data set.
pub(super) struct Repository<'a> {
    owner: &'a str,
    name: &'a str,
}

/// The data set that a path that is not there may be the name of. A mistyped path to a file is no such name.
pub(super) fn repository(path: &Path) -> Option<Repository<'_>> {
    let (owner, name) = path.to_str()?.split_once('/')?;
    let valid = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let is_file = [".json", ".jsonl", ".csv", ".tsv", ".parquet", ".gz", ".zst", ".txt"]
        .iter()
        .any(|extension| name.ends_with(extension));
    (valid(owner) && valid(name) && !is_file).then_some(Repository { owner, name })
}

/// Fetches the files to read, unless they are cached, and gives their places.
pub(super) fn fetch(of: &Repository<'_>, selection: &Selection<'_>) -> Result<Vec<PathBuf>, DataError> {
    fetch_from(HFClientSync::new(), of, selection)
}

fn fetch_from(
    client: HFResult<HFClientSync>,
    of: &Repository<'_>,
    selection: &Selection<'_>,
) -> Result<Vec<PathBuf>, DataError> {
    let name = format!("{}/{}", of.owner, of.name);
    let error = |error: HFError| DataError::Hub { name: name.clone(), error: Box::new(error) };
    let client = client.map_err(error)?;
    let repository = client.dataset(of.owner, of.name);
    match fetch_revision(&repository, &name, None, selection) {
        Err(Fetching::Choice(missing @ DataError::NoDataFiles { .. })) => {
            let converted = fetch_revision(&repository, &name, Some(CONVERTED), selection);
            converted.map_err(|_| missing)
        }
        Err(Fetching::Choice(choice)) => Err(choice),
        // Without a network, what was fetched before will do.
        Err(Fetching::Hub(failure @ HFError::Request { .. })) => {
            let cached = snapshot(&repository, None, vec!["*".into()], true);
            let folder = cached.map_err(|_| error(failure))?;
            shards::in_folder(&folder, selection)
        }
        Err(Fetching::Hub(failure)) => Err(error(failure)),
        Ok(paths) => Ok(paths),
    }
}

enum Fetching {
    Hub(HFError),
    Choice(DataError),
}

impl From<HFError> for Fetching {
    fn from(error: HFError) -> Self {
        Self::Hub(error)
    }
}

fn fetch_revision(
    repository: &HFRepositorySync<RepoTypeDataset>,
    name: &str,
    revision: Option<&str>,
    selection: &Selection<'_>,
) -> Result<Vec<PathBuf>, Fetching> {
    let info = repository.info().maybe_revision(revision).send()?;
    let files = info.siblings.unwrap_or_default();
    let paths = files.iter().map(|file| file.rfilename.as_str());
    let readme = if files.iter().any(|file| file.rfilename == README) {
        let folder = snapshot(repository, revision, vec![README.into()], false)?;
        fs::read_to_string(folder.join(README)).unwrap_or_default()
    } else {
        String::new()
    };
    let chosen = shards::choose(Path::new(name), paths, &readme, selection).map_err(Fetching::Choice)?;
    let patterns = chosen.iter().map(|path| (*path).to_owned()).collect();
    let folder = snapshot(repository, revision, patterns, false)?;
    Ok(chosen.into_iter().map(|path| folder.join(path)).collect())
}

fn snapshot(
    repository: &HFRepositorySync<RepoTypeDataset>,
    revision: Option<&str>,
    patterns: Vec<String>,
    cached: bool,
) -> HFResult<PathBuf> {
    repository.snapshot_download().maybe_revision(revision).allow_patterns(patterns).local_files_only(cached).send()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use hf_hub::HFClient;
    use serde_json::json;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// Answers one request as the hub does for a data set of these files, each of which holds its own name.
    fn answer(mut stream: TcpStream, files: &[&str]) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let request = lines.next().unwrap().unwrap();
        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let (status, body) = match path.split_once(&format!("/resolve/{COMMIT}/")) {
            Some((_, file)) => ("200 OK", file.to_owned()),
            None if path.contains("/tree/") => {
                let entry = |path: &&str| json!({ "type": "file", "oid": "1", "size": path.len(), "path": path });
                ("200 OK", files.iter().map(entry).collect::<serde_json::Value>().to_string())
            }
            None if path.starts_with("/api/datasets/owner/set") => {
                let siblings: Vec<_> = files.iter().map(|file| json!({ "rfilename": file })).collect();
                ("200 OK", json!({ "id": "owner/set", "sha": COMMIT, "siblings": siblings }).to_string())
            }
            None => ("404 Not Found", "{}".to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nETag: \"{}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            blank(path),
            body.len()
        );
        let body = if method == "HEAD" { "" } else { &body };
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    }

    fn blank(path: &str) -> String {
        path.chars().filter(char::is_ascii_alphanumeric).collect()
    }

    #[test]
    fn the_files_of_a_split_are_fetched_and_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let files = ["README.md", "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"];
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &files);
            }
        });
        let cache = tempfile::tempdir().unwrap();
        let fetch = |endpoint: &str, name, split| {
            let client = HFClient::builder().endpoint(endpoint).cache_dir(cache.path());
            let of = Repository { owner: "owner", name };
            let selection = Selection { split, is_row: &|_| true };
            fetch_from(client.retry_max_attempts(0).build_sync(), &of, &selection)
        };
        let paths = fetch(&endpoint, "set", None).unwrap();
        assert_eq!(paths.len(), 1);
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), files[1]);
        let error = fetch(&endpoint, "set", Some("dev")).unwrap_err().to_string();
        assert_eq!(error, "owner/set: expected a split `dev`, got `test`, `train`");
        let error = fetch(&endpoint, "missing", None).unwrap_err().to_string();
        assert!(error.starts_with("no file or folder owner/missing, and the data set"), "{error}");
        // Without a network, what was fetched before.
        let nowhere = "http://127.0.0.1:9";
        assert_eq!(fetch(nowhere, "set", None).unwrap(), paths);
        assert!(fetch(nowhere, "other", None).is_err());
    }

    #[test]
    fn a_name_on_the_hub_is_no_path_to_a_file() {
        for (path, is_name) in [
            ("owner/set-1.0_x", true),
            ("data/rows.jsonl", false),
            ("rows.json", false),
            ("a/b/c", false),
            ("./rows", false),
            ("../rows", false),
            ("/rows", false),
            ("a b/c", false),
        ] {
            assert_eq!(repository(Path::new(path)).is_some(), is_name, "{path}");
        }
    }
}
