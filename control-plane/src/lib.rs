//! The control plane: the shell around the kernel.
//!
//! It keeps a registry of agents, watches their health, routes calls and runs durable workflows. Nothing is decided here:
//! decisions are [`mainstay_kernel`]'s, and each module carries one kind of them out.
//!
//! - In: [`api`] (gRPC), [`admin`] (HTTP), [`admission`] (who is let in), [`server`] (all of it together), [`config`].
//! - Agents: [`registry`], [`health`], [`address`] (who may be dialled).
//! - Calls: [`dispatch`] (one logical attempt), [`invoke`] (a direct call).
//! - Versions side by side: [`rollouts`]. By the clock: [`schedules`].
//! - Runs: [`engine`], [`workflows`] (their documents), [`follow`] and [`listing`] (looking at them).
//! - Routing: [`routing`]. [`documents`] keeps the documents of both.
//! - What agents and people know together: [`context`]. Large documents that travel by reference: [`artifacts`].
//! - By an operator's hand: [`pauses`], [`rates`]. What was decided lately: [`events`]. How much is done at all: [`modes`].
//! - On purpose: [`drills`] and the layer they act through, [`faults`].
//! - On disk: [`records`]; [`backup`], [`retention`] of finished runs, [`doctor`] for what is damaged.
//! - From the OS: [`host`]. To Prometheus: [`metrics`].

pub mod address;
pub mod admin;
pub mod admission;
pub mod api;
pub mod artifacts;
pub mod backup;
pub mod budgets;
pub mod config;
pub mod context;
pub mod contracts;
pub mod dispatch;
pub mod doctor;
pub mod documents;
pub mod drills;
pub mod engine;
pub mod events;
pub mod faults;
pub mod follow;
pub mod health;
pub mod host;
pub mod invoke;
pub mod listing;
pub mod metrics;
pub mod modes;
pub mod pauses;
pub mod rates;
pub mod records;
pub mod registry;
pub mod retention;
pub mod rollouts;
pub mod routing;
pub mod schedules;
pub mod server;
#[cfg(test)]
mod testbed;
pub mod workflows;

pub use config::{Config, ConfigErrors};
pub use server::{Broken, Core, Ground, Server, StartError};
