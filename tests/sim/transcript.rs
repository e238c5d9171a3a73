//! What happened, line by line. Two runs of a seed write the same bytes, or something asked the clock, the dice or the
//! order of a hash map.

use std::fmt;

use mainstay_kernel::time::Mono;

/// How much of a transcript a person is shown: the last events before a law was broken.
const TAIL: usize = 60;

/// The lines. One that is off writes nothing and costs nothing, for the many seeds nobody reads.
#[derive(Debug)]
pub(crate) struct Transcript {
    text: Option<String>,
}

impl Transcript {
    pub(crate) const fn on() -> Self {
        Self { text: Some(String::new()) }
    }

    pub(crate) const fn off() -> Self {
        Self { text: None }
    }

    pub(crate) fn line(&mut self, at: Mono, what: fmt::Arguments<'_>) {
        if let Some(text) = &mut self.text {
            let millis = at.since_origin().as_micros() as f64 / 1_000.0;
            fmt::Write::write_fmt(text, format_args!("{millis:>11.3} {what}\n")).unwrap();
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text.unwrap_or_default()
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> &str {
    let from = text.rmatch_indices('\n').nth(TAIL).map_or(0, |(at, _)| at + 1);
    &text[from..]
}
