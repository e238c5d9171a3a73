//! The journal of a run: how it starts, goes on, ends, and survives a crash.
//!
//! A run is what its events add up to. [`start`] and [`step()`] decide: they look at the run, an input and the time, and
//! return a [`Transition`], events that happen together. [`Run::fold`] lets them happen: nothing else changes a run.
//! [`outstanding`] reads off the state what the world owes the run: calls to make, a time to wake.
//!
//! # Recovery is not a second way
//! A crash loses what was under way, and nothing that was written. Folding the log gives the state, `outstanding` what is
//! owed, under the same keys as before; whoever already did the work answers from its ledger. The tests cut the log at
//! every event of every golden run and arrive at the same end.
//!
//! # What cannot happen
//! - A second end: nothing folds after [`Event::RunEnded`].
//! - A step that begins before what it depends on has ended, or beyond the workflow's cap: `fold` refuses it.
//! - A result taken twice, or for another try: each names its [`Attempt`], and only the one under way counts.
//! - A decision that comes out differently the second time: dice are seeded by the attempt, times are on record.
//!
//! # Optional and critical steps
//! A critical step that fails fails the run, and what is under way is cancelled. An optional one that fails is over: who
//! depends on it begins as if it had completed and finds `null`. So a step whose dependency never completed exists only
//! when the run is ending; those that never began are then skipped, one event each, so that the record accounts for
//! every step. What a step says in `on_failure` comes before either: see [`remedy`].
//!
//! - [`event`]: what happened, as it stands on disk.
//! - [`state`]: what it adds up to.
//! - [`mod@fold`]: the law of what may happen.
//! - [`graft`]: steps that grow while it goes on.
//! - [`Frame`]: workflows that lie inside a step.
//! - [`input`]: what it can be told.
//! - [`inquiry`]: what it must learn of the world before it decides.
//! - [`people`]: what comes from outside: signals, and what people answer.
//! - [`remedy`]: what a step that failed falls back on.
//! - [`undo`]: what is undone before a run that failed ends.
//! - [`verify`]: whether its answer counts.
//! - [`resume`]: how another run goes on from there.
//! - [`decide`]: what happens next.
//! - [`mod@budget`]: what it may use up, and has.
//! - [`owed`]: what is to be under way.

mod attempt;
pub mod budget;
pub mod decide;
pub mod event;
pub mod fold;
mod frame;
pub mod graft;
mod hand_off;
pub mod input;
pub mod inquiry;
pub mod owed;
mod pattern;
pub mod people;
pub mod remedy;
mod repetition;
pub mod resume;
pub mod state;
#[cfg(test)]
mod tests;
pub mod undo;
mod usage;
pub mod verify;

pub use self::budget::{Allowance, Estimates};
pub use self::decide::{start, step};
pub use self::event::{Attempt, AttemptRecord, EndState, Event, SkipReason, Transition, WorkflowRef};
pub use self::fold::FoldError;
pub use self::frame::Frame;
pub use self::graft::{Graft, Grafted, MAX_GRAFTED};
pub use self::input::{Ignored, Input, Start, StartError};
pub use self::inquiry::{About, Finding, Inquiry, Offered, Way};
pub use self::owed::{Call, Durability, Owed, durability, outstanding, urgency};
pub use self::people::{Asked, Ruling, Verdict, asked};
pub use self::remedy::Remedied;
pub use self::repetition::MOST_REPETITIONS;
pub use self::resume::{ResumeError, Resumed, carry};
pub use self::state::{End, Run, State, StepRun, StepState};
pub use self::undo::{Left, Undo, Undoing};
pub use self::verify::{Soundness, Verified, Verifying};
