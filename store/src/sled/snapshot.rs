//! A second copy of sled's snapshot, the one file without which its log cannot be read.
//!
//! sled writes a snapshot of its page table when it opens, and starts the next opening from it. If the file is damaged
//! the store does not open; if it is deleted, sled reads the log from its beginning, where segments have been reused
//! meanwhile, and *opens with most records gone, without a word*. So the file is copied right after each opening, and a
//! damaged one is replaced by its copy: between two openings the two are identical, whatever was committed. One that sled
//! was writing when it was killed is not the one that counts, but sled takes it for that: it is removed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Directory of the copy, inside the store's.
const COPY: &str = "snapshot-copy";

/// What the name of a snapshot begins with; how far it reaches follows, in hexadecimal.
const PREFIX: &str = "snap.";

/// What its name ends with while sled writes it.
const UNFINISHED: &str = "generating";

/// Bytes of BLAKE3 behind the copy: a damaged copy is not used.
const CHECKSUM: usize = 32;

/// Copies the newest snapshot, and forgets older copies.
pub(super) fn keep(dir: &Path) -> io::Result<()> {
    let Some(name) = newest(dir)? else { return Ok(()) };
    let copies = dir.join(COPY);
    fs::create_dir_all(&copies)?;
    let snapshot = fs::read(dir.join(&name))?;
    let unfinished = copies.join("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(&snapshot)?;
    file.write_all(blake3::hash(&snapshot).as_bytes())?;
    file.sync_all()?;
    fs::rename(unfinished, copies.join(&name))?;
    File::open(&copies)?.sync_all()?;
    for entry in fs::read_dir(&copies)? {
        let entry = entry?;
        if entry.file_name() != *name {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether somebody took the snapshot away, which sled would not notice.
pub(super) fn is_missing(dir: &Path) -> io::Result<bool> {
    Ok(newest(dir)?.is_none() && newest(&dir.join(COPY))?.is_some())
}

/// Replaces a damaged or missing snapshot by its copy; says whether there was something to replace and something to do
/// it with.
pub(super) fn mend(dir: &Path) -> io::Result<bool> {
    let Some(name) = newest(dir)?.or(newest(&dir.join(COPY))?) else { return Ok(false) };
    let copy = match fs::read(dir.join(COPY).join(&name)) {
        Ok(copy) => copy,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return forget_unfinished(dir, &name),
        Err(error) => return Err(error),
    };
    let Some((sound, checksum)) = copy.split_last_chunk::<CHECKSUM>() else { return Ok(false) };
    let present = dir.join(&name).exists() && fs::read(dir.join(&name))? == sound;
    if present || blake3::hash(sound).as_bytes() != checksum {
        return Ok(false);
    }
    let replacement = dir.join(COPY).join("replacement");
    let mut file = File::create(&replacement)?;
    file.write_all(sound)?;
    file.sync_all()?;
    fs::rename(replacement, dir.join(&name))?;
    File::open(dir)?.sync_all()?;
    Ok(true)
}

/// Removes a snapshot that a kill left half written: sled reads it although it never took the place of the one before.
fn forget_unfinished(dir: &Path, name: &Path) -> io::Result<bool> {
    let unfinished = name.extension().is_some_and(|extension| extension == UNFINISHED);
    if unfinished {
        fs::remove_file(dir.join(name))?;
        File::open(dir)?.sync_all()?;
    }
    Ok(unfinished)
}

/// How far into the log the newest snapshot reaches.
pub(super) fn covers(dir: &Path) -> i64 {
    let newest = newest(dir).ok().flatten();
    let place = newest.as_deref().and_then(Path::to_str).and_then(|name| name.strip_prefix(PREFIX));
    let place = place.and_then(|place| place.split('.').next());
    place.and_then(|place| i64::from_str_radix(place, 16).ok()).unwrap_or(0)
}

/// The name of the snapshot that sled would start from.
fn newest(dir: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    if !dir.exists() {
        return Ok(newest);
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && !name.ends_with(".in___motion")) {
            newest = newest.max(Some(PathBuf::from(name)));
        }
    }
    Ok(newest)
}
