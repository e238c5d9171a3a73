//! `mainstay.v1.Schedules`.

use mainstay_kernel::document::Problem;
use mainstay_kernel::name::Name;
use mainstay_kernel::schedule::{Missed, Overlap, Reason as LeftOut, Times};
use mainstay_kernel::time::text::Human;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, pb, time};
use tonic::{Request, Response, Status};

use super::documents::catalog_fault;
use super::store_fault;
use crate::host::Clock;
use crate::records::schedule::{Line, Outcome, Paused};
use crate::schedules::{ChangeError, Handle, Known, PutError, WriteError};

/// Bytes of a person's words: a sentence or two, shown in tables.
const MAX_NOTE: usize = 500;

/// Bytes of a person's name.
const MAX_BY: usize = 256;

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// The clock.
    pub clock: Clock,
    /// What is scheduled.
    pub schedules: Handle,
}

#[tonic::async_trait]
impl pb::schedules_server::Schedules for Api {
    async fn put_schedule(
        &self,
        request: Request<pb::PutScheduleRequest>,
    ) -> Result<Response<pb::PutScheduleResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let by = agent::text("by", request.by, MAX_BY)?;
        let put = self.schedules.put(&tenant, &request.document, &by).await.map_err(put_fault)?;
        Ok(Response::new(pb::PutScheduleResponse {
            schedule: Some(view(&tenant, &put.known)),
            created: put.created,
        }))
    }

    async fn get_schedule(
        &self,
        request: Request<pb::GetScheduleRequest>,
    ) -> Result<Response<pb::GetScheduleResponse>, Status> {
        let request = request.into_inner();
        let (tenant, name) = (agent::tenant(&request.tenant)?, agent::name("name", &request.name)?);
        let known = self.schedules.get(&tenant, &name);
        let known = known.ok_or_else(|| change_fault(ChangeError::NotFound(name.clone())))?;
        let (schedules, of) = (self.schedules.clone(), tenant.clone());
        let history = self.clock.blocking(move || schedules.history(&of, &name)).await;
        let history = history.map_err(|error| Fault::new(Reason::StoreFailed, error))?;
        Ok(Response::new(pb::GetScheduleResponse {
            schedule: Some(view(&tenant, &known)),
            document: known.stored.document.clone(),
            history: history.iter().map(|(number, line)| firing(*number, line)).collect(),
        }))
    }

    async fn list_schedules(
        &self,
        request: Request<pb::ListSchedulesRequest>,
    ) -> Result<Response<pb::ListSchedulesResponse>, Status> {
        let tenant = agent::tenant(&request.into_inner().tenant)?;
        let schedules = self.schedules.list(&tenant).iter().map(|known| view(&tenant, known)).collect();
        Ok(Response::new(pb::ListSchedulesResponse { schedules }))
    }

    async fn pause_schedule(
        &self,
        request: Request<pb::PauseScheduleRequest>,
    ) -> Result<Response<pb::PauseScheduleResponse>, Status> {
        let request = request.into_inner();
        if request.reason.trim().is_empty() {
            return Err(Fault::invalid("reason", "is missing: say why, for whoever finds it paused").into());
        }
        let reason = agent::text("reason", request.reason, MAX_NOTE)?;
        let by = agent::text("by", request.by, MAX_BY)?;
        let pause = Paused { since: self.clock.wall(), reason, by: by.clone() };
        let schedule = self.pause(&request.tenant, &request.name, Some(pause), &by).await?;
        Ok(Response::new(pb::PauseScheduleResponse { schedule: Some(schedule) }))
    }

    async fn resume_schedule(
        &self,
        request: Request<pb::ResumeScheduleRequest>,
    ) -> Result<Response<pb::ResumeScheduleResponse>, Status> {
        let request = request.into_inner();
        let by = agent::text("by", request.by, MAX_BY)?;
        let schedule = self.pause(&request.tenant, &request.name, None, &by).await?;
        Ok(Response::new(pb::ResumeScheduleResponse { schedule: Some(schedule) }))
    }

    async fn delete_schedule(
        &self,
        request: Request<pb::DeleteScheduleRequest>,
    ) -> Result<Response<pb::DeleteScheduleResponse>, Status> {
        let request = request.into_inner();
        let (tenant, name) = (agent::tenant(&request.tenant)?, agent::name("name", &request.name)?);
        let by = agent::text("by", request.by, MAX_BY)?;
        self.schedules.delete(&tenant, &name, &by).await.map_err(change_fault)?;
        Ok(Response::new(pb::DeleteScheduleResponse {}))
    }
}

impl Api {
    async fn pause(
        &self,
        tenant: &str,
        name: &str,
        pause: Option<Paused>,
        by: &str,
    ) -> Result<pb::Schedule, Fault> {
        let (tenant, name) = (agent::tenant(tenant)?, agent::name("name", name)?);
        let known = self.schedules.pause(&tenant, &name, pause, by).await.map_err(change_fault)?;
        Ok(view(&tenant, &known))
    }
}

