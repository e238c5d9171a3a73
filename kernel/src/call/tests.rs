use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::breaker;
use crate::bulkhead::Wall;
use crate::effect::EffectClass;
use crate::health::{self, PollFailure};
use crate::hedge::Hedge;
use crate::json::Json;
use crate::name::Name;
use crate::outcome::{OUTCOME_UNKNOWN, Usage};
use crate::pause::Pause;
use crate::queue;
use crate::rate;
use crate::retry::budget::{self, Budget, Leave};
use crate::retry::{GiveUp, Retries, RetryPolicy};

mod budgets;
mod doubt;
mod hedges;
mod independence;
mod laws;
mod pauses;
mod queues;
mod turns;

const SLA: Duration = Duration::from_secs(10);
const KEY: AttemptId = AttemptId::from_bytes([9; 16]);

fn ms(n: u64) -> Mono {
    Mono::at(Duration::from_millis(n))
}

fn id(n: usize) -> InstanceId {
    InstanceId::from_bytes([u8::try_from(n).unwrap(); 16])
}

/// Each candidate is an agent of its own.
fn agent(index: usize) -> Name {
    Name::new(&format!("a{index}")).unwrap()
}

fn work() -> Name {
    Name::new("work").unwrap()
}

fn failed(class: Class, began: Began) -> Failure {
    failure(class, "X", "it failed".into(), began)
}

fn refused() -> Result<Answer, Failure> {
    Err(failed(Class::Transport, Began::No))
}

fn lost_on_the_way() -> Result<Answer, Failure> {
    Err(failed(Class::Transport, Began::Unknown))
}

fn answer() -> Answer {
    let output = Json::from(&serde_json::json!({"ok": true}));
    Answer { output, usage: Usage::default(), confidence_bp: None, warnings: Vec::new() }
}

fn verdict(state: health::State) -> health::Verdict {
    let last = PollFailure::Unreachable;
    health::Verdict { state, reason: health::Reason::PollsFailed { in_a_row: 3, last }, since: ms(0) }
}

/// What a shell would hold: a lane and a health verdict for each instance.
#[derive(Default)]
struct Fleet {
    lanes: Vec<(health::State, Lane)>,
    given: usize,
    /// What is paused: the call as a whole, and candidates by their place.
    pause: Option<Arc<Pause>>,
    paused: BTreeMap<usize, Arc<Pause>>,
    /// Who had a part in the work that the call looks at.
    barred: BTreeSet<usize>,
    budget: Budget,
    /// What the queue says to whoever would wait.
    refused: Option<queue::Refused>,
    /// Until when no place is left behind the bulkheads.
    walled: Option<Mono>,
    /// The rates of those who are called, as a shell keeps them, and the turns the call has.
    limits: Option<rate::Limits>,
    turns: rate::Turns,
    panicking: bool,
    /// When to hedge, and how many more hedges may be made.
    hedge: Option<Hedge>,
    hedges_left: u32,
}

impl Fleet {
    fn of(count: usize, places: u32) -> Self {
        let lane = || Lane::new(breaker::Breaker::new(breaker::Config::default(), SLA, ms(0)), places, ms(0));
        Self { lanes: (0..count).map(|_| (health::State::Healthy, lane())).collect(), ..Self::default() }
    }

    fn in_flight(&self) -> u32 {
        self.lanes.iter().map(|(_, lane)| lane.in_flight()).sum()
    }
}

