//! Events: the decisions of an orchestrator that change how traffic is treated, each with its reason.
//!
//! A call's own story (who was asked, who was passed over, what was retried) stands in its record, and a run's in its
//! journal. Here is what stands between them, and what an operator looks for first: what opened, what was taken out of
//! service, what changed its mind, when, and why. One line a decision, never one a call.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::health::State;
use crate::name::Name;
use crate::time::Wall;
use crate::{breaker, health, mode, rollout};

/// Bytes of a reason that are kept: a sentence with a name or two in it.
const MAX_REASON: usize = 500;

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Wall,
    /// What happened.
    pub kind: Kind,
    /// Whose it is; `None` if it is the whole server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// What it happened to, as a path: `instance/AGENT/NAME`, `breaker/AGENT/NAME/CAPABILITY`, `ejection/AGENT/NAME/CAPABILITY`, `server`.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// Who did it, as they said, if a person did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// What happened. Names are frozen: people filter by them, and records hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A control plane began to serve.
    #[serde(rename = "server.started")]
    ServerStarted,
    /// It was told to stop.
    #[serde(rename = "server.stopping")]
    ServerStopping,
    /// The disk refuses writes.
    #[serde(rename = "store.read-only")]
    StoreReadOnly,
    /// It takes them again.
    #[serde(rename = "store.writable")]
    StoreWritable,
    /// A limit that is set for this server is nearly met.
    #[serde(rename = "limit.near")]
    LimitNear,
    /// It is near no longer.
    #[serde(rename = "limit.clear")]
    LimitClear,
    /// A breaker lets nothing through any more.
    #[serde(rename = "breaker.opened")]
    BreakerOpened,
    /// A breaker lets probes through.
    #[serde(rename = "breaker.half-open")]
    BreakerHalfOpen,
    /// A breaker lets everything through.
    #[serde(rename = "breaker.closed")]
    BreakerClosed,
    /// An instance is out of routing because it is unwell.
    #[serde(rename = "instance.unhealthy")]
    InstanceUnhealthy,
    /// It is well again.
    #[serde(rename = "instance.healthy")]
    InstanceHealthy,
    /// An instance stopped renewing its lease, and left routing.
    #[serde(rename = "instance.lapsed")]
    InstanceLapsed,
    /// An instance is left out of a capability because it does worse than its siblings.
    #[serde(rename = "instance.ejected")]
    InstanceEjected,
    /// Its ejection is over.
    #[serde(rename = "instance.returned")]
    InstanceReturned,
    /// Most instances of a capability look unusable: all that hold a lease are used.
    #[serde(rename = "panic.began")]
    PanicBegan,
    /// Enough of them are usable again.
    #[serde(rename = "panic.ended")]
    PanicEnded,
    /// Nothing begins at a target any more.
    #[serde(rename = "pause.set")]
    Paused,
    /// A pause was lifted.
    #[serde(rename = "pause.lifted")]
    Resumed,
    /// The operating mode got worse: less is done.
    #[serde(rename = "mode.lowered")]
    ModeLowered,
    /// The operating mode got better, or somebody else answers for it.
    #[serde(rename = "mode.raised")]
    ModeRaised,
    /// A fault is injected on purpose.
    #[serde(rename = "drill.began")]
    DrillBegan,
    /// Something noticed it.
    #[serde(rename = "drill.detected")]
    DrillDetected,
    /// The fault is over.
    #[serde(rename = "drill.ended")]
    DrillEnded,
    /// Everything is well again.
    #[serde(rename = "drill.recovered")]
    DrillRecovered,
    /// Every rule of the scorecard held.
    #[serde(rename = "drill.passed")]
    DrillPassed,
    /// One did not.
    #[serde(rename = "drill.failed")]
    DrillFailed,
    /// The server ended in the middle of one.
    #[serde(rename = "drill.interrupted")]
    DrillInterrupted,
    /// An operator set a rate.
    #[serde(rename = "limit.set")]
    LimitSet,
    /// An operator cleared one.
    #[serde(rename = "limit.cleared")]
    LimitCleared,
    /// A rollout began.
    #[serde(rename = "rollout.started")]
    RolloutStarted,
    /// A candidate gets a larger share of calls.
    #[serde(rename = "rollout.progressed")]
    RolloutProgressed,
    /// Its share stays where it is.
    #[serde(rename = "rollout.held")]
    RolloutHeld,
    /// It gets all calls.
    #[serde(rename = "rollout.promoted")]
    RolloutPromoted,
    /// It gets none any more.
    #[serde(rename = "rollout.rolled-back")]
    RolloutRolledBack,
    /// What a stored workflow hands to agents does not fit what they take any more.
    #[serde(rename = "contract.broken")]
    ContractBroken,
    /// It fits again.
    #[serde(rename = "contract.mended")]
    ContractMended,
    /// A schedule was put.
    #[serde(rename = "schedule.put")]
    SchedulePut,
    /// A schedule fires nothing any more.
    #[serde(rename = "schedule.paused")]
    SchedulePaused,
    /// It fires again.
    #[serde(rename = "schedule.resumed")]
    ScheduleResumed,
    /// A schedule was removed.
    #[serde(rename = "schedule.deleted")]
    ScheduleDeleted,
    /// Nobody was there at times of a schedule.
    #[serde(rename = "schedule.missed")]
    ScheduleMissed,
    /// A time of a schedule came while a run of an earlier one went on.
    #[serde(rename = "schedule.overlapped")]
    ScheduleOverlapped,
    /// A run of a schedule could not be started.
    #[serde(rename = "schedule.refused")]
    ScheduleRefused,
    /// A run broke what drove it too often; nobody drives it until a person says so.
    #[serde(rename = "run.parked")]
    RunParked,
    /// A parked run is driven again.
    #[serde(rename = "run.unparked")]
    RunUnparked,
}

