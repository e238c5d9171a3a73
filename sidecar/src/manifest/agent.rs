//! What the manifest says of the agent itself: its name, its version and what it can do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::agent::{AgentSpec, CapabilitySpec};
use mainstay_kernel::breaker::Policy;
use mainstay_kernel::chain::MayCall;
use mainstay_kernel::context_budget::{ContextBudget, DeclarationError};
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::hedge::{self, PolicyError};
use mainstay_kernel::json::{Json, Limits};
use mainstay_kernel::name::Name;
use mainstay_kernel::rate::{Rate, RateError};
use mainstay_kernel::schema::{MAX_SCHEMA_BYTES, Schema};

use super::Contract;
use super::fields::{Fields, Value};
use crate::money;

/// What an agent promises unless it says otherwise: a model that thinks answers within it, and a stuck one is noticed.
const DEFAULT_SLA: Duration = Duration::from_secs(30);
/// Bounds of a promise, the same as the registry's.
const SLA: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);
/// Calls at once unless the manifest says otherwise: what small HTTP servers handle with their default settings.
const DEFAULT_CONCURRENCY: u32 = 16;
/// Most calls at once, the same as the registry's bound.
const MAX_CONCURRENCY: u32 = 10_000;

pub(super) fn read(fields: &mut Fields<'_>, folder: &Path) -> Option<(AgentSpec, BTreeMap<Name, Contract>)> {
    let name = fields.require("name", "the agent needs one").and_then(|value| value.name());
    let version = fields.text("version").unwrap_or_else(|| "0".to_owned());
    let labels = fields.text_map("labels");
    let rate = fields.take("rate").and_then(|value| declared_rate(&value));
    let list = fields.require("capabilities", "say what the agent can do").map(|value| value.items());
    let listed = list.as_ref().map_or(0, Vec::len);
    let contracts: Vec<Contract> = list?.iter().filter_map(|item| contract(item.fields()?, folder)).collect();
    if contracts.len() < listed {
        return None;
    }
    let capabilities = contracts.iter().map(|contract| (*contract.spec).clone()).collect();
    let spec = AgentSpec { name: name?, version, labels, capabilities, rate };
    let by_name = contracts.into_iter().map(|contract| (contract.spec.name.clone(), contract));
    Some((spec, by_name.collect()))
}

fn contract(mut fields: Fields<'_>, folder: &Path) -> Option<Contract> {
    let name = fields.require("name", "a capability needs one").and_then(|value| value.name());
    let description = fields.text("description").unwrap_or_default();
    let input = schema(&mut fields, "input", folder);
    let output = schema(&mut fields, "output", folder);
    let failure_modes = fields.text_map("failure_modes");
    let effect = fields.require(
        "effect",
        "say read-only, idempotent or side-effecting: what may be repeated follows from it",
    );
    let effect = effect.and_then(|value| effect_class(&value));
    let sla = fields.duration("sla", SLA).unwrap_or(DEFAULT_SLA);
    let max_concurrency =
        fields.integer("max_concurrency", 1..=MAX_CONCURRENCY).unwrap_or(DEFAULT_CONCURRENCY);
    let cost_hint_nano_usd = fields.take("cost_usd").and_then(|value| cost(&value)).unwrap_or(0);
    let keywords = fields.texts("keywords");
    let examples = fields.texts("examples");
    let breaker = fields.take("breaker").map(|value| breaker_policy(&value)).unwrap_or_default();
    let rate = fields.take("rate").and_then(|value| declared_rate(&value));
    let hedge = fields.section("hedge").and_then(hedging);
    let context_budget = fields.section("context_budget").and_then(context_budget);
    let may_call = fields.take("may_call").and_then(|value| callees(&value)).unwrap_or_default();
    let path = fields.take("path").and_then(|value| url_path(&value)).unwrap_or_default();
    fields.finish();
    let (input, output) = (input?, output?);
    let spec = CapabilitySpec {
        name: name?,
        description,
        input_schema: input.source().clone(),
        output_schema: output.source().clone(),
        failure_modes,
        effect: effect?,
        sla,
        cost_hint_nano_usd,
        max_concurrency,
        keywords,
        examples,
        breaker,
        hedge,
        rate,
        context_budget,
        may_call,
    };
    Some(Contract { spec: Arc::new(spec), input, output, path })
}

fn effect_class(value: &Value<'_>) -> Option<EffectClass> {
    let text = value.text()?;
    let classes = [EffectClass::ReadOnly, EffectClass::Idempotent, EffectClass::SideEffecting];
    let class = classes.into_iter().find(|class| class.as_str() == text);
    class.or_else(|| value.complain(format!("is {text:?}; say read-only, idempotent or side-effecting")))
}

/// Settings of the breaker, written as its own module reads them; weights are a map inside.
fn breaker_policy(value: &Value<'_>) -> Policy {
    let mut policy = Policy::default();
    let mut set = |setting: &str, value: &Value<'_>| {
        let Some(text) = value.text() else { return };
        if let Err(error) = policy.set(setting, &text) {
            value.note(error.to_string());
        }
    };
    for (setting, value) in value.entries() {
        if setting == "weights" {
            value.entries().iter().for_each(|(class, weight)| set(&format!("weights.{class}"), weight));
        } else {
            set(setting, &value);
        }
    }
    if let Err(error) = policy.validate() {
        value.note(error.to_string());
    }
    policy
}

