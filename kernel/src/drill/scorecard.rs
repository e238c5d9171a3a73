//! The scorecard: what was seen, and whether it is good enough.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kind::{Kind, Notice};
use super::look::{Calls, share_bp};
use super::{Detected, Drill, Ended};

/// The share of calls to everything else that may fail while a drill runs, in basis points: 1 %. Not zero, because a
/// system under load has failures of its own; not more, because a fault that others notice is not contained.
pub const OTHERS_MAY_FAIL_BP: u32 = 100;

/// How a drill went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scorecard {
    /// Every rule held.
    pub passed: bool,
    /// The rules, each with what was found.
    pub findings: Vec<Finding>,
    /// Why the fault ended.
    pub ended: Ended,
    /// How long it lasted.
    pub lasted: Duration,
    /// What noticed it first, if anything did while it lasted.
    pub detected: Option<Detected>,
    /// From the end of the fault to everything being well and traffic flowing; `None` if that did not happen in time.
    pub recovered_in: Option<Duration>,
    /// Sent to the target while the fault lasted.
    pub sent: u64,
    /// Of these, given the fault.
    pub struck: u64,
    /// The share of what was sent that was given the fault, in basis points.
    pub struck_bp: u32,
    /// Given the fault after it was detected: what still ran into it.
    pub struck_after_detection: u64,
    /// Calls of what the target offers, to the end of the recovery.
    pub inside: Calls,
    /// All other calls, to the end of the recovery.
    pub outside: Calls,
    /// Accepted and never answered.
    pub lost: u64,
    /// Not ended when the card was written, and not overdue.
    pub under_way: u64,
}

/// One rule, and whether it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// Whether it held.
    pub held: bool,
    /// What was found, in a sentence.
    pub found: String,
}

/// What a drill must show to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The fault met traffic. Without, nothing is proved.
    Traffic,
    /// It was detected while it lasted.
    Detected,
    /// Everything was well again, and traffic flowed, in time.
    Recovered,
    /// No request was accepted and never answered.
    NothingLost,
    /// Calls to everything else hardly failed.
    OthersUnharmed,
    /// Nothing was taken out of service for being busy.
    BusyIsNotDead,
}

impl Rule {
    /// The name, as it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
            Self::Detected => "detected",
            Self::Recovered => "recovered",
            Self::NothingLost => "nothing-lost",
            Self::OthersUnharmed => "others-unharmed",
            Self::BusyIsNotDead => "busy-is-not-dead",
        }
    }
}

impl Drill {
    /// Judges what was seen.
    pub(super) fn judge(&self) -> Scorecard {
        let ended = self.ended.unwrap_or(super::End { at: self.now, why: Ended::Over, tally: self.tally });
        let detected = self.detected.as_ref().map(|(detected, _)| detected.clone());
        let struck_after =
            self.detected.as_ref().map_or(0, |(_, tally)| ended.tally.struck.saturating_sub(tally.struck));
        let mut card = Scorecard {
            passed: false,
            findings: Vec::new(),
            ended: ended.why,
            lasted: ended.at - self.began,
            detected,
            recovered_in: self.recovered.map(|at| at - ended.at),
            sent: ended.tally.sent,
            struck: ended.tally.struck,
            struck_bp: share_bp(ended.tally.struck, ended.tally.sent),
            struck_after_detection: struck_after,
            inside: self.tally.inside,
            outside: self.tally.outside,
            lost: self.tally.lost,
            under_way: self.tally.under_way,
        };
        card.findings = self.findings(&card);
        card.passed = card.findings.iter().all(|finding| finding.held);
        card
    }

    fn findings(&self, card: &Scorecard) -> Vec<Finding> {
        let what = match self.plan.kind {
            Kind::StoreReadOnly => "writes",
            Kind::EmergencyMode => "requests",
            Kind::SlowAgent | Kind::FailingAgent | Kind::DeadAgent | Kind::Overload | Kind::LyingRouter => {
                "calls"
            }
        };
        let mut findings = vec![
            finding(
                Rule::Traffic,
                card.struck > 0,
                match card.struck {
                    0 => "no traffic met the fault, so nothing is proved".to_owned(),
                    struck => format!("{struck} of {} {what} were given the fault", card.sent),
                },
            ),
            finding(
                Rule::Detected,
                card.detected.is_some(),
                match &card.detected {
                    Some(detected) => {
                        format!("{} after {:?}: {}", detected.part, detected.after, detected.reason)
                    }
                    None => "nothing noticed the fault while it lasted".to_owned(),
                },
            ),
            finding(
                Rule::Recovered,
                card.recovered_in.is_some(),
                match card.recovered_in {
                    Some(took) => format!("well and flowing {took:?} after the fault ended"),
                    None => self.not_recovered(),
                },
            ),
            finding(
                Rule::NothingLost,
                card.lost == 0,
                match card.lost {
                    0 => "every accepted request was answered".to_owned(),
                    lost => format!("{lost} accepted requests were never answered"),
                },
            ),
        ];
        if self.plan.kind.has_target() {
            let bp = card.outside.failed_bp();
            let Calls { ended, failed } = card.outside;
            let found = format!("{failed} of {ended} other calls failed");
            findings.push(finding(Rule::OthersUnharmed, bp <= OTHERS_MAY_FAIL_BP, found));
        }
        if self.plan.kind.notice() == Notice::Pushback {
            findings.push(match &self.turned {
                None => finding(Rule::BusyIsNotDead, true, "nothing was taken out of service".to_owned()),
                Some(part) => finding(Rule::BusyIsNotDead, false, format!("{}: {}", part.part, part.reason)),
            });
        }
        findings
    }

    fn not_recovered(&self) -> String {
        match self.unwell.split_first() {
            None => "no traffic flowed to the target after the fault ended".to_owned(),
            Some((first, [])) => {
                format!("not well {:?} after the fault ended: {first}", super::RECOVER_WITHIN)
            }
            Some((first, rest)) => {
                format!(
                    "not well {:?} after the fault ended: {first}, and {} more",
                    super::RECOVER_WITHIN,
                    rest.len()
                )
            }
        }
    }
}

fn finding(rule: Rule, held: bool, found: String) -> Finding {
    Finding { rule, held, found }
}
