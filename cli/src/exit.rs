//! Exit codes: what a script can tell apart. They follow `sysexits.h` where it has a word for the case.

use std::process::ExitCode;

use mainstay_proto::reason::Reason;
use tonic::Code;

/// How a command ended. The numbers are documented in `docs/cli.md` and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// The run or call ended badly, a document has errors, a test failed, or a replay differs.
    Badly = 1,
    /// The command line is wrong. (clap's own.)
    Usage = 2,
    /// The configuration or manifest is wrong, or an address is taken.
    Config = 64,
    /// The server refused the request as wrong.
    Refused = 65,
    /// What was named does not exist: a file, a run, a workflow, an agent.
    NotFound = 66,
    /// The server cannot be reached.
    Unreachable = 69,
    /// Something happened that should not.
    Internal = 70,
    /// The control plane used up its memory and stopped in order.
    Memory = 71,
    /// The output could not be written.
    Output = 74,
    /// Not now: overloaded, draining, read-only, or no instance is free.
    TryAgain = 75,
    /// Not allowed.
    Denied = 77,
    /// Interrupted with Ctrl-C; a run that was being followed goes on.
    Interrupted = 130,
    /// The reader of the output went away.
    PipeClosed = 141,
}

impl Exit {
    /// Every code with what it means, for `--help` and the documentation.
    pub const TABLE: &'static [(Self, &'static str)] = &[
        (Self::Ok, "it did what was asked"),
        (Self::Badly, "the run or call ended badly, lint found errors, a test failed, or a replay differs"),
        (Self::Usage, "the command line is wrong"),
        (Self::Config, "the configuration or manifest is wrong, or an address is taken"),
        (Self::Refused, "the request or its input was refused as wrong"),
        (Self::NotFound, "what was named does not exist"),
        (Self::Unreachable, "the server cannot be reached"),
        (Self::Internal, "something happened that should not"),
        (Self::Memory, "the control plane used up its memory and stopped in order; start it again"),
        (Self::Output, "the output could not be written"),
        (Self::TryAgain, "not now, try again: overloaded, draining, paused, read-only, nobody free"),
        (Self::Denied, "not allowed"),
        (Self::Interrupted, "interrupted; a run that was followed goes on"),
        (Self::PipeClosed, "the reader of the output went away"),
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The code for an answer of a server: by its reason where it gave one, else by its gRPC code.
    #[must_use]
    pub fn of(code: Code, reason: &str) -> Self {
        match Reason::from_code(reason) {
            Some(reason) => Self::of_reason(reason),
            // Whoever answers without a reason is a proxy, another kind of server, or nobody.
            None => Self::of_code(code),
        }
    }

    /// Exhaustive on purpose: whoever adds a reason says what a script should make of it.
    const fn of_reason(reason: Reason) -> Self {
        use Reason as R;
        match reason {
            R::AgentUnreachable
            | R::AgentTimeout
            | R::AgentFailed
            | R::OutcomeUnknown
            | R::OutputSchemaMismatch
            | R::MappingFailed
            | R::CallCancelled
            | R::StepFailed
            | R::SubFailed
            | R::PlannerFailed
            | R::PlanInvalid
            | R::PlanFailed
            | R::PlanTimedOut
            | R::RouteFailed
            | R::RouteNowhere
            | R::SubTimedOut
            | R::TooManySteps
            | R::LowConfidence
            | R::VerificationFailed
            | R::VerifierUnavailable
            | R::ItemFailed
            | R::ItemsMissing
            | R::BranchFailed
            | R::GatheringTimedOut
            | R::QuorumMissed
            | R::JudgeFailed
            | R::JudgeInvalid
            | R::SupervisorFailed
            | R::WorkerFailed
            | R::NoProgress
            | R::RoundsExhausted
            | R::SignalMissing
            | R::Rejected
            | R::NotAnswered
            | R::RunCancelled
            | R::RunDeadline
            | R::BudgetExhausted => Self::Badly,
            R::FieldInvalid
            | R::NameInvalid
            | R::JsonInvalid
            | R::PayloadTooLarge
            | R::DeadlinePassed
            | R::PageTokenInvalid
            | R::IdempotencyKeyReused
            | R::SignalInvalid
            | R::SignalTaken
            | R::EscalationAnswered
            | R::CorrectionInvalid
            | R::AgentInvalid
            | R::AddressRefused
            | R::WorkflowInvalid
            | R::WorkflowVersionTaken
            | R::WorkflowNotLinked
            | R::RolloutInvalid
            | R::ScheduleInvalid
            | R::RolloutVersionTaken
            | R::RolloutOverlaps
            | R::RolloutContractBroken
            | R::RolloutOver
            | R::RouteInvalid
            | R::RouteVersionTaken
            | R::InputSchemaMismatch
            | R::ContextExceeded
            | R::CallNotAllowed
            | R::CallChainCut
            | R::AttemptReused
            | R::DrillsNotAllowed
            | R::DrillTargetUnfit
            | R::RecordSound
            | R::ContextKeyInvalid
            | R::ArtifactTooLarge
            | R::ArtifactMismatch
            | R::RunEnded
            | R::RunParked
            | R::RunNotParked
            | R::RunNotResumable
            | R::ResumeUncertain => Self::Refused,
            R::LeaseUnknown
            | R::WorkflowNotFound
            | R::RolloutNotFound
            | R::ScheduleNotFound
            | R::RouteNotFound
            | R::DecisionNotFound
            | R::RunNotFound
            | R::SignalUnknown
            | R::EscalationNotFound
            | R::AgentNotFound
            | R::BreakerNotFound
            | R::CapabilityUnknown
            | R::PauseNotFound
            | R::DrillNotFound
            | R::LimitNotFound
            | R::BudgetNotFound
            | R::RecordNotFound
            | R::ContextNotFound
            | R::ArtifactNotFound
            | R::ContextVersionNotKept
            | R::CapabilityNotServed => Self::NotFound,
            R::NoInstance
            | R::NoOtherAgent
            | R::Paused
            | R::AgentBusy
            | R::DrillUnderWay
            | R::StoreReadOnly
            | R::StoreFailed
            | R::ServerNotReady
            | R::BackupUnderWay
            | R::BackupOutrun
            | R::Overloaded
            | R::RateLimited
            | R::ContextStale
            | R::ContextConflict
            | R::ContextFull
            | R::ArtifactQuota
            | R::ServerDraining => Self::TryAgain,
            R::InstanceHeld | R::LeaseNotYours | R::ContextNotOwner => Self::Denied,
            R::RecordDamaged | R::Internal => Self::Internal,
        }
    }

    const fn of_code(code: Code) -> Self {
        match code {
            Code::Ok => Self::Ok,
            Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition | Code::OutOfRange => {
                Self::Refused
            }
            Code::NotFound => Self::NotFound,
            Code::Unavailable => Self::Unreachable,
            Code::ResourceExhausted | Code::DeadlineExceeded => Self::TryAgain,
            Code::PermissionDenied | Code::Unauthenticated => Self::Denied,
            Code::Aborted | Code::Cancelled => Self::Badly,
            Code::Unknown | Code::Internal | Code::DataLoss | Code::Unimplemented => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_an_absence_a_bad_end_and_a_busy_server_are_told_apart() {
        for (reason, exit) in [
            (Reason::FieldInvalid, 65),
            (Reason::IdempotencyKeyReused, 65),
            (Reason::PayloadTooLarge, 65),
            (Reason::RunEnded, 65),
            (Reason::RunNotFound, 66),
            (Reason::CapabilityUnknown, 66),
            (Reason::InstanceHeld, 77),
            (Reason::AgentFailed, 1),
            (Reason::OutcomeUnknown, 1),
            (Reason::OutputSchemaMismatch, 1),
            (Reason::RunDeadline, 1),
            (Reason::NoInstance, 75),
            (Reason::StoreReadOnly, 75),
            (Reason::ServerDraining, 75),
            (Reason::RecordDamaged, 70),
            (Reason::Internal, 70),
        ] {
            assert_eq!(Exit::of(reason.grpc(), reason.as_str()).code(), exit, "{reason:?}");
        }
    }

    #[test]
    fn without_a_reason_the_grpc_code_decides() {
        assert_eq!(Exit::of(Code::Unavailable, ""), Exit::Unreachable);
        assert_eq!(Exit::of(Code::Unimplemented, ""), Exit::Internal);
        assert_eq!(Exit::of(Code::Unavailable, "SOMEBODY_ELSES_REASON"), Exit::Unreachable);
    }

    #[test]
    fn no_answer_of_a_server_looks_like_success() {
        for reason in Reason::ALL {
            assert_ne!(Exit::of(reason.grpc(), reason.as_str()), Exit::Ok, "{reason:?}");
        }
    }

    #[test]
    fn the_table_has_every_number_once_and_in_order() {
        let numbers: Vec<u8> = Exit::TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert_eq!(numbers.last(), Some(&141));
    }
    #[test]
    fn the_documentation_has_the_same_table() {
        let page = include_str!("../../docs/cli.md");
        for (exit, meaning) in Exit::TABLE {
            assert!(page.contains(&format!("| {} | {meaning} |", exit.code())), "{exit:?}");
        }
    }
}
