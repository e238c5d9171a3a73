//! Commits of the store, by one writer and by 64 at once, beside append+fdatasync of the same disk.
//!
//! A commit is what a run's transition is: one new key that must not exist, 27 bytes long, and about 1 KiB under it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_control_plane::records::transition;
use mainstay_kernel::id::RunId;
use mainstay_store::{Batch, SledOptions, SledStore, Store};

use super::load::{Load, closed_loop};
use super::report::{Goal, Report, median};
use super::rig::Rig;
use super::{disk, host};

/// Bytes of the value of the ratios: the transition of a step with a small input and answer.
const VALUE: usize = 1024;

/// Other sizes, for the figures: a step without payload to speak of, and one with a page of text.
const OTHERS: [usize; 2] = [128, 4096];

/// Writers at once where throughput is measured.
const MANY: usize = 64;

/// One turn of everything.
struct Round {
    sync: Load,
    one: Load,
    many: Load,
}

/// Measures it.
///
/// # Errors
/// If the disk fails.
pub async fn measure(quick: bool) -> anyhow::Result<Report> {
    let rig = Rig::new()?;
    let store = SledStore::open(rig.data(), SledOptions::default())?;
    let writer = Writer { store, next: AtomicU64::new(0) };
    let (rounds, time) =
        if quick { (7, Duration::from_millis(800)) } else { (21, Duration::from_millis(1500)) };
    writer.round(rig.folder(), VALUE, time / 4).await?;
    let mut all = Vec::new();
    for _ in 0..rounds {
        all.push(writer.round(rig.folder(), VALUE, time).await?);
    }
    let of = |figure: fn(&Round) -> f64| median(all.iter().map(figure));
    let mut report = Report::new("commit");
    report.ratio("c1_vs_fsync", of(|round| round.one.per_second / round.sync.per_second), Goal::AtLeast(0.7));
    report.ratio(
        "c64_vs_fsync",
        of(|round| round.many.per_second / round.sync.per_second),
        Goal::AtLeast(7.0),
    );
    report.figure("fsync_per_s", of(|round| round.sync.per_second));
    report.figure("fsync_p50_us", of(|round| round.sync.p50_micros));
    figures(&mut report, VALUE, &all);
    for size in OTHERS {
        let rounds = [writer.round(rig.folder(), size, time).await?];
        figures(&mut report, size, &rounds);
    }
    report.fact("file_system", host::file_system(rig.folder()));
    Ok(report)
}

fn figures(report: &mut Report, size: usize, rounds: &[Round]) {
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
    report.figure(format!("c1_{size}b_per_s"), of(|round| round.one.per_second));
    report.figure(format!("c1_{size}b_p50_us"), of(|round| round.one.p50_micros));
    report.figure(format!("c1_{size}b_p99_us"), of(|round| round.one.p99_micros));
    report.figure(format!("c64_{size}b_per_s"), of(|round| round.many.per_second));
    report.figure(format!("c64_{size}b_p50_us"), of(|round| round.many.p50_micros));
    report.figure(format!("c64_{size}b_p99_us"), of(|round| round.many.p99_micros));
}

struct Writer {
    store: SledStore,
    next: AtomicU64,
}

impl Writer {
    async fn round(&self, folder: &Path, size: usize, time: Duration) -> anyhow::Result<Round> {
        Ok(Round {
            sync: disk::append_and_sync(folder, time)?,
            one: closed_loop(1, time, || self.commit(size)).await?,
            many: closed_loop(MANY, time, || self.commit(size)).await?,
        })
    }

    async fn commit(&self, size: usize) -> anyhow::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let run = RunId::from_bytes(u128::from(number / 4).to_be_bytes());
        let key = transition::key("default", run, number % 4);
        let batch = Batch::new().absent(key.clone()).put(key, vec![b'x'; size]);
        self.store.commit(batch).await?;
        Ok(())
    }
}
