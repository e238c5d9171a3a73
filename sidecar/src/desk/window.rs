//! Holding an input to its capability's context budget, before the ledger hears of the call.
//!
//! [`mainstay_kernel::context_budget`] decides what has to be shorter. Here the tokens are counted, on a thread that may
//! block, and where the manifest says so somebody else is asked to summarise: through the control plane, like any other
//! caller, under keys that follow from the call's own. A summary is worth having and not worth failing for: where there is
//! none, or one that is too long, the text is cut.

use std::time::Duration;

use mainstay_kernel::context_budget::{ContextBudget, Excess, Fitted, TooLong};
use mainstay_kernel::json::{Json, Limits};
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::{Answer, Failure, Usage};
use mainstay_proto::pb::orchestrator_client::OrchestratorClient;
use mainstay_proto::reason::Reason;
use mainstay_proto::{chain, outcome, pb};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;

use crate::adapter::{Call, MAX_WARNINGS};
use crate::failure::caller_fault;
use crate::tokens::Bpe;

/// Most texts of one input that are summarised, the longest: each is a call. The rest is cut.
const MAX_SUMMARIES: usize = 4;
/// Most places that are named on the answer.
const MAX_NAMED: usize = 4;

/// Who is asked for summaries.
#[derive(Debug, Clone)]
pub(super) struct Summaries {
    pub(super) control_plane: Channel,
    pub(super) tenant: String,
}

/// What became of an input.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The input, if it is another one now.
    pub(super) input: Option<Json>,
    /// What was done to it, for the record.
    pub(super) notes: Vec<String>,
    /// What that used up.
    pub(super) usage: Usage,
}

impl Window {
    /// The answer, with what was done to its input. The notes come first: they explain what the agent may warn of.
    pub(super) fn noted(self, answer: Answer) -> Answer {
        let warnings = self.notes.into_iter().chain(answer.warnings).take(MAX_WARNINGS).collect();
        let agent_micros = answer.usage.agent_micros;
        let usage = Usage { agent_micros, ..answer.usage.plus(self.usage) };
        Answer { warnings, usage, ..answer }
    }
}

/// Makes the input of `call` fit, or says why it does not.
pub(super) async fn fit(
    budget: &ContextBudget,
    call: &Call,
    summaries: &Summaries,
    limits: &Limits,
) -> Result<Window, Failure> {
    let excess = {
        let input = call.input.clone();
        count(budget, move |budget, bpe| budget.excess(&input, bpe)).await.map_err(refused)?
    };
    if excess.is_empty() {
        return Ok(Window::default());
    }
    let mut window = Window::default();
    let mut input = call.input.clone();
    if let Some(by) = budget.over.by() {
        // Half of the time at most: the other half is the agent's.
        let now = Instant::now();
        let until = now + call.cut_at.saturating_duration_since(now) / 2;
        let asked = Asked { by, call, summaries, limits, until };
        input = asked.shorten(input, &excess, &mut window).await;
    }
    let Fitted { input, cuts } =
        count(budget, move |budget, bpe| budget.cut(&input, bpe)).await.map_err(refused)?;
    window.notes.extend(cuts_note(budget, &cuts));
    window.input = Some(input);
    Ok(window)
}

/// Counts on a thread that may block.
async fn count<T: Send + 'static>(
    budget: &ContextBudget,
    work: impl FnOnce(&ContextBudget, &Bpe) -> Result<T, TooLong> + Send + 'static,
) -> Result<T, TooLong> {
    let budget = budget.clone();
    let counted = tokio::task::spawn_blocking(move || work(&budget, &Bpe::of(budget.encoding))).await;
    counted.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn refused(error: TooLong) -> Failure {
    caller_fault(Reason::ContextExceeded, error)
}

fn cuts_note(budget: &ContextBudget, cuts: &[Excess]) -> Option<String> {
    if cuts.is_empty() {
        return None;
    }
    let named: Vec<String> = cuts
        .iter()
        .take(MAX_NAMED)
        .map(|Excess { pointer, tokens, room }| format!("{} from {tokens} to {room}", place(pointer)))
        .collect();
    let more = cuts.len() - named.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(format!("context_budget of {} tokens: cut {}{more}", budget.max_tokens, named.join(", ")))
}

fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "the input" } else { pointer }
}

/// A call whose texts are to be summarised.
struct Asked<'a> {
    by: &'a Name,
    call: &'a Call,
    summaries: &'a Summaries,
    limits: &'a Limits,
    until: Instant,
}

impl Asked<'_> {
    /// `input` with summaries in place of the longest texts, as far as there are any.
    async fn shorten(&self, input: Json, excess: &[Excess], window: &mut Window) -> Json {
        let mut value = input.value();
        let mut changed = false;
        for (at, Excess { pointer, tokens, room }) in excess.iter().take(MAX_SUMMARIES).enumerate() {
            let Some(Value::String(text)) = value.pointer_mut(pointer) else { continue };
            match self.summary(at, text, *room).await {
                Ok((summary, usage)) => {
                    let (by, place) = (self.by, place(pointer));
                    window
                        .notes
                        .push(format!("context_budget: {place} of {tokens} tokens summarised by {by}"));
                    window.usage = window.usage.plus(usage);
                    *text = summary;
                    changed = true;
                }
                Err(why) => {
                    let (by, place) = (self.by, place(pointer));
                    window.notes.push(format!("context_budget: {by} did not summarise {place}: {why}"));
                }
            }
        }
        if changed { Json::from(&value) } else { input }
    }

    /// What `text` comes to in at most `room` tokens, or why there is none.
    async fn summary(&self, at: usize, text: &str, room: usize) -> Result<(String, Usage), String> {
        let request = pb::InvokeRequest {
            tenant: self.summaries.tenant.clone(),
            capability: self.by.to_string(),
            input: outcome::bytes(&Json::from(&json!({ "text": text, "max_tokens": room }))),
            idempotency_key: format!("{}/summary/{at}", self.call.key),
            intent: self.call.intent.clone(),
            ..pb::InvokeRequest::default()
        };
        let mut request = tonic::Request::new(request);
        let left = self.until.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return Err("no time is left for it".to_owned());
        }
        request.set_timeout(left);
        chain::set(&mut request, &self.call.chain);
        let most = self.limits.max_bytes.saturating_mul(2);
        let mut client = OrchestratorClient::new(self.summaries.control_plane.clone())
            .max_encoding_message_size(most)
            .max_decoding_message_size(most);
        let answered = timeout_at(self.until, client.invoke(request)).await;
        let answer =
            answered.map_err(|_| "it took too long")?.map_err(|status| status.message().to_owned())?;
        let answer = answer.into_inner().answer.ok_or("it said nothing")?;
        let answer = outcome::answer(answer, self.limits).map_err(|fault| fault.to_string())?;
        let output = answer.output.value();
        let text = output.get("text").and_then(Value::as_str).ok_or("its answer has no `text`")?;
        Ok((text.to_owned(), answer.usage))
    }
}
