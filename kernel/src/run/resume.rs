//! Going on from where another run failed.
//!
//! A run that has ended stays ended: whoever was told so was told the truth. Going on is a run of its own, pinned to the
//! same workflow, given the same input, that *carries* what the other had finished: those steps have their answers from the
//! beginning and are not called again. What failed, was cut off or never began begins anew, with keys of its own. All of it
//! stands in the record of the new run's start, so that the run is read back, and replayed, without the other one.
//!
//! # What is carried
//! - A step that completed, with all inside it that would have to be known to undo it.
//! - A step the run went on without, if one that is carried began after it: what came of its absence stands.
//! - Of a step that others lie in and that did not complete, those inside it that did; the step goes on with them. If all of
//!   them did and it failed nevertheless, it begins anew, for the same parts would come to the same end.
//! - Signals that came. What a remedy did for a step that failed all the same is not carried.
//!
//! Time and budgets begin anew: to resume is a decision of its own, and it grants them once more. What a tenant or a
//! workflow may spend over time counts the calls of both.
//!
//! # What may have been done
//! A side effect of which nobody can tell whether it happened, or that happened to a step that begins anew, is not repeated
//! unless somebody who has looked says so, step by step. A run that undid what it did has nothing to go on from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::effect::EffectClass;
use crate::id::RunId;
use crate::json::Json;
use crate::name::Name;
use crate::outcome::Failure;
use crate::run::event::{EndState, SkipReason, present};
use crate::run::fold::{FoldError, Happening};
use crate::run::graft::Graft;
use crate::run::inquiry::Finding;
use crate::run::pattern;
use crate::run::remedy::Remedied;
use crate::run::state::{State, StepState};
use crate::time::Wall;
use crate::workflow::{StepId, StepKind, Work};

mod fates;

use self::fates::{Fate, fates, is_undone_in_parts, may_have_acted, parts};

/// Most bytes of inputs and outputs that are carried: they stand in one record, which is read and sent whole.
pub const MAX_CARRIED: usize = 32 * 1024 * 1024;

/// What a run goes on from, as it stands in the record of its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// The run that failed.
    pub from: RunId,
    /// The signals that came to it.
    #[serde(default, skip_serializing_if = "no_signals")]
    pub signals: Arc<BTreeMap<Name, Json>>,
    /// What it had finished, each behind what it waited for.
    pub carried: Vec<Arc<Carried>>,
}

/// A step that is not as it would be in a run that begins at the beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant, reason = "each lies behind a pointer of its own")]
pub enum Carried {
    /// One that others lie in has begun, with these inside.
    Opened(Opened),
    /// One has ended.
    Ended(Past),
}

/// A step that goes on with what lies inside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// The step.
    pub step: StepId,
    /// What it works on.
    pub input: Json,
    /// What was found out for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Arc<Finding>>,
    /// What grew in it, besides the steps of a workflow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grafts: Vec<Arc<Graft>>,
    /// The plan that it carries out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Arc<str>>,
}

/// A step that has ended in the run before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// The step.
    pub step: StepId,
    /// How it ended.
    pub state: Ended,
    /// What its agent was given.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub input: Option<Json>,
    /// What its agent answered.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub output: Option<Json>,
    /// What whoever answered wants people to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Whether its side effect happened although it failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub effect_stands: bool,
    /// Why it never began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkipReason>,
    /// The remedy it had come to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedied: Option<Remedied>,
    /// When it had begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Wall>,
    /// When it had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Wall>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It has its answer.
    Completed,
    /// It failed for good.
    Failed,
    /// It never began.
    Skipped,
    /// It was cut off.
    Cancelled,
}

/// Why a run cannot be gone on from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// It goes on by itself.
    #[error("the run has not ended; it goes on by itself")]
    Open,
    /// It did all it was to do.
    #[error("the run has completed; nothing is left to do")]
    Completed,
    /// Nothing of it stands any more.
    #[error("the run undid what it did, so there is nothing to go on from; start it anew")]
    Undone,
    /// It did all it was to do, and failed.
    #[error(
        "every step has finished and only the output could not be made, which would fail again; mend the workflow and start it anew"
    )]
    NothingLeft,
    /// What it finished would not fit into one record.
    #[error("what it finished is {bytes} bytes; at most {MAX_CARRIED} are carried over")]
    TooLarge {
        /// Inputs and outputs of the steps that had finished.
        bytes: usize,
    },
    /// What somebody accepted is no step of it.
    #[error("the run has no step `{step}`")]
    NoSuchStep {
        /// What was accepted.
        step: String,
    },
    /// Side effects may happen twice.
    #[error("may have done their work, and would be called again: {}", list(.steps))]
    Uncertain {
        /// The steps that would be called again.
        steps: Vec<StepId>,
    },
}

