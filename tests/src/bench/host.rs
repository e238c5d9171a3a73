//! The only file of the benches that asks the operating system for time, and for what a process costs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Clock ticks a second in `/proc`, the same on every Linux that Rust's standard library runs on.
const TICKS: f64 = 100.0;

/// The monotonic clock.
#[allow(clippy::disallowed_methods, reason = "this is the one place that asks")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Processor time that a process has used so far, in all of its threads.
///
/// # Errors
/// If there is no such process.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in brackets, which may hold spaces; user and system time are 14 and 15.
    let fields = stat.rsplit_once(')').context("no stat")?.1;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    let ticks: f64 = ticks.sum::<Result<_, _>>()?;
    Ok(Duration::from_secs_f64(ticks / TICKS))
}

/// Resident memory of a process in MiB.
///
/// # Errors
/// If there is no such process.
pub fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// The kind of the file system that `path` lies on, such as `ext4`.
#[must_use]
pub fn file_system(path: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        path.starts_with(&at).then_some((at.len(), kind))
    };
    mounts.lines().filter_map(mount).max().map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}
