//! Backups and damaged records as lines.

use super::paint::{Tone, paint};
use super::text::{count, lines, plain, short};
use crate::console::Style;
use crate::view::kept::{BackupView, DamagedView, DroppedView, ExaminationView, ExportView, InspectedView};

/// Hexadecimal digits shown of a record; an export has all.
const DIGITS: usize = 512;

/// A backup that was taken or restored.
#[must_use]
pub fn backup(view: &BackupView, style: Style) -> String {
    let what = match &view.data {
        None => format!("{} is whole", plain(&view.file)),
        Some(data) => format!("{} is restored from {}", plain(data), plain(&view.file)),
    };
    let mut text = format!(
        "{}\n{} bytes, {} records, {} documents\n",
        paint(&what, Tone::Good, style),
        view.bytes,
        view.records,
        view.documents
    );
    if view.left_out > 0 {
        let left_out = format!(
            "{} damaged records or documents of the server are not in it: `mainstay doctor`",
            view.left_out
        );
        text += &paint(&left_out, Tone::Bad, style);
        text.push('\n');
    }
    if !view.unusable.is_empty() {
        text += &paint("\nrecords in it that cannot be used:\n", Tone::Bad, style);
        text.extend(view.unusable.iter().map(|record| block(record, style)));
    }
    text
}

/// What an examination found.
#[must_use]
pub fn examination(view: &ExaminationView, style: Style) -> String {
    if view.records.is_empty() {
        return format!("{}: all {} records are sound\n", paint("healthy", Tone::Good, style), view.sound);
    }
    let damaged = count(view.records.len(), "record");
    let mut text =
        format!("{} cannot be used, {} are sound\n", paint(&damaged, Tone::Bad, style), view.sound);
    text.extend(view.records.iter().map(|record| block(record, style)));
    text
}

/// A record, looked at closely.
#[must_use]
pub fn inspected(view: &InspectedView, style: Style) -> String {
    let state = if view.sound { paint("sound\n", Tone::Good, style) } else { String::new() };
    let mut text = format!("{}{state}", block(&view.record, style));
    if !view.content.is_empty() {
        text += &format!("\n{}\n", lines(&view.content));
    }
    if !view.sound && !view.bytes.is_empty() {
        text += &format!("\nbytes    {}\n", short(&view.bytes, DIGITS));
    }
    text
}

/// What was exported.
#[must_use]
pub fn exported(view: &ExportView, _style: Style) -> String {
    format!("{} records in {}\n", view.records, plain(&view.file))
}

/// What was dropped, or would be.
#[must_use]
pub fn dropped(view: &DroppedView, style: Style) -> String {
    let state = if view.dropped {
        paint("dropped", Tone::Good, style)
    } else {
        paint("not dropped", Tone::Busy, style)
    };
    format!("{}{state}\n", block(&view.record, style))
}

fn block(record: &DamagedView, style: Style) -> String {
    let mut text = format!("\n{}  {}\n", paint(&record.kind, Tone::Strong, style), plain(&record.subject));
    if !record.problem.is_empty() {
        text += &format!("wrong    {}\n", plain(&record.problem));
    }
    text += &format!("lost     {}\nkey      {}\n", plain(&record.loss), plain(&record.key));
    if !record.until.is_empty() {
        text += &format!("until    {}\n", plain(&record.until));
    }
    text
}
