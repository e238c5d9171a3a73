use super::plan::{LONGEST, WHOLE_BP};
use super::*;
use crate::id::DrillId;
use crate::name::Name;
use crate::pause::Target;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn plan(kind: Kind) -> Plan {
    Plan {
        id: DrillId::from_bytes([1; 16]),
        kind,
        tenant: name("default"),
        target: kind.has_target().then(|| Target::Agent(name("writer"))),
        share_bp: WHOLE_BP,
        lasts: Duration::from_secs(30),
        delay: None,
        seed: 7,
        by: "olga".to_owned(),
    }
}

fn at(ms: u64) -> Mono {
    Mono::at(Duration::from_millis(1_000_000 + ms))
}

fn part(well: bool, turned: u64, since: Mono) -> Part {
    let reason = if well { "" } else { "5 calls failed in a row" };
    Part { name: "breaker".to_owned(), well, turned, since, reason: reason.to_owned() }
}

fn well() -> Look {
    Look { parts: vec![part(true, 0, at(0))], tally: Tally::default() }
}

fn open(ms: u64, tally: Tally) -> Look {
    Look { parts: vec![part(false, 1, at(ms))], tally }
}

fn closed(tally: Tally) -> Look {
    Look { parts: vec![part(true, 1, at(40_000))], tally }
}

/// Ten sent, five struck before the breaker opened.
fn struck() -> Tally {
    let inside = Calls { ended: 10, failed: 5 };
    Tally { sent: 10, struck: 5, inside, outside: Calls { ended: 100, failed: 0 }, ..Tally::default() }
}

fn judged(events: &[Event]) -> &Scorecard {
    match events.last() {
        Some(Event::Judged(card)) => card,
        other => panic!("{other:?}"),
    }
}

fn failed_rules(card: &Scorecard) -> Vec<Rule> {
    assert_eq!(card.passed, card.findings.iter().all(|finding| finding.held));
    card.findings.iter().filter(|finding| !finding.held).map(|finding| finding.rule).collect()
}

/// A drill whose fault was over after 30 s, having shown `look` at 1 s.
fn ended(kind: Kind, look: &Look) -> Drill {
    let mut drill = Drill::begin(plan(kind), well(), at(0)).unwrap();
    assert!(drill.observe(look, at(1_000)).len() <= 1);
    let events = drill.observe(look, at(30_000));
    assert_eq!(events, [Event::Ended { lasted: Duration::from_secs(30), why: Ended::Over }]);
    drill
}

#[test]
fn a_fault_that_is_noticed_and_overcome_passes() {
    let mut drill = Drill::begin(plan(Kind::FailingAgent), well(), at(0)).unwrap();
    assert_eq!(drill.poll_timeout(), Some(at(30_000)));
    assert_eq!(drill.observe(&well(), at(100)), []);
    let events = drill.observe(&open(740, struck()), at(800));
    let detected = Detected {
        after: Duration::from_millis(740),
        part: "breaker".into(),
        reason: "5 calls failed in a row".into(),
    };
    assert_eq!(events, [Event::Detected(detected.clone())]);
    assert_eq!(drill.observe(&open(740, struck()), at(900)), [], "noticed once");
    let later = Tally { sent: 12, struck: 7, ..struck() };
    let events = drill.observe(&open(740, later), at(30_000));
    assert_eq!(events, [Event::Ended { lasted: Duration::from_secs(30), why: Ended::Over }]);
    assert_eq!(drill.poll_timeout(), Some(at(120_000)));
    assert_eq!(drill.observe(&closed(later), at(33_000)), [], "nothing has flowed yet");
    let flows = Tally { flowed: 1, under_way: 1, ..later };
    assert_eq!(
        drill.observe(&closed(flows), at(34_000)),
        [Event::Recovered { after: Duration::from_secs(4) }]
    );
    let events = drill.observe(&closed(Tally { under_way: 0, ..flows }), at(36_000));
    let card = judged(&events);
    assert!(card.passed, "{card:#?}");
    assert_eq!((card.sent, card.struck, card.struck_bp, card.struck_after_detection), (12, 7, 5_834, 2));
    assert_eq!((card.recovered_in, card.detected.clone()), (Some(Duration::from_secs(4)), Some(detected)));
    assert_eq!((drill.phase(), drill.poll_timeout()), (Phase::Over, None));
    assert_eq!(drill.observe(&well(), at(37_000)), [], "it is judged once");
}

#[test]
fn without_traffic_nothing_is_proved_and_the_drill_fails() {
    let mut drill = ended(Kind::DeadAgent, &open(500, Tally::default()));
    let events = drill.observe(&closed(Tally { flowed: 1, ..Tally::default() }), at(31_000));
    assert_eq!(failed_rules(judged(&events)), [Rule::Traffic]);
    assert!(judged(&events).findings[0].found.contains("nothing is proved"));
}

