//! Word to runs from outside: signals, and people's answers.

use mainstay_kernel::name::Name;
use mainstay_kernel::run::people::{MAX_BY, MAX_COMMENT};
use mainstay_kernel::run::{Ignored, Input, Ruling, Run, Verdict};
use mainstay_kernel::schema::Violation;
use mainstay_kernel::workflow::StepId;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, outcome, pb, run as wire, time};

use super::orchestrator::{Api, load_fault, parked, run_id};
use crate::engine::{Escalation, TellError};

impl Api {
    /// Hands a signal to its run.
    pub(super) async fn signal(&self, request: pb::SignalRunRequest) -> Result<(), Fault> {
        let (tenant, id) = (agent::tenant(&request.tenant)?, run_id(&request.run_id)?);
        let name = agent::name("signal", &request.signal)?;
        let value = outcome::payload("value", &request.value, &self.limits)?;
        let input = Input::Signal { name: name.clone(), value: value.clone() };
        match self.engine.tell(&tenant, id, input).await {
            Ok(()) | Err(TellError::Ignored(Ignored::Repeated)) => Ok(()),
            Err(TellError::Ignored(ignored)) => Err(refused(ignored)),
            Err(TellError::Parked(falls)) => Err(parked(id, &falls)),
            Err(TellError::NotOpen | TellError::Left) => {
                let run = self.engine.get(&tenant, id).await.map_err(|error| load_fault(id, error))?;
                if run.signals.get(&name) == Some(&value) { Ok(()) } else { Err(self.gone(&run)) }
            }
        }
    }

    /// Hands a person's answer to its run.
    pub(super) async fn answer(&self, request: pb::AnswerEscalationRequest) -> Result<(), Fault> {
        let (tenant, id) = (agent::tenant(&request.tenant)?, run_id(&request.run_id)?);
        let verdict = wire::verdict(request.verdict())
            .ok_or_else(|| Fault::invalid("verdict", "is missing; approve, reject, correct or clarify"))?;
        let step = StepId::new(&request.step_id).map_err(|_| not_asked(&request.step_id))?;
        let value = if request.value.is_empty() {
            None
        } else {
            Some(outcome::payload("value", &request.value, &self.limits)?)
        };
        let by = agent::text("by", request.by, MAX_BY)?;
        let comment = agent::text("comment", request.comment, MAX_COMMENT)?;
        if verdict == Verdict::Clarified && comment.is_empty() {
            return Err(Fault::invalid("comment", "is missing: it is the clarification"));
        }
        let ruling = Ruling { verdict, value, by, comment };
        let input = Input::Answer { step: step.clone(), ruling: ruling.clone() };
        match self.engine.tell(&tenant, id, input).await {
            Ok(()) | Err(TellError::Ignored(Ignored::Repeated)) => Ok(()),
            Err(TellError::Ignored(ignored)) => Err(refused(ignored)),
            Err(TellError::Parked(falls)) => Err(parked(id, &falls)),
            Err(TellError::NotOpen | TellError::Left) => {
                let run = self.engine.get(&tenant, id).await.map_err(|error| load_fault(id, error))?;
                let given = run.step(step.as_str()).and_then(|(_, step)| step.ruling.as_deref());
                if given == Some(&ruling) { Ok(()) } else { Err(self.gone(&run)) }
            }
        }
    }

    /// Why a run that no task drives takes nothing.
    fn gone(&self, run: &Run) -> Fault {
        match &run.end {
            Some(end) => {
                Fault::new(Reason::RunEnded, format_args!("{} has {} already", run.id, end.state.as_str()))
            }
            None => self.not_ready(&"the run is being taken up again"),
        }
    }

    /// A page of the questions that wait.
    pub(super) fn escalations(
        &self,
        request: &pb::ListEscalationsRequest,
    ) -> Result<pb::ListEscalationsResponse, Fault> {
        let tenant = agent::tenant(&request.tenant)?;
        let filters = [tenant.as_str(), &request.assignee];
        let page = self.pages.open("escalations", &filters, request.page_size, &request.page_token)?;
        let mut waiting = self.waiting(&tenant, &request.assignee);
        waiting.retain(|(key, _)| page.cursor.as_ref().is_none_or(|cursor| key > cursor));
        waiting.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        let more = waiting.len() > page.size;
        waiting.truncate(page.size);
        let next = waiting.last().filter(|_| more).map(|(key, _)| page.next(key));
        Ok(pb::ListEscalationsResponse {
            escalations: waiting.into_iter().map(|(_, escalation)| view(escalation)).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }

    /// Each question with its place in the list: by when its default holds.
    fn waiting(&self, tenant: &Name, assignee: &str) -> Vec<(Vec<u8>, Escalation)> {
        let mut all = self.engine.escalations(tenant);
        all.retain(|it| assignee.is_empty() || it.asked.assignee.as_deref() == Some(assignee));
        all.into_iter().map(|it| (place(&it), it)).collect()
    }
}

fn place(escalation: &Escalation) -> Vec<u8> {
    let until = u64::try_from(escalation.asked.until.as_millis()).unwrap_or_default();
    let mut key = until.to_be_bytes().to_vec();
    key.extend_from_slice(escalation.run.to_string().as_bytes());
    key.push(b'/');
    key.extend_from_slice(escalation.asked.step.as_str().as_bytes());
    key
}

fn view(escalation: Escalation) -> pb::Escalation {
    let Escalation { run, workflow, asked } = escalation;
    pb::Escalation {
        run_id: run.to_string(),
        step_id: asked.step.to_string(),
        workflow: workflow.to_string(),
        question: asked.question,
        shown: outcome::bytes(&asked.shown),
        form: outcome::bytes(asked.form.source()),
        assignee: asked.assignee.unwrap_or_default(),
        since: Some(time::timestamp(asked.since)),
        until: Some(time::timestamp(asked.until)),
    }
}

fn not_asked(step: &str) -> Fault {
    Fault::new(Reason::EscalationNotFound, format_args!("step `{step}` does not wait for a person"))
}

fn refused(ignored: Ignored) -> Fault {
    let text = ignored.to_string();
    let broken = |reason, violations: Vec<Violation>| {
        violations.into_iter().fold(Fault::new(reason, &text), |fault, violation| {
            fault.violation(format_args!("value{}", violation.instance_path), violation.message)
        })
    };
    match ignored {
        Ignored::NoSuchSignal { .. } => Fault::field(Reason::SignalUnknown, "signal", text),
        Ignored::SignalBreaks(violations) => broken(Reason::SignalInvalid, violations),
        Ignored::SignalCame => Fault::new(Reason::SignalTaken, text),
        Ignored::NotAsked { .. } => Fault::new(Reason::EscalationNotFound, text),
        Ignored::Answered { .. } => Fault::new(Reason::EscalationAnswered, text),
        Ignored::AnswerBreaks(violations) => broken(Reason::CorrectionInvalid, violations),
        Ignored::CorrectionMissing | Ignored::CorrectionUnasked => {
            Fault::field(Reason::CorrectionInvalid, "value", text)
        }
        Ignored::RunEnded => Fault::new(Reason::RunEnded, text),
        Ignored::Stale(_)
        | Ignored::NothingDue
        | Ignored::Repeated
        | Ignored::NotInquired { .. }
        | Ignored::Illegal(_) => Fault::new(Reason::Internal, text),
    }
}
