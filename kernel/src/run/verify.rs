//! Whether a step's answer counts: post-conditions, a verifier who had no part in it, and a bounded number of repairs.
//!
//! An answer that is to be verified is written down first, and with it how often it may go back. From then on the step is
//! open: what follows is read off its state. The post-conditions are looked at; if they hold, the verifier is asked as
//! `STEP/verify_1`; its verdict becomes an event with its grounds. A refused answer goes back as `STEP/repair_1`, a step
//! of its own with a key of its own, whose answer is verified in its turn. So a crash between any two of these goes on
//! where it was, and all that is used up counts in the budgets of the step and the run.
//!
//! # Independence
//! The verifier's call names every agent that had a part in the answer, and goes to none of them. Where nobody else offers
//! the capability there is no verdict: nobody looks at their own work.
//!
//! # What is not repaired
//! What the world noticed is not done twice: where the work had a side effect, the first refusal is the last word. The
//! same answer given again is not verified again: nothing was mended, and more rounds would buy nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::budget::BUDGET_EXHAUSTED;
use crate::effect::EffectClass;
use crate::expr::Answered;
use crate::json::Json;
use crate::name::Name;
use crate::outcome::{Answer, Began, Class, Failure, Usage};
use crate::run::frame::View;
use crate::run::graft::Graft;
use crate::run::hand_off::{self, own};
use crate::run::pattern::{self, Progress};
use crate::run::remedy::Failed;
use crate::run::state::{State, StepRun, StepState};
use crate::workflow::{Call, IfUnavailable, Remedy, StepKind, Verification, Verifier, Work};

mod law;
pub(super) mod part;
mod verdict;

use self::part::{Part, id, part_at};
use self::verdict::{MAX_GROUNDS, Word};
pub use self::verdict::{Soundness, Verified};

const VERIFICATION_FAILED: &str = "VERIFICATION_FAILED";
const VERIFIER_UNAVAILABLE: &str = "VERIFIER_UNAVAILABLE";
pub(super) const NO_PROGRESS: &str = "NO_PROGRESS";

/// An answer that is being verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Verifying {
    /// The answer that came first.
    pub answer: Arc<Answer>,
    /// How often it, or what came after it, may go back.
    pub repairs: u32,
    /// How many verdicts the step had before.
    pub from: usize,
}

/// Whether the answer that the step at `at` has come to must be verified before it counts. What a person approved, and
/// what the workflow itself says stands in, must not.
pub(super) fn is_due(run: &State, at: usize) -> bool {
    let spec = run.spec(at);
    let answered = match &run.steps[at].remedied {
        None => true,
        Some(remedied) => matches!(spec.recourse.remedies.get(remedied.remedy), Some(Remedy::Fallback(_))),
    };
    spec.verification.is_some() && answered && run.steps[at].verifying.is_none()
}

/// How often the answer of the step at `at` may go back, whose last call had `effect`.
pub(super) fn repairs(run: &State, at: usize, effect: EffectClass) -> u32 {
    let Some(verification) = &run.spec(at).verification else { return 0 };
    let noticed = effect == EffectClass::SideEffecting || has_side_effect(run, at);
    if noticed || again(run, at).is_none() { 0 } else { verification.repairs }
}

/// Whether a call of the step at `at`, or of one inside it, may have had a side effect.
fn has_side_effect(run: &State, at: usize) -> bool {
    let works = |child: &usize| part_at(run, *child) != Some(Part::Verify);
    run.steps[at].attempts.iter().any(|attempt| attempt.side_effecting)
        || run.within(at).filter(works).any(|child| has_side_effect(run, child))
}

/// What is done again in a repair of the step at `at`, if it can be.
fn again(run: &State, at: usize) -> Option<Work> {
    let spec = run.spec(at);
    if let Some(remedied) = &run.steps[at].remedied {
        return spec.recourse.remedies.get(remedied.remedy)?.call().cloned().map(Work::Call);
    }
    match &spec.kind {
        StepKind::Call(call) => Some(Work::Call(call.clone())),
        StepKind::Sub(sub) => Some(Work::Sub(sub.clone())),
        // The one that answered: the branch that was taken, the worker or its fallback.
        StepKind::Choose(_) | StepKind::Route(_) => {
            let answered = |child: &usize| run.steps[*child].state == StepState::Completed;
            let child = run.within(at).filter(answered).find(|child| part_at(run, *child).is_none())?;
            run.spec(child).kind.call().cloned().map(Work::Call)
        }
        StepKind::Map(_)
        | StepKind::Consensus(_)
        | StepKind::Supervise(_)
        | StepKind::Plan(_)
        | StepKind::Wait(_)
        | StepKind::Approve(_) => None,
    }
}