/// What a run that goes on from `run` carries. `effect` tells what a call of a capability may do to the world; `accepted`
/// are steps that may be called again, they or those inside them, although they may have done their work.
///
/// # Errors
/// [`ResumeError`] says why nothing can go on from `run`.
pub fn carry(
    run: &State,
    effect: impl Fn(&Name) -> EffectClass,
    accepted: &[String],
) -> Result<Resumed, ResumeError> {
    match &run.end {
        None => return Err(ResumeError::Open),
        Some(end) if end.state == EndState::Completed => return Err(ResumeError::Completed),
        Some(_) if run.undoing.is_some() => return Err(ResumeError::Undone),
        Some(_) => {}
    }
    if let Some(step) = accepted.iter().find(|step| run.step(step).is_none()) {
        return Err(ResumeError::NoSuchStep { step: step.clone() });
    }
    let fates = fates(run);
    let own = run.workflow.steps().len();
    if fates[..own].iter().all(|fate| *fate == Fate::Kept) {
        return Err(ResumeError::NothingLeft);
    }
    let accepts = |at: usize| accepted.iter().any(|step| step == run.spec(at).id.as_str());
    let repeats = |at: &usize| {
        let StepKind::Call(call) = &run.spec(*at).kind else { return false };
        fates[*at] != Fate::Kept
            && effect(&call.capability) == EffectClass::SideEffecting
            && may_have_acted(run, *at)
            && !accepts(*at)
            && !pattern::around(run, *at).any(accepts)
    };
    let steps: Vec<StepId> = (0..run.steps.len()).filter(repeats).map(|at| run.spec(at).id.clone()).collect();
    if !steps.is_empty() {
        return Err(ResumeError::Uncertain { steps });
    }
    let mut carried = Vec::new();
    Carrier { run, fates: &fates }.carry((0..own).collect(), &mut carried);
    let bytes = carried.iter().map(|carried| carried.bytes()).fold(0, usize::saturating_add);
    if bytes > MAX_CARRIED {
        return Err(ResumeError::TooLarge { bytes });
    }
    Ok(Resumed { from: run.id, signals: Arc::clone(&run.signals), carried })
}

/// Writes down what is carried.
struct Carrier<'a> {
    run: &'a State,
    fates: &'a [Fate],
}

impl Carrier<'_> {
    /// Steps beside each other, in the order in which they ended: what one waited for had ended before.
    fn carry(&self, mut steps: Vec<usize>, carried: &mut Vec<Arc<Carried>>) {
        steps.sort_by_key(|at| self.run.steps[*at].ended_by);
        for at in steps {
            match self.fates[at] {
                Fate::Anew => {}
                Fate::Reopened => {
                    let inside = parts(self.run, at);
                    carried.push(self.opened(at, &inside));
                    self.carry(inside, carried);
                }
                Fate::Kept => {
                    if is_undone_in_parts(self.run, at) {
                        let inside: Vec<usize> = self.run.within(at).collect();
                        carried.push(self.opened(at, &inside));
                        self.carry(inside, carried);
                    }
                    carried.extend(self.ended(at).map(|past| Arc::new(Carried::Ended(past))));
                }
            }
        }
    }

    fn opened(&self, at: usize, inside: &[usize]) -> Arc<Carried> {
        let (spec, step) = (self.run.spec(at), &self.run.steps[at]);
        let frame = self.run.frame(at);
        let own = |child: &&usize| frame.is_none_or(|frame| !frame.places().contains(child));
        let plan = frame.filter(|_| matches!(spec.kind, StepKind::Plan(_)));
        Arc::new(Carried::Opened(Opened {
            step: spec.id.clone(),
            input: step.input.clone().unwrap_or_default(),
            finding: step.finding.clone(),
            grafts: inside.iter().filter(own).filter_map(|child| self.graft(*child)).map(Arc::new).collect(),
            plan: plan.map(|frame| frame.workflow.source().into()),
        }))
    }

    fn graft(&self, at: usize) -> Option<Graft> {
        let spec = self.run.spec(at);
        let work = match &spec.kind {
            StepKind::Call(call) => Work::Call(call.clone()),
            StepKind::Sub(sub) => Work::Sub(sub.clone()),
            StepKind::Map(_)
            | StepKind::Choose(_)
            | StepKind::Wait(_)
            | StepKind::Approve(_)
            | StepKind::Consensus(_)
            | StepKind::Supervise(_)
            | StepKind::Plan(_)
            | StepKind::Route(_) => return None,
        };
        Some(Graft {
            id: spec.id.clone(),
            work,
            after: spec.after.iter().map(|before| self.run.spec(*before).id.clone()).collect(),
            input: self.run.steps[at].input.clone().unwrap_or_default(),
            optional: spec.optional,
        })
    }

    fn ended(&self, at: usize) -> Option<Past> {
        let step = &self.run.steps[at];
        let state = match step.state {
            StepState::Completed => Ended::Completed,
            StepState::Failed => Ended::Failed,
            StepState::Skipped => Ended::Skipped,
            StepState::Cancelled => Ended::Cancelled,
            StepState::Pending
            | StepState::Running { .. }
            | StepState::BackingOff { .. }
            | StepState::Gathering { .. } => return None,
        };
        Some(Past {
            step: self.run.spec(at).id.clone(),
            state,
            input: step.input.clone(),
            output: step.output.clone(),
            warnings: step.warnings.clone(),
            failure: step.failure.clone(),
            effect_stands: step.effect_stands,
            skipped: step.skipped,
            remedied: step.remedied.clone(),
            started_at: step.started_at,
            ended_at: step.ended_at,
        })
    }
}