fn view(tenant: &Name, known: &Known) -> pb::Schedule {
    let (schedule, stored) = (&known.schedule, &known.stored);
    pb::Schedule {
        tenant: tenant.to_string(),
        name: schedule.name.to_string(),
        description: schedule.description.clone(),
        workflow: schedule.workflow.to_string(),
        version: schedule.version.unwrap_or_default(),
        times: match &schedule.times {
            Times::Cron(cron) => format!("cron {}", cron.as_str()),
            Times::Every(every) => format!("every {}", Human(*every)),
        },
        missed: match schedule.missed {
            Missed::Skip => "skip".to_owned(),
            Missed::RunOnce => "run_once".to_owned(),
            Missed::CatchUp(most) => format!("catch_up {most}"),
        },
        overlap: match schedule.overlap {
            Overlap::Skip => "skip".to_owned(),
            Overlap::Queue(most) => format!("queue {most}"),
            Overlap::Allow(most) => format!("allow {most}"),
            Overlap::CancelPrevious => "cancel_previous".to_owned(),
        },
        hash: schedule.hash.to_string(),
        created_at: Some(time::timestamp(stored.created_at)),
        changed_at: Some(time::timestamp(stored.changed_at)),
        by: stored.by.clone(),
        next: known.next().map(time::timestamp),
        paused: stored.paused.as_ref().map(|paused| pb::SchedulePause {
            since: Some(time::timestamp(paused.since)),
            reason: paused.reason.clone(),
            by: paused.by.clone(),
        }),
        running: stored.standing.running.iter().map(|firing| firing.run.to_string()).collect(),
        queued: u32::try_from(stored.standing.queued.len()).unwrap_or(u32::MAX),
    }
}

fn firing(number: u64, line: &Line) -> pb::ScheduleFiring {
    let (outcome, run_id, reason) = match &line.outcome {
        Outcome::Started { run } => (pb::FiringOutcome::Started, run.to_string(), String::new()),
        Outcome::Refused { why } => (pb::FiringOutcome::Refused, String::new(), why.clone()),
        Outcome::LeftOut { reason } => {
            let outcome = match reason {
                LeftOut::Missed => pb::FiringOutcome::Missed,
                LeftOut::Overlap => pb::FiringOutcome::Overlap,
                LeftOut::Paused => pb::FiringOutcome::Paused,
            };
            (outcome, String::new(), String::new())
        }
    };
    pb::ScheduleFiring {
        number,
        scheduled_at: Some(time::timestamp(line.from)),
        until: Some(time::timestamp(line.to)),
        count: line.count,
        decided_at: Some(time::timestamp(line.at)),
        outcome: outcome.into(),
        run_id,
        reason,
    }
}

/// What a client is told of a schedule that was not put.
fn put_fault(error: PutError) -> Fault {
    match error {
        PutError::Invalid(problems) => invalid(problems),
        PutError::TooLong(_) => {
            Fault::field(Reason::ScheduleInvalid, "document", error).hint("pass large inputs by reference")
        }
        PutError::Workflow(error) => catalog_fault(error).violation("document.workflow", "is not stored"),
        PutError::Input(ref violations) => {
            let fault = Fault::new(Reason::InputSchemaMismatch, &error);
            violations.iter().fold(fault, |fault, violation| {
                fault.violation(
                    format_args!("document.input{}", violation.instance_path),
                    violation.message.clone(),
                )
            })
        }
        PutError::Full(_) => Fault::new(Reason::Overloaded, error),
        PutError::Write(error) => write_fault(error),
    }
}

fn invalid(problems: Vec<Problem>) -> Fault {
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    let fault = match &problems[..] {
        [only] => Fault::new(Reason::ScheduleInvalid, only).precisely(only.code.as_str()),
        _ => {
            Fault::new(Reason::ScheduleInvalid, format_args!("{} errors, the first: {first}", problems.len()))
        }
    };
    problems.into_iter().fold(fault, |fault, problem| {
        fault.violation(
            format_args!("document.{}", problem.path),
            format_args!("{}: {} {}", problem.code, problem.message, problem.hint),
        )
    })
}

/// What a client is told of a schedule that was not changed.
fn change_fault(error: ChangeError) -> Fault {
    match error {
        ChangeError::NotFound(_) => Fault::field(Reason::ScheduleNotFound, "name", error),
        ChangeError::Write(error) => write_fault(error),
    }
}

fn write_fault(error: WriteError) -> Fault {
    match error {
        WriteError::Record(error) => Fault::new(Reason::Internal, error),
        WriteError::Commit(error) => store_fault(error),
    }
}
