//! Finding the expressions in a text.

/// A stretch of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text as it is, `$${` already read as `${`.
    Text(String),
    /// What stands between `${` and its `}`.
    Expression(&'a str),
}

/// Splits `text`; an error if an expression has no end.
pub(super) fn split(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let inner = from.get(2..).unwrap_or_default();
        if let Some(before) = before.strip_suffix('$') {
            plain.push_str(before);
            plain.push_str("${");
            rest = inner;
            continue;
        }
        plain.push_str(before);
        let Some(end) = end(inner) else {
            return Err(format!("`${{` at byte {} has no closing `}}`", text.len() - from.len()));
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Expression(inner.get(..end).unwrap_or_default().trim()));
        rest = inner.get(end + 1..).unwrap_or_default();
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

/// Where the `}` stands that ends the expression at the start of `text`: braces of maps and in strings do not count.
fn end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut open) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            b'"' | b'\'' => {
                at = past_string(bytes, at)?;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The position after the CEL string that begins at `from`: single or triple quotes, raw or with escapes.
fn past_string(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let quote = *rest.first()?;
    let triple = [quote; 3];
    let delimiter: &[u8] = if rest.starts_with(&triple) { &triple } else { rest.get(..1)? };
    let raw =
        from.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(|b| matches!(b, b'r' | b'R'));
    let mut at = from + delimiter.len();
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(delimiter) {
            return Some(at + delimiter.len());
        }
        at += if !raw && rest.first() == Some(&b'\\') { 2 } else { 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece<'_> {
        Piece::Text(text.to_owned())
    }

    #[test]
    fn expressions_and_text_are_told_apart() {
        assert_eq!(split("plain").unwrap(), [text("plain")]);
        assert_eq!(split("${ a }").unwrap(), [Piece::Expression("a")]);
        assert_eq!(
            split("a ${b} c${d}").unwrap(),
            [text("a "), Piece::Expression("b"), text(" c"), Piece::Expression("d")]
        );
        assert_eq!(split("").unwrap(), []);
    }

    #[test]
    fn a_doubled_dollar_writes_the_sign_itself() {
        assert_eq!(split("cost $${x} $5").unwrap(), [text("cost ${x} $5")]);
    }

    #[test]
    fn braces_of_maps_and_strings_do_not_end_an_expression() {
        for inner in [r#"{"a": {"b": 1}}"#, r#""}""#, r"'}\'}'", r#""""}"}""""#, r"r'\'", "size({'}': 1})"] {
            assert_eq!(split(&format!("${{{inner}}}")).unwrap(), [Piece::Expression(inner)], "{inner}");
        }
    }

    #[test]
    fn an_expression_without_end_is_an_error_that_says_where() {
        assert_eq!(split("ab ${c").unwrap_err(), "`${` at byte 3 has no closing `}`");
        assert!(split("${'}").is_err());
    }
}
