//! What a file is, by its first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use encoding_rs_io::DecodeReaderBytes;
use flate2::bufread::MultiGzDecoder;

use crate::error::DataError;

/// Bytes of a file that are looked at.
const HEAD: u64 = 64 << 10;

/// Bytes that a file may unpack to: 8 GiB. A few kilobytes may hold blank lines without end.
const MOST_UNPACKED: u64 = 8 << 30;

/// A source that fails where it goes on past a limit.
struct Unpacked<R> {
    source: io::Take<R>,
    limit: u64,
}

impl<R: Read> Unpacked<R> {
    fn new(source: R, limit: u64) -> Self {
        Self { source: source.take(limit), limit }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.source.limit() {
            0 => Err(io::Error::other(format!(
                "expected less than {} bytes once it is unpacked, got more; take a part of it",
                self.limit
            ))),
            _ => self.source.read(buffer),
        }
    }
}

/// A file's rows, unpacked and in UTF-8.
pub(super) enum Content<'a> {
    Json(Box<dyn BufRead + 'a>),
    Table {
        source: Box<dyn BufRead + 'a>,
        delimiter: u8,
    },
    Parquet(File),
    /// Neither JSON nor a table of several columns.
    Text(Box<dyn BufRead + 'a>),
}

/// What files that hold no rows begin with, what they are, and what helps.
const OTHERS: [(&[u8], &str, &str); 13] = [
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer, which stands for a file that was not fetched",
        "run `git lfs pull` in the folder it came from, or give the data set's name on the hub",
    ),
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save the sheet as CSV in UTF-8"),
    (b"BZh", "compressed by bzip2", "unpack it with `bunzip2`"),
    (b"\xFD7zXZ\0", "compressed by xz", "unpack it with `unxz`"),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive", "unpack it"),
    (b"ARROW1", "an Arrow file", "write it as Parquet: Dataset.to_parquet in Python"),
    (
        b"\xFF\xFF\xFF\xFF",
        "an Arrow stream, as Dataset.save_to_disk writes it",
        "write it as Parquet: Dataset.to_parquet in Python",
    ),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (b"%PDF", "a PDF", "give the rows as JSONL, CSV or Parquet"),
    (b"GGUF", "a model in GGUF", "give a file of preference rows; models go to --model"),
    (b"\x80\x02", "a Python pickle", "write the rows as JSONL or Parquet"),
    (b"\x80\x04", "a Python pickle", "write the rows as JSONL or Parquet"),
    (b"\x80\x05", "a Python pickle", "write the rows as JSONL or Parquet"),
];

/// Opens a file of rows.
pub(super) fn open(path: &Path) -> Result<Content<'static>, DataError> {
    let io_error = |source| DataError::Io { path: path.into(), source };
    let mut file = File::open(path).map_err(io_error)?;
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic).map_err(io_error)?;
    match (magic == b"PAR1", file.rewind()) {
        (true, Ok(())) => Ok(Content::Parquet(file)),
        (true, Err(_)) => Err(DataError::NotRows {
            path: path.into(),
            what: "Parquet in a pipe",
            hint: "save it as a file: Parquet is read from its end",
        }),
        (false, Ok(())) => recognize(path, Box::new(BufReader::new(file))),
        // What cannot be rewound, such as a pipe, is read on from here.
        (false, Err(_)) => {
            let source = Cursor::new(magic).chain(BufReader::new(file));
            recognize(path, Box::new(source))
        }
    }
}

/// Unpacks and decodes a source, and tells JSON from tables.
pub(super) fn recognize<'a>(path: &Path, source: Box<dyn BufRead + 'a>) -> Result<Content<'a>, DataError> {
    let (head, source) = looked_at(path, source)?;
    let source = match head[..] {
        [0x1F, 0x8B, ..] => unpacked(MultiGzDecoder::new(source)),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => {
            let decoder =
                zstd::Decoder::with_buffer(source).map_err(|source| DataError::Io { path: path.into(), source })?;
            unpacked(decoder)
        }
        _ => return decoded(path, head, source),
    };
    let (head, source) = looked_at(path, source)?;
    decoded(path, head, source)
}

