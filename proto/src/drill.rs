//! Drills, as clients see them.

use mainstay_kernel::drill::{Calls, Detected, Event, Kind, Plan, Scorecard};
use mainstay_kernel::time::Wall;

use crate::{pb, time};

/// An entry of the catalogue.
#[must_use]
pub fn kind(kind: Kind) -> pb::DrillKind {
    pb::DrillKind {
        name: kind.as_str().to_owned(),
        does: kind.does().to_owned(),
        expects: kind.expects().to_owned(),
        has_target: kind.has_target(),
    }
}

/// What a drill is to do, without what it has done.
#[must_use]
pub fn plan(plan: &Plan) -> pb::Drill {
    pb::Drill {
        id: plan.id.to_string(),
        kind: plan.kind.as_str().to_owned(),
        tenant: plan.tenant.to_string(),
        target: plan.target.as_ref().map(ToString::to_string).unwrap_or_default(),
        share_bp: plan.share_bp,
        lasts: Some(time::duration(plan.lasts)),
        delay: plan.delay.map(time::duration),
        seed: plan.seed,
        by: plan.by.clone(),
        began_at: None,
        state: pb::DrillState::Unspecified.into(),
        events: Vec::new(),
    }
}

/// What happened in a drill, and when.
#[must_use]
pub fn event(at: Wall, event: &Event) -> pb::DrillEvent {
    use pb::drill_event::Event as Told;
    let event = match event {
        Event::Began => Told::Began(pb::DrillBegan {}),
        Event::Detected(it) => Told::Detected(detected(it)),
        Event::Ended { lasted, why } => Told::Ended(pb::DrillEnded {
            lasted: Some(time::duration(*lasted)),
            why: why.as_str().to_owned(),
        }),
        Event::Recovered { after } => {
            Told::Recovered(pb::DrillRecovered { after: Some(time::duration(*after)) })
        }
        Event::Judged(card) => Told::Scorecard(scorecard(card)),
    };
    pb::DrillEvent { at: Some(time::timestamp(at)), event: Some(event) }
}

/// The server ended in the middle of a drill; `at` is when that was found.
#[must_use]
pub fn interrupted(at: Wall) -> pb::DrillEvent {
    let text = "the server ended in the middle of the drill, and the fault with it";
    let event = pb::drill_event::Event::Interrupted(text.to_owned());
    pb::DrillEvent { at: Some(time::timestamp(at)), event: Some(event) }
}

fn detected(detected: &Detected) -> pb::DrillDetected {
    pb::DrillDetected {
        after: Some(time::duration(detected.after)),
        part: detected.part.clone(),
        reason: detected.reason.clone(),
    }
}

fn scorecard(card: &Scorecard) -> pb::Scorecard {
    let findings = card.findings.iter().map(|finding| pb::ScorecardFinding {
        rule: finding.rule.as_str().to_owned(),
        held: finding.held,
        found: finding.found.clone(),
    });
    pb::Scorecard {
        passed: card.passed,
        findings: findings.collect(),
        ended: card.ended.as_str().to_owned(),
        lasted: Some(time::duration(card.lasted)),
        detected: card.detected.as_ref().map(detected),
        recovered_in: card.recovered_in.map(time::duration),
        sent: card.sent,
        struck: card.struck,
        struck_bp: card.struck_bp,
        struck_after_detection: card.struck_after_detection,
        inside: Some(calls(card.inside)),
        outside: Some(calls(card.outside)),
        lost: card.lost,
        under_way: card.under_way,
    }
}

fn calls(calls: Calls) -> pb::DrilledCalls {
    pb::DrilledCalls { ended: calls.ended, failed: calls.failed, failed_bp: calls.failed_bp() }
}
