//! What `--input` takes: JSON, `@FILE`, or `-` for standard input.

use std::io::Read;

use crate::exit::Exit;
use crate::failure::Failure;

/// Most bytes read: the largest payload that any server can be told to take. What is longer is refused before it is sent.
const LARGEST_INPUT: u64 = 8 * 1024 * 1024;

/// The bytes that `argument` stands for. Whether they are JSON, the server says: it has the precise answer.
pub(crate) fn payload(argument: Option<&str>) -> Result<Vec<u8>, Failure> {
    match argument {
        None => Ok(Vec::new()),
        Some("-") => bounded(std::io::stdin().lock(), "standard input"),
        Some(text) => match text.strip_prefix('@') {
            Some(path) => file(path),
            None => Ok(text.as_bytes().to_vec()),
        },
    }
}

/// A document: a path, or `-` for standard input.
pub(crate) fn document(path: &str) -> Result<String, Failure> {
    let bytes = if path == "-" { bounded(std::io::stdin().lock(), "standard input") } else { file(path) }?;
    String::from_utf8(bytes).map_err(|_| Failure::new(Exit::Refused, format!("{path}: is not UTF-8 text")))
}

fn file(path: &str) -> Result<Vec<u8>, Failure> {
    let opened = std::fs::File::open(path);
    bounded(opened.map_err(|error| Failure::new(Exit::NotFound, format!("{path}: {error}")))?, path)
}

fn bounded(reader: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = reader.take(LARGEST_INPUT + 1).read_to_end(&mut bytes);
    let read = read.map_err(|error| Failure::new(Exit::NotFound, format!("{name}: {error}")))?;
    if u64::try_from(read).is_ok_and(|read| read > LARGEST_INPUT) {
        let message = format!("{name}: is longer than {LARGEST_INPUT} bytes, which no server takes");
        return Err(Failure::new(Exit::Refused, message).hint("pass large documents by reference"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_itself_and_nothing_is_nothing() {
        assert_eq!(payload(Some("{\"a\": 1}")), Ok(b"{\"a\": 1}".to_vec()));
        assert_eq!(payload(None), Ok(Vec::new()));
    }

    #[test]
    fn a_missing_file_is_not_found_and_named() {
        let failure = payload(Some("@/no/such/file")).unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
        assert!(failure.message.starts_with("/no/such/file: "), "{failure:?}");
    }

    #[test]
    fn an_endless_input_is_refused_and_not_read_to_its_end() {
        assert_eq!(bounded(std::io::repeat(b' '), "x").unwrap_err().exit, Exit::Refused);
    }
}
