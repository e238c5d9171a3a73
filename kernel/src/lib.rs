//! Every decision Mainstay takes, as pure functions and state machines.
//!
//! Nothing here reads a clock, a socket, a disk or a die: time and randomness are arguments. That is what makes every
//! decision testable without a runtime and replayable from its record. This crate's `Cargo.toml` is the proof.
//!
//! Two shapes only:
//! - a **machine** may be lost and is rebuilt from evidence ([`lease`], [`health`], [`breaker`], [`balance`], [`call`], [`rollout`]);
//! - the **journal** of a run is durable: state changes only through `fold`, recovery is `fold` over the log ([`run`]).

pub mod admission;
pub mod agent;
pub mod artifact;
pub mod balance;
pub mod breaker;
pub mod budget;
pub mod bulkhead;
pub mod call;
pub mod chain;
pub mod concurrency;
pub mod context;
pub mod context_budget;
pub mod dice;
pub mod document;
pub mod drill;
pub mod effect;
pub mod ejection;
pub mod event;
pub mod expr;
pub mod health;
pub mod hedge;
pub mod id;
pub mod json;
pub mod lease;
pub mod mode;
pub mod name;
pub mod outcome;
pub mod panic;
pub mod pause;
pub mod play;
pub mod poison;
pub mod priority;
pub mod queue;
pub mod rate;
pub mod rehearsal;
pub mod replay;
pub mod retention;
pub mod retry;
pub mod rollout;
pub mod route;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod share;
pub mod time;
pub mod workflow;
pub mod yaml;
