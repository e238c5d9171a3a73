//! Page tokens: opaque to clients, and refused unless this server made them for the very same question.
//!
//! A token holds the cursor (the last key of a page) and a keyed BLAKE3 hash over the cursor and the request's filters.
//! The key lives in the store, so tokens outlive a restart; nobody else can make one, so a cursor is never a stranger's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;

/// Rows on a page where the client does not say.
const DEFAULT_SIZE: usize = 100;
/// Most rows on a page: a few megabytes at the most.
const MAX_SIZE: i32 = 1000;
/// Bytes of the hash kept: 128 bits cannot be guessed.
const MAC: usize = 16;
/// Longest token read: no cursor of ours comes near it.
const MAX_TOKEN: usize = 1024;

/// Makes and checks tokens.
#[derive(Clone)]
pub struct Pages {
    secret: [u8; 32],
}

/// One page as it was asked for.
#[derive(Debug)]
pub struct Page {
    /// Rows wanted.
    pub size: usize,
    /// Where the page before ended; `None` for the first.
    pub cursor: Option<Vec<u8>>,
    mac: blake3::Hasher,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages")
    }
}

impl Pages {
    /// Tokens under this secret.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// Reads `page_size` and `page_token` of a request for `list` with these filters.
    pub fn open(&self, list: &str, filters: &[&str], size: i32, token: &str) -> Result<Page, Fault> {
        let size = match size {
            0 => DEFAULT_SIZE,
            1..=MAX_SIZE => size.unsigned_abs() as usize,
            _ => {
                return Err(Fault::invalid(
                    "page_size",
                    format_args!("is {size}; give 1 to {MAX_SIZE}, or 0 for {DEFAULT_SIZE}"),
                ));
            }
        };
        let mut mac = blake3::Hasher::new_keyed(&self.secret);
        for part in std::iter::once(&list).chain(filters) {
            mac.update(&(part.len() as u64).to_be_bytes()).update(part.as_bytes());
        }
        let mut page = Page { size, cursor: None, mac };
        if !token.is_empty() {
            page.cursor = Some(page.unseal(token).ok_or_else(invalid)?);
        }
        Ok(page)
    }
}

impl Page {
    /// The token of the page that begins behind `cursor`.
    #[must_use]
    pub fn next(&self, cursor: &[u8]) -> String {
        let mut sealed = cursor.to_vec();
        sealed.extend_from_slice(&self.seal(cursor));
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The cursor as text, for lists that go by name.
    pub fn cursor_text(&self) -> Result<Option<&str>, Fault> {
        self.cursor.as_deref().map(std::str::from_utf8).transpose().map_err(|_| invalid())
    }

    fn unseal(&self, token: &str) -> Option<Vec<u8>> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let mut sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let mac = sealed.split_off(sealed.len().checked_sub(MAC)?);
        // A comparison of blake3 hashes takes the same time wherever they differ.
        let expected = self.seal(&sealed);
        let same = expected.iter().zip(&mac).fold(0, |different, (a, b)| different | (a ^ b)) == 0;
        same.then_some(sealed)
    }

    fn seal(&self, cursor: &[u8]) -> [u8; MAC] {
        let mut mac = [0; MAC];
        self.mac.clone().update(cursor).finalize_xof().fill(&mut mac);
        mac
    }
}

fn invalid() -> Fault {
    Fault::field(Reason::PageTokenInvalid, "page_token", "was not made by this server for this request")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Pages {
        Pages::new([7; 32])
    }

    #[test]
    fn a_token_leads_on_from_its_cursor() {
        let first = pages().open("runs", &["default", ""], 10, "").unwrap();
        let token = first.next(b"cursor");
        let second = pages().open("runs", &["default", ""], 10, &token).unwrap();
        assert_eq!(second.cursor.as_deref(), Some(&b"cursor"[..]));
    }

    #[test]
    fn a_token_for_another_question_another_server_or_changed_by_hand_is_refused() {
        let token = pages().open("runs", &["default"], 10, "").unwrap().next(b"cursor");
        let refused = |pages: Pages, list: &str, filter: &str, token: &str| {
            let fault = pages.open(list, &[filter], 10, token).unwrap_err();
            assert_eq!(fault.reason(), Reason::PageTokenInvalid);
        };
        refused(pages(), "agents", "default", &token);
        refused(pages(), "runs", "acme", &token);
        refused(Pages::new([8; 32]), "runs", "default", &token);
        for at in 0..token.len() {
            let mut tampered = token.clone().into_bytes();
            tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
            refused(pages(), "runs", "default", &String::from_utf8(tampered).unwrap());
        }
        refused(pages(), "runs", "default", "\u{202e}");
        refused(pages(), "runs", "default", &"A".repeat(100_000));
    }

    #[test]
    fn sizes_out_of_bounds_are_refused() {
        for size in [-1, i32::MIN, i32::MAX, 1001] {
            assert_eq!(pages().open("runs", &[], size, "").unwrap_err().reason(), Reason::FieldInvalid);
        }
        assert_eq!(pages().open("runs", &[], 0, "").unwrap().size, DEFAULT_SIZE);
    }
}
