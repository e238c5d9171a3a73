//! What an agent says of itself: checked field by field at the border, so that inside every field is good.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use mainstay_kernel::agent::{AgentSpec, CapabilitySpec};
use mainstay_kernel::breaker;
use mainstay_kernel::chain::MayCall;
use mainstay_kernel::context_budget::ContextBudget;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::json::{Json, Limits};
use mainstay_kernel::name::Name;
use mainstay_kernel::rate::Rate;

use crate::fault::Fault;
use crate::reason::Reason;
use crate::{hedge, outcome, pb, rate, time};

/// Most capabilities of one agent: a screenful. More belong to several agents.
pub const MAX_CAPABILITIES: usize = 64;
/// Most labels: selection wants few, and every one is shown and stored with the agent.
pub const MAX_LABELS: usize = 32;
/// Longest label value and longest reason given in words.
pub const MAX_LABEL_VALUE: usize = 256;
/// Longest description or intent: a page of text.
pub const MAX_TEXT: usize = 4096;
/// Most declared failure modes of a capability.
const MAX_FAILURE_MODES: usize = 32;
/// Most keywords of a capability, each as long as a name.
const MAX_KEYWORDS: usize = 64;
/// Most examples of a capability: enough to learn from, little enough to learn quickly.
const MAX_EXAMPLES: usize = 256;
/// Longest example: a request in words.
const MAX_EXAMPLE: usize = 1024;
/// Most calls one instance may take at once. Beyond it the process's file descriptors run out first.
const MAX_CONCURRENCY: u32 = 10_000;
/// Shortest promise: below it the network's own jitter decides.
const MIN_SLA: Duration = Duration::from_millis(10);
/// Longest promise: work beyond an hour belongs into several steps.
const MAX_SLA: Duration = Duration::from_secs(3600);
/// Largest schema text; the kernel limits its depth and size once parsed.
const SCHEMA_LIMITS: Limits = Limits { max_bytes: 64 * 1024, max_depth: 64 };

/// Reads a name. `field` is named in the error.
pub fn name(field: &str, text: &str) -> Result<Name, Fault> {
    Name::new(text).map_err(|error| Fault::field(Reason::NameInvalid, field, error))
}

/// Reads a tenant; empty means `default`.
pub fn tenant(text: &str) -> Result<Name, Fault> {
    name("tenant", if text.is_empty() { "default" } else { text })
}

/// Checks a text's length.
pub fn text(field: &str, text: String, max: usize) -> Result<String, Fault> {
    if text.len() > max {
        return Err(Fault::invalid(
            field,
            format_args!("is {} bytes long; at most {max} are allowed", text.len()),
        ));
    }
    Ok(text)
}

/// Checks labels.
pub fn labels(field: &str, labels: HashMap<String, String>) -> Result<BTreeMap<String, String>, Fault> {
    bounded(field, labels.len(), MAX_LABELS)?;
    labels
        .into_iter()
        .map(|(key, value)| {
            let at = format!("{field}[{key:?}]");
            name(&at, &key)?;
            Ok((key, text(&at, value, MAX_LABEL_VALUE)?))
        })
        .collect()
}

fn bounded(field: &str, len: usize, max: usize) -> Result<(), Fault> {
    if len > max {
        return Err(Fault::invalid(field, format_args!("has {len} entries; at most {max} are allowed")));
    }
    Ok(())
}

impl TryFrom<pb::AgentSpec> for AgentSpec {
    type Error = Fault;

    fn try_from(message: pb::AgentSpec) -> Result<Self, Fault> {
        let version = message.version;
        if version.is_empty() || version.len() > 64 || !version.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Fault::invalid(
                "version",
                "must be 1 to 64 printable ASCII characters without spaces",
            ));
        }
        if message.capabilities.is_empty() {
            return Err(Fault::invalid("capabilities", "is empty; an agent offers at least one"));
        }
        bounded("capabilities", message.capabilities.len(), MAX_CAPABILITIES)?;
        let mut seen = BTreeSet::new();
        let mut capabilities = Vec::with_capacity(message.capabilities.len());
        for (at, capability) in message.capabilities.into_iter().enumerate() {
            let at = format!("capabilities[{at}]");
            let capability = CapabilitySpec::try_from(capability).map_err(|fault| fault.inside(&at))?;
            if !seen.insert(capability.name.clone()) {
                return Err(
                    Fault::invalid("name", format_args!("{:?} is given twice", capability.name)).inside(at)
                );
            }
            capabilities.push(capability);
        }
        Ok(Self {
            name: name("name", &message.name)?,
            version,
            labels: labels("labels", message.labels)?,
            capabilities,
            rate: declared_rate(message.rate)?,
        })
    }
}

impl TryFrom<pb::Capability> for CapabilitySpec {
    type Error = Fault;

