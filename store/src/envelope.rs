//! How a record lies on disk: format, version and a checksum that also covers the key.
//!
//! An engine's own checksums guard its pages, not our records: a value that lands under another key, or a page taken
//! from an older copy of the file, passes them. BLAKE3 over key, version and payload does not let it pass.

use crate::commit::Version;
use crate::quarantine::Damage;

/// The payload follows the header.
const INLINE: u8 = 1;
/// The payload lies in parts elsewhere; its length and their number follow the header.
const IN_PARTS: u8 = 2;

/// 128 bits of BLAKE3: an accidental match is out of the question, and 16 bytes are little beside a record.
const CHECKSUM: usize = 16;
/// Format, version, checksum.
const HEADER: usize = 1 + 8 + CHECKSUM;

/// A record as it lies on disk, taken apart but not yet verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    pub(crate) version: Version,
    checksum: [u8; CHECKSUM],
    pub(crate) body: Body<'a>,
}

/// Where the payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Inline(&'a [u8]),
    Parts { id: u32, len: u32 },
}

/// Writes a record with its payload inside.
pub(crate) fn seal(key: &[u8], version: Version, payload: &[u8]) -> Vec<u8> {
    let mut record = header(INLINE, key, version, payload, payload.len());
    record.extend_from_slice(payload);
    record
}

/// Writes the record of a payload whose parts are stored under `(version, id)`.
pub(crate) fn seal_in_parts(key: &[u8], version: Version, payload: &[u8], id: u32) -> Vec<u8> {
    let mut record = header(IN_PARTS, key, version, payload, 8);
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    record.extend_from_slice(&id.to_be_bytes());
    record.extend_from_slice(&len.to_be_bytes());
    record
}

/// Takes a record apart.
pub(crate) fn open(record: &[u8]) -> Result<Envelope<'_>, Damage> {
    let (header, rest) = record.split_at_checked(HEADER).ok_or(Damage::Truncated)?;
    let version = Version::from_be_bytes(array(&header[1..9])?);
    let checksum = array(&header[9..])?;
    let body = match header[0] {
        INLINE => Body::Inline(rest),
        IN_PARTS if rest.len() == 8 => Body::Parts {
            id: u32::from_be_bytes(array(&rest[..4])?),
            len: u32::from_be_bytes(array(&rest[4..])?),
        },
        IN_PARTS => return Err(Damage::Truncated),
        0 => return Err(Damage::Checksum),
        newer => return Err(Damage::UnknownFormat(newer)),
    };
    Ok(Envelope { version, checksum, body })
}

impl Envelope<'_> {
    /// Whether `payload` is what was sealed under `key`.
    pub(crate) fn verify(&self, key: &[u8], payload: &[u8]) -> Result<(), Damage> {
        if checksum(key, self.version, payload) == self.checksum { Ok(()) } else { Err(Damage::Checksum) }
    }
}

fn header(format: u8, key: &[u8], version: Version, payload: &[u8], more: usize) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER + more);
    record.push(format);
    record.extend_from_slice(&version.to_be_bytes());
    record.extend_from_slice(&checksum(key, version, payload));
    record
}

fn checksum(key: &[u8], version: Version, payload: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = blake3::Hasher::new();
    // The length keeps the border between key and payload.
    hasher.update(&(key.len() as u64).to_be_bytes()).update(key);
    hasher.update(&version.to_be_bytes()).update(payload);
    let mut checksum = [0; CHECKSUM];
    hasher.finalize_xof().fill(&mut checksum);
    checksum
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Damage> {
    bytes.try_into().map_err(|_| Damage::Truncated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(key: &[u8], record: &[u8]) -> Result<(Version, Vec<u8>), Damage> {
        let envelope = open(record)?;
        let Body::Inline(payload) = envelope.body else { return Err(Damage::Truncated) };
        envelope.verify(key, payload)?;
        Ok((envelope.version, payload.to_vec()))
    }

    #[test]
    fn a_value_under_another_key_is_detected() {
        let record = seal(b"run/1", 9, b"payload");
        assert_eq!(read(b"run/1", &record), Ok((9, b"payload".to_vec())));
        assert_eq!(read(b"run/2", &record), Err(Damage::Checksum));
    }

    #[test]
    fn the_border_between_key_and_payload_counts() {
        let record = seal(b"ab", 1, b"c");
        let mut moved = record.clone();
        moved.truncate(HEADER);
        moved.extend_from_slice(b"bc");
        assert_eq!(read(b"a", &moved), Err(Damage::Checksum));
    }

    #[test]
    fn a_newer_format_is_named_and_not_guessed_at() {
        let mut record = seal(b"k", 1, b"v");
        record[0] = 3;
        assert_eq!(read(b"k", &record), Err(Damage::UnknownFormat(3)));
    }

    proptest! {
        #[test]
        fn every_flipped_bit_is_detected(payload in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let record = seal(b"key", 42, &payload);
            let mut flipped = record.clone();
            let at = at.index(record.len());
            flipped[at] ^= 1 << bit;
            prop_assert!(read(b"key", &flipped).is_err());
        }

        #[test]
        fn every_cut_is_detected(payload in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let record = seal(b"key", 42, &payload);
            prop_assert!(read(b"key", &record[..at.index(record.len())]).is_err());
        }
    }
}
