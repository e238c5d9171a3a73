//! Laws that hold for every call, whatever the agents, their ledgers and the pool do.

use super::*;
use proptest::prelude::*;

/// What the world does next, drawn in order; a world that ran out does nothing.
#[derive(Debug, Clone)]
enum Event {
    Ends(Class, Began),
    Says(u8),
    Turns(usize, health::State),
    Passes(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let class = proptest::sample::select(vec![
        Class::Success,
        Class::Transport,
        Class::Timeout,
        Class::Overload,
        Class::AgentError,
        Class::ContractBreach,
        Class::CallerFault,
    ]);
    let began = proptest::sample::select(vec![Began::No, Began::Yes, Began::Unknown]);
    let state = proptest::sample::select(vec![health::State::Healthy, health::State::Unhealthy]);
    prop_oneof![
        4 => (class, began).prop_map(|(class, began)| Event::Ends(class, began)),
        2 => (0..6_u8).prop_map(Event::Says),
        2 => (0..4_usize, state).prop_map(|(index, state)| Event::Turns(index, state)),
        1 => (0..3_000_u64).prop_map(Event::Passes),
    ]
}

/// The events of one kind, each given once and then the last for ever.
struct Script<T>(Vec<T>);

impl<T: Clone> Script<T> {
    fn pick(&mut self) -> Option<T> {
        if self.0.len() > 1 { Some(self.0.remove(0)) } else { self.0.first().cloned() }
    }
}

fn end(class: Class, began: Began) -> Result<Answer, Failure> {
    if class == Class::Success { Ok(answer()) } else { Err(failed(class, began)) }
}

fn ledger(n: u8) -> Ledger {
    match n {
        0 => Ledger::Ended(Ok(answer())),
        1 => Ledger::Ended(Err(failed(Class::AgentError, Began::Yes))),
        2 => Ledger::Running,
        3 => Ledger::NeverSeen,
        4 => Ledger::Lost,
        _ => Ledger::Unreachable,
    }
}

proptest! {
    #[test]
    fn every_call_ends_in_bounded_steps_gives_back_each_permit_and_never_repeats_a_side_effect_in_doubt(
        seed: u64,
        effect in proptest::sample::select(vec![
            EffectClass::ReadOnly,
            EffectClass::Idempotent,
            EffectClass::SideEffecting,
        ]),
        attempts in 1..6_u32,
        instances in 0..5_usize,
        retry_agent_errors: bool,
        events in proptest::collection::vec(event(), 0..60),
    ) {
        let policy = RetryPolicy { max_attempts: attempts, retry_agent_errors, ..RetryPolicy::default() };
        let mut bed = Bed::with(effect, Fleet::of(instances, 1), policy);
        bed.dice = Dice::seeded(seed);
        let mut ends = Script(events.iter().filter_map(|e| if let Event::Ends(c, b) = e { Some((*c, *b)) } else { None }).collect());
        let mut says = Script(events.iter().filter_map(|e| if let Event::Says(n) = e { Some(*n) } else { None }).collect());
        let mut world = events.into_iter();
        let mut steps = 0;
        // Keys whose effect may have happened, and where; set by an unknown end, cleared by the ledger.
        let mut in_doubt: Option<(AttemptId, InstanceId)> = None;
        let finish = loop {
            steps += 1;
            prop_assert!(steps < 2_000, "the call does not end");
            match bed.next() {
                Decision::Finish(finish) => break finish,
                Decision::Send(dispatch) => {
                    prop_assert_eq!(bed.fleet.in_flight(), 1, "one permit, for what is sent");
                    if effect == EffectClass::SideEffecting {
                        prop_assert_eq!(in_doubt, None, "a side effect in doubt is never sent again");
                    }
                    prop_assert!(dispatch.timeout <= SLA && ms(bed.now) + dispatch.timeout < ms(60_000));
                    let (class, began) = ends.pick().unwrap_or((Class::Transport, Began::Unknown));
                    if class != Class::Success && began == Began::Unknown && class != Class::CallerFault {
                        in_doubt = Some((dispatch.key, dispatch.instance));
                    }
                    bed.ends(dispatch, end(class, began));
                    prop_assert_eq!(bed.fleet.in_flight(), 0);
                }
                Decision::AskLedger { instance, key, .. } => {
                    prop_assert_eq!(effect, EffectClass::SideEffecting);
                    prop_assert_eq!(in_doubt, Some((key, instance)), "who was called is asked");
                    let said = ledger(says.pick().unwrap_or(5));
                    if matches!(said, Ledger::NeverSeen | Ledger::Ended(_)) {
                        in_doubt = None;
                    }
                    bed.now += 1;
                    bed.call.on_ledger_answer(said, ms(bed.now), &mut bed.dice);
                }
                Decision::Wait { until, why } => {
                    prop_assert_ne!(why, Waiting::UnderWay);
                    match world.next() {
                        Some(Event::Turns(index, state)) if index < instances => bed.fleet.lanes[index].0 = state,
                        Some(Event::Passes(millis)) => bed.now += millis,
                        _ => bed.now = u64::try_from(until.since_origin().as_millis()).unwrap() + 1,
                    }
                }
            }
        };
        prop_assert_eq!(bed.finish(), finish.clone(), "nothing happens after the end");
        let record = bed.call.into_record();
        prop_assert_eq!(bed.fleet.in_flight(), 0, "every permit came back");
        prop_assert_eq!(bed.fleet.given, record.sent.len(), "every permit taken was sent with");
        prop_assert!(record.sent.len() <= (attempts * MAX_SENDS) as usize);
        prop_assert!(record.sent.iter().all(|sent| sent.class.is_some()));
        if effect == EffectClass::SideEffecting && in_doubt.is_some() {
            let failure = finish.as_ref().expect_err("in doubt");
            prop_assert_eq!((failure.code.as_str(), failure.began), (OUTCOME_UNKNOWN, Began::Unknown));
        }
    }
}
