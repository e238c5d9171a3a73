//! How a dump is written: frames, each sealed by a checksum over itself and everything before it.
//!
//! ```text
//! magic ‖ frame* ‖ END ‖ checksum
//! frame = key length ‖ value length (or NONE) ‖ key ‖ value ‖ checksum     a record, or its deletion
//!       | BLOB ‖ length ‖ document ‖ checksum                              a document, by the hash of its content
//! ```
//! Lengths are 32 bits, big-endian. A checksum is the first 128 bits of BLAKE3 over all that precedes it but checksums.

use std::io::{self, Read, Write};

use bytes::Bytes;

use super::DumpError;
use crate::limits::{MAX_BLOB, MAX_KEY, MAX_VALUE};

/// First bytes of a dump: a name and the format's version.
const MAGIC: &[u8; 16] = b"mainstay-dump-2\n";

/// Stands for a deleted value, and as a key's length for the end: above every real length.
const NONE: u32 = u32::MAX;
/// As a key's length: a document follows.
const BLOB: u32 = u32::MAX - 1;

/// Bytes of checksum behind each frame.
const CHECKSUM: usize = 16;

/// One piece of a dump.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A record; without a value, that it was deleted.
    Record(Bytes, Option<Bytes>),
    /// A document beside the records.
    Blob(Bytes),
}

pub(super) struct FrameWriter<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

pub(super) struct FrameReader<'a> {
    input: &'a mut dyn Read,
    hasher: blake3::Hasher,
    frames: u64,
}

impl<'a> FrameWriter<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> io::Result<Self> {
        let mut frames = Self { out, hasher: blake3::Hasher::new() };
        frames.write(MAGIC)?;
        Ok(frames)
    }

    pub(super) fn record(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        self.write(&length(key.len()).to_be_bytes())?;
        self.write(&value.map_or(NONE, |value| length(value.len())).to_be_bytes())?;
        self.write(key)?;
        self.write(value.unwrap_or_default())?;
        self.seal()
    }

    pub(super) fn blob(&mut self, document: &[u8]) -> io::Result<()> {
        self.write(&BLOB.to_be_bytes())?;
        self.write(&length(document.len()).to_be_bytes())?;
        self.write(document)?;
        self.seal()
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        self.write(&NONE.to_be_bytes())?;
        self.seal()?;
        self.out.flush()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }

    fn seal(&mut self) -> io::Result<()> {
        self.out.write_all(&self.hasher.finalize().as_bytes()[..CHECKSUM])
    }
}

impl<'a> FrameReader<'a> {
    pub(super) fn new(input: &'a mut dyn Read) -> Result<Self, DumpError> {
        let mut frames = Self { input, hasher: blake3::Hasher::new(), frames: 0 };
        match frames.take(MAGIC.len()) {
            Ok(magic) if magic == MAGIC => Ok(frames),
            Ok(_) | Err(DumpError::Damaged { .. }) => Err(DumpError::NotADump),
            Err(error) => Err(error),
        }
    }

    /// The next frame; `None` at the sealed end, behind which nothing may follow.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, DumpError> {
        let key = self.length()?;
        let frame = match key {
            NONE => {
                self.verify()?;
                return if self.input.read(&mut [0])? == 0 { Ok(None) } else { Err(self.damaged()) };
            }
            BLOB => {
                let document = self.length()?;
                Frame::Blob(self.bounded(document, MAX_BLOB)?)
            }
            key => {
                let value = self.length()?;
                let key = self.bounded(key, MAX_KEY)?;
                let value = if value == NONE { None } else { Some(self.bounded(value, MAX_VALUE)?) };
                Frame::Record(key, value)
            }
        };
        self.verify()?;
        self.frames += 1;
        Ok(Some(frame))
    }

    fn length(&mut self) -> Result<u32, DumpError> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |length, byte| length << 8 | u32::from(*byte)))
    }

    fn bounded(&mut self, length: u32, most: usize) -> Result<Bytes, DumpError> {
        let length = length as usize;
        if length > most {
            return Err(self.damaged());
        }
        Ok(self.take(length)?.into())
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, DumpError> {
        let bytes = self.raw(count)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn verify(&mut self) -> Result<(), DumpError> {
        let expected = self.hasher.finalize();
        if self.raw(CHECKSUM)? == expected.as_bytes()[..CHECKSUM] { Ok(()) } else { Err(self.damaged()) }
    }

    fn raw(&mut self, count: usize) -> Result<Vec<u8>, DumpError> {
        let mut bytes = vec![0; count];
        match self.input.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.damaged()),
            Err(error) => Err(error.into()),
        }
    }

    fn damaged(&self) -> DumpError {
        DumpError::Damaged { sound: self.frames }
    }
}

fn length(length: usize) -> u32 {
    // Above every limit, so that reading refuses it; writers stay below.
    u32::try_from(length).unwrap_or(BLOB - 1)
}
