//! Tests of the whole: real binaries as processes, on free ports, with real kills.
//!
//! - [`world`]: a control plane, agents and sidecars, and clients to talk to them; gone when it is dropped.
//! - [`process`]: child processes that never outlive their parent.
//! - [`agent`]: the agent under the sidecars, whose input says how it behaves, with a ledger of what it did.
//! - [`clients`]: clients that start runs whatever happens, and remember what they were told.
//! - [`history`]: the checker that holds what clients and agents saw against the rules.
//! - [`seed`]: dice for faults, that fall the same way again.
//! - [`wait`]: waiting for conditions, never for time.
//! - [`mod@bench`]: measurements of speed and memory, with real processes.

pub mod agent;
pub mod bench;
pub mod clients;
pub mod history;
pub mod process;
pub mod seed;
pub mod wait;
pub mod world;
