//! The `mainstay` command: one binary that serves, stands beside agents, and asks.
//!
//! Everything a person sees is made in two steps: what the server answers becomes a [`view`] with stable field names, and
//! the view is printed as JSON for programs or handed to [`render`] for people. So the two never disagree, and a program
//! that reads the JSON does not depend on how a table looks.
//!
//! - In: [`cli`] (the command line), [`commands`] (one file each), [`config`] (of `serve`), `input`.
//! - To the server: [`client`].
//! - Out: [`console`], [`view`], [`render`]; what goes wrong is a [`failure`] with an [`exit`] code.
//! - Beside: [`harness`] (for programs that start this one), `host` (the only file that asks the operating system).

pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod console;
pub mod demo;
pub mod exit;
pub mod failure;
pub mod harness;
mod host;
mod input;
pub mod render;
pub mod view;

pub use cli::main;