/// One answer of a step, and where it came from.
struct Candidate<'a> {
    run: &'a State,
    at: usize,
    verification: &'a Verification,
    verifying: &'a Verifying,
}

/// What the step at `at` does next, whose answer is being verified.
pub(super) fn progress(run: &State, at: usize, verifying: &Verifying) -> Progress {
    let Some(verification) = &run.spec(at).verification else { return Progress::Wait };
    Candidate { run, at, verification, verifying }.progress()
}

impl Candidate<'_> {
    fn step(&self) -> &StepRun {
        &self.run.steps[self.at]
    }

    /// The child of that part and number, if it has grown.
    fn child(&self, part: Part, number: usize) -> Option<usize> {
        let id = id(self.run, self.at, part, number)?;
        self.run.step(id.as_str()).map(|(at, _)| at)
    }

    /// The answer before which `verdicts` verdicts were reached; nothing while it is still to come.
    fn answer(&self, verdicts: usize) -> Option<&Json> {
        if verdicts == self.verifying.from {
            return Some(&self.verifying.answer.output);
        }
        let step = &self.run.steps[self.child(Part::Repair, verdicts)?];
        if step.state == StepState::Completed { step.output.as_ref() } else { None }
    }

    fn progress(&self) -> Progress {
        let reached = self.step().verdicts.len();
        let Some(last) = self.step().verdicts.last().filter(|_| reached > self.verifying.from) else {
            return self.judge(reached, &self.verifying.answer.output);
        };
        match last.verdict {
            Soundness::Passed => self.complete(reached, Vec::new()),
            Soundness::Unverified => {
                let why = last.grounds.join("; ");
                self.complete(reached, vec![format!("nobody verified it: {why}")])
            }
            Soundness::Unavailable => self.unavailable(last, reached),
            Soundness::Unchanged => {
                let message = format!("the repair gave the very answer that was refused: {}", self.told());
                self.fail(NO_PROGRESS, Class::AgentError, message, "what did not change will not pass")
            }
            Soundness::Refused => self.after_refusal(reached, last),
        }
    }

    /// What follows the refusal that was verdict `reached`.
    fn after_refusal(&self, reached: usize, last: &Verified) -> Progress {
        let Some(repair) = self.child(Part::Repair, reached) else {
            let made = u32::try_from(reached - self.verifying.from).unwrap_or(u32::MAX);
            if made > self.verifying.repairs {
                return self.exhausted(made);
            }
            return self.repair(reached, made, last);
        };
        match (self.run.steps[repair].state, self.answer(reached)) {
            (StepState::Completed, Some(output)) => self.judge(reached, output),
            (StepState::Failed | StepState::Skipped | StepState::Cancelled, _) => {
                let cause = hand_off::brought_down(self.run, repair);
                if cause.code == BUDGET_EXHAUSTED {
                    return pattern::fail(cause, "the budget does not reach for a repair");
                }
                let message = format!("{}; its repair failed: {}", self.told(), cause.message);
                let failure = Failure {
                    began: cause.began,
                    ..refusal(VERIFICATION_FAILED, Class::ContractBreach, message)
                };
                pattern::fail(failure, "it could not be repaired")
            }
            _ => Progress::Wait,
        }
    }

    /// What is to be said of `output`, before which `reached` verdicts were.
    fn judge(&self, reached: usize, output: &Json) -> Progress {
        let number = reached + 1;
        if let (Some(verifier), Some(child)) = (&self.verification.by, self.child(Part::Verify, number)) {
            return self.heard(verifier, child);
        }
        if (self.verifying.from..reached).any(|before| self.answer(before) == Some(output)) {
            return verdict(Soundness::Unchanged, Vec::new());
        }
        let grounds = self.broken(output);
        if !grounds.is_empty() {
            return verdict(Soundness::Refused, grounds);
        }
        match &self.verification.by {
            None => verdict(Soundness::Passed, Vec::new()),
            Some(verifier) => self.ask(verifier, number, output),
        }
    }

    /// The post-conditions that do not hold of `output`, each with why it should.
    fn broken(&self, output: &Json) -> Vec<String> {
        let (given, grounds) = (self.given(), self.last_grounds());
        let answered = Answered { output, given: &given, grounds: &grounds };
        let view = View::of(self.run, self.at);
        let broken = self.verification.that.iter().filter_map(|that| {
            let why = match that.holds.holds_of(&view.scope(), answered) {
                Ok(true) => return None,
                Ok(false) => format!("`{}` does not hold", that.source),
                Err(error) => format!("whether `{}` holds cannot be told: {}", that.source, error.message),
            };
            Some(match &that.because {
                None => why,
                Some(because) => format!("{because} ({why})"),
            })
        });
        broken.take(MAX_GROUNDS).collect()
    }

    fn ask(&self, verifier: &Verifier, number: usize, output: &Json) -> Progress {
        let (given, grounds) = (self.given(), self.last_grounds());
        let input = match &verifier.input {
            None => pattern::written(&Shown { input: &given, output }),
            Some(input) => {
                let answered = Answered { output, given: &given, grounds: &grounds };
                let made = input.eval_of(&View::of(self.run, self.at).scope(), answered);
                made.map_err(|error| hand_off::unmapped("what its verifier is given", &error))
            }
        };
        let (input, id) = match (input, id(self.run, self.at, Part::Verify, number)) {
            (Ok(input), Some(id)) => (input, id),
            (Err(failure), _) => return pattern::fail(failure, "the run will not change it"),
            (_, None) => return too_deep(),
        };
        let work = Work::Call(Call { not_by: self.authors(number - 1), ..verifier.call.clone() });
        Progress::Graft(vec![Graft { id, work, after: Vec::new(), input, optional: true }])
    }

    /// What the verifier at `child` said, once it has.
    fn heard(&self, verifier: &Verifier, child: usize) -> Progress {
        let step = &self.run.steps[child];
        let unavailable = |why: String| match verifier.if_unavailable {
            IfUnavailable::Accept => verdict(Soundness::Unverified, vec![why]),
            IfUnavailable::Fail => verdict(Soundness::Unavailable, vec![why]),
        };
        match (step.state, &step.output) {
            (StepState::Completed, Some(word)) => match Word::read(word) {
                Some(word) => Progress::Verdict(word.verdict(verifier.threshold_bp, author(step))),
                None => unavailable("what it said cannot be read".to_owned()),
            },
            (StepState::Failed | StepState::Skipped | StepState::Cancelled, _) => {
                unavailable(hand_off::brought_down(self.run, child).message)
            }
            _ => Progress::Wait,
        }
    }

    /// Hands the answer back with the grounds of verdict `reached`.
    fn repair(&self, reached: usize, made: u32, last: &Verified) -> Progress {
        let (given, grounds) = (self.given(), self.last_grounds());
        let Some(output) = self.answer(reached - 1) else { return Progress::Wait };
        let input = match &self.verification.repair_input {
            None => {
                let repairs = self.verifying.repairs;
                with_repair(&given, &HandedBack { output, grounds: &last.grounds, repair: made, repairs })
            }
            Some(input) => {
                let answered = Answered { output, given: &given, grounds: &grounds };
                let made = input.eval_of(&View::of(self.run, self.at).scope(), answered);
                made.map_err(|error| hand_off::unmapped("what goes back", &error))
            }
        };
        match (input, id(self.run, self.at, Part::Repair, reached), again(self.run, self.at)) {
            (Ok(input), Some(id), Some(work)) => {
                Progress::Graft(vec![Graft { id, work, after: Vec::new(), input, optional: true }])
            }
            (Err(failure), ..) => pattern::fail(failure, "the run will not change it"),
            (_, None, _) => too_deep(),
            (_, _, None) => self.exhausted(made),
        }
    }

    fn exhausted(&self, made: u32) -> Progress {
        let message = match made {
            1 if self.verifying.repairs == 0 => self.told(),
            _ => format!("{}; it was handed back {} times", self.told(), made.saturating_sub(1)),
        };
        let reason = if self.verifying.repairs == 0 {
            "it is not handed back"
        } else {
            "it was handed back as often as allowed"
        };
        self.fail(VERIFICATION_FAILED, Class::ContractBreach, message, reason)
    }

    fn unavailable(&self, last: &Verified, reached: usize) -> Progress {
        let cause = self.child(Part::Verify, reached).map(|child| hand_off::brought_down(self.run, child));
        if let Some(cause) = cause.filter(|cause| cause.code == BUDGET_EXHAUSTED) {
            return pattern::fail(cause, "the budget does not reach for its verification");
        }
        let message = format!("nobody could verify the answer: {}", last.grounds.join("; "));
        self.fail(VERIFIER_UNAVAILABLE, Class::Unavailable, message, "what nobody verified does not count")
    }

    fn fail(&self, code: &str, class: Class, message: String, reason: &str) -> Progress {
        pattern::fail(refusal(code, class, message), reason)
    }

    /// The last refusal, in one line.
    fn told(&self) -> String {
        let refused = self.step().verdicts.iter().rev().find(|verdict| verdict.verdict == Soundness::Refused);
        let Some(refused) = refused else { return "the answer was refused".to_owned() };
        let by = if refused.by.is_empty() { String::new() } else { format!(" by `{}`", refused.by) };
        let score = refused.score_bp.map(|bp| format!(" with a score of {}", crate::run::remedy::Share(bp)));
        let grounds = refused.grounds.join("; ");
        let separator = if grounds.is_empty() { "" } else { ": " };
        format!("the answer was refused{by}{}{separator}{grounds}", score.unwrap_or_default())
    }

    /// The answer counts, which is the one that verdict `reached` was about.
    fn complete(&self, reached: usize, more: Vec<String>) -> Progress {
        let first = &self.verifying.answer;
        let Some(place) = reached.checked_sub(1) else { return Progress::Wait };
        let Some(output) = self.answer(place) else { return Progress::Wait };
        let mut answer = match self.child(Part::Repair, place).filter(|_| place > self.verifying.from) {
            None => Answer::clone(first),
            Some(repair) => {
                let mut warnings = self.run.steps[repair].warnings.clone();
                let times = place - self.verifying.from;
                warnings.push(format!("it passed after {times} repair{}", if times == 1 { "" } else { "s" }));
                let output = output.clone();
                Answer { output, usage: Usage::default(), confidence_bp: None, warnings }
            }
        };
        answer.warnings.extend(more);
        Progress::Complete(answer)
    }

    fn given(&self) -> Json {
        self.step().input.clone().unwrap_or_default()
    }

    /// Why the answer before this one was refused.
    fn last_grounds(&self) -> Json {
        let last = self.step().verdicts.get(self.verifying.from..).and_then(<[_]>::last);
        let grounds = last.map(|last| &*last.grounds).unwrap_or_default();
        pattern::written(&grounds).unwrap_or_default()
    }

    /// Every agent that had a part in the answer before which `verdicts` verdicts were reached.
    fn authors(&self, verdicts: usize) -> Vec<Name> {
        let mut authors = BTreeSet::new();
        match self.child(Part::Repair, verdicts).filter(|_| verdicts > self.verifying.from) {
            Some(repair) => gather(self.run, repair, &mut authors),
            None => {
                authors.extend(author(self.step()));
                let others = self.run.within(self.at).filter(|child| part_at(self.run, *child).is_none());
                others.for_each(|child| gather(self.run, child, &mut authors));
            }
        }
        authors.into_iter().collect()
    }
}

