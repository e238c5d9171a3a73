use std::collections::BTreeMap;

use super::machine::{Awaited, Machine, Refusal};
use super::split::{Caller, Pick, Split, Why};
use super::*;
use crate::dice::Dice;
use crate::document::Code;
use crate::id::{AttemptId, RunId};
use crate::json::{Json, Limits};
use crate::outcome::Class;
use crate::time::Mono;

const LADDER: &str = r#"
name: writer
version: 1
agent: writer
stable: "1"
candidate: "2"
steps:
  - { weight: 5%, samples: 100, for: 1m }
  - { weight: 25%, samples: 100, for: 1m }
  - { weight: 100%, samples: 100, for: 1m }
"#;

fn rollout(text: &str) -> Rollout {
    Rollout::parse(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn with(lines: &str) -> Rollout {
    rollout(&format!("{LADDER}{lines}\n"))
}

fn problems(text: &str) -> Vec<(Code, String)> {
    let problems = Rollout::parse(text).unwrap_err();
    problems.into_iter().map(|problem| (problem.code, problem.path)).collect()
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn run(n: u64) -> RunId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&Dice::seeded(n).roll().to_be_bytes());
    RunId::from_bytes(bytes)
}

fn caller<'a>(n: u64, labels: &'a BTreeMap<String, String>, input: &'a Json) -> Caller<'a> {
    let key = AttemptId::derive(run(n), "step", 1);
    Caller { key, run: Some(run(n)), intent: "", labels, input, is_retry: false }
}

fn side(rollout: &Rollout, caller: Caller<'_>, weight_bp: u32) -> Side {
    Split::of(rollout).pick(rollout, caller, weight_bp).side
}

fn at(seconds: u64) -> Mono {
    Mono::at(Duration::from_secs(seconds))
}

// === the document ===

#[test]
fn what_a_document_leaves_out_is_what_people_would_write() {
    let plain = rollout("{ name: w, version: 1, agent: writer, stable: 1.10, candidate: 1.20, weight: 5% }");
    assert_eq!((plain.of(Side::Stable), plain.of(Side::Candidate)), ("1.10", "1.20"));
    assert_eq!(plain.side("1.20"), Some(Side::Candidate));
    assert_eq!(plain.side("1.2"), None);
    assert_eq!((plain.shadow_bp(), plain.fallback()), (0, Fallback::Stable));
    assert!(plain.rule().breaker && plain.lint().is_empty());
    assert!(plain.covers(&Name::new("anything").unwrap()));
    assert_eq!(Machine::new(&plain, at(0)).status().phase, Phase::Held);
}

#[test]
fn layout_does_not_change_the_hash_and_a_weight_does() {
    let spread = LADDER.replace(", for: 1m", ",    for: 1m");
    assert_eq!(rollout(LADDER).hash(), rollout(&spread).hash());
    assert_ne!(rollout(LADDER).hash(), rollout(&LADDER.replace("25%", "26%")).hash());
}

#[test]
fn each_mistake_is_reported_with_its_field() {
    let text = r#"
name: Writer
version: 0
stable: "1"
candidate: "1"
steps: [{ weight: 25% }, { weight: 5% }, { weigth: 50% }, { weight: 50 }]
sticky: customer
shadow: 101%
fallback: nobody
roll_back: { errors: 1, min_samples: 1, slower: 2000% }
"#;
    let found = problems(text);
    for (code, path) in [
        (Code::NameInvalid, "name"),
        (Code::FieldRange, "version"),
        (Code::FieldMissing, "agent"),
        (Code::FieldRange, "candidate"),
        (Code::FieldRange, "steps[1].weight"),
        (Code::FieldUnknown, "steps[2].weigth"),
        (Code::FieldMissing, "steps[2].weight"),
        (Code::FieldType, "steps[3].weight"),
        (Code::FieldRange, "sticky"),
        (Code::FieldRange, "shadow"),
        (Code::FieldRange, "fallback"),
        (Code::FieldType, "roll_back.errors"),
        (Code::FieldRange, "roll_back.min_samples"),
        (Code::FieldRange, "roll_back.slower"),
    ] {
        assert!(found.contains(&(code, path.to_owned())), "{code} at {path} is not among {found:?}");
    }
    assert_eq!(found.len(), 14, "{found:?}");
}

#[test]
fn a_rollout_says_how_its_weight_rises_in_one_way() {
    let both = format!("{LADDER}weight: 5%\n");
    assert_eq!(problems(&both), [(Code::FieldRange, "weight".to_owned())]);
    let neither = "{ name: w, version: 1, agent: writer, stable: a, candidate: b }";
    assert_eq!(problems(neither), [(Code::FieldMissing, "steps".to_owned())]);
    let long = format!("{LADDER}# {}", "x".repeat(MAX_DOCUMENT_BYTES));
    assert_eq!(problems(&long), [(Code::DocumentInvalid, String::new())]);
    let beyond = format!("{LADDER}sticky: {{ input: \"${{run.id}}\" }}\n");
    assert_eq!(problems(&beyond), [(Code::ExpressionInvalid, "sticky.input".to_owned())]);
}

#[test]
fn what_is_probably_not_meant_is_said() {
    let lint = |text: &str| -> Vec<(Code, String)> {
        let rollout = rollout(text);
        rollout.lint().iter().map(|problem| (problem.code, problem.path.clone())).collect()
    };
    assert_eq!(lint(LADDER), []);
    let short = LADDER.replace("100%, samples: 100", "50%, samples: 10");
    assert_eq!(
        lint(&short),
        [
            (Code::RolloutUnfinished, "steps[2].weight".to_owned()),
            (Code::RolloutBlind, "steps[2].samples".to_owned())
        ]
    );
}

#[test]
fn two_rollouts_overlap_where_a_call_would_be_divided_by_both() {
    let of = |agent: &str, capability: &str| with(&format!("capability: {capability}")).renamed_agent(agent);
    assert!(rollout(LADDER).overlaps(&of("writer", "text.draft")));
    assert!(of("writer", "text.draft").overlaps(&of("writer", "text.draft")));
    assert!(!of("writer", "text.draft").overlaps(&of("writer", "text.check")));
    assert!(!of("writer", "text.draft").overlaps(&of("painter", "text.draft")));
}

impl Rollout {
    fn renamed_agent(mut self, agent: &str) -> Self {
        self.agent = Name::new(agent).unwrap();
        self
    }
}

// === the split ===

#[test]
fn a_weight_is_the_share_of_keys_that_the_candidate_gets() {
    let (rollout, labels, input) = (rollout(LADDER), BTreeMap::new(), Json::default());
    for weight_bp in [0, 100, 500, 2_500, 5_000, 9_900, WHOLE] {
        let n = 40_000_u64;
        let hits = (0..n)
            .filter(|n| side(&rollout, caller(*n, &labels, &input), weight_bp) == Side::Candidate)
            .count() as f64;
        let share = f64::from(weight_bp) / f64::from(WHOLE);
        let (mean, deviation) = (n as f64 * share, (n as f64 * share * (1.0 - share)).sqrt());
        assert!((hits - mean).abs() <= 4.0 * deviation, "{weight_bp}: {hits} of {n}");
    }
}

#[test]
fn raising_the_weight_moves_keys_to_the_candidate_and_none_away() {
    let (rollout, labels, input) = (rollout(LADDER), BTreeMap::new(), Json::default());
    for n in 0..2_000 {
        let sides: Vec<Side> = (0..=WHOLE)
            .step_by(500)
            .map(|weight| side(&rollout, caller(n, &labels, &input), weight))
            .collect();
        assert!(sides.is_sorted(), "{sides:?}");
        assert_eq!((sides[0], sides[20]), (Side::Stable, Side::Candidate));
    }
}

#[test]
fn what_a_call_goes_by_keeps_its_version_whatever_else_differs() {
    let labels = |value: &str| BTreeMap::from([("customer".to_owned(), value.to_owned())]);
    let (by_label, by_input, by_intent) = (
        with("sticky: { label: customer }"),
        with("sticky: { input: \"${input.customer}\" }"),
        with("sticky: intent"),
    );
    for customer in 0..200 {
        let text = format!("customer-{customer}");
        let (labels, input) = (labels(&text), json(&format!(r#"{{"customer": "{text}", "n": 1}}"#)));
        let sides = |rollout: &Rollout| -> Vec<Side> {
            let caller = |n| Caller { intent: &text, ..caller(n, &labels, &input) };
            (0..20).map(|n| side(rollout, caller(n), 5_000)).collect()
        };
        for rollout in [&by_label, &by_input, &by_intent] {
            assert!(sides(rollout).windows(2).all(|pair| pair[0] == pair[1]));
        }
    }
}

#[test]
fn a_call_without_what_it_should_go_by_goes_by_its_run() {
    let (labels, input) = (BTreeMap::new(), Json::default());
    let by_run = rollout(LADDER);
    for lines in ["sticky: { label: customer }", "sticky: { input: \"${input.customer}\" }", "sticky: intent"]
    {
        let by_more = with(lines);
        for n in 0..200 {
            let caller = caller(n, &labels, &input);
            assert_eq!(side(&by_more, caller, 5_000), side(&by_run, caller, 5_000));
        }
    }
}

#[test]
fn what_failed_is_tried_again_by_the_version_that_is_trusted() {
    let (rollout, labels, input) = (rollout(LADDER), BTreeMap::new(), Json::default());
    let again = Caller { is_retry: true, ..caller(1, &labels, &input) };
    let pick = Split::of(&rollout).pick(&rollout, again, WHOLE);
    assert_eq!(pick, Pick { side: Side::Stable, why: Why::Retry });
    assert!(!pick.is_evidence());
}

#[test]
fn copies_are_drawn_apart_from_versions() {
    let split = Split::of(&rollout(LADDER));
    let key = |n| AttemptId::derive(run(n), "step", 1);
    let copied = (0..10_000).filter(|n| split.is_shadowed(key(*n), 1_000)).count();
    assert!((880..1_120).contains(&copied), "{copied}");
    assert!((0..10_000).all(|n| !split.is_shadowed(key(n), 0)));
}

// === the machine ===

/// How a version does: basis points of calls that fail, and its latency in milliseconds.
#[derive(Clone, Copy)]
struct Does(u32, u64);

/// Calls that come a hundred a second, until the rollout is over; how many calls there were and how many of them failed at
/// the candidate.
fn play(rollout: &Rollout, seed: u64, stable: Does, candidate: Does) -> (Machine, u64, u64) {
    let (mut machine, mut dice) = (Machine::new(rollout, at(0)), Dice::seeded(seed));
    let (mut calls, mut bad) = (0_u64, 0_u64);
    while !machine.status().phase.is_over() && calls < 200_000 {
        let now = Mono::at(Duration::from_millis(calls * 10));
        calls += 1;
        let side = if dice.below(10_000) < machine.status().weight_bp as usize {
            Side::Candidate
        } else {
            Side::Stable
        };
        let Does(fails_bp, millis) = if side == Side::Candidate { candidate } else { stable };
        let fails = dice.below(10_000) < fails_bp as usize;
        bad += u64::from(fails && side == Side::Candidate);
        let latency = Duration::from_millis(millis + dice.below(millis as usize) as u64);
        let class = if fails { Class::AgentError } else { Class::Success };
        drop(machine.observe(side, class, latency, now));
    }
    (machine, calls, bad)
}

#[test]
fn a_candidate_as_good_as_the_stable_version_is_promoted() {
    let rollout = rollout(LADDER);
    for fails_bp in [0, 100, 1_000] {
        let seeds = 150;
        let lost = (0..seeds)
            .filter(|seed| {
                let (machine, ..) = play(&rollout, *seed, Does(fails_bp, 200), Does(fails_bp, 200));
                machine.status().phase != Phase::Promoted
            })
            .count();
        assert!(lost * 100 <= seeds as usize, "{lost} of {seeds} at {fails_bp} were not promoted");
    }
}

#[test]
fn a_candidate_that_fails_every_second_call_loses_them_after_a_few() {
    let rollout = rollout(LADDER);
    let mut sum = 0.0_f64;
    for seed in 0..200 {
        let (machine, calls, bad) = play(&rollout, seed, Does(100, 200), Does(5_000, 200));
        assert_eq!(machine.status(), Status { phase: Phase::RolledBack, step: 0, weight_bp: 0 });
        assert!(bad <= 40, "{bad} bad calls");
        sum += bad as f64 / calls as f64;
    }
    let share = sum / 200.0;
    assert!(share < 0.03, "{share} of the calls until then were bad");
}

#[test]
fn a_slower_candidate_loses_its_calls_and_a_faster_one_does_not() {
    let rollout = rollout(LADDER);
    for seed in 0..40 {
        let (slower, ..) = play(&rollout, seed, Does(0, 200), Does(0, 600));
        assert_eq!(slower.status().phase, Phase::RolledBack);
        let (faster, ..) = play(&rollout, seed, Does(0, 200), Does(0, 50));
        assert_eq!(faster.status().phase, Phase::Promoted);
    }
}

#[test]
fn a_schema_that_refuses_what_the_old_one_took_counts_against_the_candidate() {
    let rollout = rollout(LADDER);
    let mut machine = Machine::new(&rollout, at(0));
    let mut lost = None;
    for n in 0..40 {
        assert_eq!(machine.observe(Side::Stable, Class::Success, Duration::from_millis(5), at(n)), None);
        lost = lost.or(machine.observe(Side::Candidate, Class::CallerFault, Duration::ZERO, at(n)));
    }
    assert!(matches!(lost.unwrap().reason, Reason::MoreBreaches(_)));
}

#[test]
fn what_is_busy_or_called_back_is_no_evidence() {
    let rollout = rollout(LADDER);
    let mut machine = Machine::new(&rollout, at(0));
    for class in [Class::Overload, Class::Unavailable, Class::Cancelled] {
        for _ in 0..100 {
            drop(machine.observe(Side::Candidate, class, Duration::ZERO, at(1)));
        }
    }
    assert_eq!(machine.tally(Side::Candidate).ended, 0);
}

#[test]
fn a_step_waits_for_samples_of_both_and_for_its_time() {
    let rollout = rollout(LADDER);
    let mut machine = Machine::new(&rollout, at(0));
    let good = |machine: &mut Machine, side, calls, second| {
        let mut last = None;
        (0..calls)
            .for_each(|_| last = machine.observe(side, Class::Success, Duration::from_millis(5), at(second)));
        last
    };
    assert_eq!(
        machine.awaited(at(0)),
        Some(Awaited { samples: 100, stable_samples: 20, time: Duration::from_secs(60) })
    );
    assert_eq!(good(&mut machine, Side::Candidate, 100, 50), None);
    assert_eq!(machine.poll_timeout(), None, "time alone does not do it");
    assert_eq!(good(&mut machine, Side::Stable, 20, 50), None);
    assert_eq!(machine.poll_timeout(), Some(at(60)));
    assert_eq!(machine.tick(at(59)), None);
    let change = machine.tick(at(60)).unwrap();
    assert_eq!(change.reason, Reason::StepDone { samples: 100, millis: 60_000 });
    assert_eq!(change.to, Status { phase: Phase::Progressing, step: 1, weight_bp: 2_500 });
    assert_eq!(machine.tally(Side::Candidate).ended, 0, "each step begins anew");
    // What the stable version did a step earlier stands in for what it does now.
    assert_eq!(machine.awaited(at(60)).unwrap().stable_samples, 0);
}

#[test]
fn a_breaker_that_opens_by_itself_is_enough_where_the_document_says_so() {
    let mut machine = Machine::new(&rollout(LADDER), at(0));
    let change = machine.breaker_opened("writer/two".into(), at(1)).unwrap();
    assert_eq!(change.to.weight_bp, 0);
    assert_eq!(machine.breaker_opened("writer/two".into(), at(2)), None, "once");
    let mut deaf = Machine::new(&with("roll_back: { breaker: false }"), at(0));
    assert_eq!(deaf.breaker_opened("writer/two".into(), at(1)), None);
}

#[test]
fn a_roll_back_is_final_also_over_a_restart() {
    let rollout = rollout(LADDER);
    let mut machine = Machine::new(&rollout, at(0));
    let change = machine.roll_back("wrong tone".into(), at(1)).unwrap();
    let mut again = Machine::resume(&rollout, change.to, at(100));
    assert_eq!(again.promote(true, String::new(), at(101)), Err(Refusal::RolledBack));
    assert_eq!(again.tick(at(10_000)), None);
    for n in 0..1_000 {
        assert_eq!(again.observe(Side::Candidate, Class::Success, Duration::ZERO, at(n)), None);
    }
    assert_eq!(again.status().weight_bp, 0);
}

#[test]
fn a_person_may_hold_it_move_it_on_and_take_it_back() {
    let mut machine = Machine::new(&rollout(LADDER), at(0));
    let phase = |change: Result<Change, Refusal>| change.unwrap().to;
    assert_eq!(phase(machine.pause("lunch".into(), at(1))).phase, Phase::Held);
    assert_eq!(machine.pause(String::new(), at(1)), Err(Refusal::Held));
    assert_eq!(phase(machine.promote(false, "looks good".into(), at(2))).weight_bp, 2_500);
    assert_eq!(machine.status().phase, Phase::Held, "it is still held");
    assert_eq!(phase(machine.unpause("back".into(), at(3))).phase, Phase::Progressing);
    assert_eq!(machine.unpause(String::new(), at(3)), Err(Refusal::NotHeld));
    assert_eq!(phase(machine.promote(true, "sure".into(), at(4))).phase, Phase::Promoted);
    assert_eq!(machine.promote(true, String::new(), at(5)), Err(Refusal::Promoted));
    assert_eq!(phase(machine.roll_back("not so sure".into(), at(6))).weight_bp, 0);
}

#[test]
fn a_held_candidate_that_does_worse_loses_its_calls_all_the_same() {
    let fixed = rollout("{ name: w, version: 1, agent: writer, stable: a, candidate: b, weight: 20% }");
    let (machine, ..) = play(&fixed, 1, Does(0, 100), Does(3_000, 100));
    assert_eq!(machine.status().phase, Phase::RolledBack);
    let mut good = Machine::new(&fixed, at(0));
    for n in 0..10_000 {
        assert_eq!(good.observe(Side::Candidate, Class::Success, Duration::ZERO, at(n)), None);
    }
    assert_eq!(good.status().weight_bp, 2_000, "and one that does well stays where it was put");
}

#[test]
fn the_last_step_of_a_ladder_that_ends_early_is_held() {
    let (machine, ..) = {
        let short = rollout(&LADDER.replace("100%, samples", "50%, samples"));
        play(&short, 3, Does(0, 100), Does(0, 100))
    };
    assert_eq!(machine.status(), Status { phase: Phase::Held, step: 2, weight_bp: 5_000 });
}

#[test]
fn the_same_calls_give_the_same_decisions() {
    let rollout = rollout(LADDER);
    let end = || {
        let (machine, calls, bad) = play(&rollout, 7, Does(100, 200), Does(900, 200));
        (machine.status(), calls, bad)
    };
    assert_eq!(end(), end());
}
