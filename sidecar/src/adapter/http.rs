//! JSON over HTTP: POST the input, take the JSON answer.
//!
//! What the status says is turned into an outcome in one place ([`refusal`]), with one question behind every line: may a
//! side-effecting call be made again after this? 429 is a door that was never opened. 503 says the same only where it
//! comes with `Retry-After`, which somebody decided to send; a bare one is also what proxies answer when the agent died
//! halfway. A timeout that the agent reports says nothing about what it did before.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use mainstay_kernel::outcome::{Began, Class, Failure};
use mainstay_kernel::priority;
use mainstay_proto::chain;
use mainstay_proto::reason::Reason;
use mainstay_transport::retry;

use self::pool::{Broken, Pool};
use super::{Body, Call, Reply, report};
use crate::failure;
use crate::manifest::HttpConfig;

mod pool;
#[cfg(test)]
mod tests;

/// The longest pushback that is believed: beyond it the agent is down, not busy, and the breaker should say so.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// An agent behind a URL.
#[derive(Debug)]
pub(crate) struct Http {
    config: HttpConfig,
    host: HeaderValue,
    pool: Pool,
}

// === impl Http ===

impl Http {
    pub(super) fn new(config: HttpConfig, max_payload: usize) -> Self {
        let address = crate::manifest::host_port(&config.url).unwrap_or_default();
        let authority = config.url.authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static("agent"));
        Self { pool: Pool::new(address, max_payload), host, config }
    }

    pub(super) async fn call(&self, call: &Call) -> Result<Reply, Failure> {
        let request = self.request(call)?;
        let answer = self.pool.exchange(request, call.side_effecting).await.map_err(broken)?;
        if !answer.status.is_success() {
            return Err(refusal(answer.status, &answer.headers, &answer.body));
        }
        let mut reply = Reply::of(Body::Raw(answer.body));
        report::from_headers(&answer.headers, &mut reply);
        self.report_from_body(&mut reply);
        Ok(reply)
    }

    pub(super) fn tidy(&self) {
        self.pool.tidy();
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, Failure> {
        let body = Bytes::copy_from_slice(call.input.as_str().as_bytes());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target(&self.config.url, &call.path)?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in &self.config.headers {
            headers.append(name.clone(), value.clone());
        }
        if let Some(value) = headers.get_mut(AUTHORIZATION) {
            value.set_sensitive(true);
        }
        let mut set = |name: &'static str, value: &str| {
            if !value.is_empty() {
                headers.insert(HeaderName::from_static(name), header_text(value));
            }
        };
        set("idempotency-key", &call.key);
        set("mainstay-deadline-ms", &call.deadline_ms().to_string());
        set("mainstay-run", &call.run);
        set("mainstay-step", &call.step);
        set("mainstay-intent", &call.intent);
        set(retry::HEADER, call.retry());
        set(priority::HEADER, call.priority.as_str());
        set(chain::HEADER, &call.chain.to_string());
        set("traceparent", call.traceparent.as_deref().unwrap_or_default());
        Ok(request)
    }

    /// Reads usage out of the answer where the manifest says it is there; only then is the answer parsed here.
    fn report_from_body(&self, reply: &mut Reply) {
        let usage = &self.config.usage;
        let wanted = [&usage.tokens_in, &usage.tokens_out, &usage.cost_usd, &usage.confidence];
        let Body::Raw(body) = &reply.body else { return };
        if wanted.iter().all(|pointer| pointer.is_none()) {
            return;
        }
        if let Ok(answer) = serde_json::from_slice(body) {
            report::from_fields(usage, &answer, reply);
        }
    }
}

/// The path to ask for: the agent's own, then the capability's.
fn target(url: &Uri, path: &str) -> Result<Uri, Failure> {
    let base = if path.is_empty() { url.path() } else { url.path().trim_end_matches('/') };
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("{base}{path}{query}");
    target.parse().map_err(|error| failure::unreachable(Began::No, format_args!("the agent's URL: {error}")))
}

/// A text as a header: what would end or forge a header becomes a space, everything else stays UTF-8.
fn header_text(text: &str) -> HeaderValue {
    let harmless: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    HeaderValue::from_bytes(harmless.as_bytes()).unwrap_or(HeaderValue::from_static(""))
}

fn broken(broken: Broken) -> Failure {
    match broken {
        Broken::NotSent(text) => failure::unreachable(Began::No, text),
        Broken::Halfway(text) => failure::unreachable(Began::Unknown, text),
        Broken::TooLarge(limit) => failure::breach(format_args!(
            "the answer is larger than {limit} bytes; raise `limits.payload` of the manifest or answer less"
        )),
    }
}

/// The outcome of an answer that is not 2xx.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Failure {
    let text = complaint(status, body);
    let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    let overload =
        |began| Failure { retry_after, ..failure::failure(Class::Overload, Reason::AgentBusy, began, &text) };
    match status {
        StatusCode::TOO_MANY_REQUESTS => overload(Began::No),
        StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => overload(Began::No),
        StatusCode::SERVICE_UNAVAILABLE => overload(Began::Unknown),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => {
            failure::failure(Class::Timeout, Reason::AgentTimeout, Began::Unknown, &text)
        }
        // A redirect is not followed: the manifest says where the agent is, and nobody else does.
        _ if status.is_redirection() || status.is_informational() => failure::breach(format_args!(
            "the agent answered {status}, which is neither an answer nor an error"
        )),
        _ => failure::agent_failed(text),
    }
}

/// The agent's own words: `{"error": "…"}`, `{"error": {"message": "…"}}`, or the text as it is.
fn complaint(status: StatusCode, body: &Bytes) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let error = json.as_ref().and_then(|json| json.get("error"));
    let message = error.and_then(|error| error.get("message").unwrap_or(error).as_str());
    let text = match message {
        Some(message) => message.to_owned(),
        None => failure::clip(String::from_utf8_lossy(body).trim()),
    };
    if text.is_empty() {
        format!("the agent answered {status}")
    } else {
        format!("the agent answered {status}: {text}")
    }
}
