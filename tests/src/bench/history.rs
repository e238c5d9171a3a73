//! With a million finished runs in the store: reading one, and a page of the listing; and, after a kill, taking up ten
//! thousand open ones.

use std::time::Duration;

use mainstay_proto::pb;

use super::filler::{Filler, STEPS, Written};
use super::host;
use super::report::{Goal, Report, median};
use super::rig::Rig;

/// Runs that have ended and runs that have not; of a quick measurement, too.
const RUNS: (usize, usize) = (1_000_000, 10_000);
const QUICK: (usize, usize) = (50_000, 1_000);

/// Reads of each kind.
const READS: usize = 2_000;

/// Runs of one page.
const PAGE: i32 = 50;

/// Kills, each followed by a start.
const KILLS: usize = 5;

/// Pages read one after another, from the newest on.
const PAGES: usize = 20;

/// Measures it.
///
/// # Errors
/// If the store cannot be filled or the control plane does not start.
pub async fn measure(quick: bool) -> anyhow::Result<Report> {
    let (finished, open) = if quick { QUICK } else { RUNS };
    let mut rig = Rig::new()?;
    let filling = host::now();
    let written = Filler::open(&rig.data()).await?.fill(finished, open).await?;
    let filled = filling.elapsed();
    // Everything was written since the store was opened last, and is read once more: the longest start there is.
    let first = rig.start_control_plane().await?;
    let mut report = Report::new("history");
    report.ratio("get_run_p99_ms", p99(&gets(&rig, &written).await?), Goal::AtMost(10.0));
    report.ratio("list_runs_p99_ms", p99(&pages(&rig).await?), Goal::AtMost(10.0));
    let mut starts = Vec::with_capacity(KILLS);
    for _ in 0..KILLS {
        starts.push(rig.start_control_plane().await?);
    }
    let millis = |time: &Duration| time.as_secs_f64() * 1000.0;
    report.ratio("recovery_ms", median(starts.iter().map(millis)), Goal::AtMost(5_000.0));
    report.figure("recovery_worst_ms", starts.iter().map(millis).fold(0.0, f64::max));
    report.figure("first_start_ms", millis(&first));
    let journal = written.iter().map(|run| run.journal).max().unwrap_or(0);
    report.figure("journal_bytes_per_step", journal as f64 / STEPS as f64);
    report.figure("finished_runs", finished as f64);
    report.figure("open_runs", open as f64);
    report.figure("fill_s", filled.as_secs_f64());
    report.fact("file_system", host::file_system(rig.folder()));
    Ok(report)
}

/// Runs all over the store, one after another.
async fn gets(rig: &Rig, written: &[Written]) -> anyhow::Result<Vec<Duration>> {
    let mut client = rig.orchestrator().await?;
    let mut times = Vec::with_capacity(READS);
    for read in 0..READS {
        // A stride that meets no two neighbours: no page of the store is warm from the read before.
        let run = written[read * 7_919 % written.len()];
        let request = pb::GetRunRequest { run_id: run.id.to_string(), ..Default::default() };
        let began = host::now();
        client.get_run(request).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

async fn pages(rig: &Rig) -> anyhow::Result<Vec<Duration>> {
    let mut client = rig.orchestrator().await?;
    let mut times = Vec::with_capacity(READS);
    while times.len() < READS {
        let mut request = pb::ListRunsRequest { page_size: PAGE, ..Default::default() };
        for _ in 0..PAGES {
            let began = host::now();
            let page = client.list_runs(request.clone()).await?.into_inner();
            times.push(began.elapsed());
            request.page_token = page.next_page_token;
        }
    }
    Ok(times)
}

/// In milliseconds; 0 of nothing.
fn p99(times: &[Duration]) -> f64 {
    let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().unwrap_or(0.0)
}