impl Pool for Fleet {
    type Permit = Permit;
    fn len(&self) -> usize {
        self.lanes.len()
    }
    fn instance(&self, index: usize) -> InstanceId {
        id(index)
    }
    fn is_barred(&self, index: usize) -> bool {
        self.barred.contains(&index)
    }
    fn score(&self, index: usize, now: Mono) -> f64 {
        self.lanes[index].1.score(now)
    }
    fn weight(&self, index: usize, now: Mono) -> f64 {
        self.lanes[index].1.weight(now)
    }
    fn is_panicking(&self) -> bool {
        self.panicking
    }
    fn gate(&mut self, index: usize, now: Mono) -> Result<Permit, Rejection> {
        if let Some(pause) = self.paused.get(&index) {
            return Err(Rejection::Paused(Arc::clone(pause)));
        }
        if let Some(until) = self.walled.filter(|until| now < *until) {
            return Err(Rejection::Bulkhead { wall: Wall::Tenant, most: 9, until });
        }
        if let Some(limits) = &self.limits {
            limits.check(&agent(index), &work(), &self.turns, now).map_err(Rejection::Rated)?;
        }
        let (state, lane) = &mut self.lanes[index];
        let permit = lane.admit(verdict(*state), self.panicking, now).0?;
        if let Some(limits) = &mut self.limits {
            limits.admit(&agent(index), &work(), &mut self.turns, now).unwrap();
        }
        self.given += 1;
        Ok(permit)
    }
    fn is_probe(&self, permit: &Permit) -> bool {
        permit.is_probe()
    }
    fn is_trusted(&self, index: usize) -> bool {
        self.lanes[index].1.is_trusted()
    }
    fn hedge(&self, _: usize, _: Mono) -> Option<Hedge> {
        self.hedge
    }
    fn leave_to_hedge(&mut self, _: Mono) -> bool {
        let left = self.hedges_left.checked_sub(1);
        self.hedges_left = left.unwrap_or(0);
        left.is_some()
    }
    fn pause(&self) -> Option<Arc<Pause>> {
        self.pause.clone()
    }
    fn queue(&self, _: Duration) -> Result<(), queue::Refused> {
        self.refused.map_or(Ok(()), Err)
    }
    fn turn(&mut self, instance: InstanceId, remaining: Duration, now: Mono) -> Result<Mono, rate::Refused> {
        let index = (0..self.lanes.len()).find(|index| id(*index) == instance).expect("a candidate");
        let limits = self.limits.as_mut().expect("a rate kept it back");
        limits.book(&agent(index), &work(), &mut self.turns, remaining, now)
    }
    fn retry(&mut self, _: InstanceId, now: Mono) -> Leave {
        self.budget.withdraw(now, Duration::ZERO)
    }
}

/// A call, a fleet, and a clock the test moves.
struct Bed {
    call: Call,
    fleet: Fleet,
    dice: Dice,
    now: u64,
}

impl Bed {
    fn new(effect: EffectClass, fleet: Fleet) -> Self {
        Self::with(effect, fleet, RetryPolicy::NONE)
    }

    fn with(effect: EffectClass, fleet: Fleet, policy: RetryPolicy) -> Self {
        let (if_paused, retries) = (IfPaused::Wait, Retries::Allowed);
        let request =
            Request { key: KEY, effect, timeout: SLA, deadline: ms(60_000), policy, if_paused, retries };
        Self { call: Call::new(request), fleet, dice: Dice::seeded(3), now: 0 }
    }

    fn forbid_retries(&mut self) {
        let request = Request { retries: Retries::Forbidden, ..self.call.request.clone() };
        self.call = Call::new(request);
    }

    fn next(&mut self) -> Decision<Permit> {
        self.call.next(&mut self.fleet, ms(self.now), &mut self.dice)
    }

    fn sent(&mut self) -> Dispatch<Permit> {
        let decision = self.next();
        let Decision::Send(dispatch) = decision else { panic!("expected a sending, got {decision:?}") };
        dispatch
    }

    fn waits(&mut self) -> (u64, Waiting) {
        let decision = self.next();
        let Decision::Wait { until, why } = decision else { panic!("expected a wait, got {decision:?}") };
        (u64::try_from(until.since_origin().as_millis()).unwrap(), why)
    }

    fn finish(&mut self) -> Result<Answer, Failure> {
        let decision = self.next();
        let Decision::Finish(end) = decision else { panic!("expected the end, got {decision:?}") };
        end
    }

    /// The end of what was sent, a tenth of a second later; the permit goes back, as the shell's guard does it.
    fn ends(&mut self, dispatch: Dispatch<Permit>, end: Result<Answer, Failure>) {
        self.now += 100;
        let class = end.as_ref().map_or_else(|failure| failure.class, |_| Class::Success);
        let (lane, latency) = (&mut self.fleet.lanes[dispatch.index].1, Duration::from_millis(100));
        let _change = lane.end(dispatch.permit, class, latency, ms(self.now), &mut self.dice);
        self.call.on_attempt_ended(dispatch.epoch, end, ms(self.now));
    }

