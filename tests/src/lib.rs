//! Tests of the whole: real binaries as processes, on free ports, with real kills.
//!
//! - [`world`]: a control plane, agents and sidecars, and clients to talk to them; gone when it is dropped.
//! - [`process`]: child processes that never outlive their parent.
//! - [`agent`]: the agent under the sidecars, whose input says how it behaves, with a ledger of what it did.
//! - [`mix`]: the workflows that they start, one for each kind of step.
//! - [`clients`]: clients that start runs whatever happens, and remember what they were told.
//! - [`history`]: the checker that holds what clients and agents saw against the rules.
//! - [`refold`]: the journal of a run, folded once more beside the server.
//! - [`seed`]: dice for faults, that fall the same way again.
//! - [`wait`]: waiting for conditions, never for time.
//! - [`mod@bench`]: measurements of speed and memory, with real processes.

pub mod agent;
pub mod bench;
pub mod clients;
pub mod history;
pub mod mix;
pub mod process;
pub mod refold;
pub mod seed;
pub mod wait;
pub mod world;
