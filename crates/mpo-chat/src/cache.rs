//! Answers kept in a file, one per line, so that an interrupted evaluation goes on where it was and nothing is paid twice.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use mpo_data::Message;
use mpo_models::{rewritten, seal, unseal};
use serde::{Deserialize, Serialize};

use crate::error::ChatError;
use crate::model::{ChatModel, Listener, Reply, Usage};

/// A chat model that asks `inner` only what the file does not answer. Replies that are missing, or not what was asked for,
/// are not kept.
#[derive(Debug)]
pub struct CachedChat<M> {
    inner: M,
    /// A part of every key, asked for once: a model may have to read files to tell.
    identity: String,
    path: PathBuf,
    store: Store,
    /// Replies that `inner` gave since the file was opened.
    asked: usize,
}

/// What every line begins with.
const BEGINNING: &[u8] = b"{\"key\":\"";

/// The file and what is in it.
#[derive(Debug)]
struct Store {
    /// Locked; the system lets go of it however the process ends.
    file: File,
    kept: HashMap<String, Kept>,
    /// Lines that hold no answer.
    damaged: Vec<usize>,
    /// How many lines another program wrote.
    rewritten: usize,
    /// Whether a line was begun and not ended: one written behind it would be part of it.
    torn: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    key: String,
    text: String,
    complete: bool,
    usage: Usage,
    /// Whether it has answered anything since the file was opened.
    #[serde(skip)]
    given: bool,
}

impl<M: ChatModel> CachedChat<M> {
    /// Opens the file, or makes it, for this process alone. A last line that was not finished is cut off, and lines that were
    /// damaged since are passed over.
    ///
    /// # Errors
    /// If another process has it open, it cannot be read or written, or none of its finished lines holds an answer.
    pub fn open(inner: M, path: &Path) -> Result<Self, ChatError> {
        let failed = |error| ChatError::Cache { path: path.to_owned(), error };
        let mut file = locked(path)?;
        let mut bytes = vec![];
        file.rewind().map_err(failed)?;
        file.read_to_end(&mut bytes).map_err(failed)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let mut store = Store { file, kept: HashMap::new(), damaged: vec![], rewritten: 0, torn: false };
        store.read(&bytes[..whole], path)?;
        if whole < bytes.len() {
            store.cut(&bytes, whole, path)?;
        }
        Ok(Self { identity: inner.identity(), inner, path: path.to_owned(), store, asked: 0 })
    }

    /// Replies that were asked for since the file was opened, because it did not have them.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// Lines of the file that hold no answer, counted from one: what they answered is asked again.
    pub fn damaged(&self) -> &[usize] {
        &self.store.damaged
    }

    /// How many lines of the file another program wrote: they are taken as they are.
    pub fn rewritten(&self) -> usize {
        self.store.rewritten
    }

    fn key(&self, conversation: &[Message]) -> String {
        let conversation = serde_json::json!(conversation).to_string();
        let mut hasher = blake3::Hasher::new();
        for part in [&self.identity, &conversation] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize().to_string()
    }
}