    fn try_from(message: pb::Capability) -> Result<Self, Fault> {
        let effect = effect(message.effect())?;
        let sla =
            message.sla.ok_or_else(|| Fault::invalid("sla", "is missing; say how long a call may take"))?;
        let sla = time::positive_duration("sla", &sla)?;
        if !(MIN_SLA..=MAX_SLA).contains(&sla) {
            return Err(Fault::invalid("sla", format_args!("is {sla:?}; it must be 10 ms to 1 h")));
        }
        let max_concurrency = message.max_concurrency;
        if !(1..=MAX_CONCURRENCY).contains(&max_concurrency) {
            return Err(Fault::invalid(
                "max_concurrency",
                format_args!("is {max_concurrency}; it must be 1 to {MAX_CONCURRENCY}"),
            ));
        }
        if message.cost_hint_nano_usd < 0 {
            return Err(Fault::invalid("cost_hint_nano_usd", "must not be negative"));
        }
        bounded("failure_modes", message.failure_modes.len(), MAX_FAILURE_MODES)?;
        bounded("keywords", message.keywords.len(), MAX_KEYWORDS)?;
        bounded("examples", message.examples.len(), MAX_EXAMPLES)?;
        for (at, keyword) in message.keywords.iter().enumerate() {
            text(&format!("keywords[{at}]"), keyword.clone(), 64)?;
        }
        for (at, example) in message.examples.iter().enumerate() {
            text(&format!("examples[{at}]"), example.clone(), MAX_EXAMPLE)?;
        }
        let breaker = message.breaker.map(breaker::Policy::try_from).transpose();
        let may_call = MayCall::declare(message.may_call.iter().map(String::as_str));
        let context_budget = message.context_budget.map(ContextBudget::try_from).transpose();
        Ok(Self {
            name: name("name", &message.name)?,
            description: text("description", message.description, MAX_TEXT)?,
            input_schema: schema("input_schema", &message.input_schema)?,
            output_schema: schema("output_schema", &message.output_schema)?,
            failure_modes: message.failure_modes.into_iter().collect(),
            effect,
            sla,
            cost_hint_nano_usd: message.cost_hint_nano_usd,
            max_concurrency,
            keywords: message.keywords,
            examples: message.examples,
            breaker: breaker.map_err(|fault| fault.inside("breaker"))?.unwrap_or_default(),
            hedge: hedge::declared(message.hedge, effect, sla)?,
            rate: declared_rate(message.rate)?,
            context_budget: context_budget.map_err(|fault| fault.inside("context_budget"))?,
            may_call: may_call.map_err(|error| Fault::invalid("may_call", error))?,
        })
    }
}

fn declared_rate(rate: Option<pb::Rate>) -> Result<Option<Rate>, Fault> {
    rate.map(Rate::try_from).transpose().map_err(|fault| fault.inside("rate"))
}

fn effect(effect: pb::EffectClass) -> Result<EffectClass, Fault> {
    match effect {
        pb::EffectClass::ReadOnly => Ok(EffectClass::ReadOnly),
        pb::EffectClass::Idempotent => Ok(EffectClass::Idempotent),
        pb::EffectClass::SideEffecting => Ok(EffectClass::SideEffecting),
        pb::EffectClass::Unspecified => {
            Err(Fault::invalid("effect", "is missing; say read-only, idempotent or side-effecting"))
        }
    }
}

fn schema(field: &str, bytes: &bytes::Bytes) -> Result<Json, Fault> {
    if bytes.is_empty() {
        return Err(Fault::invalid(field, "is missing; `true` accepts everything"));
    }
    outcome::payload(field, bytes, &SCHEMA_LIMITS)
}

impl From<&AgentSpec> for pb::AgentSpec {
    fn from(spec: &AgentSpec) -> Self {
        Self {
            name: spec.name.to_string(),
            version: spec.version.clone(),
            labels: spec.labels.clone().into_iter().collect(),
            capabilities: spec.capabilities.iter().map(Into::into).collect(),
            rate: spec.rate.as_ref().map(rate::view),
        }
    }
}

impl From<EffectClass> for pb::EffectClass {
    fn from(effect: EffectClass) -> Self {
        match effect {
            EffectClass::ReadOnly => Self::ReadOnly,
            EffectClass::Idempotent => Self::Idempotent,
            EffectClass::SideEffecting => Self::SideEffecting,
        }
    }
}