impl Event {
    /// A decision of now; what is too long of its reason is cut.
    #[must_use]
    pub fn new(kind: Kind, at: Wall, subject: impl fmt::Display, reason: impl fmt::Display) -> Self {
        let mut reason = reason.to_string();
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
        Self { at, kind, tenant: None, subject: subject.to_string(), reason, by: String::new() }
    }

    /// The same, of one tenant.
    #[must_use]
    pub fn of(self, tenant: &Name) -> Self {
        Self { tenant: Some(tenant.clone()), ..self }
    }

    /// The same, done by a person.
    #[must_use]
    pub fn by(self, who: &str) -> Self {
        Self { by: who.to_owned(), ..self }
    }

    /// Whether a name is a part of its subject.
    #[must_use]
    pub fn is_about(&self, name: &str) -> bool {
        self.subject == name || self.subject.split('/').skip(1).any(|part| part == name)
    }
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 45] = [
        Self::ServerStarted,
        Self::ServerStopping,
        Self::StoreReadOnly,
        Self::StoreWritable,
        Self::LimitNear,
        Self::LimitClear,
        Self::BreakerOpened,
        Self::BreakerHalfOpen,
        Self::BreakerClosed,
        Self::InstanceUnhealthy,
        Self::InstanceHealthy,
        Self::InstanceLapsed,
        Self::InstanceEjected,
        Self::InstanceReturned,
        Self::PanicBegan,
        Self::PanicEnded,
        Self::Paused,
        Self::Resumed,
        Self::ModeLowered,
        Self::ModeRaised,
        Self::DrillBegan,
        Self::DrillDetected,
        Self::DrillEnded,
        Self::DrillRecovered,
        Self::DrillPassed,
        Self::DrillFailed,
        Self::DrillInterrupted,
        Self::LimitSet,
        Self::LimitCleared,
        Self::RolloutStarted,
        Self::RolloutProgressed,
        Self::RolloutHeld,
        Self::RolloutPromoted,
        Self::RolloutRolledBack,
        Self::ContractBroken,
        Self::ContractMended,
        Self::SchedulePut,
        Self::SchedulePaused,
        Self::ScheduleResumed,
        Self::ScheduleDeleted,
        Self::ScheduleMissed,
        Self::ScheduleOverlapped,
        Self::ScheduleRefused,
        Self::RunParked,
        Self::RunUnparked,
    ];

    /// The name, as `area.what`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerStarted => "server.started",
            Self::ServerStopping => "server.stopping",
            Self::StoreReadOnly => "store.read-only",
            Self::StoreWritable => "store.writable",
            Self::LimitNear => "limit.near",
            Self::LimitClear => "limit.clear",
            Self::BreakerOpened => "breaker.opened",
            Self::BreakerHalfOpen => "breaker.half-open",
            Self::BreakerClosed => "breaker.closed",
            Self::InstanceUnhealthy => "instance.unhealthy",
            Self::InstanceHealthy => "instance.healthy",
            Self::InstanceLapsed => "instance.lapsed",
            Self::InstanceEjected => "instance.ejected",
            Self::InstanceReturned => "instance.returned",
            Self::PanicBegan => "panic.began",
            Self::PanicEnded => "panic.ended",
            Self::Paused => "pause.set",
            Self::Resumed => "pause.lifted",
            Self::ModeLowered => "mode.lowered",
            Self::ModeRaised => "mode.raised",
            Self::DrillBegan => "drill.began",
            Self::DrillDetected => "drill.detected",
            Self::DrillEnded => "drill.ended",
            Self::DrillRecovered => "drill.recovered",
            Self::DrillPassed => "drill.passed",
            Self::DrillFailed => "drill.failed",
            Self::DrillInterrupted => "drill.interrupted",
            Self::LimitSet => "limit.set",
            Self::LimitCleared => "limit.cleared",
            Self::RolloutStarted => "rollout.started",
            Self::RolloutProgressed => "rollout.progressed",
            Self::RolloutHeld => "rollout.held",
            Self::RolloutPromoted => "rollout.promoted",
            Self::RolloutRolledBack => "rollout.rolled-back",
            Self::ContractBroken => "contract.broken",
            Self::ContractMended => "contract.mended",
            Self::SchedulePut => "schedule.put",
            Self::SchedulePaused => "schedule.paused",
            Self::ScheduleResumed => "schedule.resumed",
            Self::ScheduleDeleted => "schedule.deleted",
            Self::ScheduleMissed => "schedule.missed",
            Self::ScheduleOverlapped => "schedule.overlapped",
            Self::ScheduleRefused => "schedule.refused",
            Self::RunParked => "run.parked",
            Self::RunUnparked => "run.unparked",
        }
    }

    /// Whether it has this name, or is of this area.
    #[must_use]
    pub fn matches(self, filter: &str) -> bool {
        self.as_str().strip_prefix(filter).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// Whether traffic fares worse for it, so that it may wake someone.
    #[must_use]
    pub const fn is_alarming(self) -> bool {
        match self {
            Self::StoreReadOnly
            | Self::LimitNear
            | Self::BreakerOpened
            | Self::InstanceUnhealthy
            | Self::InstanceLapsed
            | Self::InstanceEjected
            | Self::PanicBegan
            | Self::Paused
            | Self::ModeLowered
            | Self::DrillBegan
            | Self::DrillFailed
            | Self::RolloutRolledBack
            | Self::ContractBroken
            | Self::ScheduleMissed
            | Self::ScheduleRefused
            | Self::RunParked => true,
            Self::ServerStarted
            | Self::ServerStopping
            | Self::StoreWritable
            | Self::LimitClear
            | Self::BreakerHalfOpen
            | Self::BreakerClosed
            | Self::InstanceHealthy
            | Self::InstanceReturned
            | Self::PanicEnded
            | Self::Resumed
            | Self::ModeRaised
            | Self::RunUnparked
            | Self::DrillDetected
            | Self::DrillEnded
            | Self::DrillRecovered
            | Self::DrillPassed
            | Self::DrillInterrupted
            | Self::LimitSet
            | Self::LimitCleared
            | Self::RolloutStarted
            | Self::RolloutProgressed
            | Self::RolloutHeld
            | Self::RolloutPromoted
            | Self::ContractMended
            | Self::SchedulePut
            | Self::SchedulePaused
            | Self::ScheduleResumed
            | Self::ScheduleDeleted
            | Self::ScheduleOverlapped => false,
        }
    }

    /// What a breaker's change is.
    #[must_use]
    pub const fn of_breaker(change: &breaker::Change) -> Self {
        match change.to {
            breaker::State::Open => Self::BreakerOpened,
            breaker::State::HalfOpen => Self::BreakerHalfOpen,
            breaker::State::Closed => Self::BreakerClosed,
        }
    }

    /// What a change of mode is.
    #[must_use]
    pub fn of_mode(change: &mode::Change) -> Self {
        if change.to > change.from { Self::ModeLowered } else { Self::ModeRaised }
    }

    /// What a rollout's change is.
    #[must_use]
    pub fn of_rollout(change: &rollout::Change) -> Self {
        match (change.to.phase, &change.reason) {
            (_, rollout::Reason::Put { .. }) => Self::RolloutStarted,
            (rollout::Phase::Progressing, _) => Self::RolloutProgressed,
            (rollout::Phase::Held, _) => Self::RolloutHeld,
            (rollout::Phase::Promoted, _) => Self::RolloutPromoted,
            (rollout::Phase::RolledBack, _) => Self::RolloutRolledBack,
        }
    }

    /// What a change of health is. An instance that is found well for the first time is no news: thousands are, when a
    /// control plane starts.
    #[must_use]
    pub const fn of_health(change: &health::Change) -> Option<Self> {
        match (change.from, change.to.state) {
            (_, State::Unhealthy) => Some(Self::InstanceUnhealthy),
            (State::Unhealthy, State::Healthy) => Some(Self::InstanceHealthy),
            (State::Unknown | State::Healthy, State::Healthy) | (_, State::Unknown) => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_stored_under_the_name_that_people_filter_by() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            let (area, _) = kind.as_str().split_once('.').unwrap();
            assert!(kind.matches(kind.as_str()) && kind.matches(area));
            assert!(!kind.matches(&area[1..]) && !kind.matches(&kind.as_str()[..area.len() + 2]));
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        let event = Event::new(Kind::Paused, Wall::from_millis(0), "agent/a", "ä".repeat(400));
        assert_eq!(event.reason.len(), MAX_REASON);
    }

    #[test]
    fn it_is_about_each_name_on_its_path_and_nothing_else() {
        let event =
            Event::new(Kind::BreakerOpened, Wall::from_millis(0), "breaker/writer/one/text.draft", "");
        for name in ["writer", "one", "text.draft"] {
            assert!(event.is_about(name));
        }
        for name in ["breaker", "write", "writer/one", ""] {
            assert!(!event.is_about(name), "{name}");
        }
    }
}
