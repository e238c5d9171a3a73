//! A folder of texts, read once and within bounds: a demo that is pointed at a home folder must not read it all.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Most files: a large handbook has hundreds.
const MAX_FILES: usize = 2_000;
/// Longest file in bytes: the longest books are shorter; what is longer is a log.
const MAX_FILE_BYTES: u64 = 2 * 1024 * 1024;
/// Most bytes in all: as text they take a second to index and a few times as much memory.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How deep folders may nest: documentation is flat, and a folder deeper than this is something else.
const MAX_DEPTH: usize = 8;
/// Most entries looked at, whatever they are: bounds the walk through folders that hold no texts.
const MAX_ENTRIES: usize = 50_000;

/// A text of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// Its path within the folder, with `/` between its parts.
    pub(crate) source: String,
    /// What it says.
    pub(crate) text: String,
}

/// Reads every `.md` and `.txt` file of `folder`, ordered by path. Hidden files and links are passed over.
///
/// # Errors
/// If the folder cannot be read, holds no text, or is larger than this reads.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Vec<Document>> {
    let mut walk = Walk { entries: 0, files: Vec::new() };
    walk.folder(folder, 0)?;
    if walk.files.is_empty() {
        bail!("{} holds no .md or .txt file", folder.display());
    }
    walk.files.sort();
    let mut bytes = 0;
    let mut documents = Vec::with_capacity(walk.files.len());
    for path in walk.files {
        let length = std::fs::metadata(&path).with_context(|| path.display().to_string())?.len();
        bytes += length;
        if length > MAX_FILE_BYTES || bytes > MAX_BYTES {
            bail!(
                "{} is too much to read: at most {MAX_FILE_BYTES} bytes a file and {MAX_BYTES} in all",
                path.display()
            );
        }
        let content = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let source = path.strip_prefix(folder).unwrap_or(&path);
        let parts: Vec<_> = source.iter().map(|part| part.to_string_lossy()).collect();
        documents
            .push(Document { source: parts.join("/"), text: String::from_utf8_lossy(&content).into_owned() });
    }
    Ok(documents)
}

struct Walk {
    entries: usize,
    files: Vec<PathBuf>,
}

impl Walk {
    fn folder(&mut self, folder: &Path, depth: usize) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let entry = entry.with_context(|| folder.display().to_string())?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES || self.files.len() >= MAX_FILES {
                bail!("{} holds too much: at most {MAX_FILES} texts are read", folder.display());
            }
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            // The type is that of the entry itself: a link is neither file nor folder, and cannot lead in circles.
            let kind = entry.file_type().with_context(|| entry.path().display().to_string())?;
            if hidden {
                continue;
            }
            if kind.is_dir() && depth < MAX_DEPTH {
                self.folder(&entry.path(), depth + 1)?;
            } else if kind.is_file() && is_text(&entry.path()) {
                self.files.push(entry.path());
            }
        }
        Ok(())
    }
}

/// Whether a file is one of those that are read.
pub(crate) fn is_text(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("md") || extension.eq_ignore_ascii_case("txt")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_in_folders_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in
            [("b.md", "B"), ("a/x.TXT", "X"), ("a/y.rs", "no"), (".git/z.md", "no"), (".z.md", "no")]
        {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), folder.path().join("circle")).unwrap();
        let sources: Vec<_> = read(folder.path()).unwrap().into_iter().map(|d| d.source).collect();
        assert_eq!(sources, ["a/x.TXT", "b.md"]);
    }

    #[test]
    fn a_folder_without_texts_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&folder.path().display().to_string()) && error.contains(".md"), "{error}");
    }

    #[test]
    fn a_file_that_is_too_long_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("log.txt")).unwrap();
        file.set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("too much to read"));
    }
}
