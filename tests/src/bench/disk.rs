//! The yardstick of commits: append 4 KiB to a file and `fdatasync` it, the least that durable can mean.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::host;
use super::load::Load;

/// Bytes of one append: a page of the file system, the least it writes.
const PAGE: usize = 4096;

/// Appends and syncs to a new file in `folder` for about `time`, then removes it. Blocks.
///
/// # Errors
/// What the disk says.
pub fn append_and_sync(folder: &Path, time: Duration) -> anyhow::Result<Load> {
    let path = folder.join("append");
    let mut file = File::options().create(true).append(true).open(&path)?;
    file.sync_all()?;
    let mut times = Histogram::<u64>::new(3)?;
    let started = host::now();
    loop {
        let began = host::now();
        file.write_all(&[7; PAGE])?;
        file.sync_data()?;
        let ended = host::now();
        times.record(u64::try_from((ended - began).as_nanos())?)?;
        if ended - started >= time {
            break;
        }
    }
    let load = Load::of(&times, started.elapsed());
    std::fs::remove_file(path)?;
    Ok(load)
}
