//! The only file that asks the operating system for the time, the terminal and signals.

use std::io::{IsTerminal, Read};
use std::path::Path;

use tokio::sync::oneshot;

/// An environment variable; empty counts as unset, as in a shell's `${X:-…}`.
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether logs may be coloured: standard error is a terminal, and nobody minds.
pub(crate) fn stderr_in_colour() -> bool {
    std::io::stderr().is_terminal() && env("NO_COLOR").is_none()
}

/// Columns of the terminal, if there is one.
pub(crate) fn columns() -> Option<u16> {
    comfy_table::Table::new().width().filter(|width| *width > 0)
}

/// Resolves when standard input ends. The thread that waits for it is not joined: it dies with the process.
pub(crate) fn stdin_closed() -> oneshot::Receiver<()> {
    let (closed, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut stdin = std::io::stdin().lock();
        // Whatever arrives is not for us; an error means that nobody holds the other end any more.
        while stdin.read(&mut buffer).is_ok_and(|read| read > 0) {}
        closed.send(()).ok();
    });
    wait
}

/// Writes a file so that a reader sees all of it or nothing.
pub(crate) fn write_atomically(path: &Path, text: &str) -> std::io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, text)?;
    std::fs::rename(&part, path)
}