    /// Expects a question to the ledger of `instance` and answers it.
    fn asked(&mut self, instance: InstanceId, answer: Ledger) {
        let decision = self.next();
        let Decision::AskLedger { instance: asked, key, .. } = decision else {
            panic!("expected a question, got {decision:?}")
        };
        assert_eq!((asked, key), (instance, KEY));
        self.now += 10;
        self.call.on_ledger_answer(answer, ms(self.now), &mut self.dice);
    }
}

#[test]
fn a_good_call_goes_to_one_instance_and_leaves_a_record() {
    let mut bed = Bed::new(EffectClass::SideEffecting, Fleet::of(3, 1));
    let dispatch = bed.sent();
    let instance = dispatch.instance;
    assert_eq!((dispatch.key, dispatch.attempt, dispatch.epoch), (KEY, 1, 1));
    assert_eq!(bed.waits(), (10_000, Waiting::UnderWay));
    bed.ends(dispatch, Ok(answer()));
    assert_eq!(bed.finish(), Ok(answer()));
    let record = bed.call.into_record();
    assert_eq!((record.sent.len(), record.unanswered, record.gave_up), (1, None, None));
    let sent = &record.sent[0];
    assert_eq!((sent.instance, sent.class), (instance, Some(Class::Success)));
    assert_eq!((sent.latency, sent.search.waited), (Some(Duration::from_millis(100)), Duration::ZERO));
}

#[test]
fn skips_an_open_breaker_and_records_why() {
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(2, 1));
    let change = bed.fleet.lanes[0].1.breaker_mut().trip("broken".into(), ms(0));
    assert_eq!(change.to, breaker::State::Open);
    bed.fleet.lanes[1].0 = health::State::Unhealthy;
    let (until, why) = bed.waits();
    assert_eq!((until, why), (60_000, Waiting::NonePermitted { unhealthy: 1, ejected: 0, open: 1, busy: 0 }));

    bed.fleet.lanes[1].0 = health::State::Healthy;
    bed.now = 500;
    let dispatch = bed.sent();
    assert_eq!(dispatch.instance, id(1));
    bed.ends(dispatch, Ok(answer()));
    assert!(bed.finish().is_ok());
    let search = &bed.call.record().sent[0].search;
    assert_eq!(search.waited, Duration::from_millis(500));
    // The dice of this test look at the open one first.
    let first = &search.passed_over.first()[0];
    assert_eq!(*first, Considered { instance: id(0), rejection: Rejection::BreakerOpen { until: None } });
    assert_eq!(first.rejection.to_string(), "breaker opened by hand");
}

#[test]
fn waits_for_an_instance_and_gives_up_at_the_deadline() {
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(3, 1));
    for (state, _) in &mut bed.fleet.lanes[..2] {
        *state = health::State::Unknown;
    }
    bed.fleet.lanes.truncate(2);
    let (until, why) = bed.waits();
    assert!(why.ends_with_pool_change());
    assert_eq!(until, 60_000);
    bed.now = 60_000;
    let failure = bed.finish().unwrap_err();
    assert_eq!((failure.class, failure.began), (Class::Unavailable, Began::No));
    assert_eq!(failure.code, NO_INSTANCE);
    assert_eq!(failure.message, "no instance could take the call in 60s: 2 not healthy");
    let search = bed.call.into_record().unanswered.expect("the search is on record");
    assert_eq!((search.waited, search.passed_over.total()), (Duration::from_secs(60), 2));
}

#[test]
fn a_call_that_waited_is_sent_as_soon_as_an_instance_is_there() {
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::default());
    assert_eq!(bed.waits(), (60_000, Waiting::NoCandidate));
    bed.now = 2_000;
    bed.fleet = Fleet::of(1, 1);
    let dispatch = bed.sent();
    bed.ends(dispatch, Ok(answer()));
    assert!(bed.finish().is_ok());
    let search = &bed.call.record().sent[0].search;
    let why = Some(Waiting::NoCandidate);
    assert_eq!((search.waited, &search.why), (Duration::from_secs(2), &why));
}