impl State {
    /// Begins where another run was.
    pub(super) fn carry(&mut self, resumed: &Resumed, now: Wall) -> Result<(), FoldError> {
        self.resumed_from = Some(resumed.from);
        self.signals = Arc::clone(&resumed.signals);
        for (turn, carried) in resumed.carried.iter().enumerate() {
            match &**carried {
                Carried::Opened(opened) => self.go_on_with(opened, now)?,
                Carried::Ended(past) => self.take_over(turn, past, now)?,
            }
        }
        Ok(())
    }

    fn go_on_with(&mut self, opened: &Opened, now: Wall) -> Result<(), FoldError> {
        let Opened { step, input, finding, grafts, plan } = opened;
        let at = self.position(step)?;
        self.check_open(step)?;
        let until = pattern::within(self, at).map(|within| now + within);
        let run = self.advance(step, Happening::Opened(until))?;
        run.started_at = Some(now);
        run.input = Some(input.clone());
        run.finding.clone_from(finding);
        self.grow_inside(step, now)?;
        self.graft(at, grafts, now)?;
        match plan {
            Some(plan) => self.accept(at, plan, now),
            None => Ok(()),
        }
    }

    fn take_over(&mut self, turn: usize, past: &Past, now: Wall) -> Result<(), FoldError> {
        let at = self.position(&past.step)?;
        let began = matches!(past.state, Ended::Completed | Ended::Failed);
        let has_answer = past.state == Ended::Completed && past.output.is_some();
        if began && !self.is_ready(at) || has_answer != (past.state == Ended::Completed) {
            return Err(FoldError::TooEarly { step: past.step.clone() });
        }
        self.check_inside(&past.step)?;
        let remedies = self.spec(at).recourse.remedies.len();
        if past.remedied.as_ref().is_some_and(|remedied| remedied.remedy >= remedies) {
            return Err(FoldError::Remedy { step: past.step.clone() });
        }
        let run = self.advance(&past.step, Happening::Carried(past.state))?;
        run.input.clone_from(&past.input);
        run.output.clone_from(&past.output);
        run.warnings.clone_from(&past.warnings);
        run.failure.clone_from(&past.failure);
        run.effect_stands = past.effect_stands;
        run.skipped = past.skipped;
        run.remedied.clone_from(&past.remedied);
        run.started_at = past.started_at;
        run.carried = Some(turn);
        self.finish(at, now);
        self.steps[at].ended_at = past.ended_at.or(Some(now));
        Ok(())
    }
}

impl Carried {
    fn bytes(&self) -> usize {
        let long = |json: &Json| json.as_str().len();
        match self {
            Self::Opened(opened) => {
                let grafts = opened.grafts.iter().map(|graft| long(&graft.input)).sum::<usize>();
                let plan = opened.plan.as_ref().map_or(0, |plan| plan.len());
                long(&opened.input).saturating_add(grafts).saturating_add(plan)
            }
            Self::Ended(past) => past.input.iter().chain(&past.output).map(long).sum(),
        }
    }
}

impl Resumed {
    /// The steps that had ended.
    pub fn ended(&self) -> impl Iterator<Item = &StepId> {
        self.carried.iter().filter_map(|carried| match &**carried {
            Carried::Ended(past) => Some(&past.step),
            Carried::Opened(_) => None,
        })
    }
}

impl From<Ended> for StepState {
    fn from(ended: Ended) -> Self {
        ended.state()
    }
}

impl Ended {
    /// The state of a step that ended so.
    pub(super) const fn state(self) -> StepState {
        match self {
            Self::Completed => StepState::Completed,
            Self::Failed => StepState::Failed,
            Self::Skipped => StepState::Skipped,
            Self::Cancelled => StepState::Cancelled,
        }
    }
}

fn no_signals(signals: &BTreeMap<Name, Json>) -> bool {
    signals.is_empty()
}

fn list(steps: &[StepId]) -> String {
    steps.iter().map(|step| format!("`{step}`")).collect::<Vec<_>>().join(", ")
}
