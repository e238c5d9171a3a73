//! How the agent is reached (the adapter), and how to tell whether it is well (the probe).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use mainstay_kernel::health;

use super::fields::{Fields, Value};

/// How often the agent is looked at. A probe on the same machine costs microseconds; the control plane adds its own
/// interval on top, so a death should not wait for long here.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
/// How often while its state is in doubt: a start or a crash is settled within a second or two.
const QUICK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a probe may take: one second is an eternity on one machine, and short enough to come before the next one.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// Failures in a row until the agent counts as down; successes in a row until it counts as up again.
const DEFAULT_FALL: u32 = 3;
const DEFAULT_RISE: u32 = 1;

/// How the agent is reached.
#[derive(Debug, Clone)]
pub enum AdapterConfig {
    /// JSON over HTTP.
    Http(HttpConfig),
    /// A program per call: input on stdin, output on stdout.
    Command(CommandConfig),
    /// Answers with its input. For measurements and first steps.
    Echo,
}

/// JSON over HTTP.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where the agent listens.
    pub url: Uri,
    /// Sent with every call.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Where in its answer the agent reports usage, if not in headers.
    pub usage: UsageFields,
}

/// JSON pointers into the answer.
#[derive(Debug, Clone, Default)]
pub struct UsageFields {
    /// Prompt tokens.
    pub tokens_in: Option<String>,
    /// Completion tokens.
    pub tokens_out: Option<String>,
    /// Money in US dollars.
    pub cost_usd: Option<String>,
    /// Confidence, 0 to 1.
    pub confidence: Option<String>,
}

/// A program.
#[derive(Debug, Clone)]
pub struct CommandConfig {
    /// Its path, or a name looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Added to the sidecar's own environment.
    pub env: BTreeMap<String, String>,
    /// Folder it runs in.
    pub cwd: PathBuf,
}

/// How to tell whether the agent is well.
#[derive(Debug, Clone)]
pub struct ProbeConfig {
    /// What is asked.
    pub target: ProbeTarget,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Pace and thresholds.
    pub pace: health::Config,
}

/// What a probe asks.
#[derive(Debug, Clone)]
pub enum ProbeTarget {
    /// A GET that must be answered with 2xx.
    Http(Uri),
    /// A connection that must be accepted, `HOST:PORT`.
    Tcp(String),
    /// A program that must end with 0.
    Command(CommandConfig),
}

pub(super) fn adapter(fields: &mut Fields<'_>, folder: &Path) -> Option<AdapterConfig> {
    let mut kinds =
        fields.require("adapter", "say how to reach the agent: http, command or echo")?.fields()?;
    let (http, command, echo) = (kinds.take("http"), kinds.take("command"), kinds.take("echo"));
    if usize::from(http.is_some()) + usize::from(command.is_some()) + usize::from(echo.is_some()) != 1 {
        kinds.complain("must have exactly one of http, command and echo (`echo: {}`)");
        kinds.finish();
        return None;
    }
    kinds.finish();
    if let Some(value) = http {
        return http_config(value.fields()?).map(AdapterConfig::Http);
    }
    if let Some(value) = command {
        return command_config(value.fields()?, folder).map(AdapterConfig::Command);
    }
    echo?.fields()?.finish();
    Some(AdapterConfig::Echo)
}

fn http_config(mut fields: Fields<'_>) -> Option<HttpConfig> {
    let url = fields.require("url", "say where the agent listens, like http://127.0.0.1:8000");
    let url = url.and_then(|value| value.http_url());
    let headers = fields.take("headers").map(|value| headers(&value)).unwrap_or_default();
    let usage = fields.section("usage").map(usage_fields).unwrap_or_default();
    fields.finish();
    Some(HttpConfig { url: url?, headers, usage })
}

fn usage_fields(mut fields: Fields<'_>) -> UsageFields {
    let mut pointer = |key| {
        let value = fields.take(key)?;
        let text = value.text()?;
        if text.starts_with('/') {
            Some(text)
        } else {
            value.complain("must be a JSON pointer like /usage/input_tokens")
        }
    };
    let usage = UsageFields {
        tokens_in: pointer("tokens_in"),
        tokens_out: pointer("tokens_out"),
        cost_usd: pointer("cost_usd"),
        confidence: pointer("confidence"),
    };
    fields.finish();
    usage
}

