//! Usage, confidence and warnings as an agent reports them: read strictly, and never a reason to lose its answer.
//!
//! A number that cannot be read is not taken for zero, which would make a spender look free, and does not fail the call
//! either, because the work is done. It becomes a warning on the answer, where people see it.

use http::HeaderMap;
use serde_json::Value;

use super::Reply;
use crate::manifest::UsageFields;
use crate::money;

/// Most warnings of one answer, as the wire allows.
pub(crate) const MAX_WARNINGS: usize = 16;
/// Longest warning in bytes, as the wire allows.
const MAX_WARNING: usize = 1024;

/// Reads the `mainstay-…` headers of an answer.
pub(super) fn from_headers(headers: &HeaderMap, reply: &mut Reply) {
    for warning in headers.get_all("mainstay-warning") {
        warn(reply, String::from_utf8_lossy(warning.as_bytes()).into_owned());
    }
    let text =
        |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("not ASCII").trim().to_owned());
    take(reply, "mainstay-tokens-in", text("mainstay-tokens-in"), set_tokens_in);
    take(reply, "mainstay-tokens-out", text("mainstay-tokens-out"), set_tokens_out);
    take(reply, "mainstay-cost-usd", text("mainstay-cost-usd"), set_cost);
    take(reply, "mainstay-confidence", text("mainstay-confidence"), set_confidence);
}

/// Reads the fields of the answer that the manifest names.
pub(super) fn from_fields(fields: &UsageFields, answer: &Value, reply: &mut Reply) {
    let text = |pointer: &Option<String>| match answer.pointer(pointer.as_deref()?)? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Some(other.to_string())
        }
    };
    take(reply, "tokens_in", text(&fields.tokens_in), set_tokens_in);
    take(reply, "tokens_out", text(&fields.tokens_out), set_tokens_out);
    take(reply, "cost_usd", text(&fields.cost_usd), set_cost);
    take(reply, "confidence", text(&fields.confidence), set_confidence);
}

fn take(reply: &mut Reply, name: &str, text: Option<String>, set: fn(&mut Reply, &str) -> Option<()>) {
    let Some(text) = text else { return };
    if set(reply, &text).is_none() {
        warn(reply, format!("the agent reported an unreadable {name}: {text:?}"));
    }
}

fn set_tokens_in(reply: &mut Reply, text: &str) -> Option<()> {
    reply.usage.tokens_in = count(text)?;
    Some(())
}

fn set_tokens_out(reply: &mut Reply, text: &str) -> Option<()> {
    reply.usage.tokens_out = count(text)?;
    Some(())
}

fn set_cost(reply: &mut Reply, text: &str) -> Option<()> {
    reply.usage.cost_nano_usd = money::nano_usd(text)?;
    Some(())
}

/// `0` to `1`, rounded to basis points.
fn set_confidence(reply: &mut Reply, text: &str) -> Option<()> {
    let nano = money::nano_usd(text).filter(|nano| *nano <= 1_000_000_000)?;
    reply.confidence_bp = u16::try_from((nano + 50_000) / 100_000).ok();
    Some(())
}

fn count(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn warn(reply: &mut Reply, mut text: String) {
    if reply.warnings.len() >= MAX_WARNINGS {
        return;
    }
    if text.len() > MAX_WARNING {
        let cut = (0..=MAX_WARNING).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
    }
    reply.warnings.push(text);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Body;
    use super::*;

    fn reply() -> Reply {
        Reply::of(Body::Raw(Bytes::new()))
    }

    #[test]
    fn headers_become_usage() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("mainstay-tokens-in", "1200"),
            ("mainstay-tokens-out", "80"),
            ("mainstay-cost-usd", "0.0042"),
            ("mainstay-confidence", "0.875"),
            ("mainstay-warning", "two sources disagree"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let mut reply = reply();
        from_headers(&headers, &mut reply);
        assert_eq!((reply.usage.tokens_in, reply.usage.tokens_out), (1200, 80));
        assert_eq!((reply.usage.cost_nano_usd, reply.confidence_bp), (4_200_000, Some(8750)));
        assert_eq!(reply.warnings, ["two sources disagree"]);
    }

    #[test]
    fn a_malformed_report_is_a_warning_and_not_a_number() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("mainstay-tokens-in", "-5"),
            ("mainstay-tokens-out", "many"),
            ("mainstay-cost-usd", "1e9"),
            ("mainstay-confidence", "1.01"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let mut reply = reply();
        from_headers(&headers, &mut reply);
        assert_eq!(reply.usage, Default::default());
        assert_eq!(reply.confidence_bp, None);
        assert_eq!(reply.warnings.len(), 4);
        assert_eq!(reply.warnings[0], "the agent reported an unreadable mainstay-tokens-in: \"-5\"");
    }

    #[test]
    fn fields_named_by_the_manifest_become_usage() {
        let fields = UsageFields {
            tokens_in: Some("/usage/input".into()),
            cost_usd: Some("/usage/cost".into()),
            confidence: Some("/sure".into()),
            tokens_out: Some("/absent".into()),
        };
        let answer = serde_json::json!({"usage": {"input": 7, "cost": 0.5}, "sure": "0.9"});
        let mut reply = reply();
        from_fields(&fields, &answer, &mut reply);
        assert_eq!((reply.usage.tokens_in, reply.usage.tokens_out), (7, 0));
        assert_eq!((reply.usage.cost_nano_usd, reply.confidence_bp), (500_000_000, Some(9000)));
        assert!(reply.warnings.is_empty());
    }

    #[test]
    fn warnings_are_bounded() {
        let mut headers = HeaderMap::new();
        for _ in 0..100 {
            headers.append("mainstay-warning", "x".repeat(5000).parse().unwrap());
        }
        let mut reply = reply();
        from_headers(&headers, &mut reply);
        assert_eq!(reply.warnings.len(), MAX_WARNINGS);
        assert!(reply.warnings.iter().all(|warning| warning.len() <= MAX_WARNING));
    }
}