#[test]
fn a_fault_that_nobody_notices_fails() {
    let unnoticed = Look { tally: struck(), ..well() };
    let mut drill = ended(Kind::SlowAgent, &unnoticed);
    let flows = Tally { flowed: 9, ..struck() };
    let events = drill.observe(&Look { tally: flows, ..well() }, at(31_000));
    assert_eq!(failed_rules(judged(&events)), [Rule::Detected]);
}

#[test]
fn a_breaker_that_opened_and_closed_between_two_looks_was_noticed() {
    let mut drill = Drill::begin(plan(Kind::FailingAgent), well(), at(0)).unwrap();
    let events = drill.observe(&closed(struck()), at(1_000));
    assert!(matches!(&events[..], [Event::Detected(_)]), "{events:?}");
}

#[test]
fn a_target_that_does_not_come_back_fails_and_says_what_is_wrong() {
    let mut drill = ended(Kind::FailingAgent, &open(500, struck()));
    assert_eq!(drill.observe(&open(500, struck()), at(119_999)), []);
    let events = drill.observe(&open(500, struck()), at(120_000));
    let card = judged(&events);
    assert_eq!(failed_rules(card), [Rule::Recovered]);
    assert!(card.findings[2].found.contains("breaker (5 calls failed in a row)"), "{card:#?}");
}

#[test]
fn an_instance_that_is_gone_has_not_recovered() {
    let mut drill = ended(Kind::DeadAgent, &open(500, struck()));
    let gone = Look { parts: Vec::new(), tally: Tally { flowed: 1, ..struck() } };
    assert_eq!(drill.observe(&gone, at(40_000)), []);
    assert!(judged(&drill.observe(&gone, at(120_000))).findings[2].found.contains("breaker (gone)"));
}

#[test]
fn one_lost_request_fails_a_drill() {
    let mut drill = ended(Kind::FailingAgent, &open(500, struck()));
    let events = drill.observe(&closed(Tally { flowed: 1, lost: 1, ..struck() }), at(35_000));
    assert_eq!(failed_rules(judged(&events)), [Rule::NothingLost]);
}

#[test]
fn others_may_fail_one_call_in_a_hundred_and_no_more() {
    for (failed, rules) in [(1, vec![]), (2, vec![Rule::OthersUnharmed])] {
        let mut drill = ended(Kind::FailingAgent, &open(500, struck()));
        let outside = Calls { ended: 100, failed };
        let events = drill.observe(&closed(Tally { flowed: 1, outside, ..struck() }), at(35_000));
        assert_eq!(failed_rules(judged(&events)), rules, "{failed}");
    }
}

#[test]
fn being_busy_is_noticed_as_pushback_and_opens_nothing() {
    let pushed = Look { tally: Tally { pushed_back: 5, ..struck() }, ..well() };
    let mut drill = ended(Kind::Overload, &pushed);
    let flows = Tally { flowed: 1, ..pushed.tally };
    let card = drill.observe(&Look { tally: flows, ..well() }, at(31_000));
    assert!(judged(&card).passed, "{card:#?}");

    let mut drill = ended(Kind::Overload, &open(500, pushed.tally));
    let card = drill.observe(&closed(flows), at(31_000));
    assert_eq!(failed_rules(judged(&card)), [Rule::BusyIsNotDead]);
}

#[test]
fn a_router_that_lies_is_noticed_by_not_being_believed() {
    let lied = Look { tally: Tally { disbelieved: 3, ..struck() }, ..well() };
    let mut drill = ended(Kind::LyingRouter, &lied);
    let card = drill.observe(&Look { tally: Tally { flowed: 1, ..lied.tally }, ..well() }, at(31_000));
    assert!(judged(&card).passed, "{card:#?}");

    let believed = Look { tally: struck(), ..well() };
    let mut drill = ended(Kind::LyingRouter, &believed);
    let card = drill.observe(&Look { tally: Tally { flowed: 1, ..struck() }, ..well() }, at(31_000));
    assert_eq!(failed_rules(judged(&card)), [Rule::Detected]);
}

#[test]
fn a_drill_that_is_stopped_ends_its_fault_at_once_and_is_judged_by_what_was_seen() {
    let mut drill = Drill::begin(plan(Kind::FailingAgent), well(), at(0)).unwrap();
    assert_eq!(drill.observe(&open(500, struck()), at(1_000)).len(), 1);
    let ended = drill.stop(Ended::ClientGone, at(2_000));
    assert_eq!(ended, Some(Event::Ended { lasted: Duration::from_secs(2), why: Ended::ClientGone }));
    assert_eq!(drill.stop(Ended::Stopped, at(2_500)), None, "it ended once");
    let events = drill.observe(&closed(Tally { flowed: 1, ..struck() }), at(8_000));
    assert!(judged(&events).passed);
    assert_eq!(judged(&events).ended, Ended::ClientGone);
}

#[test]
fn what_is_broken_already_is_not_drilled() {
    let unwell = Drill::begin(plan(Kind::FailingAgent), open(0, Tally::default()), at(0)).unwrap_err();
    assert_eq!(unwell.len(), 1);
}

