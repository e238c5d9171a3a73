//! "Did you mean": the known word closest to one that is not known.

/// How many letters may be wrong; more would suggest words nobody meant.
const MAX_DISTANCE: usize = 2;

/// The word of `known` that is closest to `word`, if one is close.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let near = known.into_iter().filter(|other| other.len().abs_diff(word.len()) <= MAX_DISTANCE);
    near.map(|other| (distance(word, other), other))
        .filter(|&(distance, other)| distance <= MAX_DISTANCE && distance < other.len())
        .min()
        .map(|(_, other)| other)
}

/// The Levenshtein distance, by rows.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (deleted, a) in from.chars().enumerate() {
        let mut left = deleted + 1;
        let mut next = vec![left];
        for (pair, b) in row.windows(2).zip(&to) {
            let [diagonal, above] = *pair else { continue };
            left = (above + 1).min(left + 1).min(diagonal + usize::from(a != *b));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_word_is_suggested_and_none_that_is_far() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(nearest("timout", ["timeout", "input"]), Some("timeout"));
        assert_eq!(nearest("after", ["before", "input"]), None);
        assert_eq!(nearest("x", ["id"]), None, "nothing is left of `id`");
    }
}