/// Everyone who answered for the step at `at`, or for one inside it.
fn gather(run: &State, at: usize, authors: &mut BTreeSet<Name>) {
    authors.extend(author(&run.steps[at]));
    run.within(at).for_each(|child| gather(run, child, authors));
}

/// The agent whose answer a step has, if one answered.
fn author(step: &StepRun) -> Option<Name> {
    let answered = step.attempts.iter().rfind(|attempt| attempt.class == Class::Success)?;
    Name::new(&answered.agent).ok()
}

fn verdict(verdict: Soundness, grounds: Vec<String>) -> Progress {
    Progress::Verdict(Verified { verdict, score_bp: None, grounds, by: String::new() })
}

fn refusal(code: &str, class: Class, message: String) -> Failure {
    Failure { began: Began::Yes, ..own(class, code, message) }
}

fn too_deep() -> Progress {
    let message = "it lies too deep for another step inside it".to_owned();
    pattern::fail(own(Class::CallerFault, VERIFIER_UNAVAILABLE, message), "its place will not change")
}

/// What a verifier is shown.
#[derive(Serialize)]
struct Shown<'a> {
    input: &'a Json,
    output: &'a Json,
}

/// What goes back to whoever did the work.
#[derive(Serialize)]
struct HandedBack<'a> {
    output: &'a Json,
    grounds: &'a [String],
    /// Which repair it is, from 1, and how many there are.
    repair: u32,
    repairs: u32,
}

/// What was given before, with `repair` beside it; what is no map becomes one.
fn with_repair(given: &Json, repair: &HandedBack<'_>) -> Result<Json, Failure> {
    let repair = pattern::written(repair)?;
    let mut fields: BTreeMap<String, Box<RawValue>> = match serde_json::from_str(given.as_str()) {
        Ok(fields) => fields,
        Err(_) => serde_json::from_str(&format!("{{\"input\":{given}}}")).unwrap_or_default(),
    };
    fields.extend(serde_json::from_str(repair.as_str()).ok().map(|repair| ("repair".to_owned(), repair)));
    pattern::written(&fields)
}

/// What is known of a failure of the step at `at`: the answer that was refused is shown to whoever is asked, and what was
/// done is not done again.
pub(super) fn failed(run: &State, at: usize, failure: Failure, reason: String) -> Failed {
    let uncalled = Failed::uncalled(failure, reason);
    let Some(verifying) = &run.steps[at].verifying else { return uncalled };
    let doubtful = Some(Answer::clone(&verifying.answer));
    Failed { doubtful, effect_stands: has_side_effect(run, at), ..uncalled }
}