impl From<&CapabilitySpec> for pb::Capability {
    fn from(spec: &CapabilitySpec) -> Self {
        let effect = pb::EffectClass::from(spec.effect);
        Self {
            name: spec.name.to_string(),
            description: spec.description.clone(),
            input_schema: outcome::bytes(&spec.input_schema),
            output_schema: outcome::bytes(&spec.output_schema),
            failure_modes: spec.failure_modes.clone().into_iter().collect(),
            effect: effect.into(),
            sla: Some(time::duration(spec.sla)),
            cost_hint_nano_usd: spec.cost_hint_nano_usd,
            max_concurrency: spec.max_concurrency,
            keywords: spec.keywords.clone(),
            examples: spec.examples.clone(),
            hedge: spec.hedge.as_ref().map(Into::into),
            breaker: (!spec.breaker.is_empty()).then(|| (&spec.breaker).into()),
            rate: spec.rate.as_ref().map(rate::view),
            context_budget: spec.context_budget.as_ref().map(Into::into),
            may_call: spec.may_call.names().map(str::to_owned).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability() -> pb::Capability {
        pb::Capability {
            name: "docs.find".into(),
            description: "Finds passages".into(),
            input_schema: "{}".into(),
            output_schema: "true".into(),
            effect: pb::EffectClass::ReadOnly.into(),
            sla: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
            max_concurrency: 8,
            ..Default::default()
        }
    }

    fn breaker(spec: &mut pb::AgentSpec) -> &mut pb::BreakerPolicy {
        spec.capabilities[0].breaker.get_or_insert_default()
    }

    fn hedge(spec: &mut pb::AgentSpec) -> &mut pb::HedgePolicy {
        spec.capabilities[0]
            .hedge
            .get_or_insert_with(|| pb::HedgePolicy { after: "p95".into(), ..Default::default() })
    }

    fn spec() -> pb::AgentSpec {
        pb::AgentSpec {
            name: "finder".into(),
            version: "1.0".into(),
            capabilities: vec![capability()],
            ..Default::default()
        }
    }

    #[test]
    fn a_good_registration_goes_there_and_back() {
        let mut sent = spec();
        let weights_bp = [("slow".to_owned(), 2_500)].into();
        let breaker = pb::BreakerPolicy { failed_bp: Some(4_000), weights_bp, ..Default::default() };
        sent.capabilities[0].breaker = Some(breaker);
        sent.capabilities[0].hedge =
            Some(pb::HedgePolicy { after: "p95".into(), max: Some(2), share_bp: Some(500) });
        sent.capabilities[0].rate = Some(pb::Rate { calls: "90/m".into(), burst: Some(5) });
        sent.rate = Some(pb::Rate { calls: "10/s".into(), burst: Some(10) });
        let kernel = AgentSpec::try_from(sent.clone()).unwrap();
        assert_eq!(pb::AgentSpec::from(&kernel), sent);
    }

    #[test]
    fn each_bad_field_is_named_with_its_path() {
        type Break = fn(&mut pb::AgentSpec);
        let cases: [(Break, &str); 22] = [
            (|s| s.name = "p\u{0430}y".into(), "name"),
            (|s| s.version = String::new(), "version"),
            (|s| s.capabilities.clear(), "capabilities"),
            (|s| s.capabilities.push(capability()), "capabilities[1].name"),
            (|s| s.capabilities[0].effect = 0, "capabilities[0].effect"),
            (|s| s.capabilities[0].sla = None, "capabilities[0].sla"),
            (|s| s.capabilities[0].max_concurrency = 0, "capabilities[0].max_concurrency"),
            (|s| s.capabilities[0].input_schema = "{".into(), "capabilities[0].input_schema"),
            (|s| s.capabilities[0].output_schema.clear(), "capabilities[0].output_schema"),
            (|s| breaker(s).failed_bp = Some(0), "capabilities[0].breaker.failed"),
            (|s| breaker(s).wait = Some(Default::default()), "capabilities[0].breaker.wait"),
            (
                |s| breaker(s).weights_bp = [("overload".into(), 0)].into(),
                "capabilities[0].breaker.weights[\"overload\"]",
            ),
            (|s| s.rate = Some(Default::default()), "rate.calls"),
            (
                |s| s.capabilities[0].rate = Some(pb::Rate { calls: "1/s".into(), burst: Some(0) }),
                "capabilities[0].rate.burst",
            ),
            (|s| hedge(s).after = "p100".into(), "capabilities[0].hedge.after"),
            (|s| hedge(s).after = "2m".into(), "capabilities[0].hedge.after"),
            (|s| hedge(s).share_bp = Some(0), "capabilities[0].hedge.share_bp"),
            (|s| hedge(s).max = Some(3), "capabilities[0].hedge.max"),
            (|s| s.capabilities[0].may_call = vec!["*".into(), "x".into()], "capabilities[0].may_call"),
            (
                |s| s.capabilities[0].context_budget = Some(pb::ContextBudget::default()),
                "capabilities[0].context_budget.max_tokens",
            ),
            (
                |s| {
                    hedge(s).after = "p95".into();
                    s.capabilities[0].effect = pb::EffectClass::Idempotent.into();
                },
                "capabilities[0].hedge",
            ),
            (|s| s.labels = [("Bad Key".into(), String::new())].into(), "labels[\"Bad Key\"]"),
        ];
        for (break_it, field) in cases {
            let mut message = spec();
            break_it(&mut message);
            let fault = AgentSpec::try_from(message).unwrap_err();
            let seen = crate::fault::Seen::of(&fault.clone().into());
            assert_eq!(seen.violations[0].0, field, "{fault}");
        }
    }
}
