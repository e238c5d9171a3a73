//! A simulated world around a run: agents whose answers are written beforehand, a ledger that remembers what was begun,
//! a client that may cancel. It does what the shell does, compare what is owed with what is under way, and checks after
//! every transition what must always hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::part::fields;
pub(super) use super::part::{Fate, List, Part, list, part, ruling};
use crate::id::{AttemptId, RunId};
use crate::json::{Json, Limits};
use crate::mode::Mode;
use crate::name::Name;
use crate::outcome::{Answer, Began, Class, Failure, Usage};
use crate::play::{self, First};
use crate::retry::budget::Leave;
use crate::run::{
    Attempt, AttemptRecord, Call, Event, Ignored, Input, Resumed, Run, Start, StepState, Transition, asked,
    outstanding, start, step,
};
use crate::time::Wall;
use crate::workflow::{Linked, StepId, Sub, Workflow};

pub(super) const RUN: RunId = RunId::from_bytes([7; 16]);

/// A run ends within this many transitions or never: no plan here has as many tries and cancels.
const MOST_TRANSITIONS: usize = 2_000;

/// What a call uses where nothing else is said.
pub(super) const USAGE: Usage = Usage { tokens_in: 10, tokens_out: 1, cost_nano_usd: 5, agent_micros: 100 };

