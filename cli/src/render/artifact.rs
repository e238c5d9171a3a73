//! Artifacts as lines and tables.

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::artifact::{ArtifactView, ArtifactsView, GotView};

/// Artifacts, a line each, and what they use.
#[must_use]
pub fn list(view: &ArtifactsView, style: Style) -> String {
    let used = format!("{} of {} bytes used.\n", view.used_bytes, view.quota_bytes);
    if view.artifacts.is_empty() {
        return format!("No artifacts. Store one with `mainstay artifacts put FILE`. {used}");
    }
    let mut grid = Grid::new(&["REFERENCE", "BYTES", "MEDIA TYPE", "PUT"], style);
    for artifact in &view.artifacts {
        grid.row([
            toned(&artifact.reference, Tone::Strong),
            cell(artifact.bytes.to_string()),
            cell(&artifact.media_type),
            cell(artifact.put_at.map(|at| at.to_string()).unwrap_or_default()),
        ]);
    }
    grid.to_string() + &used
}

/// One that was put just now: its reference as JSON, ready for the input of a run.
#[must_use]
pub fn put(artifact: &ArtifactView, style: Style) -> String {
    let reference = serde_json::json!({
        "$artifact": artifact.reference,
        "bytes": artifact.bytes,
        "media_type": artifact.media_type,
    });
    let known = if artifact.created == Some(false) { "was there already" } else { "stored" };
    format!("{}\n{}\n", paint(known, Tone::Good, style), plain(&reference.to_string()))
}

/// One that was written to a file.
#[must_use]
pub fn got(view: &GotView, style: Style) -> String {
    let written = paint(&format!("{} bytes, verified", view.written), Tone::Good, style);
    format!("{}  {written}\n", plain(&view.file))
}

#[cfg(test)]
mod tests {
    use mainstay_proto::pb;

    use super::*;

    #[test]
    fn what_was_put_is_shown_as_payloads_carry_it() {
        let artifact =
            pb::Artifact { r#ref: "blake3:00".into(), bytes: 3, media_type: "text/csv".into(), put_at: None };
        let view = ArtifactView::put(pb::PutArtifactResponse { artifact: Some(artifact), created: true });
        let text = "stored\n{\"$artifact\":\"blake3:00\",\"bytes\":3,\"media_type\":\"text/csv\"}\n";
        assert_eq!(put(&view, Style::PLAIN), text);
        let list =
            list(&ArtifactsView { artifacts: vec![view], used_bytes: 3, quota_bytes: 9 }, Style::PLAIN);
        assert!(
            list.contains("blake3:00  3      text/csv") && list.ends_with("3 of 9 bytes used.\n"),
            "{list}"
        );
    }
}
