//! What goes into a call, and what its machine tells the shell to do.

use std::time::Duration;

use super::record::Waiting;
use crate::effect::EffectClass;
use crate::id::{AttemptId, InstanceId};
use crate::outcome::{Answer, Failure};
use crate::retry::{Retries, RetryPolicy};
use crate::time::Mono;

/// What is to be called, and within which bounds.
#[derive(Debug, Clone)]
pub struct Request {
    /// The idempotency key of the first logical attempt. Later ones derive theirs from it.
    pub key: AttemptId,
    /// What the call may do to the world.
    pub effect: EffectClass,
    /// The most time one attempt may take.
    pub timeout: Duration,
    /// When the whole call must have ended.
    pub deadline: Mono,
    /// How failed attempts are repeated; [`RetryPolicy::NONE`] where a run's journal does that.
    pub policy: RetryPolicy,
    /// What becomes of the call while everything it could go to is paused.
    pub if_paused: IfPaused,
    /// Whether anything that reaches an agent may be repeated here at all.
    pub retries: Retries,
}

/// What becomes of a call while everything it could go to is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfPaused {
    /// It waits until that is resumed, or until its deadline: work of a run, which is durable and can wait.
    Wait,
    /// It fails at once with [`crate::outcome::PAUSED`]: somebody is waiting for it.
    Fail,
}

/// What the shell is to do next.
#[derive(Debug)]
#[must_use = "a decision must be carried out, and a permit given back"]
pub enum Decision<P> {
    /// Send the call, beside what is under way; report the end with [`super::Call::on_attempt_ended`], and give the permit
    /// back. What is under way when [`super::Call::is_under_way`] turns false is to be stopped.
    Send(Dispatch<P>),
    /// Ask this instance's ledger about this key; report with [`super::Call::on_ledger_answer`].
    AskLedger {
        /// Whom to ask.
        instance: InstanceId,
        /// About what.
        key: AttemptId,
        /// How long to wait for the answer, before it is [`super::Ledger::Unreachable`].
        timeout: Duration,
    },
    /// Call [`super::Call::next`] again then, or as soon as the pool changes if [`Waiting::ends_with_pool_change`].
    Wait {
        /// When at the latest.
        until: Mono,
        /// For what.
        why: Waiting,
    },
    /// The call is over; [`super::Call::into_record`] tells how it went.
    Finish(Result<Answer, Failure>),
}

/// One sending of the call to one instance.
#[derive(Debug)]
pub struct Dispatch<P> {
    /// The instance's place in the pool that [`super::Call::next`] was given.
    pub index: usize,
    /// The instance.
    pub instance: InstanceId,
    /// The leave to call it.
    pub permit: P,
    /// The idempotency key.
    pub key: AttemptId,
    /// Which logical attempt this is, from 1.
    pub attempt: u32,
    /// Grows with each sending of the call, from 1: which of them this is.
    pub epoch: u64,
    /// How long the attempt may take.
    pub timeout: Duration,
}
