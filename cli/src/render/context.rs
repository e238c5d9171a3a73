//! The shared context as lines and tables.

use super::paint::{Tone, paint};
use super::run::document;
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::context::{ContextView, PinView, RemovedView};

/// Keys, a line each.
#[must_use]
pub fn list(keys: &[ContextView], style: Style) -> String {
    if keys.is_empty() {
        return "Nothing is known. Write something with `mainstay context put KEY JSON`.\n".to_owned();
    }
    table("KEY", keys, |view| view.key.clone(), style)
}

/// The versions of a key, a line each.
#[must_use]
pub fn history(versions: &[ContextView], style: Style) -> String {
    table("AT", versions, |view| view.written_at.map(|at| at.to_string()).unwrap_or_default(), style)
}

/// A value, and on the line above it what it is.
#[must_use]
pub fn value(view: &ContextView, style: Style) -> String {
    let value = view.value.as_ref().map(document).unwrap_or_default();
    format!("{}{value}\n", headline(view, style))
}

/// What was written just now.
#[must_use]
pub fn written(view: &ContextView, style: Style) -> String {
    let limit =
        view.max_age.map_or_else(|| ", never stale".to_owned(), |limit| format!(", stale after {limit}"));
    let version = paint(&format!("version {}", view.version), Tone::Good, style);
    format!("{}  {version}{limit}\n", plain(&view.key))
}

/// What was removed just now.
#[must_use]
pub fn removed(view: &RemovedView, style: Style) -> String {
    format!("{}  {}\n", plain(&view.key), paint("removed", Tone::Good, style))
}

/// A line for each value that a run read.
#[must_use]
pub fn pins(pins: &[PinView], style: Style) -> String {
    let line = |pin: &PinView| {
        let at = pin.written_at.map(|at| format!(", written {at}")).unwrap_or_default();
        let word = paint("context", Tone::Dim, style);
        format!("{word} {}  {} version {}{at}\n", plain(&pin.name), plain(&pin.key), pin.version)
    };
    pins.iter().map(line).collect()
}

fn headline(view: &ContextView, style: Style) -> String {
    let mut text = format!("{}  version {} by {}", plain(&view.key), view.version, plain(&view.owner));
    if let Some(age) = view.age {
        text += &format!(", {age} old");
    }
    if view.stale {
        return format!("{}\n", paint(&format!("{text}, stale"), Tone::Busy, style));
    }
    format!("{}\n", paint(&text, Tone::Dim, style))
}

fn table(first: &str, rows: &[ContextView], name: impl Fn(&ContextView) -> String, style: Style) -> String {
    let mut grid = Grid::new(&[first, "VERSION", "OWNER", "AGE", "LIMIT", "BYTES", ""], style);
    for view in rows {
        grid.row([
            toned(name(view), Tone::Strong),
            cell(view.version.to_string()),
            cell(&view.owner),
            cell(view.age.map(|age| age.to_string()).unwrap_or_default()),
            cell(view.max_age.map(|limit| limit.to_string()).unwrap_or_default()),
            cell(view.size.to_string()),
            if view.stale { toned("stale", Tone::Busy) } else { cell("") },
        ]);
    }
    grid.to_string()
}

#[cfg(test)]
mod tests {
    use mainstay_proto::{pb, time};

    use super::*;

    fn view() -> ContextView {
        let version = pb::ContextVersion {
            key: "market/prices".into(),
            version: 7,
            owner: "agent/market".into(),
            written_at: None,
            max_age: Some(time::duration(std::time::Duration::from_secs(600))),
            age: Some(time::duration(std::time::Duration::from_secs(605))),
            stale: true,
            size: 12,
            value: br#"{"eur":1.10}"#[..].into(),
        };
        version.into()
    }

    #[test]
    fn a_list_says_whose_how_old_and_whether_that_is_too_old() {
        insta::assert_snapshot!(list(&[view()], Style::PLAIN), @r"
        KEY            VERSION  OWNER         AGE     LIMIT   BYTES
        market/prices  7        agent/market  10m05s  10m00s  12     stale
        ");
        assert!(list(&[], Style::PLAIN).starts_with("Nothing is known."));
    }

    #[test]
    fn a_value_comes_with_what_it_is() {
        let shown = value(&view(), Style::PLAIN);
        let headline = "market/prices  version 7 by agent/market, 10m05s old, stale\n";
        assert!(shown.starts_with(headline) && shown.contains("\"eur\": 1.1"), "{shown}");
        assert_eq!(written(&view(), Style::PLAIN), "market/prices  version 7, stale after 10m00s\n");
    }
}
