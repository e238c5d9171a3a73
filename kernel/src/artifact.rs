//! Artifacts: large documents that travel by reference.
//!
//! # Why by reference
//! An output of a hundred megabytes that is mapped from step to step would be copied into every record, message and agent it
//! passes. So it is put once, under the BLAKE3 hash of its bytes, and what travels is a small JSON object:
//! `{"$artifact": "blake3:<64 hexadecimal digits>", "bytes": n, "media_type": "…"}`. The name is the proof of the contents,
//! so equal documents are one, and nobody can be handed another than the one that was meant.
//!
//! # What keeps one
//! The record of a run that is kept. Whatever stands in it, in its input, in an output or anywhere else, is looked through
//! for names ([`references`]): the object's shape does not matter, a name inside a text counts, too. What no kept run names
//! goes once its time of grace is over, which begins anew whenever the same document is put again: an upload comes before
//! the run that is to name it. It goes on the second look that finds it so, because a look at all runs takes a while and a
//! name may be written behind its back.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::time::Wall;

/// What every reference begins with.
const PREFIX: &str = "blake3:";

/// Hexadecimal digits behind it.
const DIGITS: usize = 64;

/// Most artifacts that one record of a run names. A step that works on more hands on a list of them as an artifact.
pub const MAX_REFERENCES: usize = 1_000;

/// Longest media type in bytes: the longest that is registered has 84.
pub const MAX_MEDIA_TYPE: usize = 128;

/// The media type of what nobody named: bytes.
pub const DEFAULT_MEDIA_TYPE: &str = "application/octet-stream";

/// Most artifacts of a tenant: a look at all of them takes a second, and remembers four megabytes.
pub const MAX_ARTIFACTS: u64 = 100_000;

/// BLAKE3 hash of an artifact, its name. Written `blake3:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactId([u8; 32]);

/// Names bytes as they come.
#[derive(Debug, Clone, Default)]
pub struct Hasher(blake3::Hasher);

/// A text that names no artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `blake3:` and 64 hexadecimal digits in lower case")]
pub struct NotAnArtifact;

/// What is kept, and how much of it there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Bytes of the largest artifact.
    pub max_bytes: u64,
    /// Bytes of all artifacts of a tenant.
    pub tenant_bytes: u64,
    /// How long one stays after it was put, although no run names it.
    pub grace: Duration,
}

/// Why bytes are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The artifact is larger than one may be.
    #[error("is larger than {limit} bytes, the largest artifact there may be")]
    TooLarge {
        /// Bytes of the largest.
        limit: u64,
    },
    /// The tenant has as much as it may.
    #[error("would bring the tenant's artifacts over {limit} bytes, of which {used} are used")]
    OverQuota {
        /// Bytes it has, with those under way.
        used: u64,
        /// Bytes it may have.
        limit: u64,
    },
    /// The tenant has as many as it may.
    #[error("would be the tenant's artifact number {}, and it may have {MAX_ARTIFACTS}", MAX_ARTIFACTS + 1)]
    TooMany,
}

/// What a tenant has, with what is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

// === impl ArtifactId ===

impl ArtifactId {
    /// The artifact of this hash.
    #[must_use]
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

// === impl Hasher ===

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The name of all that came.
    #[must_use]
    pub fn finish(&self) -> ArtifactId {
        self.0.finalize().into()
    }
}

impl From<blake3::Hash> for ArtifactId {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for ArtifactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ArtifactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ArtifactId {
    type Err = NotAnArtifact;
    fn from_str(text: &str) -> Result<Self, NotAnArtifact> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotAnArtifact)?;
        if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(NotAnArtifact);
        }
        blake3::Hash::from_hex(digits).map(Self::from).map_err(|_| NotAnArtifact)
    }
}

/// Every artifact that `text` names, the first [`MAX_REFERENCES`] of them, each once and in order.
#[must_use]
pub fn references(text: &str) -> Vec<ArtifactId> {
    let mut found = std::collections::BTreeSet::new();
    let mut rest = text;
    while let Some(at) = rest.find(PREFIX) {
        let from = rest.get(at..).unwrap_or_default();
        let named = from.get(..PREFIX.len() + DIGITS).and_then(|name| name.parse::<ArtifactId>().ok());
        found.extend(named);
        if found.len() >= MAX_REFERENCES {
            break;
        }
        rest = from.get(PREFIX.len()..).unwrap_or_default();
    }
    found.into_iter().collect()
}

