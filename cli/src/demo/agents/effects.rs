//! What an agent did, one line for each time it did something: the witness that nothing was done twice.
//!
//! Nothing is left out here because it was done before. Whether a call reaches the agent a second time is for the
//! sidecar's ledger to decide, and a witness that looked away would prove nothing.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;

/// A file that only grows. Processes may share it: each line is one write, at what is then its end.
#[derive(Debug)]
pub(crate) struct Effects {
    file: File,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effect {
    /// The idempotency key of the call.
    pub(crate) key: String,
    /// What was called.
    pub(crate) capability: String,
}

impl Effects {
    /// Opens the file, and makes it if there is none.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        Ok(Self { file: file.with_context(|| path.display().to_string())? })
    }

    /// Adds a line, before the answer is given.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn add(&self, key: &str, capability: &str) -> std::io::Result<()> {
        let key: String = key.split_whitespace().collect();
        (&self.file).write_all(format!("{key} {capability}\n").as_bytes())
    }
}

/// The lines of a file; none if there is no file yet.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Effect>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let effect = |line: &str| {
        let (key, capability) = line.split_once(' ')?;
        Some(Effect { key: key.to_owned(), capability: capability.to_owned() })
    };
    Ok(text.lines().filter_map(effect).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_twice_is_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("effects");
        assert_eq!(read(&path).unwrap(), []);
        for _ in 0..2 {
            Effects::open(&path).unwrap().add("att_1", "docs.find").unwrap();
        }
        let effect = Effect { key: "att_1".into(), capability: "docs.find".into() };
        assert_eq!(read(&path).unwrap(), [effect.clone(), effect]);
    }
}
