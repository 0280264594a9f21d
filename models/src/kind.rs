//! What a file is by its first bytes, where that is not what its name says.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A kind of file that is often found in another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKind {
    /// What it is, in words.
    pub what: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Bytes that are enough to tell.
const ENOUGH: u64 = 512;

const EMPTY: FileKind = FileKind { what: "an empty file", remedy: "download or save the file again; it was cut short" };
const LFS_POINTER: FileKind = FileKind {
    what: "a Git LFS pointer, a note of where the file is",
    remedy: "run `git lfs install` and `git lfs pull` in the folder, or download the file from the hub",
};
const WEB_PAGE: FileKind = FileKind {
    what: "a web page",
    remedy: "download the file itself, not the page that shows it; a gated model needs a login or HF_TOKEN",
};
pub(crate) const GGUF: FileKind = FileKind {
    what: "GGUF, the format of llama.cpp",
    remedy: "give the file a name that ends in .gguf, and pass it itself",
};
const ARCHIVE: FileKind =
    FileKind { what: "a zip archive, such as PyTorch's torch.save writes", remedy: PICKLE_REMEDY };
const PICKLE: FileKind = FileKind { what: "a Python pickle", remedy: PICKLE_REMEDY };
const GZIP: FileKind = FileKind { what: "a gzip archive", remedy: "unpack it first" };
const HDF5: FileKind = FileKind { what: "HDF5, the format of Keras", remedy: "choose a model with safetensors" };
pub(crate) const SAFETENSORS: FileKind =
    FileKind { what: "safetensors", remedy: "check that the file's name is right" };
const PICKLE_REMEDY: &str = "save it as safetensors: load the model in Transformers (with torch 2.6 or later, which runs no code \
     from the file) and call save_pretrained";

impl FileKind {
    /// What a file that begins so is, if it is one of these.
    pub fn of(beginning: &[u8]) -> Option<Self> {
        let lower = |at: usize| {
            let part = &beginning[..beginning.len().min(at)];
            String::from_utf8_lossy(part).trim_start().to_ascii_lowercase()
        };
        let starts = |magic: &[u8]| beginning.starts_with(magic);
        let zeros = beginning.iter().all(|&byte| byte == 0);
        Some(match beginning {
            _ if zeros => EMPTY,
            _ if starts(b"version https://git-lfs") => LFS_POINTER,
            _ if starts(b"GGUF") || starts(b"lmgg") || starts(b"tjgg") => GGUF,
            _ if starts(b"PK\x03\x04") => ARCHIVE,
            // Protocols 2 to 5, which begin with a number below 6.
            [0x80, 2..=5, ..] => PICKLE,
            _ if starts(b"\x1f\x8b") => GZIP,
            _ if starts(b"\x89HDF") => HDF5,
            // The length of a header, and the header.
            [_, _, _, _, _, 0, 0, 0, b'{', ..] => SAFETENSORS,
            _ if ["<!doctype", "<html", "<?xml", "<head"].iter().any(|tag| lower(64).starts_with(tag)) => WEB_PAGE,
            _ => return None,
        })
    }

    /// The same of a file; none if it cannot be read.
    pub fn of_file(path: &Path) -> Option<Self> {
        let mut beginning = vec![];
        let file = File::open(path).ok()?;
        // A pipe would be waited for.
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        file.take(ENOUGH).read_to_end(&mut beginning).ok()?;
        Self::of(&beginning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_how_they_begin() {
        let cases: [(&[u8], FileKind); 14] = [
            (b"", EMPTY),
            (&[0; 40], EMPTY),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", LFS_POINTER),
            (b"<!DOCTYPE html><html>", WEB_PAGE),
            (b"\n  <HTML lang=en>", WEB_PAGE),
            (b"<?xml version='1.0'?><Error>", WEB_PAGE),
            (b"GGUF\x03\0\0\0", GGUF),
            (b"PK\x03\x04\x00", ARCHIVE),
            (b"\x80\x02}q\x00", PICKLE),
            (b"\x80\x04\x95", PICKLE),
            (b"\x1f\x8b\x08", GZIP),
            (b"\x89HDF\r\n", HDF5),
            (b"\x10\0\0\0\0\0\0\0{\"a\"", SAFETENSORS),
            (b"\x00\x10\0\0\0\0\0\0{", SAFETENSORS),
        ];
        for (bytes, kind) in cases {
            assert_eq!(FileKind::of(bytes), Some(kind), "{}", bytes.escape_ascii());
        }
        for plain in [&b"{\"model_type\": 1}"[..], b"version 2", b"x", b"PK", b"<s>", b"\x80\x09"] {
            assert_eq!(FileKind::of(plain), None, "{}", plain.escape_ascii());
        }
    }
}