/// Checks a media type: `type/subtype` of printable ASCII without blanks, parameters behind a semicolon.
#[must_use]
pub fn is_media_type(text: &str) -> bool {
    let sides = text.split_once('/').is_some_and(|(kind, subtype)| !kind.is_empty() && !subtype.is_empty());
    sides && text.len() <= MAX_MEDIA_TYPE && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

// === impl Policy ===

impl Default for Policy {
    /// A gigabyte, because that is a long video or a large table; ten for a tenant, because that is what a small server can
    /// spare; a day, because a run that is to name an artifact begins within it.
    fn default() -> Self {
        let (max_bytes, grace) = (Self::LARGEST, Duration::from_secs(24 * 3600));
        Self { max_bytes, tenant_bytes: 10 * max_bytes, grace }
    }
}

impl Policy {
    /// The most that [`Policy::max_bytes`] may be: the names of its pieces must fit into one record.
    pub const LARGEST: u64 = 1024 * 1024 * 1024;

    /// Whether `more` bytes of an artifact that has `so_far` are taken, for a tenant that uses `usage`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn takes(&self, so_far: u64, more: u64, usage: Usage) -> Result<(), Refused> {
        if so_far.saturating_add(more) > self.max_bytes {
            return Err(Refused::TooLarge { limit: self.max_bytes });
        }
        if usage.bytes.saturating_add(more) > self.tenant_bytes {
            return Err(Refused::OverQuota { used: usage.bytes, limit: self.tenant_bytes });
        }
        Ok(())
    }

    /// Whether another artifact is begun for a tenant that uses `usage`.
    ///
    /// # Errors
    /// [`Refused::TooMany`].
    pub const fn begins(&self, usage: Usage) -> Result<(), Refused> {
        if usage.count >= MAX_ARTIFACTS { Err(Refused::TooMany) } else { Ok(()) }
    }

    /// Whether an artifact that was put last at `put_at` goes if no run names it.
    #[must_use]
    pub fn is_due(&self, put_at: Wall, now: Wall) -> bool {
        now.saturating_since(put_at) >= self.grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ArtifactId {
        ArtifactId::from_bytes([byte; 32])
    }

    #[test]
    fn a_name_goes_there_and_back_and_nothing_else_is_one() {
        assert_eq!(id(0xab).to_string().parse(), Ok(id(0xab)));
        let good = id(0xab).to_string();
        for bad in ["", "blake3:", &good[..70], &good.to_uppercase(), &good.replace("blake3", "sha256")] {
            assert_eq!(bad.parse::<ArtifactId>(), Err(NotAnArtifact), "{bad}");
        }
        assert_eq!(good.replace('a', "A").parse::<ArtifactId>(), Err(NotAnArtifact));
    }

    #[test]
    fn every_name_in_a_text_is_found_once_also_inside_a_text_of_the_text() {
        let (one, two) = (id(1), id(2));
        let text = format!(
            r#"{{"a":{{"$artifact":"{two}","bytes":1}},"b":"see {one} and {one}","c":"{{\"x\":\"{two}\"}}"}}"#
        );
        assert_eq!(references(&text), [one, two]);
        for none in ["", "blake3:", "blake3:blake3:", "blake3:é", &one.to_string()[..70]] {
            assert_eq!(references(none), [], "{none}");
        }
        assert_eq!(references(&format!("blake3:blake3:{}", &one.to_string()[7..])), [one]);
    }

    #[test]
    fn names_without_end_have_an_end() {
        let many: String = (0..2_000_u32).map(|n| format!("blake3:{n:064x} ")).collect();
        assert_eq!(references(&many).len(), MAX_REFERENCES);
    }

    #[test]
    fn what_is_too_large_or_too_much_is_refused_with_the_limit() {
        let policy = Policy { max_bytes: 10, tenant_bytes: 15, grace: Duration::from_secs(60) };
        let usage = |bytes| Usage { count: 1, bytes };
        assert_eq!(policy.takes(4, 6, usage(9)), Ok(()));
        assert_eq!(policy.takes(5, 6, usage(0)), Err(Refused::TooLarge { limit: 10 }));
        assert_eq!(policy.takes(0, 6, usage(10)), Err(Refused::OverQuota { used: 10, limit: 15 }));
        assert!(policy.takes(u64::MAX, 1, usage(0)).is_err());
        assert_eq!(policy.begins(Usage { count: MAX_ARTIFACTS, bytes: 0 }), Err(Refused::TooMany));
    }

    #[test]
    fn an_artifact_has_its_time_of_grace() {
        let policy = Policy { grace: Duration::from_secs(60), ..Policy::default() };
        let at = |s: i64| Wall::from_millis(s * 1000);
        assert!(!policy.is_due(at(0), at(59)) && policy.is_due(at(0), at(60)));
        assert!(!policy.is_due(at(100), at(0)), "also if the clock went back");
    }

    #[test]
    fn media_types_have_two_sides_and_no_surprises() {
        for good in ["text/csv", "application/vnd.x+json", "text/plain;charset=utf-8"] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in [
            "",
            "text",
            "/csv",
            "text/",
            "text/a b",
            "text/\u{e9}",
            "a/b\"",
            &format!("a/{}", "b".repeat(200)),
        ] {
            assert!(!is_media_type(bad), "{bad}");
        }
    }
}
