//! Where answers go: tables for people, JSON for programs.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::host;
use crate::render::text;

/// Width of tables where there is no terminal to ask: most pagers and logs show as much.
const DEFAULT_WIDTH: u16 = 120;

/// For whom an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// Tables, for people
    #[default]
    Table,
    /// JSON with stable field names, for programs
    Json,
}

/// How wide, and whether in colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns.
    pub width: u16,
    /// Whether escape sequences for colour are written.
    pub colour: bool,
}

/// Standard output and what is known about it.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    /// For whom.
    pub output: Output,
    /// How it looks.
    pub style: Style,
    /// Whether a person watches, so that lines may be redrawn.
    pub live: bool,
}

impl Style {
    /// Without colour, as wide as a page.
    pub const PLAIN: Self = Self { width: DEFAULT_WIDTH, colour: false };

    /// As standard output takes it: no colour when it is not a terminal or `NO_COLOR` is set.
    #[must_use]
    pub fn of_stdout() -> Self {
        let terminal = host::stdout_is_terminal();
        let dumb = host::env("TERM").is_some_and(|term| term == "dumb");
        let colour = terminal && !dumb && host::env("NO_COLOR").is_none();
        let width = if terminal { host::columns() } else { None };
        Self { width: width.unwrap_or(DEFAULT_WIDTH), colour }
    }
}

impl Console {
    /// Standard output, as it is.
    #[must_use]
    pub fn new(output: Output) -> Self {
        let style = Style::of_stdout();
        let live = host::stdout_is_terminal() && host::env("TERM").is_none_or(|term| term != "dumb");
        Self { output, style, live }
    }

    /// Whether programs read.
    #[must_use]
    pub fn json(&self) -> bool {
        self.output == Output::Json
    }

    /// Prints `view` as JSON, or what `people` makes of it.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn show<V: Serialize>(
        &self,
        view: &V,
        people: impl FnOnce(&V, Style) -> String,
    ) -> Result<(), Failure> {
        match self.output {
            Output::Json => self.print(&to_json(view, true)?),
            Output::Table => self.print(&people(view, self.style)),
        }
    }

    /// Prints `view` as one line of JSON, for streams.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn line<V: Serialize>(&self, view: &V) -> Result<(), Failure> {
        self.print(&to_json(view, false)?)
    }

    /// Prints a text, ending in exactly one line feed.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let text = text.trim_end_matches('\n');
        self.raw(&format!("{text}\n"))
    }

    /// Prints a text as it is.
    ///
    /// # Errors
    /// If the output cannot be written; silently if the reader went away.
    pub fn raw(&self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| {
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                return Failure::silent(Exit::PipeClosed);
            }
            Failure::new(Exit::Output, format!("standard output: {error}"))
        })
    }
}

fn to_json<V: Serialize>(view: &V, pretty: bool) -> Result<String, Failure> {
    let json = if pretty { serde_json::to_string_pretty(view) } else { serde_json::to_string(view) };
    json.map(text::json)
        .map_err(|error| Failure::new(Exit::Internal, format!("an answer is no JSON: {error}")))
}

/// Tells the person at the terminal; standard output stays for the answer.
#[expect(clippy::print_stderr, reason = "the one place where a command speaks beside its answer")]
pub fn tell(text: &str) {
    eprint!("{text}");
}

/// Tells a failure as `output` wants it.
pub fn tell_failure(failure: &Failure, output: Output) {
    match output {
        _ if failure.message.is_empty() => {}
        Output::Table => tell(&failure.for_people()),
        Output::Json => tell(&format!("{}\n", to_json(&failure.view(), false).unwrap_or_default())),
    }
}