pub(super) fn text(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn id(text: &str) -> StepId {
    StepId::new(text).unwrap()
}

pub(super) const fn at(ms: i64) -> Wall {
    Wall::from_millis(ms)
}

/// A workflow and everything the world will do to a run of it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) parts: Vec<Part>,
    pub(super) max_parallel: usize,
    pub(super) max_retries: u32,
    pub(super) deadline_ms: u64,
    pub(super) output: Vec<(&'static str, String)>,
    /// When its runs undo, if it says so.
    pub(super) compensation: Option<Value>,
    pub(super) cancel_at: Option<i64>,
    /// Signals from outside: when, which, and what it carries.
    pub(super) signals: Vec<(i64, &'static str, &'static str)>,
    /// The operating mode.
    pub(super) mode: Mode,
    /// The workflow's budget.
    pub(super) budget: Value,
    /// What calls cost by what their capabilities declare.
    pub(super) estimates: Vec<(&'static str, u64)>,
    /// Workflows that steps run.
    pub(super) subs: Vec<Value>,
    /// What its runs go on from.
    pub(super) resumed: Option<Arc<Resumed>>,
}

pub(super) fn plan(parts: Vec<Part>) -> Plan {
    let last = parts.last().unwrap().id.clone();
    let output = vec![("result", format!("${{steps.{last}.output}}"))];
    Plan {
        parts,
        max_parallel: 4,
        max_retries: 100,
        deadline_ms: 60_000,
        output,
        compensation: None,
        cancel_at: None,
        signals: Vec::new(),
        mode: Mode::Full,
        budget: Value::Null,
        estimates: Vec::new(),
        subs: Vec::new(),
        resumed: None,
    }
}

impl Plan {
    pub(super) fn workflow(&self) -> Linked {
        let steps: Vec<Value> = self.parts.iter().map(Part::document).collect();
        let mut document = json!({
            "name": "trip",
            "version": 3,
            "input": { "type": "object" },
            "deadline": format!("{}ms", self.deadline_ms),
            "max_parallel": self.max_parallel,
            "max_retries": self.max_retries,
            "budget": self.budget,
            "steps": steps,
            "output": fields(&self.output),
        });
        if let Some(compensation) = &self.compensation {
            document["compensation"] = compensation.clone();
        }
        let subs: Vec<Arc<Workflow>> = self.subs.iter().map(parsed).collect();
        let find = |sub: &Sub| {
            subs.iter().find(|known| *known.name() == sub.workflow).cloned().ok_or("it is not in the plan")
        };
        Linked::new(parsed(&document), find).unwrap()
    }

    pub(super) fn start(&self) -> Start {
        Start {
            intent: "to know why".into(),
            mode: self.mode,
            estimates: Arc::new(self.estimates.iter().map(|(c, nano)| (name(c), *nano)).collect()),
            resumed: self.resumed.clone(),
            ..Start::of(RUN, name("default"), self.workflow(), text(r#"{"question":"why"}"#))
        }
    }

    fn part(&self, step: &StepId) -> &Part {
        let outermost = step.as_str().split('/').next().unwrap();
        self.parts.iter().find(|part| part.id == outermost).unwrap()
    }
}

/// A run in its world.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) run: Run,
    pub(super) log: Vec<Transition>,
    pub(super) now: Wall,
    /// What agents were asked to do, and when: this is not lost in a crash of the control plane.
    pub(super) begun: BTreeMap<Attempt, Wall>,
    /// What every agent's budget says.
    pub(super) leave: Leave,
}

/// A budget with retries to spare.
const LEAVE: Leave = Leave::Granted { left: 7 };

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let workflow = plan.workflow();
        let first = start(plan.start(), at(0)).unwrap();
        let run = Run::begin(&first, workflow, RUN).unwrap();
        let world = Self { plan, run, log: vec![first], now: at(0), begun: BTreeMap::new(), leave: LEAVE };
        world.check(None);
        world
    }

    /// Builds the run again from `log` alone.
    pub(super) fn recovered(plan: Plan, log: Vec<Transition>, begun: BTreeMap<Attempt, Wall>) -> Self {
        let run = replay(&plan.workflow(), &log);
        let now = run.last_at;
        Self { plan, run, log, now, begun, leave: LEAVE }
    }

    pub(super) fn tell(&mut self, input: Input) -> Result<(), Ignored> {
        let transition = step(&self.run, input, self.now, self.plan.mode, |_, _| self.leave)?;
        let before = self.run.clone();
        self.run.fold(&transition).expect("what is decided may happen");
        self.log.push(transition);
        self.check(Some(&before));
        Ok(())
    }

    /// Lets time pass up to `limit`, or until the run ends.
    pub(super) fn go_until(&mut self, limit: Wall) {
        for _ in 0..MOST_TRANSITIONS {
            let owed = outstanding(&self.run);
            for call in &owed.calls {
                self.begun.entry(call.attempt).or_insert(self.now);
            }
            let due = |call: &Call| Some(self.begun[&call.attempt] + self.takes(call));
            // A run that is undoing is past cancelling, as one that has ended is.
            let past = self.run.cancel.is_some() || self.run.undoing.is_some() || self.run.end.is_some();
            let cancel = self.plan.cancel_at.map(at).filter(|_| !past);
            let word = self.word();
            let said = word.as_ref().map(|(at, _)| *at).into_iter().chain(cancel).min();
            let Some((next, first)) = play::first(&owed, due, said) else { return };
            let next = next.max(self.now);
            if next > limit {
                return;
            }
            self.now = next;
            match (first, word) {
                (First::Wake, _) => self.tell(Input::Woken).expect("was to be woken now"),
                (First::End(call), _) => {
                    let result = self.result(&call);
                    self.tell(result.clone()).expect("was owed");
                    assert!(
                        matches!(self.tell(result), Err(Ignored::Stale(_) | Ignored::RunEnded)),
                        "a second delivery changes nothing"
                    );
                }
                (First::Word, Some((at, word))) if at <= next => {
                    self.tell(word.clone()).expect("was waited for");
                    assert!(
                        matches!(
                            self.tell(word),
                            Err(Ignored::Repeated | Ignored::RunEnded | Ignored::NotInquired { .. })
                        ),
                        "said twice, it changes nothing"
                    );
                }
                (First::Word, _) => {
                    self.tell(Input::Cancel { reason: "enough".to_owned() })
                        .expect("was not cancelled before");
                }
            }
        }
        panic!("the run does not end");
    }

    pub(super) fn finish(mut self) -> Self {
        self.go_until(at(i64::MAX));
        assert!(self.run.end.is_some(), "the run stands still");
        for input in [Input::Woken, Input::Cancel { reason: String::new() }] {
            assert_eq!(self.tell(input), Err(Ignored::RunEnded));
        }
        assert_eq!(
            outstanding(&self.run),
            crate::run::Owed::default(),
            "nothing is owed to a run that has ended"
        );
        let disk: Vec<String> = self.log.iter().map(|t| serde_json::to_string(t).unwrap()).collect();
        let log: Vec<Transition> = disk.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let replayed = replay(&self.run.workflow, &log);
        assert_eq!(format!("{replayed:?}"), format!("{:?}", self.run), "replay equals live");
        self
    }

    /// What comes next from outside, and when. It follows from the run alone, so a crash does not change it.
    fn word(&self) -> Option<(Wall, Input)> {
        if self.run.end.is_some() {
            return None;
        }
        let signals =
            self.plan.signals.iter().filter(|(_, signal, _)| !self.run.signals.contains_key(&name(signal)));
        let signals = signals
            .map(|(ms, signal, value)| (at(*ms), Input::Signal { name: name(signal), value: text(value) }));
        let answers = asked(&self.run).into_iter().filter_map(|asked| {
            let (after, ruling) = self.plan.part(&asked.step).says.clone()?;
            Some((asked.since + Duration::from_millis(after), Input::Answer { step: asked.step, ruling }))
        });
        let found = outstanding(&self.run).inquiries.into_iter().filter_map(|inquiry| {
            let (after, finding) = self.plan.part(&inquiry.step).finds.clone()?;
            let since = self.run.step(inquiry.step.as_str())?.1.started_at?;
            let at = since + Duration::from_millis(after);
            Some((at, Input::Found { step: inquiry.step, finding }))
        });
        signals.chain(answers).chain(found).min_by_key(|(at, _)| *at)
    }

    fn takes(&self, call: &Call) -> Duration {
        Duration::from_millis(u64::try_from(self.plan.part(&call.step).takes_ms).unwrap())
    }

    pub(super) fn result(&self, call: &Call) -> Input {
        let part = self.plan.part(&call.step);
        let (class, result) = match part.fate(&call.step, call.attempt.number) {
            Fate::Answer(text) => (Class::Success, Ok(answer(text))),
            Fate::Unsure(text, bp) => {
                (Class::Success, Ok(Answer { confidence_bp: Some(*bp), ..answer(text) }))
            }
            Fate::Fail(class, began) => (*class, Err(failure(*class, *began))),
        };
        let usage = part.uses;
        // Two agents offer everything, and the second is asked where the first must not be.
        let agent = if call.not_by.contains(&name("agent")) { "other" } else { "agent" };
        assert!(!call.not_by.contains(&name(agent)), "nobody looks at their own work");
        let record = AttemptRecord {
            agent: agent.to_owned(),
            usage,
            failure: result.as_ref().err().cloned(),
            ..record(call.attempt, self.begun[&call.attempt], self.takes(call), class)
        };
        Input::AttemptEnded { attempt: call.attempt, effect: part.effect, result, attempts: vec![record] }
    }

    /// No call begins once a budget it belongs to is spent: so none is exceeded by more than what was under way. Summed
    /// from the records alone, not from the run's own books.
    fn check_budgets(&self) {
        let mut used: BTreeMap<String, [u64; 3]> = BTreeMap::new();
        for event in self.log.iter().flat_map(|transition| &transition.events) {
            let Some(step) = event.step() else { continue };
            let part = self.plan.part(step);
            let own = (part.id.clone(), &part.budget);
            for (whose, budget) in [own, (String::new(), &self.plan.budget)] {
                let limits = [("usd", 1e9), ("tokens", 1.0), ("calls", 1.0)]
                    .map(|(field, unit)| budget[field].as_f64().map(|most| (most * unit).round() as u64));
                let used = used.entry(whose).or_default();
                // What a run did is undone though nothing is left.
                let undoes = step.as_str().ends_with("/undo");
                if matches!(event, Event::StepStarted { .. }) && !undoes {
                    let over =
                        limits.iter().zip(*used).any(|(most, used)| most.is_some_and(|most| used >= most));
                    assert!(!over, "{step} began on a spent budget: {used:?} of {limits:?}");
                }
                let (Event::AttemptFailed { attempts, .. }
                | Event::StepCompleted { attempts, .. }
                | Event::RemedyBegun { attempts, .. }
                | Event::VerificationBegun { attempts, .. }
                | Event::StepFailed { attempts, .. }) = event
                else {
                    continue;
                };
                for usage in attempts.iter().map(|attempt| attempt.usage) {
                    let now = [u64::try_from(usage.cost_nano_usd).unwrap_or(0), usage.tokens_in, 1];
                    used.iter_mut().zip(now).for_each(|(used, now)| *used = used.saturating_add(now));
                }
            }
        }
    }

    /// What must hold after every transition.
    fn check(&self, before: Option<&Run>) {
        if self.run.workflow.has_budgets() {
            self.check_budgets();
        }
        let (run, owed) = (&self.run, outstanding(&self.run));
        let transition = self.log.last().unwrap();
        assert_eq!(transition.last_event(), run.last_event);
        for event in &transition.events {
            if let Event::StepStarted { step, attempt, .. } = event {
                let cut = run.end.is_some()
                    || transition.events.contains(&Event::StepCancelled { step: step.clone() });
                let called = owed.calls.iter().any(|call| call.step == *step && call.attempt == *attempt);
                assert!(called || cut, "an effect that was decided is outstanding");
                for dependency in &self.plan.part(step).after {
                    assert!(
                        run.step(dependency).unwrap().1.state.has_ended(),
                        "{step} began before {dependency} ended"
                    );
                }
            }
        }
        let running = |step: &&crate::run::StepRun| matches!(step.state, StepState::Running { .. });
        assert_eq!(
            owed.calls.len(),
            run.steps.iter().filter(running).count(),
            "one call for each running step"
        );
        assert!(run.active() <= self.plan.max_parallel, "the cap holds");
        let ends =
            self.log.iter().flat_map(|t| &t.events).filter(|e| matches!(e, Event::RunEnded { .. })).count();
        assert_eq!((ends, transition.ends_run()), (usize::from(run.end.is_some()), run.end.is_some()));
        assert!(before.is_none_or(|before| before.end.is_none()), "nothing happens after the end");
        if run.end.is_some() {
            assert!(run.steps.iter().all(|step| step.state.has_ended() && step.ended_at.is_some()));
        } else {
            assert!(
                owed.wake_at.is_some_and(|wake| wake > transition.at),
                "what is due now was done at once"
            );
        }
    }

    /// Every event with its time, however it was grouped.
    pub(super) fn history(&self) -> Vec<(Wall, Event)> {
        let flat = |t: &Transition| t.events.iter().map(|event| (t.at, event.clone())).collect::<Vec<_>>();
        self.log.iter().flat_map(flat).collect()
    }
}

fn parsed(document: &Value) -> Arc<Workflow> {
    Arc::new(Workflow::parse(&document.to_string()).unwrap_or_else(|problems| panic!("{problems:#?}")))
}

fn replay(workflow: &Linked, log: &[Transition]) -> Run {
    let (first, rest) = log.split_first().unwrap();
    let mut run = Run::begin(first, workflow.clone(), RUN).unwrap();
    for transition in rest {
        run.fold(transition).unwrap();
    }
    run
}

pub(super) fn answer(text: &str) -> Answer {
    Answer { output: self::text(text), usage: Usage::default(), confidence_bp: None, warnings: Vec::new() }
}

pub(super) fn failure(class: Class, began: Began) -> Failure {
    let code = format!("AGENT_{}", class.as_str().to_uppercase().replace('-', "_"));
    Failure { class, code, message: "as the plan says".to_owned(), began, retry_after: None }
}

pub(super) fn record(attempt: Attempt, started_at: Wall, duration: Duration, class: Class) -> AttemptRecord {
    let Attempt { number, id }: Attempt = attempt;
    let id: AttemptId = id;
    AttemptRecord {
        attempt: id,
        number,
        agent: "agent".to_owned(),
        instance: "one".to_owned(),
        version: String::new(),
        started_at,
        duration,
        class,
        failure: None,
        refused: String::new(),
        side_effecting: false,
        usage: USAGE,
        waited: Duration::ZERO,
        hedge_after: None,
        notes: Vec::new(),
    }
}
