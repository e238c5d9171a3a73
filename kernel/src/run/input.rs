//! What a run can be told, and why it may not listen.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::chain::Chain;
use crate::context::Pins;
use crate::effect::EffectClass;
use crate::id::RunId;
use crate::json::Json;
use crate::mode::Mode;
use crate::name::Name;
use crate::outcome::{Answer, Failure};
use crate::priority::Priority;
use crate::retry::Retries;
use crate::run::budget::Estimates;
use crate::run::event::{Attempt, AttemptRecord};
use crate::run::fold::FoldError;
use crate::run::hand_off;
use crate::run::inquiry::Finding;
use crate::run::people::Ruling;
use crate::run::resume::Resumed;
use crate::schema::Violation;
use crate::time::Wall;
use crate::workflow::{Linked, StepId};

/// A run to be started.
#[derive(Debug, Clone)]
pub struct Start {
    /// Its id.
    pub id: RunId,
    /// Whose it is.
    pub tenant: Name,
    /// What it runs, for good.
    pub workflow: Linked,
    /// What it is given.
    pub input: Json,
    /// What its client wants, in words.
    pub intent: Arc<str>,
    /// Labels of its client's.
    pub labels: Arc<BTreeMap<String, String>>,
    /// The key under which the client may ask for this run again.
    pub idempotency_key: Option<Arc<str>>,
    /// When the client stops waiting; the workflow's own deadline holds if it is sooner.
    pub deadline: Option<Wall>,
    /// Whether its steps may be tried again: not if the run was started for a call whose caller retries.
    pub retries: Retries,
    /// The calls on whose behalf it is started; none if a client starts it.
    pub chain: Chain,
    /// How urgent it is.
    pub priority: Priority,
    /// The operating mode. It is not kept; what it leaves out is.
    pub mode: Mode,
    /// What a call costs by what its capability declares, in 10⁻⁹ US dollars, where the workflow limits something.
    pub estimates: Estimates,
    /// What the workflow reads of the shared context, as it was read just now.
    pub context: Pins,
    /// What it goes on from; nothing for a run that begins at the beginning.
    pub resumed: Option<Arc<Resumed>>,
}

impl Start {
    /// A run of which its client asked nothing but the answer.
    #[must_use]
    pub fn of(id: RunId, tenant: Name, workflow: impl Into<Linked>, input: Json) -> Self {
        Self {
            id,
            tenant,
            workflow: workflow.into(),
            input,
            intent: "".into(),
            labels: Arc::default(),
            idempotency_key: None,
            deadline: None,
            retries: Retries::Allowed,
            chain: Chain::default(),
            priority: Priority::default(),
            mode: Mode::Full,
            estimates: Arc::default(),
            context: Pins::default(),
            resumed: None,
        }
    }
}

/// Why a run does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The input breaks the workflow's input schema.
    #[error("the input breaks the workflow's input schema: {}", hand_off::list(.0))]
    Input(Vec<Violation>),
    /// There is no time to do anything.
    #[error("the deadline has passed")]
    DeadlinePassed,
    /// A decision broke the journal's own rules: a fault of Mainstay's.
    #[error("the decision may not happen: {0}")]
    Illegal(#[from] FoldError),
}

/// What a run can be told.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A try ended.
    AttemptEnded {
        /// Which.
        attempt: Attempt,
        /// What the call may have done to the world, as the capability declares.
        effect: EffectClass,
        /// How it ended. Whether a side effect happened has been asked of the ledger by now.
        result: Result<Answer, Failure>,
        /// The calls it took.
        attempts: Vec<AttemptRecord>,
    },
    /// The time of [`crate::run::Owed::wake_at`] has come.
    Woken,
    /// Word from outside.
    Signal {
        /// The signal.
        name: Name,
        /// What it carries.
        value: Json,
    },
    /// A person answers what a step asks.
    Answer {
        /// The step.
        step: StepId,
        /// The answer.
        ruling: Ruling,
    },
    /// What a step asked of the world was found out.
    Found {
        /// The step.
        step: StepId,
        /// What was found.
        finding: Finding,
    },
    /// Somebody wants it to stop.
    Cancel {
        /// Why, in their words.
        reason: String,
    },
}

/// Why an input changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// The run has ended.
    #[error("the run has ended")]
    RunEnded,
    /// No such try is under way: its result came late, or twice.
    #[error("try {} ({}) is not under way", .0.number, .0.id)]
    Stale(Attempt),
    /// Nothing is due yet.
    #[error("nothing is due yet")]
    NothingDue,
    /// The same signal or answer was taken before.
    #[error("it was taken before")]
    Repeated,
    /// No step waits for a signal of that name.
    #[error("is no signal that a step of the workflow waits for{}", list_of(known))]
    NoSuchSignal {
        /// Those that some step waits for.
        known: Vec<String>,
    },
    /// What the signal carries is not what a step that waits for it expects.
    #[error("the signal's value breaks the schema: {}", hand_off::list(.0))]
    SignalBreaks(Vec<Violation>),
    /// The signal came before with another value.
    #[error("the signal came before, with another value")]
    SignalCame,
    /// The step asks nothing, not yet or not any more.
    #[error("step `{step}` does not wait for a person")]
    NotAsked {
        /// The step.
        step: StepId,
    },
    /// The step asks nothing of the world, not yet or not any more.
    #[error("step `{step}` asks nothing of the world")]
    NotInquired {
        /// The step.
        step: StepId,
    },
    /// Somebody else was faster.
    #[error("step `{step}` was answered before, otherwise")]
    Answered {
        /// The step.
        step: StepId,
    },
    /// A correction breaks the form.
    #[error("the correction breaks the form: {}", hand_off::list(.0))]
    AnswerBreaks(Vec<Violation>),
    /// A correction without what is to go on.
    #[error("is missing: a correction says what goes on instead")]
    CorrectionMissing,
    /// A value beside a verdict that has none.
    #[error("belongs to a correction, and to nothing else")]
    CorrectionUnasked,
    /// A decision broke the journal's own rules: a fault of Mainstay's.
    #[error("the decision may not happen: {0}")]
    Illegal(#[from] FoldError),
}

/// The signals there are, as the end of a sentence.
fn list_of(names: &[String]) -> String {
    match names {
        [] => "; it waits for none".to_owned(),
        names => format!("; it waits for {}", names.join(", ")),
    }
}
