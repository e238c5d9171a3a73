//! Somebody who answers every question of every run, and then tries to take back what was said.

use std::sync::Arc;

use mainstay_proto::pb;
use pb::orchestrator_client::OrchestratorClient;
use tonic::transport::Channel;

use super::starter::taken;
use super::{LOOK, Log};
use crate::history::{Sent, Taken};
use crate::mix;

/// Answers until all runs have ended. An answer that was lost is given again, since its question is still listed.
pub(super) async fn answer(mut orchestrator: OrchestratorClient<Channel>, log: Arc<Log>) {
    let mut looks = tokio::time::interval(LOOK);
    while !log.is_over() {
        looks.tick().await;
        let request = pb::ListEscalationsRequest { page_size: 1_000, ..Default::default() };
        let Ok(listed) = orchestrator.list_escalations(request).await else { continue };
        for question in listed.into_inner().escalations {
            let (verdict, correction) = mix::verdict(&question.run_id);
            let taken = say(&mut orchestrator, &log, &question, verdict, correction).await;
            if taken == Taken::Yes {
                // The first answer counts, so none of these may.
                let is_no = verdict == pb::Verdict::Rejected;
                let other = if is_no { pb::Verdict::Approved } else { pb::Verdict::Rejected };
                say(&mut orchestrator, &log, &question, other, None).await;
            }
        }
    }
}

async fn say(
    orchestrator: &mut OrchestratorClient<Channel>,
    log: &Log,
    question: &pb::Escalation,
    verdict: pb::Verdict,
    correction: Option<i64>,
) -> Taken {
    let value = correction.map(|x| format!("{{\"x\":{x}}}")).unwrap_or_default();
    let request = pb::AnswerEscalationRequest {
        run_id: question.run_id.clone(),
        step_id: question.step_id.clone(),
        verdict: verdict.into(),
        value: value.into(),
        by: "ann".to_owned(),
        comment: "seen".to_owned(),
        ..Default::default()
    };
    let taken = taken(orchestrator.answer_escalation(request).await.map(drop));
    let sent = Sent {
        run: question.run_id.clone(),
        to: question.step_id.clone(),
        said: verdict.as_str_name().to_owned(),
        taken,
    };
    log.seen().words.push(sent);
    taken
}