/// The file, which no other process may have open.
fn locked(path: &Path) -> Result<File, ChatError> {
    let failed = |error| ChatError::Cache { path: path.to_owned(), error };
    let mut options = OpenOptions::new();
    let options = options.read(true).append(true).create(true);
    let file = options.open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ChatError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

impl<M: ChatModel> ChatModel for CachedChat<M> {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn answer(&mut self, conversations: &[Vec<Message>], listener: &mut dyn Listener) -> Result<(), ChatError> {
        let mut asked: Vec<Vec<Message>> = vec![];
        let mut waiting: Vec<Waiting> = vec![];
        let mut known: HashMap<String, usize> = HashMap::new();
        for (number, conversation) in conversations.iter().enumerate() {
            let key = self.key(conversation);
            let kept = self.store.kept.get_mut(&key);
            // An earlier version kept whatever came.
            let kept = kept.filter(|kept| listener.accepts(number, &kept.reply()));
            if let Some(kept) = kept {
                kept.given = true;
                listener.reply(number, &kept.reply());
                self.inner.known_to_answer();
            } else if let Some(&same) = known.get(&key) {
                waiting[same].numbers.push(number);
            } else {
                known.insert(key.clone(), asked.len());
                asked.push(conversation.clone());
                waiting.push(Waiting { key, numbers: vec![number] });
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let mut keeping = Keeping { waiting, listener, store: &mut self.store, asked: &mut self.asked, failed: None };
        let answered = self.inner.answer(&asked, &mut keeping);
        match keeping.failed {
            Some(error) => Err(ChatError::Cache { path: self.path.clone(), error }),
            None => answered,
        }
    }

    fn known_to_answer(&mut self) {
        self.inner.known_to_answer();
    }

    /// What the answers given since the file was opened have taken: those kept from an earlier process took as much. Each
    /// counts once, however often it was given.
    fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for kept in self.store.kept.values().filter(|kept| kept.given) {
            usage += kept.usage;
        }
        usage
    }
}

impl Store {
    /// Takes in the answers of the file's finished lines.
    fn read(&mut self, bytes: &[u8], path: &Path) -> Result<(), ChatError> {
        let mut first = None;
        let lines = bytes.split(|&byte| byte == b'\n').zip(1..);
        for (text, line) in lines.filter(|(line, _)| !line.is_empty()) {
            let answer = unseal::<Kept>(text).or_else(|problem| {
                let answer = rewritten(text).ok_or(problem)?;
                self.rewritten += 1;
                Ok(answer)
            });
            match answer {
                Ok(answer) => _ = self.kept.insert(answer.key.clone(), answer),
                Err(problem) => {
                    self.damaged.push(line);
                    first.get_or_insert((line, problem));
                }
            }
        }
        // A file without a single answer is another one.
        match first {
            Some((line, problem)) if self.kept.is_empty() => {
                Err(ChatError::BrokenCache { path: path.to_owned(), line, problem })
            }
            _ => Ok(()),
        }
    }

    /// Cuts off a last line that was not finished.
    fn cut(&self, bytes: &[u8], whole: usize, path: &Path) -> Result<(), ChatError> {
        // What begins in another way, nobody was killed at.
        let is_ours = bytes[whole..].iter().zip(BEGINNING).all(|(a, b)| a == b);
        if !is_ours {
            return Err(ChatError::BrokenCache {
                path: path.to_owned(),
                line: bytes[..whole].split(|&byte| byte == b'\n').count(),
                problem: "a line that is not finished, of something else".into(),
            });
        }
        let cut = self.file.set_len(whole as u64);
        cut.map_err(|error| ChatError::Cache { path: path.to_owned(), error })
    }

    fn keep(&mut self, kept: Kept) -> io::Result<()> {
        if self.torn {
            return Err(io::Error::other("an earlier answer could not be written"));
        }
        // One write a line: a process that is killed leaves one torn line at most.
        let line = seal(&kept)?;
        let written = self.file.write_all(line.as_bytes());
        self.torn = written.is_err();
        written?;
        self.kept.insert(kept.key.clone(), kept);
        Ok(())
    }
}

impl Kept {
    fn reply(&self) -> Reply {
        Reply::Answer { text: self.text.clone(), complete: self.complete, usage: self.usage }
    }
}

/// A question that is asked, and the conversations that it answers.
struct Waiting {
    key: String,
    numbers: Vec<usize>,
}

/// Keeps each reply before it is told.
struct Keeping<'a> {
    waiting: Vec<Waiting>,
    listener: &'a mut dyn Listener,
    store: &'a mut Store,
    asked: &'a mut usize,
    failed: Option<io::Error>,
}

impl Listener for Keeping<'_> {
    fn reply(&mut self, number: usize, reply: &Reply) {
        // Replies that were under way still come in. One that cannot be kept is not told either.
        if self.failed.is_some() {
            return;
        }
        *self.asked += 1;
        let Waiting { key, numbers } = &self.waiting[number];
        if let Reply::Answer { text, complete, usage } = reply
            && self.accepts(number, reply)
        {
            let kept = Kept { key: key.clone(), text: text.clone(), complete: *complete, usage: *usage, given: true };
            if let Err(error) = self.store.keep(kept) {
                self.failed = Some(error);
                return;
            }
        }
        for &number in numbers {
            self.listener.reply(number, reply);
        }
    }

    fn accepts(&self, number: usize, reply: &Reply) -> bool {
        let mut numbers = self.waiting[number].numbers.iter();
        numbers.all(|&number| self.listener.accepts(number, reply))
    }

    fn is_stopped(&self) -> bool {
        self.failed.is_some() || self.listener.is_stopped()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, mem};

    use super::*;

    /// Repeats what it is asked, and does not stop when it is told to.
    #[derive(Debug)]
    struct Echo;

    impl ChatModel for Echo {
        fn identity(&self) -> String {
            "echo".into()
        }

        fn answer(&mut self, conversations: &[Vec<Message>], listener: &mut dyn Listener) -> Result<(), ChatError> {
            for (number, conversation) in conversations.iter().enumerate() {
                let reply =
                    Reply::Answer { text: conversation[0].content.clone(), complete: true, usage: Usage::default() };
                listener.reply(number, &reply);
            }
            Ok(())
        }
    }

    /// Counts what it is told.
    #[derive(Default)]
    struct Told(usize);

    impl Listener for Told {
        fn reply(&mut self, _: usize, _: &Reply) {
            self.0 += 1;
        }

        fn is_stopped(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_file_of_something_else_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answers.jsonl");
        for text in ["mine", "a\nb\n", "{\"keys\": [1, 2"] {
            fs::write(&path, text).unwrap();
            let error = CachedChat::open(Echo, &path).unwrap_err();
            assert!(error.hint().unwrap().contains("move the file away"));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        for text in ["{\"ke", "{\"key\":\"ab"] {
            fs::write(&path, text).unwrap();
            CachedChat::open(Echo, &path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "");
        }
    }

    #[test]
    fn behind_a_line_that_could_not_be_written_comes_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answers.jsonl");
        let questions = ["a", "b"].map(|text| vec![Message::user(text)]);
        let mut chat = CachedChat::open(Echo, &path).unwrap();
        // Every write to it fails, as on a full disk.
        let unwritable = File::open(&path).unwrap();
        let writable = mem::replace(&mut chat.store.file, unwritable);
        let mut told = Told::default();
        let result = chat.answer(&questions, &mut told);
        assert!(matches!(result, Err(ChatError::Cache { .. })), "{result:?}");
        chat.store.file = writable;
        assert!(chat.answer(&questions, &mut told).is_err());
        assert_eq!((told.0, fs::metadata(&path).unwrap().len()), (0, 0));
    }
}