#[test]
fn an_open_breaker_is_waited_for_until_it_lets_a_probe_through() {
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(1, 9));
    for _ in 0..5 {
        let permit = bed.fleet.gate(0, ms(0)).expect("closed");
        let lane = &mut bed.fleet.lanes[0].1;
        let _change = lane.end(permit, Class::AgentError, SLA, ms(0), &mut bed.dice);
    }
    let opens = bed.fleet.lanes[0].1.breaker().poll_timeout().expect("open");
    let (until, why) = bed.waits();
    assert_eq!(until, u64::try_from(opens.since_origin().as_millis()).unwrap());
    assert_eq!(why, Waiting::NonePermitted { unhealthy: 0, ejected: 0, open: 1, busy: 0 });
    bed.now = until + 1;
    let dispatch = bed.sent();
    bed.ends(dispatch, Ok(answer()));
    assert!(bed.finish().is_ok());
}

#[test]
fn a_deadline_already_passed_is_named_as_such() {
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(1, 1));
    bed.now = 60_000;
    let failure = bed.finish().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.began), (DEADLINE_PASSED, Began::No));
    assert_eq!(bed.fleet.given, 0);
}

#[test]
fn a_busy_instance_is_never_counted_as_dead() {
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(1, 1));
    let held = bed.fleet.gate(0, ms(0)).expect("a place");
    assert_eq!(bed.waits().1, Waiting::NonePermitted { unhealthy: 0, ejected: 0, open: 0, busy: 1 });
    assert_eq!(bed.call.search.passed_over.first()[0].rejection, Rejection::Busy { in_flight: 1, max: 1 });
    bed.fleet.lanes[0].1.abandon(held);

    // Nor does an agent that says itself that it is busy, however often.
    for _ in 0..50 {
        let permit = bed.fleet.gate(0, ms(0)).expect("a place");
        let change = bed.fleet.lanes[0].1.end(permit, Class::Overload, SLA, ms(0), &mut bed.dice);
        assert_eq!(change, None);
    }
    assert_eq!(bed.fleet.lanes[0].1.breaker().state(), breaker::State::Closed);
    let dispatch = bed.sent();
    bed.ends(dispatch, Ok(answer()));
    assert!(bed.finish().is_ok());
}

#[test]
fn fail_over_keeps_the_key_and_never_returns_to_who_refused() {
    let mut bed = Bed::new(EffectClass::SideEffecting, Fleet::of(5, 1));
    let mut called = Vec::new();
    for epoch in 1..=3 {
        let dispatch = bed.sent();
        assert_eq!((dispatch.key, dispatch.attempt, dispatch.epoch), (KEY, 1, epoch));
        assert!(!called.contains(&dispatch.instance));
        called.push(dispatch.instance);
        bed.ends(dispatch, refused());
    }
    assert_eq!(bed.finish(), refused(), "three instances are enough for one logical attempt");
    assert_eq!(bed.call.record().gave_up, Some(GiveUp::AttemptsExhausted));
}

#[test]
fn fail_over_does_not_wait_for_an_instance() {
    let mut bed = Bed::new(EffectClass::SideEffecting, Fleet::of(2, 1));
    let dispatch = bed.sent();
    bed.fleet.lanes[1 - dispatch.index].0 = health::State::Unhealthy;
    bed.ends(dispatch, refused());
    assert_eq!(bed.finish(), refused());
    let search = bed.call.into_record().unanswered.expect("the search is on record");
    assert_eq!(search.passed_over.total(), 2, "one unhealthy, one tried already");
}

#[test]
fn a_call_that_may_have_begun_does_not_fail_over() {
    for effect in [EffectClass::ReadOnly, EffectClass::Idempotent] {
        let mut bed = Bed::new(effect, Fleet::of(3, 1));
        let dispatch = bed.sent();
        bed.ends(dispatch, lost_on_the_way());
        assert_eq!(bed.finish(), lost_on_the_way());
    }
}