fn headers(value: &Value<'_>) -> Vec<(HeaderName, HeaderValue)> {
    value
        .entries()
        .into_iter()
        .filter_map(|(key, inner)| {
            let text = inner.text()?;
            let (Ok(name), Ok(content)) = (HeaderName::try_from(key), HeaderValue::try_from(&text)) else {
                return inner.complain("is not a valid HTTP header");
            };
            if is_ours(&name) {
                return inner.complain("is set by the sidecar itself");
            }
            Some((name, content))
        })
        .collect()
}

/// Headers that carry the call, or that decide how the body is read.
fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    let ours = ["host", "content-length", "content-type", "transfer-encoding", "connection", "traceparent"];
    name.starts_with("mainstay-") || name == "idempotency-key" || ours.contains(&name)
}

fn command_config(mut fields: Fields<'_>, folder: &Path) -> Option<CommandConfig> {
    let program = fields.require("program", "say which program to run").and_then(|value| value.text());
    let args = fields.texts("args");
    let env = fields.text_map("env");
    let cwd = fields.text("cwd").map_or_else(|| folder.to_owned(), |cwd| folder.join(cwd));
    fields.finish();
    // A bare name is looked up in PATH; anything with a slash is relative to the manifest, wherever the sidecar started.
    let program =
        program.map(|program| if program.contains('/') { folder.join(program) } else { program.into() });
    let cwd = if cwd.as_os_str().is_empty() { PathBuf::from(".") } else { cwd };
    Some(CommandConfig { program: program?, args, env, cwd })
}

/// The probe as written, or the one that follows from the adapter: a server must accept connections; a program that is
/// started for each call and the echo have no state that could be asked.
pub(super) fn probe(
    fields: &mut Fields<'_>,
    folder: &Path,
    adapter: Option<&AdapterConfig>,
) -> Option<ProbeConfig> {
    let derived = || match adapter? {
        AdapterConfig::Http(http) => Some(ProbeTarget::Tcp(host_port(&http.url)?)),
        AdapterConfig::Command(_) | AdapterConfig::Echo => None,
    };
    let Some(mut health) = fields.section("health") else {
        return Some(ProbeConfig {
            target: derived()?,
            timeout: DEFAULT_TIMEOUT,
            pace: pace(None, None, None).ok()?,
        });
    };
    let (http, tcp, command) = (health.section("http"), health.section("tcp"), health.section("command"));
    let long = Duration::from_secs(600);
    let interval = health.duration("interval", Duration::from_millis(100)..=long);
    let timeout = health.duration("timeout", Duration::from_millis(10)..=long).unwrap_or(DEFAULT_TIMEOUT);
    let (rise, fall) = (health.integer("rise", 1..=100), health.integer("fall", 1..=100));
    if usize::from(http.is_some()) + usize::from(tcp.is_some()) + usize::from(command.is_some()) > 1 {
        health.complain("must have one of http, tcp and command");
    }
    let pace = pace(interval, rise, fall).map_err(|error| health.complain(error.to_string())).ok();
    health.finish();
    let target = if let Some(mut http) = http {
        let url = http.require("url", "say what to ask, like http://127.0.0.1:8000/health");
        let url = url.and_then(|value| value.http_url());
        http.finish();
        url.map(ProbeTarget::Http)
    } else if let Some(mut tcp) = tcp {
        let address = tcp.require("address", "say where to connect, like 127.0.0.1:8000");
        let address = address.and_then(|value| socket_address(&value));
        tcp.finish();
        address.map(ProbeTarget::Tcp)
    } else if let Some(command) = command {
        command_config(command, folder).map(ProbeTarget::Command)
    } else {
        derived()
    };
    Some(ProbeConfig { target: target?, timeout, pace: pace? })
}

fn pace(
    interval: Option<Duration>,
    rise: Option<u32>,
    fall: Option<u32>,
) -> Result<health::Config, health::ConfigError> {
    let interval = interval.unwrap_or(DEFAULT_INTERVAL);
    health::Config::try_new(
        interval,
        QUICK_INTERVAL.min(interval),
        fall.unwrap_or(DEFAULT_FALL),
        rise.unwrap_or(DEFAULT_RISE),
    )
}

fn socket_address(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let port = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_some() {
        Some(text)
    } else {
        value.complain(format!("is {text:?}; write HOST:PORT like 127.0.0.1:8000"))
    }
}

/// `HOST:PORT` of a URL; port 80 where it has none.
pub(crate) fn host_port(url: &Uri) -> Option<String> {
    let authority = url.authority()?;
    Some(match authority.port() {
        Some(_) => authority.as_str().to_owned(),
        None => format!("{authority}:80"),
    })
}