fn unpacked<'a>(decoder: impl Read + 'a) -> Box<dyn BufRead + 'a> {
    Box::new(BufReader::new(Unpacked::new(decoder, MOST_UNPACKED)))
}

/// The first bytes of a source, and the source with them.
fn looked_at<'a>(
    path: &Path,
    mut source: Box<dyn BufRead + 'a>,
) -> Result<(Vec<u8>, Box<dyn BufRead + 'a>), DataError> {
    let mut head = Vec::new();
    let read = source.by_ref().take(HEAD).read_to_end(&mut head);
    read.map_err(|source| DataError::Io { path: path.into(), source })?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(source))))
}

fn decoded<'a>(path: &Path, head: Vec<u8>, mut source: Box<dyn BufRead + 'a>) -> Result<Content<'a>, DataError> {
    match head[..] {
        [0xEF, 0xBB, 0xBF, ..] => {
            source.consume(3);
            text(path, &head[3..], source)
        }
        [0xFF, 0xFE, ref rest @ ..] if !rest.starts_with(b"\xFF\xFF") => utf_16(path, source),
        [0xFE, 0xFF, ..] => utf_16(path, source),
        _ => text(path, &head, source),
    }
}

/// Text in UTF-16, which begins with a byte order mark.
fn utf_16<'a>(path: &Path, source: Box<dyn BufRead + 'a>) -> Result<Content<'a>, DataError> {
    let decoded = BufReader::new(DecodeReaderBytes::new(source));
    let (head, source) = looked_at(path, Box::new(decoded))?;
    text(path, &head, source)
}

/// JSON begins with a bracket; a table has a line of names first.
fn text<'a>(path: &Path, head: &[u8], source: Box<dyn BufRead + 'a>) -> Result<Content<'a>, DataError> {
    let refused = |what: &'static str, hint: &'static str| DataError::NotRows { path: path.into(), what, hint };
    if let Some((_, what, hint)) = OTHERS.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Err(refused(what, hint));
    }
    if head.starts_with(b"PAR1") {
        return Err(refused("Parquet that was compressed again", "unpack it: Parquet is compressed inside"));
    }
    if head.get(257..262) == Some(b"ustar") {
        return Err(refused("a tar archive", "unpack it"));
    }
    if let [0, b'{' | b'[', ..] | [b'{' | b'[', 0, ..] = head {
        return Err(refused("UTF-16 without a byte order mark", "save the file as UTF-8"));
    }
    let start = head.trim_ascii_start();
    match start.first() {
        None | Some(b'{' | b'[') => return Ok(Content::Json(source)),
        Some(b'<') => {
            return Err(refused(
                "a web page (HTML or XML)",
                "download the file itself: on the hub its address has /resolve/ and not /blob/",
            ));
        }
        _ if is_json_by_name(path) => return Ok(Content::Json(source)),
        Some(_) => {}
    }
    if head.contains(&0) {
        return Err(refused(
            "binary data of a kind that is not known",
            "give the rows as JSON, JSONL, CSV, TSV or Parquet",
        ));
    }
    match delimiter(start) {
        Some(delimiter) => Ok(Content::Table { source, delimiter }),
        None => Ok(Content::Text(source)),
    }
}

/// The error of text that has no rows.
pub(super) fn without_rows(path: &Path) -> DataError {
    DataError::NotRows {
        path: path.into(),
        what: "text, neither JSON nor a table with a line of column names",
        hint: "give the rows as JSON, JSONL, CSV, TSV or Parquet",
    }
}

/// Whether the name says JSON: then a strange first line is a bad row, and not a header.
fn is_json_by_name(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    [".json", ".jsonl", ".ndjson"].iter().any(|extension| name.ends_with(extension))
}

