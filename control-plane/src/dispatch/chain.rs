//! Calls made on behalf of calls: whether one is made, by what the registry says of whoever makes it.

use mainstay_kernel::chain::{Cut, Link, MayCall};
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::{Began, Class, Failure};

use super::{Call, Handle};

impl Handle {
    /// Refuses a call that whoever makes it may not make, or that would go in a circle or too deep.
    pub(super) fn admit(&self, call: &Call) -> Result<(), Failure> {
        let Some(caller) = call.chain.caller() else { return Ok(()) };
        call.chain.admit(&call.capability, &self.may_call(&call.tenant, caller)).map_err(|cut| {
            tracing::warn!(tenant = %call.tenant, chain = %call.chain, callee = %call.capability, %cut, "a call on behalf of another was refused");
            refused(&cut)
        })
    }

    /// What the instances of a caller declare, the most that one of them does: while versions change, nobody is cut off. Whom
    /// its sidecar is to have summarise inputs is declared there. One that is no longer on record may call nobody.
    fn may_call(&self, tenant: &Name, caller: &Link) -> MayCall {
        let instances = self.registry.agent(tenant, &caller.agent).map(|agent| agent.instances);
        let mut names = Vec::new();
        for instance in instances.unwrap_or_default() {
            let Some(spec) = instance.spec.capability(caller.capability.as_str()) else { continue };
            match &spec.may_call {
                MayCall::Any => return MayCall::Any,
                MayCall::Only(some) => names.extend_from_slice(some),
            }
            names.extend(spec.context_budget.as_ref().and_then(|budget| budget.over.by()).cloned());
        }
        MayCall::Only(names)
    }
}

fn refused(cut: &Cut) -> Failure {
    Failure {
        class: Class::CallerFault,
        code: cut.code().to_owned(),
        message: cut.to_string(),
        began: Began::No,
        retry_after: None,
    }
}
