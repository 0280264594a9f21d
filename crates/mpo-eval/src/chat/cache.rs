//! Answers kept in a file, a line each, so that an interrupted evaluation goes on where it was and nothing is paid twice.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use mpo_data::Message;
use serde::{Deserialize, Serialize};

use super::{ChatError, ChatModel, Listener, Reply, Usage};

/// A chat model that asks `inner` only what the file does not answer. Replies that are missing are not kept.
#[derive(Debug)]
pub struct CachedChat<M> {
    inner: M,
    kept: HashMap<String, Kept>,
    path: PathBuf,
    file: File,
    paid: Usage,
    hits: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    key: String,
    text: String,
    complete: bool,
    usage: Usage,
}

impl<M: ChatModel> CachedChat<M> {
    /// Opens the file, or makes it. A last line that was not finished is cut off.
    ///
    /// # Errors
    /// If it cannot be read or written, or a finished line holds no answer.
    pub fn open(inner: M, path: &Path) -> Result<Self, ChatError> {
        let failed = |error| ChatError::Cache {
            path: path.to_owned(),
            error,
        };
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(failed)?;
        let mut bytes = vec![];
        file.read_to_end(&mut bytes).map_err(failed)?;
        let whole = bytes
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        file.set_len(whole as u64).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let lines = bytes[..whole].split(|&byte| byte == b'\n').zip(1..);
        let kept = lines
            .filter(|(line, _)| !line.is_empty())
            .map(|(text, line)| {
                let kept: Kept =
                    serde_json::from_slice(text).map_err(|error| ChatError::BrokenCache {
                        path: path.to_owned(),
                        line,
                        problem: error.to_string(),
                    })?;
                Ok((kept.key.clone(), kept))
            })
            .collect::<Result<_, ChatError>>()?;
        Ok(Self {
            inner,
            kept,
            path: path.to_owned(),
            file,
            paid: Usage::default(),
            hits: 0,
        })
    }

    /// What answers have taken since the file was opened; kept ones take nothing.
    pub fn paid(&self) -> Usage {
        self.paid
    }

    /// Conversations answered from the file.
    pub fn hits(&self) -> usize {
        self.hits
    }

    fn key(&self, conversation: &[Message]) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in [
            self.inner.identity(),
            serde_json::json!(conversation).to_string(),
        ] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize().to_string()
    }
}

impl<M: ChatModel> ChatModel for CachedChat<M> {
    fn identity(&self) -> String {
        self.inner.identity()
    }

    fn answer(
        &mut self,
        conversations: &[Vec<Message>],
        listener: &mut dyn Listener,
    ) -> Result<(), ChatError> {
        let mut asked: Vec<Vec<Message>> = vec![];
        let mut waiting: Vec<Waiting> = vec![];
        let mut known: HashMap<String, usize> = HashMap::new();
        for (number, conversation) in conversations.iter().enumerate() {
            let key = self.key(conversation);
            if let Some(kept) = self.kept.get(&key) {
                self.hits += 1;
                listener.reply(number, &kept.reply());
            } else if let Some(&same) = known.get(&key) {
                waiting[same].numbers.push(number);
            } else {
                known.insert(key.clone(), asked.len());
                asked.push(conversation.clone());
                waiting.push(Waiting {
                    key,
                    numbers: vec![number],
                });
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let mut keeping = Keeping {
            waiting,
            listener,
            kept: &mut self.kept,
            file: &mut self.file,
            paid: &mut self.paid,
            failed: None,
        };
        let answered = self.inner.answer(&asked, &mut keeping);
        match keeping.failed {
            Some(error) => Err(ChatError::Cache {
                path: self.path.clone(),
                error,
            }),
            None => answered,
        }
    }
}

impl Kept {
    fn reply(&self) -> Reply {
        Reply::Answer {
            text: self.text.clone(),
            complete: self.complete,
            usage: self.usage,
        }
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
    kept: &'a mut HashMap<String, Kept>,
    file: &'a mut File,
    paid: &'a mut Usage,
    failed: Option<std::io::Error>,
}

impl Listener for Keeping<'_> {
    fn reply(&mut self, number: usize, reply: &Reply) {
        let Waiting { key, numbers } = &self.waiting[number];
        if let Reply::Answer {
            text,
            complete,
            usage,
        } = reply
        {
            *self.paid += *usage;
            let kept = Kept {
                key: key.clone(),
                text: text.clone(),
                complete: *complete,
                usage: *usage,
            };
            // One write a line: a process that is killed leaves one torn line at most.
            let line = format!("{}\n", serde_json::json!(kept));
            if let Err(error) = self.file.write_all(line.as_bytes()) {
                self.failed.get_or_insert(error);
            }
            self.kept.insert(key.clone(), kept);
        }
        for &number in numbers {
            self.listener.reply(number, reply);
        }
    }

    fn go_on(&self) -> bool {
        self.failed.is_none() && self.listener.go_on()
    }
}