#[test]
fn after_a_back_off_a_call_waits_for_an_instance_again() {
    let mut bed = Bed::with(EffectClass::ReadOnly, Fleet::of(1, 1), RetryPolicy::default());
    let dispatch = bed.sent();
    bed.ends(dispatch, refused());
    bed.fleet.lanes[0].0 = health::State::Unhealthy;
    bed.now = bed.waits().0 + 1;
    assert_eq!(bed.waits(), (60_000, Waiting::NonePermitted { unhealthy: 1, ejected: 0, open: 0, busy: 0 }));
    bed.now = 60_000;
    assert_eq!(bed.finish(), refused(), "what failed says more than that nobody came");
}

#[test]
fn a_busy_instance_keeps_no_probes_place() {
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(1, 1));
    let held = bed.fleet.gate(0, ms(0)).expect("a place");
    for _ in 0..5 {
        let lane = &mut bed.fleet.lanes[0].1;
        let admission = lane.breaker_mut().admit(ms(0)).0.expect("closed");
        let _change = lane.breaker_mut().record(admission, Class::AgentError, SLA, ms(0), &mut bed.dice);
    }
    let opens = bed.fleet.lanes[0].1.breaker().poll_timeout().expect("open");
    for _ in 0..10 {
        let rejection = bed.fleet.gate(0, opens).expect_err("still busy");
        assert_eq!(rejection, Rejection::Busy { in_flight: 1, max: 1 });
    }
    bed.fleet.lanes[0].1.abandon(held);
    assert!(bed.fleet.gate(0, opens).is_ok());
}

#[test]
fn a_direct_call_retries_by_its_policy_under_the_key_the_effect_asks_for() {
    for (effect, keeps) in [(EffectClass::ReadOnly, false), (EffectClass::Idempotent, true)] {
        let mut bed = Bed::with(effect, Fleet::of(1, 1), RetryPolicy::default());
        let mut keys = Vec::new();
        for attempt in 1..=3 {
            if attempt > 1 {
                let (until, why) = bed.waits();
                assert_eq!(why, Waiting::BackOff);
                bed.now = until + 1;
            }
            let dispatch = bed.sent();
            assert_eq!(dispatch.attempt, attempt);
            keys.push(dispatch.key);
            bed.ends(dispatch, lost_on_the_way());
        }
        assert_eq!(bed.finish(), lost_on_the_way());
        assert_eq!(bed.call.record().gave_up, Some(GiveUp::AttemptsExhausted));
        assert_eq!(keys.iter().all(|key| *key == KEY), keeps, "{keys:?}");
        keys.dedup();
        assert_eq!(keys.len(), if keeps { 1 } else { 3 });
    }
}

#[test]
fn an_attempt_leaves_a_share_of_the_deadline_for_the_way_back() {
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(1, 1));
    bed.now = 58_000;
    assert_eq!(bed.sent().timeout, Duration::from_millis(1_900));
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(1, 1));
    assert_eq!(bed.sent().timeout, SLA);
}

#[test]
fn a_cancelled_call_says_whether_it_may_have_begun_and_a_late_answer_changes_nothing() {
    let mut bed = Bed::new(EffectClass::SideEffecting, Fleet::of(1, 1));
    let dispatch = bed.sent();
    bed.call.cancel(ms(5));
    bed.ends(dispatch, Ok(answer()));
    let failure = bed.finish().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.began), (CALL_CANCELLED, Began::Unknown));

    let mut bed = Bed::new(EffectClass::SideEffecting, Fleet::default());
    let _ = bed.waits();
    bed.call.cancel(ms(5));
    assert_eq!(bed.finish().unwrap_err().began, Began::No);
    assert!(bed.call.into_record().unanswered.is_some());
}

#[test]
fn of_many_passed_over_a_few_are_named_and_all_are_counted() {
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(100, 1));
    for (state, _) in &mut bed.fleet.lanes {
        *state = health::State::Unhealthy;
    }
    let _ = bed.waits();
    let passed_over = &bed.call.search.passed_over;
    assert_eq!((passed_over.first().len(), passed_over.total()), (8, 100));
}