/// What separates the names in the first line: the sign that is there most often.
fn delimiter(text: &[u8]) -> Option<u8> {
    let line = text.split(|byte| *byte == b'\n').next()?;
    let count = |sign: u8| line.iter().filter(|byte| **byte == sign).count();
    let most = [b'\t', b',', b';'].into_iter().max_by_key(|sign| (count(*sign), *sign == b'\t'))?;
    (count(most) > 0).then_some(most)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// How a file is read: as what, and the first bytes of it.
    fn seen(name: &str, bytes: &[u8]) -> String {
        let start = |mut source: Box<dyn BufRead + '_>| {
            let mut text = String::new();
            source.read_to_string(&mut text).unwrap();
            text
        };
        match recognize(Path::new(name), Box::new(bytes)) {
            Ok(Content::Json(source)) => format!("json {}", start(source)),
            Ok(Content::Table { source, delimiter }) => {
                format!("{:?} {}", char::from(delimiter), start(source))
            }
            Ok(Content::Parquet(_)) => "parquet".into(),
            Ok(Content::Text(_)) => without_rows(Path::new(name)).to_string(),
            Err(error) => error.to_string(),
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn utf_16(text: &str) -> Vec<u8> {
        let units = std::iter::once(0xFEFF).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn a_file_is_what_it_holds() {
        let json = "{\"a\":\"é\"}";
        let two_parts = [gzip(b"{\"a\":"), gzip(b"1}")].concat();
        let swapped: Vec<u8> = utf_16("a,b").chunks(2).flat_map(|unit| [unit[1], unit[0]]).collect();
        for (name, bytes, expected) in [
            ("rows.csv", json.as_bytes().to_vec(), "json {\"a\":\"é\"}"),
            ("rows", gzip(json.as_bytes()), "json {\"a\":\"é\"}"),
            ("rows", two_parts, "json {\"a\":1}"),
            ("rows", zstd::encode_all(json.as_bytes(), 1).unwrap(), "json {\"a\":\"é\"}"),
            ("rows", b"\xEF\xBB\xBF[]".to_vec(), "json []"),
            ("rows.json", utf_16(json), "json {\"a\":\"é\"}"),
            ("rows", gzip(&utf_16("a,b\né,\"c\"")), "',' a,b\né,\"c\""),
            ("rows", swapped, "',' a,b"),
            ("rows", b"a\tb, c, d\te\n".to_vec(), "'\\t' a\tb, c, d\te\n"),
            ("rows", b"a;b\n1;2".to_vec(), "';' a;b\n1;2"),
            ("rows.jsonl.gz", gzip(b"x, y\n{}"), "json x, y\n{}"),
            ("rows", b"".to_vec(), "json "),
        ] {
            assert_eq!(seen(name, &bytes), expected, "{name}");
        }
    }

    #[test]
    fn what_unpacks_without_end_is_an_error() {
        let blank = || zstd::Decoder::new(Cursor::new(zstd::encode_all(&[b'\n'; 5000][..], 1).unwrap())).unwrap();
        let mut lines = Vec::new();
        Unpacked::new(blank(), 5001).read_to_end(&mut lines).unwrap();
        assert_eq!(lines.len(), 5000);
        let error = Unpacked::new(blank(), 4999).read_to_end(&mut lines).unwrap_err();
        assert!(error.to_string().contains("less than 4999 bytes"), "{error}");
    }

    #[test]
    fn what_holds_no_rows_is_called_by_its_name() {
        for (bytes, expected) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"[..], "Git LFS"),
            (b"PK\x03\x04....", "zip"),
            (b"BZh91AY", "bzip2"),
            (b"\n<!DOCTYPE html><html>", "web page"),
            (b"\xFF\xFF\xFF\xFF\x10\0\0\0", "Arrow stream"),
            (b"{\0\"\0a\0", "UTF-16 without"),
            (b"\x01\x02,\0\0", "binary"),
            (b"once upon a time", "neither JSON nor a table"),
        ] {
            let error = seen("rows.dat", bytes);
            assert!(error.contains(expected), "{error}");
        }
        assert!(seen("f", &gzip(b"PAR1....")).contains("Parquet"));
        let mut tar = vec![0; 512];
        tar[..6].copy_from_slice(b"a.json");
        tar[257..262].copy_from_slice(b"ustar");
        assert!(seen("f", &gzip(&tar)).contains("tar archive"));
        let cut = gzip(&b"{\"a\": 1}\n".repeat(9))[..20].to_vec();
        assert!(recognize(Path::new("f"), Box::new(&cut[..])).is_err());
    }
}
