//! `mainstay escalations`: list, answer.

use clap::{Args, Subcommand, ValueEnum};
use mainstay_proto::pb;

use super::pauses::Author;
use crate::client::{Client, ask};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::view::escalation::{AnsweredView, EscalationView};
use crate::{input, render};

/// Most questions asked for at once: what the server gives at most.
const PAGE: i32 = 1_000;
/// Most questions shown: what follows them is shown once some are answered.
const MOST: usize = 10_000;

/// What to do with questions that wait for people.
#[derive(Debug, Subcommand)]
pub enum EscalationsCommand {
    /// List what waits for people, soonest default first
    List(ListArgs),
    /// Answer a question
    Answer(AnswerArgs),
}

/// Flags of `escalations list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of this assignee
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    assignee: String,
}

/// Flags of `escalations answer`.
#[derive(Debug, Args)]
pub struct AnswerArgs {
    /// RUN/STEP, as `mainstay escalations list` shows it
    escalation: String,
    /// What you say
    #[arg(value_enum)]
    verdict: Verdict,
    /// What goes on instead, with `correct`: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    value: Option<String>,
    /// What you have to say about it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    comment: String,
    #[command(flatten)]
    author: Author,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verdict {
    /// What was shown goes on
    Approve,
    /// It does not: the step fails
    Reject,
    /// Something else goes on in its place
    Correct,
    /// What was shown goes on, with your comment
    Clarify,
}

impl From<Verdict> for pb::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Approve => Self::Approved,
            Verdict::Reject => Self::Rejected,
            Verdict::Correct => Self::Corrected,
            Verdict::Clarify => Self::Clarified,
        }
    }
}

pub(crate) async fn run(
    command: EscalationsCommand,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    match command {
        EscalationsCommand::List(args) => {
            let views = all(args.assignee, client).await?;
            console.show(&views, |views, style| render::escalation::list(views, style))
        }
        EscalationsCommand::Answer(args) => answer(args, client, console).await,
    }
}

async fn all(assignee: String, client: &Client) -> Result<Vec<EscalationView>, Failure> {
    let (mut views, mut page_token) = (Vec::new(), String::new());
    loop {
        let (tenant, assignee) = (client.tenant(), assignee.clone());
        let request = pb::ListEscalationsRequest { tenant, assignee, page_size: PAGE, page_token };
        let page = client.orchestrator().list_escalations(ask(request)).await;
        let page = page.map_err(|status| client.failure(&status))?.into_inner();
        views.extend(page.escalations.into_iter().map(EscalationView::from));
        page_token = page.next_page_token;
        if page_token.is_empty() || views.len() >= MOST {
            return Ok(views);
        }
    }
}

async fn answer(args: AnswerArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let AnswerArgs { escalation, verdict, value, comment, author: Author { by } } = args;
    let Some((run_id, step_id)) = escalation.split_once('/') else {
        let message = format!("`{escalation}` is no escalation");
        return Err(
            Failure::new(Exit::Usage, message).hint("give RUN/STEP, as `mainstay escalations list` shows it")
        );
    };
    let verdict = pb::Verdict::from(verdict);
    let request = pb::AnswerEscalationRequest {
        tenant: client.tenant(),
        run_id: run_id.to_owned(),
        step_id: step_id.to_owned(),
        verdict: verdict.into(),
        value: input::payload(value.as_deref())?.into(),
        by,
        comment,
    };
    client.orchestrator().answer_escalation(ask(request)).await.map_err(|status| client.failure(&status))?;
    console.show(&AnsweredView::of(escalation, verdict), render::escalation::answered)
}
