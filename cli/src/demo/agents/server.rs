//! An agent's face: JSON over HTTP, or a program that is started for each call.
//!
//! Both are what anyone would write without knowing of Mainstay. All that is special is the idempotency key, which a
//! header or a variable carries, and which goes into the agent's list of effects.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Agent, Refusal};

/// Largest input in bytes: what a sidecar passes on by default.
const MAX_INPUT: usize = 4 * 1024 * 1024;
/// How often a held answer looks whether it may go.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long an answer may be held: longer than the step that waits for it.
const MAX_HOLD: Duration = Duration::from_secs(60);
/// The key of a call that has none: somebody called the agent by hand.
const NO_KEY: &str = "none";

/// An agent, and the file its answers wait for, if any.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) agent: Agent,
    pub(super) hold_answer: Option<PathBuf>,
}

/// The routes: `POST /{verb}` for what the agent can do, `GET /health`.
pub(super) fn router(served: Served) -> Router {
    Router::new()
        .route("/health", get(async || "well"))
        .route("/{verb}", post(call))
        .layer(DefaultBodyLimit::max(MAX_INPUT))
        .with_state(Arc::new(served))
}

async fn call(
    State(served): State<Arc<Served>>,
    Path(verb): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or(NO_KEY);
    let Ok(input) = serde_json::from_slice(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "the body is not JSON");
    };
    match served.agent.call(&verb, input, key) {
        None => refuse(StatusCode::NOT_FOUND, "there is nothing of that name"),
        Some(Err(Refusal(why))) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &why),
        Some(Ok(output)) => {
            served.hold().await;
            Json(output).into_response()
        }
    }
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

impl Served {
    /// Waits until the answer may be given. By then the work is done: what follows shows what becomes of it if nobody is
    /// there to hear.
    async fn hold(&self) {
        let Some(path) = &self.hold_answer else { return };
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let released = async {
            while !path.exists() {
                looks.tick().await;
            }
        };
        if timeout(MAX_HOLD, released).await.is_err() {
            tracing::warn!(file = %path.display(), "nobody let the answer go; it goes now");
        }
    }
}

/// One call: the input on standard input, the output on standard output.
pub(super) fn once(agent: &Agent, verb: &str, key: Option<String>) -> anyhow::Result<()> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(MAX_INPUT as u64 + 1).read_to_end(&mut text).context("standard input")?;
    anyhow::ensure!(text.len() <= MAX_INPUT, "the input is larger than {MAX_INPUT} bytes");
    let output = answer(agent, verb, &text, key)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{output}").and_then(|()| out.flush()).context("standard output")
}

fn answer(agent: &Agent, verb: &str, input: &[u8], key: Option<String>) -> anyhow::Result<Value> {
    let input = serde_json::from_slice(input).context("the input is not JSON")?;
    let answer = agent.call(verb, input, &key.unwrap_or_else(|| NO_KEY.to_owned()));
    match answer.with_context(|| format!("{verb}: there is nothing of that name"))? {
        Ok(output) => Ok(output),
        Err(Refusal(why)) => anyhow::bail!(why),
    }
}
