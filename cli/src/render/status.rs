//! A control plane as a few lines.

use mainstay_kernel::time::text::Human;

use super::mode;
use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::{count, plain};
use crate::console::Style;
use crate::view::status::{LimitView, ParkedView, RetentionView, StatusView};

/// How the control plane does.
#[must_use]
pub fn status(view: &StatusView, style: Style) -> String {
    let store = if view.store.writable {
        paint("writable", Tone::Good, style)
    } else {
        let since = view.store.for_.map(|span| format!(" for {span}")).unwrap_or_default();
        paint(&format!("read-only{since}: {}", plain(&view.store.reason)), Tone::Bad, style)
    };
    let started = view.started_at.map(|at| at.to_string()).unwrap_or_default();
    let why = if view.mode.mode == "full" { String::new() } else { format!(": {}", mode::why(&view.mode)) };
    let mut text = format!(
        "version    {}\nstarted    {started}\nmode       {}{why}\nstore      {}, {store}\ninstances  {}\nopen runs  {}\n",
        plain(&view.version),
        mode::name(&view.mode, style),
        plain(&view.store.backend),
        view.instances,
        view.open_runs,
    );
    text += &kept(&view.retention);
    for limit in view.limits.iter().filter(|limit| limit.near) {
        let LimitView { limit, what, used, most, then, .. } = limit;
        let line = format!("near       {used} {what} of {most}: at the limit {then} ({limit})");
        text += &paint(&plain(&line), Tone::Bad, style);
        text.push('\n');
    }
    text += &parked(&view.parked, style);
    if view.quarantined.is_empty() {
        return text;
    }
    text +=
        &paint(&format!("\n{} damaged records are kept aside:\n", view.quarantined.len()), Tone::Bad, style);
    let mut grid = Grid::new(&["KEY", "WHAT IS WRONG"], style);
    for record in &view.quarantined {
        grid.row([toned(&record.key, Tone::Strong), cell(&record.reason)]);
    }
    text + &grid.to_string()
}

fn parked(runs: &[ParkedView], style: Style) -> String {
    if runs.is_empty() {
        return String::new();
    }
    let head = format!("\n{} fell too often and wait for `mainstay unpark`:\n", count(runs.len(), "run"));
    let mut grid = Grid::new(&["RUN", "TENANT", "FALLS", "SINCE", "WHAT HAPPENED"], style);
    for ParkedView { tenant, run_id, parking } in runs {
        let since = parking.since.map(|at| at.to_string()).unwrap_or_default();
        let falls = parking.falls.to_string();
        grid.row([
            toned(run_id, Tone::Strong),
            cell(tenant),
            cell(falls),
            cell(since),
            cell(&parking.reason),
        ]);
    }
    paint(&head, Tone::Bad, style) + &grid.to_string()
}

fn kept(view: &RetentionView) -> String {
    let runs = view.finished_runs.map_or_else(|| "not counted yet".to_owned(), |runs| runs.to_string());
    let most = view.keep_for.map(|span| format!(", each for {}", Human(span.0))).unwrap_or_default();
    let oldest = view.oldest.map(|at| format!("; the oldest ended {at}")).unwrap_or_default();
    format!("finished   {runs}; {} are kept{most}{oldest}\n", view.keep)
}
