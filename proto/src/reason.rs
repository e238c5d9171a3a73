//! Every reason code a person may meet, each with its gRPC code, its cause and the way out.
//!
//! A code is a promise: programs branch on it, so it is never renamed and never reused. `mainstay explain CODE` prints
//! the page kept here. Findings about workflow documents, schemas and expressions carry codes of the kernel's; they have
//! their pages here too, so that there is one place to look.

use tonic::Code;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $code:ident, $cause:literal, $remedy:literal;)+) => {
        /// Why a request was refused or a call failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $cause] $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The gRPC status code it travels under.
            #[must_use]
            pub const fn grpc(self) -> Code {
                match self { $(Self::$variant => Code::$code,)+ }
            }

            /// What happened, in general.
            #[must_use]
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause,)+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)+ }
            }
        }
    };
}

reasons! {
    // What a request says.
    FieldInvalid = "FIELD_INVALID", InvalidArgument,
        "A field of the request is missing, malformed or out of its bounds.",
        "The error names the field and what it takes. Correct it and send the request again.";
    NameInvalid = "NAME_INVALID", InvalidArgument,
        "A name has a character, a length or a shape that names do not have here.",
        "Use 1 to 64 of a-z, 0-9, '.', '_' and '-', starting and ending with a letter or digit. Look-alike letters of other alphabets are refused on purpose.";
    JsonInvalid = "JSON_INVALID", InvalidArgument,
        "A payload is not strict JSON: it is malformed, nested deeper than 64, repeats a key, or has a number no double can hold.",
        "The error gives the place. Send valid JSON; if a program wrote it, look for NaN, Infinity and duplicate keys.";
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", ResourceExhausted,
        "A message or payload is larger than the server takes (4 MiB by default).",
        "Send less, or pass large documents by reference. The limit is `--max-payload` of the server and `limits.payload` of the sidecar.";
    DeadlinePassed = "DEADLINE_PASSED", DeadlineExceeded,
        "The deadline of the request had passed before any work could begin, or is not positive.",
        "Give a longer deadline, and check that the clocks and proxies on the way do not eat it.";
    PageTokenInvalid = "PAGE_TOKEN_INVALID", InvalidArgument,
        "The page token was not made by this server for this very request.",
        "Start again without a token; pass `next_page_token` back unchanged and with the same filters.";
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", AlreadyExists,
        "The idempotency key was used before for a different request. The first run is unchanged.",
        "Use a new key for a new request. To repeat the first one, send exactly what was sent then.";

    // Registration.
    AgentInvalid = "AGENT_INVALID", InvalidArgument,
        "The registration breaks a rule: a field is missing, too large, or given twice.",
        "The error names the field in the manifest. What was registered before is unchanged.";
    AddressRefused = "ADDRESS_REFUSED", InvalidArgument,
        "The instance's address is not an allowed place to call: wrong scheme, user information, or an IP outside the allowed networks.",
        "Register `http://HOST:PORT` whose every IP is inside the networks given to the server with `--allow-network`.";
    InstanceHeld = "INSTANCE_HELD", PermissionDenied,
        "Another sidecar holds a live lease on this agent and instance name, at another address.",
        "Give this instance a name of its own (`instance:` in the manifest), or stop the other one; its lease lapses by itself.";
    LeaseUnknown = "LEASE_UNKNOWN", NotFound,
        "The lease is not known: it lapsed, was given back, or was replaced by a newer registration.",
        "Register again. The sidecar does so by itself.";
    LeaseNotYours = "LEASE_NOT_YOURS", PermissionDenied,
        "The lease id presented belongs to another instance.",
        "Present the lease id that this instance's own registration returned.";

    // Things that are not there.
    WorkflowNotFound = "WORKFLOW_NOT_FOUND", NotFound,
        "No workflow of that name and version is stored for this tenant.",
        "`mainstay workflows list` shows what is there; `mainstay workflows put FILE` stores one.";
    RunNotFound = "RUN_NOT_FOUND", NotFound,
        "No run of that id exists for this tenant.",
        "`mainstay runs` lists them. An id is `run_` and 32 hexadecimal digits.";
    AgentNotFound = "AGENT_NOT_FOUND", NotFound,
        "No agent of that name is registered for this tenant.",
        "`mainstay agents` lists them. Start the agent's sidecar with `mainstay sidecar --manifest FILE`.";
    BreakerNotFound = "BREAKER_NOT_FOUND", NotFound,
        "No instance on record has a breaker that matches the agent, instance and capability asked for. Nothing was changed.",
        "`mainstay breakers list --all` shows every breaker with its agent, instance and capability.";
    CapabilityUnknown = "CAPABILITY_UNKNOWN", NotFound,
        "No agent has ever registered this capability, so the request could never be served.",
        "Check the spelling against `mainstay agents`, and start the sidecar of the agent that offers it.";

    PauseNotFound = "PAUSE_NOT_FOUND", NotFound,
        "The target is not paused, so there is nothing to resume.",
        "`mainstay pauses` lists what is. Each target has an entry of its own: resuming an agent does not resume its capability.";

    // Drills.
    DrillsNotAllowed = "DRILLS_NOT_ALLOWED", FailedPrecondition,
        "The server was started without the fault layer, so nothing can be injected.",
        "Start it with `--allow-drills` (or `allow_drills: true` in its file) where faults on purpose are welcome.";
    DrillUnderWay = "DRILL_UNDER_WAY", FailedPrecondition,
        "Another drill is under way or still watched. Two at once would explain nothing.",
        "Wait for its scorecard, or end its fault with `mainstay drill stop`.";
    DrillTargetUnfit = "DRILL_TARGET_UNFIT", FailedPrecondition,
        "The target is not well before the drill: what is broken already cannot show how it breaks.",
        "The error says what is wrong. Bring it back into service first (`mainstay agent NAME`, `mainstay breakers`), then drill.";
    DrillNotFound = "DRILL_NOT_FOUND", NotFound,
        "No fault is being injected that could be stopped.",
        "`mainstay drill list` shows the drill under way, `mainstay drill history` those before.";
    BudgetNotFound = "BUDGET_NOT_FOUND", NotFound,
        "Nobody set a budget of that target and period, so there is nothing to lift.",
        "`mainstay budgets list` shows every budget over time. Budgets of runs and steps stand in their workflow document.";
    LimitNotFound = "LIMIT_NOT_FOUND", NotFound,
        "Nobody set a rate for the target, so there is nothing to clear.",
        "`mainstay limits list` shows every rate and where it comes from. One that a manifest declares is changed there, or overridden with `mainstay limits set`.";

    // Workflows.
    WorkflowInvalid = "WORKFLOW_INVALID", InvalidArgument,
        "The workflow document has errors; nothing was stored.",
        "Each finding names its place and what to do. `mainstay workflows lint FILE` shows them all.";
    WorkflowVersionTaken = "WORKFLOW_VERSION_TAKEN", AlreadyExists,
        "This version of the workflow exists with another content. Versions never change, because runs pin them.",
        "Raise `version:` in the document and put it again.";

    // Routing documents.
    RouteNotFound = "ROUTE_NOT_FOUND", NotFound,
        "No routing document of that name and version is stored for this tenant.",
        "`mainstay routes list` shows what is there; `mainstay routes put FILE` stores one.";
    DecisionNotFound = "DECISION_NOT_FOUND", NotFound,
        "No decision of that id is kept for this tenant: the newest 8,192 are, for at most seven days.",
        "`mainstay routes decisions` lists them. An id is `dec_` and 32 hexadecimal digits; `mainstay invoke --route` prints it.";
    RouteInvalid = "ROUTE_INVALID", InvalidArgument,
        "The routing document has errors; nothing was stored, and requests are routed as before.",
        "Each finding names its place and what to do. `mainstay routes lint FILE` shows them all.";
    RouteVersionTaken = "ROUTE_VERSION_TAKEN", AlreadyExists,
        "This version of the routing document exists with another content. Versions never change, because decisions name them.",
        "Raise `version:` in the document and put it again.";

    // Rollouts.
    RolloutInvalid = "ROLLOUT_INVALID", InvalidArgument,
        "The rollout document has errors; nothing was stored.",
        "Each finding names its place and what to do. `mainstay rollouts lint FILE` shows them all.";
    RolloutVersionTaken = "ROLLOUT_VERSION_TAKEN", AlreadyExists,
        "This or a newer version of the rollout is in force, with another content. Versions never change.",
        "Raise `version:` in the document and put it again; the rollout then begins anew.";
    RolloutNotFound = "ROLLOUT_NOT_FOUND", NotFound,
        "No rollout of that name is stored for this tenant.",
        "`mainstay rollouts list` shows what is there; `mainstay rollouts put FILE` stores one.";
    RolloutOverlaps = "ROLLOUT_OVERLAPS", FailedPrecondition,
        "Another rollout divides the same calls already, and a call can be divided only once.",
        "Put the document as a new version of the other one, or let each name a `capability` of its own.";
    RolloutContractBroken = "ROLLOUT_CONTRACT_BROKEN", FailedPrecondition,
        "The candidate asks for more than callers of the stable version send, or promises less than they read. Nothing was stored.",
        "Make what is new in its input optional and keep what its output promises, or offer the new contract as another capability.";
    RolloutOver = "ROLLOUT_OVER", FailedPrecondition,
        "The rollout cannot be turned that way as it stands: it is over, or it is held already, or it is not held.",
        "`mainstay rollouts show NAME` says where it stands and why. A rollout that was rolled back begins again with a new version of its document.";

    // Artifacts.
    ArtifactNotFound = "ARTIFACT_NOT_FOUND", NotFound,
        "No artifact of that reference is there for this tenant: it was never put, or no kept run names it any more and its time of grace is over.",
        "`mainstay artifacts list` shows what is there; `mainstay artifacts put FILE` stores a document again, under the same reference.";
    ArtifactTooLarge = "ARTIFACT_TOO_LARGE", ResourceExhausted,
        "The document is larger than the server takes for one artifact. Nothing of it was kept.",
        "Divide it, or raise `--max-artifact` (1 GiB at most).";
    ArtifactQuota = "ARTIFACT_QUOTA", ResourceExhausted,
        "The tenant's artifacts are as many bytes, or as many, as they may be. Nothing of this one was kept.",
        "Raise `--artifact-quota`, or keep fewer runs (`--keep-runs`, `--keep-runs-for`): artifacts go with the last run that names them.";
    ArtifactMismatch = "ARTIFACT_MISMATCH", InvalidArgument,
        "The bytes that came are not those of the reference that was announced. Nothing was kept.",
        "Compute the BLAKE3 hash of the very bytes that are sent, or leave `expected_ref` out: the answer has the reference.";

    // Schedules.
    ScheduleInvalid = "SCHEDULE_INVALID", InvalidArgument,
        "The schedule's document has errors; nothing was stored.",
        "Each finding names its place and what to do. `mainstay schedules lint FILE` shows them all.";
    ScheduleNotFound = "SCHEDULE_NOT_FOUND", NotFound,
        "No schedule of that name is stored for this tenant.",
        "`mainstay schedules list` shows what is there; `mainstay schedules put FILE` stores one.";

    // Shared context.
    ContextKeyInvalid = "CONTEXT_KEY_INVALID", InvalidArgument,
        "A key of the shared context has a shape that keys do not have here.",
        "Write 1 to 8 names with slashes between, at most 128 bytes, like `market/prices`; each name is 1 to 64 of a-z, 0-9, '.', '_' and '-'.";
    ContextNotFound = "CONTEXT_NOT_FOUND", NotFound,
        "No value was put under this key of the shared context for this tenant, or its owner removed it. A run whose workflow reads it does not start.",
        "`mainstay context list` shows the keys there are. Put the value first, or correct `context:` in the workflow.";
    ContextStale = "CONTEXT_STALE", FailedPrecondition,
        "The value is older than its owner or its reader allows, so it is not handed over. A run whose workflow reads it does not start.",
        "The error names the key, its age and the limit. Let its owner put it again, or ask for the version by its number (`mainstay context get KEY --as-of VERSION`) if an old one will do.";
    ContextNotOwner = "CONTEXT_NOT_OWNER", PermissionDenied,
        "Only the owner of a key writes or removes it, and the owner is whoever wrote it first. Nothing was changed.",
        "Let the owner write it (the error says who that is), or use another key.";
    ContextConflict = "CONTEXT_CONFLICT", Aborted,
        "The key is at another version than the writer expected: somebody wrote in between, or the key is there already. Nothing was changed.",
        "Read the value again, decide anew, and put with the version you read.";
    ContextVersionNotKept = "CONTEXT_VERSION_NOT_KEPT", NotFound,
        "The version asked for was never written, or too many were written since: the newest 64 of each key are kept.",
        "`mainstay context history KEY` shows what is kept. What a run read stays in its own record: `mainstay trace RUN`.";
    ContextFull = "CONTEXT_FULL", ResourceExhausted,
        "The tenant has as many keys in the shared context as it may, 10,000. Nothing was changed.",
        "Remove keys that nobody reads (`mainstay context remove KEY`), or keep together under one key what is read together.";

    // Calls on behalf of calls.
    CallNotAllowed = "CALL_NOT_ALLOWED", PermissionDenied,
        "An agent that was carrying out a call asked for another one, and the capability that it was carrying out does not name the other one in `may_call`.",
        "If it should call others, its operator adds the capability to `may_call` in the manifest of its sidecar. If it should not, a workflow is the place to call both, one after the other.";
    CallChainCut = "CALL_CHAIN_CUT", FailedPrecondition,
        "A call would have gone in a circle, back to a capability that is waiting for it, or deeper than 8 calls inside each other.",
        "The error shows who called whom. Have one of them not call on, or let a workflow with bounded rounds do the going round.";

    // Contracts.
    ContextExceeded = "CONTEXT_EXCEEDED", InvalidArgument,
        "The input has more tokens than the capability's `context_budget` allows, and cannot be made to fit: it says `reject`, or what may not be cut is too long by itself.",
        "Send less: map fewer fields into the step, summarise before, or hand large documents over as artifacts. `mainstay agent NAME` shows the budget; its owner may raise it, or say `over: truncate` or `summarize`.";
    InputSchemaMismatch = "INPUT_SCHEMA_MISMATCH", InvalidArgument,
        "The input breaks the schema it is declared to hold to.",
        "The error gives the path in the document. Correct the caller, the mapping of the step, or the schema.";
    OutputSchemaMismatch = "OUTPUT_SCHEMA_MISMATCH", FailedPrecondition,
        "The agent's answer is not JSON or breaks its declared output schema. It was not passed on.",
        "Correct the agent or its manifest; the error gives the path in the answer.";
    MappingFailed = "MAPPING_FAILED", FailedPrecondition,
        "An expression in a step's input or in the workflow's output could not be evaluated over the values of this run.",
        "The error names the expression. Guard values that may be absent, for example `has(steps.x.output.y) ? ... : ...`.";

    // Calls.
    NoInstance = "NO_INSTANCE", Unavailable,
        "No instance could take the call in time: none registered, none healthy, all breakers open, or all at their limit.",
        "`mainstay agent NAME` shows each instance with its health and breakers, and why.";
    Paused = "PAUSED", Unavailable,
        "An operator has paused what the request needs: an instance, an agent, a capability, a workflow or the tenant.",
        "The error says what, why and by whom; `mainstay pauses` lists everything that is paused, `mainstay resume TARGET` lifts it. Steps of runs wait until their timeout; direct calls and new runs are for later.";
    AgentUnreachable = "AGENT_UNREACHABLE", Unavailable,
        "The agent or its sidecar could not be reached, or the connection broke during the call.",
        "Look at the sidecar's log and its probe of the agent.";
    AgentTimeout = "AGENT_TIMEOUT", DeadlineExceeded,
        "The agent did not answer within the time allowed and its work was cut.",
        "Raise `timeout` of the step or `sla` of the capability if the work really takes that long.";
    AgentBusy = "AGENT_BUSY", ResourceExhausted,
        "The agent is at its declared concurrency. Busy is not dead: this opens no breaker.",
        "Raise `max_concurrency` in the manifest if the agent can take it, or run more instances.";
    RateLimited = "RATE_LIMITED", ResourceExhausted,
        "The call is over a declared rate of its agent, capability or tenant, and its turn would come after its deadline.",
        "The error names the rate and when to try again. `mainstay limits list` shows every rate; `mainstay limits set TARGET RATE` changes one while the server runs; a longer deadline lets the call wait for its turn.";
    AgentFailed = "AGENT_FAILED", Aborted,
        "The agent answered that it failed.",
        "The message is the agent's own. Look at the agent's log for the attempt id.";
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unknown,
        "A side-effecting call may or may not have happened, and nobody can say. It is never repeated blindly.",
        "Check at the agent whether the effect took place (look for the attempt id), then start a new run for what is missing.";
    CallCancelled = "CALL_CANCELLED", Cancelled,
        "The call was cancelled.",
        "Nothing to do, unless nobody meant to.";
    CapabilityNotServed = "CAPABILITY_NOT_SERVED", NotFound,
        "This sidecar's manifest does not have the capability.",
        "The caller's view is out of date, or the manifest lacks the capability. `mainstay agents` shows what each one offers.";
    AttemptReused = "ATTEMPT_REUSED", AlreadyExists,
        "The same idempotency key came with a different body. The first one's outcome is unchanged.",
        "Use one key for one request.";

    // Runs.
    StepFailed = "STEP_FAILED", Aborted,
        "A critical step failed, and with it the run.",
        "`mainstay trace RUN` shows the step, its attempts and where the failure began.";
    BudgetExhausted = "BUDGET_EXHAUSTED", ResourceExhausted,
        "A budget has no room for what is next: what is left of a limit on money, tokens, calls or time is less than what the next call may take.",
        "The error names the limit and what was left; `mainstay trace RUN` shows what each call took. Raise `budget` of the workflow or the step, or let the run go on without what it cannot pay for: `on_exhausted: partial`, or `optional: true` on the step. A budget over time is an operator's: `mainstay budgets list` says when it begins anew, `mainstay budgets set` raises it, `mainstay spend` shows where it went.";
    RunCancelled = "RUN_CANCELLED", Cancelled,
        "The run was cancelled.",
        "The record says by what reason. Start it again if nobody meant to.";
    RunDeadline = "RUN_DEADLINE", DeadlineExceeded,
        "The run's deadline passed before it ended.",
        "`mainstay trace RUN` shows where the time went. Raise `deadline` of the workflow or speed the step up.";
    RunEnded = "RUN_ENDED", FailedPrecondition,
        "The run has ended already, so it takes nothing from outside any more.",
        "Nothing to do. `mainstay trace RUN` shows how it ended.";
    RunParked = "RUN_PARKED", FailedPrecondition,
        "The run broke what drives it: a fault of the server that this run's data finds, such as a panic. It was tried three times at one place, or ten times in all, and nobody drives it now. It is on record and open; other runs do not notice.",
        "The message says what happened, and the server's log where: please report it. `mainstay status` lists all parked runs. `mainstay unpark RUN` tries it again, best after an upgrade; `mainstay cancel RUN` ends it.";
    RunNotResumable = "RUN_NOT_RESUMABLE", FailedPrecondition,
        "There is nothing to go on from: the run has not ended, has completed, undid what it did, finished every step and could not make its output, or finished more than 32 MiB of inputs and outputs.",
        "The error says which. One that has not ended goes on by itself (`mainstay trace RUN`); the others are started anew with `mainstay run`.";
    ResumeUncertain = "RESUME_UNCERTAIN", FailedPrecondition,
        "Steps with side effects would be called again although they may have done their work: their outcome is unknown, they were cut off while they were called, or their answer was not taken.",
        "Look whether they did it. If calling them again does no harm, resume with `--accept-unknown STEP` for each; if they did it, start a run that does not need them.";
    RunNotParked = "RUN_NOT_PARKED", FailedPrecondition,
        "The run is not parked, so there is nothing to lift.",
        "Nothing to do. `mainstay trace RUN` shows how it stands.";
    ItemFailed = "ITEM_FAILED", Aborted,
        "An item of a list could not be worked on, and the step that goes over the list wants an answer for every one.",
        "`mainstay trace RUN` shows the item (`STEP/3`) and its attempts. With `partial: true` the step goes on with a gap.";
    ItemsMissing = "ITEMS_MISSING", Aborted,
        "Not every item of a list had its answer when the time was over, or none had.",
        "The message says which. Raise `within`, let more go on at once with `parallel`, or allow gaps with `partial: true`.";
    BranchFailed = "BRANCH_FAILED", Aborted,
        "The branch that a `choose` took failed.",
        "`mainstay trace RUN` shows the branch (`STEP/0` is the first) and its attempts.";
    WorkflowNotLinked = "WORKFLOW_NOT_LINKED", FailedPrecondition,
        "A step runs another workflow that is not stored, or workflows run each other in a circle or too deep. Nothing was started.",
        "The error names the step and what it runs. `mainstay workflows put` the missing one, or take the circle apart.";
    QuorumMissed = "QUORUM_MISSED", Aborted,
        "Too few members of a `consensus` answered in time and in its schema.",
        "`mainstay trace RUN` shows each member (`STEP/0` is the first). Lower `quorum`, raise `within`, or ask other agents.";
    JudgeFailed = "JUDGE_FAILED", Aborted,
        "The judge of a `consensus` failed.",
        "`mainstay trace RUN` shows its attempts as `STEP/judge`. Without a judge the answer given most often is taken.";
    JudgeInvalid = "JUDGE_INVALID", Aborted,
        "The judge of a `consensus` chose none of the answers it was shown.",
        "A judge answers `{\"choice\": \"A\"}` with one of the labels it was given. `mainstay trace RUN` shows what it was given and said.";
    SupervisorFailed = "SUPERVISOR_FAILED", Aborted,
        "The supervisor of a `supervise` step failed, so nobody could hand out work.",
        "`mainstay trace RUN` shows its attempts, one step a round (`STEP/1` is the first). With `partial: true` the results of earlier rounds go on.";
    WorkerFailed = "WORKER_FAILED", Aborted,
        "A worker of a `supervise` step failed, or its result was refused, and the step wants all results.",
        "`mainstay trace RUN` shows the task (`STEP/2_0` is the first of round 2). With `partial: true` the step goes on without it.";
    NoProgress = "NO_PROGRESS", Aborted,
        "A step was stopped because going on would have bought nothing: a supervisor asked again for what was done, its results no longer changed, or an agent gave the very answer again that was not taken.",
        "`mainstay trace RUN` shows the rounds, tries and verdicts. Tell the supervisor when it is done, or take what there is with `partial: true`; an agent that repeats itself does not read the grounds it is handed, or cannot do better: name another one in `on_failure`.";
    RoundsExhausted = "ROUNDS_EXHAUSTED", Aborted,
        "The supervisor of a `supervise` step came to no end in the rounds it has.",
        "Raise `rounds`, tell the supervisor how many it has, or take what there is with `partial: true`.";
    GatheringTimedOut = "GATHERING_TIMED_OUT", DeadlineExceeded,
        "A `supervise` step had not come to an end when its time was over.",
        "Raise `within`, let more go on at once with `parallel`, or take what there is with `partial: true`.";
    PlannerFailed = "PLANNER_FAILED", Aborted,
        "The planner of a `plan` step failed.",
        "`mainstay trace RUN` shows its attempts, one step a round (`STEP/1` is the first).";
    PlanInvalid = "PLAN_INVALID", Aborted,
        "An agent's plan cannot be carried out, and was sent back as often as the workflow allows. Nothing of it was called.",
        "The message says what is wrong; `mainstay trace RUN` shows every proposal. Raise `repairs`, or allow what the plan needs in `capabilities`, `max_steps` or `max_depth`.";
    PlanFailed = "PLAN_FAILED", Aborted,
        "A step of an agent's plan failed.",
        "`mainstay trace RUN` shows the step (`STEP/INNER`) and its attempts.";
    PlanTimedOut = "PLAN_TIMED_OUT", DeadlineExceeded,
        "A `plan` step had not come to an end when its time was over.",
        "Raise `within`, or find out from `mainstay trace RUN` which step is slow.";
    RouteFailed = "ROUTE_FAILED", Aborted,
        "The worker that a `route` step found failed, and so did its fallback if it has one.",
        "`mainstay trace RUN` shows `STEP/worker` and `STEP/fallback`. What may have had a side effect is never given to a fallback.";
    RouteNowhere = "ROUTE_NOWHERE", Aborted,
        "The routing document of a `route` step led to nobody.",
        "`mainstay routes explain` shows where a request goes and why.";
    SubFailed = "SUB_FAILED", Aborted,
        "A step of the workflow that a `sub` step runs failed, and that workflow cannot do without it.",
        "`mainstay trace RUN` shows the step (`STEP/INNER`) and its attempts; there `optional: true` lets the workflow go on.";
    SubTimedOut = "SUB_TIMED_OUT", DeadlineExceeded,
        "The workflow that a `sub` step runs did not end within its own deadline.",
        "Raise that workflow's `deadline`, or find out from `mainstay trace RUN` which of its steps is slow.";
    TooManySteps = "TOO_MANY_STEPS", ResourceExhausted,
        "More steps would have grown in the run than one may hold.",
        "Let lists be shorter, or start runs of their own for parts of the work.";
    SignalMissing = "SIGNAL_MISSING", DeadlineExceeded,
        "A signal that a step waits for did not come in time, and the step has no default.",
        "Whoever should have sent it knows why. Raise `within`, or say what holds without it with `default`.";
    VerificationFailed = "VERIFICATION_FAILED", Aborted,
        "A step's answer did not meet its `verify`, and was not mended in the repairs it has.",
        "The message has the grounds; `mainstay trace RUN` shows every verdict. Mend the agent or the conditions, allow more `repairs`, or say in `on_failure` what is to be done then.";
    VerifierUnavailable = "VERIFIER_UNAVAILABLE", Unavailable,
        "Nobody could give a verdict on a step's answer: the verifier failed, said nothing that can be read, or only agents offer it that had a part in the answer.",
        "The message says which. Register another agent for the verifier's capability, mend the one there is, or say `if_unavailable: accept` if the answer may go on unverified.";
    NoOtherAgent = "NO_OTHER_AGENT", Unavailable,
        "Only agents that had a part in the work offer the capability that is to look at it, and nobody looks at their own work.",
        "Register another agent that offers the capability of `verify.by`: another name, not another instance.";
    LowConfidence = "LOW_CONFIDENCE", Aborted,
        "An agent answered and is less sure of it than the step wants.",
        "The message says how sure it is. Lower `confidence.min`, or say in `below` and `on_failure` what is to be done then.";
    Rejected = "REJECTED", Aborted,
        "A person was asked and said no.",
        "The message says who and why. With `optional: true` the run goes on without the step.";
    NotAnswered = "NOT_ANSWERED", DeadlineExceeded,
        "A person was asked and nobody answered in time; the workflow says that silence means no.",
        "`mainstay escalations list` shows what waits. Raise `within`, or say `default: approve` if silence means yes.";
    SignalUnknown = "SIGNAL_UNKNOWN", NotFound,
        "No step of the run's workflow waits for a signal of that name. Nothing was changed.",
        "The error lists the signals it waits for.";
    SignalInvalid = "SIGNAL_INVALID", InvalidArgument,
        "What the signal carries breaks the schema of a step that waits for it. Nothing was changed.",
        "The error names the place in the value. Correct it and send the signal again.";
    SignalTaken = "SIGNAL_TAKEN", AlreadyExists,
        "The signal came before with another value; a signal is set once.",
        "Nothing to do if the first one was meant. For several words over time let the workflow wait for several signals.";
    EscalationNotFound = "ESCALATION_NOT_FOUND", NotFound,
        "That step of the run does not wait for a person: not yet, not any more, or never.",
        "`mainstay escalations list` shows what waits.";
    EscalationAnswered = "ESCALATION_ANSWERED", AlreadyExists,
        "Somebody answered before, and otherwise. The first answer counts.",
        "`mainstay trace RUN` shows what was answered, by whom, and what followed.";
    CorrectionInvalid = "CORRECTION_INVALID", InvalidArgument,
        "A correction lacks its value or breaks the form of the question, or another verdict carries a value. Nothing was changed.",
        "`mainstay escalations list --output json` shows the form. Only `correct` takes a value.";

    // The server itself.
    StoreReadOnly = "STORE_READ_ONLY", ResourceExhausted,
        "The store refuses writes, most often because the disk is full. Reads go on, and nothing acknowledged is lost.",
        "Make room on the disk of `--data`. The server tries again by itself every few seconds.";
    StoreFailed = "STORE_FAILED", Unavailable,
        "The store did not answer a read or a write.",
        "Look at the server's log and `mainstay status`; try again.";
    RecordDamaged = "RECORD_DAMAGED", DataLoss,
        "A record of this run or agent fails its checksum and is kept aside. Everything else works.",
        "`mainstay doctor` lists what is damaged and says what it describes. Restore a backup if the record matters; drop it if not.";
    RecordNotFound = "RECORD_NOT_FOUND", NotFound,
        "No record lies under this key.",
        "Give the key as `mainstay doctor` shows it. A record that was dropped, or that its run took along, is gone.";
    RecordSound = "RECORD_SOUND", FailedPrecondition,
        "The record is in order, so it is not dropped: only what nobody can read may be.",
        "`mainstay doctor` lists what is damaged; take the key from there.";
    BackupUnderWay = "BACKUP_UNDER_WAY", Unavailable,
        "A backup of this server is being taken already, and one is taken at a time.",
        "Wait until it has ended, then try again.";
    BackupOutrun = "BACKUP_OUTRUN", Aborted,
        "So much changed while the backup was taken that the server could not keep it all for the reader, who took it too slowly.",
        "Write the backup to a faster disk or over a faster network, or take it when fewer runs are active.";
    ServerNotReady = "SERVER_NOT_READY", Unavailable,
        "The server has just started and still takes up its open runs, or is about to stop.",
        "Try again in a moment. `/readyz` of the admin address says when it is ready.";
    Overloaded = "OVERLOADED", ResourceExhausted,
        "The server is at one of its limits and takes no more for now.",
        "Try again after the delay in the error.";
    ServerDraining = "SERVER_DRAINING", Unavailable,
        "The server is shutting down and takes no new work.",
        "Try again in a moment, or at another server.";
    Internal = "INTERNAL", Internal,
        "Something happened that should not: a fault of ours.",
        "Report it with the server's log lines around this time.";
}

impl Reason {
    /// The reason with this code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_unique_and_upper_case_and_found_again() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            let code = reason.as_str();
            assert!(seen.insert(code), "{code} is there twice");
            assert!(code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code}");
            assert_eq!(Reason::from_code(code), Some(*reason));
        }
    }
}
