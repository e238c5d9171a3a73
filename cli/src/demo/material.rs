//! What is asked, and where the answer should be found.
//!
//! Without arguments the project answers a question about itself, from its own documents: those of the checkout the demo
//! is started in, or those that the binary carries when there is none.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::agents::library::{self, Document};

/// Asked of the project's own documents.
const OWN_QUESTION: &str = "What happens to a run when the control plane is killed?";
/// How the README of a checkout begins.
const OWN_TITLE: &str = "# Mainstay";
/// What a checkout says about itself.
const OWN_PLACES: [&str; 4] = ["README.md", "ARCHITECTURE.md", "docs", "examples/docs"];
/// Carried along for a binary that is started elsewhere: the same, but for the table of requirements, which has no prose.
const EMBEDDED: [(&str, &str); 8] = [
    ("ARCHITECTURE.md", include_str!("../../../ARCHITECTURE.md")),
    ("README.md", include_str!("../../../README.md")),
    ("docs/cli.md", include_str!("../../../docs/cli.md")),
    ("docs/operations.md", include_str!("../../../docs/operations.md")),
    ("docs/workflows.md", include_str!("../../../docs/workflows.md")),
    ("examples/docs/agents.md", include_str!("../../../examples/docs/agents.md")),
    ("examples/docs/crashes.md", include_str!("../../../examples/docs/crashes.md")),
    ("examples/docs/workflows.md", include_str!("../../../examples/docs/workflows.md")),
];

/// A question and the texts it is asked of.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) question: String,
    /// Whose texts they are, for people.
    pub(super) origin: String,
    texts: Texts,
}

#[derive(Debug)]
enum Texts {
    /// Read where they are.
    Folder { path: PathBuf, count: usize },
    /// Laid out for the finder.
    Documents(Vec<Document>),
}

impl Material {
    /// What `question` and `docs` ask for, started in the folder `cwd`.
    ///
    /// # Errors
    /// If the texts cannot be read; see [`library::read`].
    pub(super) fn gather(question: Option<String>, docs: Option<&Path>, cwd: &Path) -> anyhow::Result<Self> {
        if let Some(docs) = docs {
            let path = docs.canonicalize().with_context(|| docs.display().to_string())?;
            let documents = library::read(&path)?;
            let question = question.unwrap_or_else(|| question_about(&documents));
            let texts = Texts::Folder { path, count: documents.len() };
            return Ok(Self { question, origin: docs.display().to_string(), texts });
        }
        let question = question.unwrap_or_else(|| OWN_QUESTION.to_owned());
        let own = of_checkout(cwd)?;
        let (documents, origin) = match own {
            Some(documents) => (documents, "the documents of this checkout"),
            None => (embedded(), "the documents that this binary carries"),
        };
        Ok(Self { question, origin: origin.to_owned(), texts: Texts::Documents(documents) })
    }

    /// How many texts there are.
    pub(super) fn count(&self) -> usize {
        match &self.texts {
            Texts::Folder { count, .. } => *count,
            Texts::Documents(documents) => documents.len(),
        }
    }

    /// The folder for the finder to read; texts that are in none are laid out in `room`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn lay_out(&self, room: &Path) -> anyhow::Result<PathBuf> {
        let documents = match &self.texts {
            Texts::Folder { path, .. } => return Ok(path.clone()),
            Texts::Documents(documents) => documents,
        };
        for document in documents {
            let path = room.join(&document.source);
            let folder = path.parent().unwrap_or(room);
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&path, &document.text))
                .with_context(|| path.display().to_string())?;
        }
        Ok(room.to_owned())
    }
}

/// The documents of a checkout of the project; `None` if `cwd` is none.
fn of_checkout(cwd: &Path) -> anyhow::Result<Option<Vec<Document>>> {
    let is_ours =
        std::fs::read_to_string(cwd.join("README.md")).is_ok_and(|text| text.starts_with(OWN_TITLE));
    if !is_ours {
        return Ok(None);
    }
    let mut documents = Vec::new();
    for place in OWN_PLACES {
        let path = cwd.join(place);
        if path.is_file() {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            documents.push(Document { source: place.to_owned(), text });
        } else if path.is_dir() {
            let inside = library::read(&path)?.into_iter();
            documents.extend(inside.map(|document| Document {
                source: format!("{place}/{}", document.source),
                text: document.text,
            }));
        }
    }
    Ok(Some(documents))
}

fn embedded() -> Vec<Document> {
    let document =
        |(source, text): (&str, &str)| Document { source: source.to_owned(), text: text.to_owned() };
    EMBEDDED.into_iter().map(document).collect()
}

/// A question that any folder can be asked: what its first heading is about.
fn question_about(documents: &[Document]) -> String {
    let heading = documents
        .iter()
        .flat_map(|document| document.text.lines())
        .find_map(|line| line.strip_prefix("# ").map(str::trim))
        .filter(|heading| !heading.is_empty());
    format!("What is {}?", heading.unwrap_or("this about"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_answers_from_its_own_documents_and_a_stranger_from_what_the_binary_carries() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("README.md"), "# Something else").unwrap();
        let material = Material::gather(None, None, folder.path()).unwrap();
        assert_eq!((material.count(), material.question.as_str()), (EMBEDDED.len(), OWN_QUESTION));

        std::fs::create_dir(folder.path().join("docs")).unwrap();
        std::fs::write(folder.path().join("README.md"), "# Mainstay\n\nKeeps agents alive.").unwrap();
        std::fs::write(folder.path().join("docs/a.md"), "A lease.").unwrap();
        let material = Material::gather(None, None, folder.path()).unwrap();
        let room = tempfile::tempdir().unwrap();
        let laid_out = library::read(&material.lay_out(room.path()).unwrap()).unwrap();
        let sources: Vec<_> = laid_out.iter().map(|document| document.source.as_str()).collect();
        assert_eq!(sources, ["README.md", "docs/a.md"]);
    }

    #[test]
    fn a_folder_that_is_named_is_read_where_it_is_and_asked_about_itself() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.md"), "# Bees\n\nThey hum.").unwrap();
        let material = Material::gather(None, Some(folder.path()), Path::new("/")).unwrap();
        assert_eq!(material.question, "What is Bees?");
        let room = tempfile::tempdir().unwrap();
        assert_eq!(material.lay_out(room.path()).unwrap(), folder.path().canonicalize().unwrap());
        assert!(Material::gather(None, Some(Path::new("/nowhere")), Path::new("/")).is_err());
    }
}
