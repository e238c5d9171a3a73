//! Runs without a world: agents, ledgers and clients are simulated, crashes cut the log.

mod budgets;
mod crash;
mod format;
mod golden;
mod grafts;
mod laws;
mod pairs;
mod part;
mod people;
mod remedies;
mod replays;
mod resumes;
mod rules;
mod shapes;
mod size;
mod undos;
mod verifications;
mod world;
