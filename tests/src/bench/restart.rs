//! From starting a control plane to its taking runs, with 100,000 finished and 1,000 open runs in its store, after a kill.

use std::time::Duration;

use super::filler::Filler;
use super::host;
use super::report::{Goal, Report, median};
use super::rig::Rig;

/// Runs that have ended, and runs that have not.
const FINISHED: usize = 100_000;
const OPEN: usize = 1_000;

/// Measures it.
///
/// # Errors
/// If the store cannot be filled or the control plane does not start.
pub async fn measure(quick: bool) -> anyhow::Result<Report> {
    let mut rig = Rig::new()?;
    let filling = host::now();
    Filler::open(&rig.data()).await?.fill(FINISHED, OPEN).await?;
    let filled = filling.elapsed();
    let mut times = Vec::new();
    for _ in 0..if quick { 3 } else { 7 } {
        times.push(rig.start_control_plane().await?);
        if let Some(control_plane) = &mut rig.control_plane {
            control_plane.kill();
        }
    }
    let millis = |time: &Duration| time.as_secs_f64() * 1000.0;
    let mut report = Report::new("restart");
    report.ratio("restart_ms", median(times.iter().map(millis)), Goal::AtMost(2000.0));
    report.figure("worst_ms", times.iter().map(millis).fold(0.0, f64::max));
    report.figure("finished_runs", FINISHED as f64);
    report.figure("open_runs", OPEN as f64);
    report.figure("fill_s", filled.as_secs_f64());
    report.fact("file_system", host::file_system(rig.folder()));
    Ok(report)
}