#[test]
fn a_plan_keeps_to_its_bounds_and_names_the_field_that_does_not() {
    type Change = fn(&mut Plan);
    let cases: [(&str, Kind, Change); 10] = [
        ("target", Kind::SlowAgent, |plan| plan.target = None),
        ("target", Kind::SlowAgent, |plan| plan.target = Some(Target::Tenant(name("default")))),
        ("target", Kind::DeadAgent, |plan| plan.target = Some(Target::Capability(name("draft")))),
        ("target", Kind::StoreReadOnly, |plan| plan.target = Some(Target::Agent(name("writer")))),
        ("share_bp", Kind::SlowAgent, |plan| plan.share_bp = 0),
        ("share_bp", Kind::SlowAgent, |plan| plan.share_bp = 10_001),
        ("share_bp", Kind::StoreReadOnly, |plan| plan.share_bp = 5_000),
        ("lasts", Kind::SlowAgent, |plan| plan.lasts = LONGEST + Duration::from_millis(1)),
        ("lasts", Kind::SlowAgent, |plan| plan.lasts = Duration::from_millis(999)),
        ("delay", Kind::FailingAgent, |plan| plan.delay = Some(Duration::from_secs(1))),
    ];
    for (field, kind, change) in cases {
        let mut plan = plan(kind);
        assert_eq!(plan.check(), Ok(()), "{kind}");
        change(&mut plan);
        assert_eq!(plan.check().unwrap_err().field, field, "{plan:?}");
    }
}

#[test]
fn only_the_target_is_aimed_at() {
    let (tenant, agent, instance, draft) = (name("default"), name("writer"), name("one"), name("draft"));
    let whom = Whom { tenant: &tenant, agent: &agent, instance: &instance, capability: Some(&draft) };
    let poll = Whom { capability: None, ..whom };
    let other = name("other");
    let of = |target: &str| Plan { target: Some(target.parse().unwrap()), ..plan(Kind::FailingAgent) };
    assert!(of("agent/writer").covers(whom) && of("agent/writer").covers(poll));
    assert!(of("instance/writer/one").covers(whom) && !of("instance/writer/two").covers(whom));
    assert!(of("capability/draft").covers(whom) && !of("capability/draft").covers(poll));
    assert!(
        !of("agent/writer").covers(Whom { tenant: &other, ..whom }),
        "another tenant's agent of that name"
    );
    assert!(!of("agent/other").covers(whom) && !of("capability/other").covers(whom));
}

#[test]
fn a_seed_strikes_its_share_and_the_same_ones_again() {
    let plan = Plan { share_bp: 2_500, ..plan(Kind::FailingAgent) };
    let strikes = |plan: &Plan| (0..10_000).filter(|nth| plan.strikes(*nth)).collect::<Vec<u64>>();
    let struck = strikes(&plan);
    assert!((2_300..2_700).contains(&struck.len()), "{}", struck.len());
    assert_eq!(strikes(&plan.clone()), struck);
    assert_ne!(strikes(&Plan { seed: 8, ..plan.clone() }), struck);
    assert_eq!(strikes(&Plan { share_bp: WHOLE_BP, ..plan }).len(), 10_000);
}

#[test]
fn a_slow_agent_is_slower_than_it_promises() {
    let slow = plan(Kind::SlowAgent);
    assert_eq!(slow.delay(Duration::from_secs(4)), Duration::from_secs(5));
    assert_eq!(slow.delay(Duration::MAX), LONGEST);
    let told = Plan { delay: Some(Duration::from_millis(20)), ..slow };
    assert_eq!(told.delay(Duration::from_secs(4)), Duration::from_millis(20));
}

#[test]
fn every_kind_is_found_by_its_name() {
    for kind in Kind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
    assert!("fire".parse::<Kind>().unwrap_err().to_string().contains("slow-agent, failing-agent"));
}

#[test]
fn what_comes_while_the_mode_is_another_has_met_the_fault_and_what_comes_before_and_after_has_not() {
    let came = |sent| Tally { sent, flowed: sent, ..Tally::default() };
    let mut drill = Drill::begin(plan(Kind::EmergencyMode), well(), at(0)).unwrap();
    assert_eq!(drill.observe(&Look { tally: came(4), ..well() }, at(500)), []);
    let told = drill.observe(&open(900, came(5)), at(950));
    assert!(matches!(&told[..], [Event::Detected(it)] if it.after == Duration::from_millis(900)), "{told:?}");
    assert_eq!(drill.observe(&open(900, came(25)), at(29_000)), []);
    let ended = drill.observe(&open(900, came(30)), at(30_000));
    assert!(matches!(ended[..], [Event::Ended { .. }]), "{ended:?}");
    assert_eq!(drill.observe(&open(900, came(40)), at(31_000)), []);
    let events = drill.observe(&closed(came(50)), at(40_000));
    let card = judged(&events);
    assert!(card.passed, "{card:#?}");
    assert_eq!((card.sent, card.struck, card.struck_after_detection), (30, 26, 25));
}
