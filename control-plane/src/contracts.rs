//! Whether stored workflows still fit the agents that are there.
//!
//! A new version of an agent may take or give something else than the one before, and nobody would know before a run fails
//! at the hand-off. So whenever what a capability takes or gives has changed, or a workflow was put, the newest version of
//! every workflow is compared with what is registered now ([`fit`]). What cannot fit any more is told as an event, once,
//! with the step and the field; so is that it fits again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use mainstay_kernel::agent::CapabilitySpec;
use mainstay_kernel::event::Kind;
use mainstay_kernel::name::Name;
use mainstay_kernel::workflow::fit;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::documents::CatalogError;
use crate::{events, registry, workflows};

/// How long registrations are gathered before workflows are looked at: a fleet comes up together.
const SETTLE: Duration = Duration::from_millis(250);

/// How often it is looked at whether workflows were put: nothing waits for it.
const EVERY: Duration = Duration::from_secs(30);

/// Workflows of a tenant that are looked at; each is parsed and compared, a fraction of a millisecond. Those beyond it, by
/// name, are not, and the log says so.
const MAX_WORKFLOWS: usize = 1_000;

/// What it looks at, and whom it tells.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What is registered.
    pub registry: registry::Handle,
    /// The workflows.
    pub catalog: workflows::Handle,
    /// Where it is told.
    pub events: events::Handle,
}

/// Compares workflows with agents.
#[derive(Debug)]
pub struct Service {
    parts: Parts,
    tenants: HashMap<Name, Seen>,
}

/// What was seen of a tenant.
#[derive(Debug, Default)]
struct Seen {
    /// Digests of what each capability takes and gives.
    contracts: BTreeMap<Name, [u8; 32]>,
    /// The newest version of each workflow.
    newest: Vec<(Name, u32)>,
    /// The workflows that do not fit, each with what is wrong.
    misfits: BTreeMap<Name, Vec<String>>,
}

/// The newest version of each workflow, and what is wrong with those that do not fit.
type Compared = (Vec<(Name, u32)>, BTreeMap<Name, Vec<String>>);

impl Service {
    /// Nothing has been seen yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, tenants: HashMap::new() }
    }

    /// Looks on, until it is dropped.
    pub async fn run(mut self) {
        let mut changes = self.parts.registry.watch();
        let mut tenants: BTreeSet<Name> =
            self.parts.registry.leased().iter().map(|instance| instance.tenant.clone()).collect();
        loop {
            if !tenants.is_empty() {
                tokio::time::sleep(SETTLE).await;
            }
            // What changed while it was waited is looked at with it.
            loop {
                match changes.try_recv() {
                    Ok((tenant, _)) => {
                        tenants.insert(tenant);
                    }
                    Err(TryRecvError::Lagged(_)) => {
                        tenants.extend(self.tenants.keys().cloned());
                    }
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            for tenant in std::mem::take(&mut tenants) {
                self.look(tenant).await;
            }
            tokio::select! {
                changed = changes.recv() => match changed {
                    Ok((tenant, _)) => {
                        tenants.insert(tenant);
                    }
                    Err(RecvError::Lagged(_)) => tenants.extend(self.tenants.keys().cloned()),
                    Err(RecvError::Closed) => return,
                },
                () = tokio::time::sleep(EVERY) => tenants.extend(self.tenants.keys().cloned()),
            }
        }
    }

    /// Looks at the workflows of `tenant` if any of them, or what any capability takes or gives, has changed.
    async fn look(&mut self, tenant: Name) {
        let specs = offered(&self.parts.registry, &tenant);
        let contracts: BTreeMap<Name, [u8; 32]> =
            specs.iter().map(|(name, spec)| (name.clone(), digest(spec))).collect();
        let seen = self.tenants.entry(tenant.clone()).or_default();
        let known = (seen.contracts == contracts).then(|| seen.newest.clone());
        let (catalog, of) = (self.parts.catalog.clone(), tenant.clone());
        let compared = tokio::task::spawn_blocking(move || compare(&catalog, &of, &specs, known)).await;
        match compared.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
            Ok(None) => {}
            Ok(Some((newest, misfits))) => {
                (seen.contracts, seen.newest) = (contracts, newest);
                let before = std::mem::replace(&mut seen.misfits, misfits.clone());
                self.tell(&tenant, &before, &misfits);
            }
            // The next look makes up for it.
            Err(error) => tracing::debug!(%error, %tenant, "workflows are not compared with agents now"),
        }
    }

    fn tell(&self, tenant: &Name, before: &BTreeMap<Name, Vec<String>>, now: &BTreeMap<Name, Vec<String>>) {
        let tell = |kind, workflow: &Name, reason: &str| {
            self.parts.events.tell_of(tenant, kind, format_args!("workflow/{workflow}"), reason);
        };
        for (workflow, misfits) in now.iter().filter(|(name, misfits)| before.get(*name) != Some(*misfits)) {
            tell(Kind::ContractBroken, workflow, &misfits.join("; "));
        }
        for workflow in before.keys().filter(|name| !now.contains_key(*name)) {
            tell(Kind::ContractMended, workflow, "it fits the agents again");
        }
    }
}

/// What each capability of a tenant takes and gives: as its newest registration has it.
fn offered(registry: &registry::Handle, tenant: &Name) -> BTreeMap<Name, CapabilitySpec> {
    let agents = registry.agents(tenant, None, usize::MAX);
    let names = agents.iter().filter_map(registry::Agent::spec).flat_map(|spec| &spec.capabilities);
    let names: BTreeSet<Name> = names.map(|capability| capability.name.clone()).collect();
    names.into_iter().filter_map(|name| Some((name.clone(), registry.offer(tenant, &name)?))).collect()
}

fn digest(spec: &CapabilitySpec) -> [u8; 32] {
    let mut hash = blake3::Hasher::new();
    hash.update(&spec.input_schema.digest()).update(&spec.output_schema.digest());
    hash.finalize().into()
}

/// The newest version of each workflow, and those that do not fit; nothing if these very versions are `known`.
fn compare(
    catalog: &workflows::Handle,
    tenant: &Name,
    specs: &BTreeMap<Name, CapabilitySpec>,
    known: Option<Vec<(Name, u32)>>,
) -> Result<Option<Compared>, CatalogError> {
    let stored = catalog.list(tenant, None, MAX_WORKFLOWS)?;
    let newest: Vec<(Name, u32)> = stored.into_iter().map(|stored| (stored.name, stored.version)).collect();
    if known.as_ref() == Some(&newest) {
        return Ok(None);
    }
    if newest.len() == MAX_WORKFLOWS {
        tracing::warn!(%tenant, most = MAX_WORKFLOWS, "only so many workflows are compared with their agents");
    }
    let contract = |capability: &str| {
        let spec = specs.iter().find(|(name, _)| name.as_str() == capability)?.1;
        Some(fit::Contract { input: spec.input_schema.value(), output: spec.output_schema.value() })
    };
    let mut misfits = BTreeMap::new();
    for (name, version) in &newest {
        let workflow = catalog.version(tenant, name, *version)?;
        let found = fit::misfits(&workflow, &contract);
        if !found.is_empty() {
            let named = found.into_iter().map(|misfit| format!("version {version}: {misfit}"));
            misfits.insert(name.clone(), named.collect());
        }
    }
    Ok(Some((newest, misfits)))
}
