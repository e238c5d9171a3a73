//! Sentences, as the extractor takes them out of passages and the reviewer finds them in a draft.

/// Abbreviations whose full stop ends no sentence.
const ABBREVIATIONS: &[&str] = &["e.g", "i.e", "etc", "vs", "cf", "no", "fig", "dr", "mr", "mrs", "st"];

/// The sentences of `text`, trimmed. A line feed ends one too; what follows a full stop, up to the next blank, belongs to
/// it (a quotation mark, a citation).
pub(crate) fn sentences(text: &str) -> Vec<&str> {
    text.lines().flat_map(of_line).collect()
}

fn of_line(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, _) in line.match_indices([' ', '\t']) {
        let (so_far, rest) = (line.get(start..at).unwrap_or_default(), line.get(at..).unwrap_or_default());
        if ends(so_far) && begins(rest.trim_start()) {
            found.push(so_far.trim());
            start = at;
        }
    }
    found.push(line.get(start..).unwrap_or_default().trim());
    found.retain(|sentence| !sentence.is_empty());
    found
}

/// Whether a sentence may end here.
fn ends(text: &str) -> bool {
    let text = without_citations(text).trim_end_matches(['"', '\'', ')', '”', '’']);
    let Some(before) = text.strip_suffix(['.', '!', '?']) else { return false };
    let last = before.rsplit([' ', '(']).next().unwrap_or_default().to_ascii_lowercase();
    !ABBREVIATIONS.contains(&last.as_str())
}

/// Whether a sentence may begin here: small letters go on with the one before.
fn begins(text: &str) -> bool {
    text.chars().next().is_some_and(|c| !c.is_lowercase() && c != '[')
}

/// `text` without the citations at its end, like ` [1] [2]`.
pub(crate) fn without_citations(text: &str) -> &str {
    let mut text = text.trim_end();
    while let Some((before, number)) = text.strip_suffix(']').and_then(|open| open.rsplit_once('[')) {
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            break;
        }
        text = before.trim_end();
    }
    text
}

/// The numbers of the citations at the end of `text`.
pub(crate) fn citations(text: &str) -> Vec<usize> {
    let tail = text.get(without_citations(text).len()..).unwrap_or_default();
    tail.split(['[', ']', ' ']).filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_at_full_stops_and_line_feeds() {
        let text = "A run ends. It was killed at 3.5 s, e.g. by hand! Was it? yes\nAn item without a stop";
        assert_eq!(
            sentences(text),
            ["A run ends.", "It was killed at 3.5 s, e.g. by hand!", "Was it? yes", "An item without a stop"]
        );
    }

    #[test]
    fn a_citation_belongs_to_the_sentence_before_it() {
        assert_eq!(sentences("It ends. [1] It begins. [2] [3]"), ["It ends. [1]", "It begins. [2] [3]"]);
        assert_eq!(citations("It begins. [2] [13]"), [2, 13]);
        assert_eq!(without_citations("It begins. [2] [13]"), "It begins.");
        assert_eq!(citations("No list[x] here."), [0; 0]);
    }
}