/// A rate like `10/s`, or `{ calls: 10/s, burst: 20 }`.
fn declared_rate(value: &Value<'_>) -> Option<Rate> {
    let read = |calls: &Value<'_>, burst| {
        let rate = Rate::read(&calls.text()?, burst);
        rate.map_err(|error| match error {
            RateError::Calls => calls.note(error.to_string()),
            RateError::Burst => value.note(format!("burst {error}")),
        })
        .ok()
    };
    if value.node.entries().is_none() {
        return read(value, None);
    }
    let mut fields = value.fields()?;
    let calls = fields.require("calls", "say how many calls, like 10/s");
    let burst = fields.integer("burst", 1..=Rate::MOST);
    fields.finish();
    read(&calls?, burst)
}

/// When a call that takes long is sent to another instance too. Whether the capability may declare that, the check of the
/// registration says.
fn hedging(mut fields: Fields<'_>) -> Option<hedge::Policy> {
    let after = fields.require("after", "say after what time, like 300ms, or p95");
    let max = fields.integer("max", 1..=hedge::MOST);
    let share = fields.take("share");
    fields.finish();
    let (after, written) = (after?, share.as_ref().map(Value::text));
    let read = hedge::Policy::read(&after.text()?, max, written.flatten().as_deref());
    match (read, share) {
        (Ok(policy), _) => Some(policy),
        (Err(error @ PolicyError::Share), Some(share)) => share.complain(error.to_string()),
        (Err(error), _) => after.complain(error.to_string()),
    }
}

/// How many tokens an input may have, and what is done with one that has more.
fn context_budget(mut fields: Fields<'_>) -> Option<ContextBudget> {
    let max_tokens = fields.require("max_tokens", "say how many tokens an input may have");
    let over = fields.require("over", "say reject, truncate or summarize");
    let (encoding, by, texts) = (fields.take("encoding"), fields.take("by"), fields.take("fields"));
    fields.finish();
    let (max_tokens, over) = (max_tokens?, over?);
    let tokens = max_tokens.text()?.parse().unwrap_or_default();
    let vocabulary = encoding.as_ref().and_then(Value::text).unwrap_or_default();
    let pointers = texts.as_ref().map(|value| value.items().iter().filter_map(Value::text).collect());
    let name = by.as_ref().and_then(Value::name);
    match ContextBudget::declare(tokens, &vocabulary, &over.text()?, name, pointers.unwrap_or_default()) {
        Ok(budget) => Some(budget),
        Err(error) => {
            let place = match &error {
                DeclarationError::MaxTokens => Some(&max_tokens),
                DeclarationError::Encoding => encoding.as_ref(),
                DeclarationError::By => by.as_ref(),
                DeclarationError::Fields => texts.as_ref(),
                DeclarationError::Over => None,
            };
            place.unwrap_or(&over).complain(error.to_string())
        }
    }
}

/// What whoever carries it out may have carried out by others.
fn callees(value: &Value<'_>) -> Option<MayCall> {
    let names: Vec<_> = value.items().iter().filter_map(Value::text).collect();
    match MayCall::declare(names.iter().map(String::as_str)) {
        Ok(may_call) => Some(may_call),
        Err(error) => value.complain(error.to_string()),
    }
}

fn cost(value: &Value<'_>) -> Option<i64> {
    let text = value.text()?;
    money::nano_usd(&text).or_else(|| value.complain(format!("is {text:?}; write US dollars like 0.0025")))
}

fn url_path(value: &Value<'_>) -> Option<String> {
    let path = value.text()?;
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'<' | b'>'));
    if path.starts_with('/') && plain {
        return Some(path);
    }
    value.complain(format!("is {path:?}; write a URL path that begins with a slash, like /quote"))
}

/// A schema written out, or `{ file: PATH }`; everything is accepted where there is none.
fn schema(fields: &mut Fields<'_>, key: &'static str, folder: &Path) -> Option<Schema> {
    let Some(value) = fields.take(key) else { return Some(Schema::anything()) };
    let source = match value.node.entries() {
        Some([only]) if only.key == "file" => schema_file(&value, folder)?,
        _ => Json::from(&value.node.value()),
    };
    Schema::compile(&source).map_err(|error| value.note(format!("is not a usable schema: {error}"))).ok()
}

fn schema_file(value: &Value<'_>, folder: &Path) -> Option<Json> {
    let mut fields = value.fields()?;
    let path = folder.join(fields.text("file")?);
    let limits = Limits { max_bytes: MAX_SCHEMA_BYTES, ..Limits::default() };
    let text = std::fs::read(&path)
        .map_err(|error| value.note(format!("cannot be read from {}: {error}", path.display())))
        .ok()?;
    Json::parse(&text, &limits).map_err(|error| value.note(format!("in {}: {error}", path.display()))).ok()
}
