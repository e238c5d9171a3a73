//! Setting rates by hand. Calls that wait for a turn hear of it and book anew.

use std::sync::Arc;

use mainstay_kernel::event::Kind;
use mainstay_kernel::name::Name;
use mainstay_kernel::rate::Target;

use super::Handle;
use crate::rates::{self, LimitError, SetByHand};

impl Handle {
    /// What is declared and set.
    #[must_use]
    pub fn rates(&self) -> &rates::Handle {
        &self.0.rates
    }

    /// Sets a rate; on disk when this returns, and it holds.
    pub async fn set_rate(&self, tenant: &Name, target: Target, limit: SetByHand) -> Result<(), LimitError> {
        let told = format!("{}, {} at once: {}", limit.rate, limit.rate.burst(), limit.reason);
        let by = limit.by.clone();
        self.0.rates.set(tenant, target.clone(), limit, self.0.clock.mono()).await?;
        self.0.events.tell_by(&by, tenant, Kind::LimitSet, &target, told);
        self.0.routes.tell_tenant(tenant);
        Ok(())
    }

    /// Clears a rate that was set; off the disk when this returns, and what is declared holds.
    pub async fn clear_rate(
        &self,
        tenant: &Name,
        target: &Target,
        by: &str,
    ) -> Result<Arc<SetByHand>, LimitError> {
        let cleared = self.0.rates.clear(tenant, target, self.0.clock.mono()).await?;
        let told = format_args!("was {}: {}", cleared.rate, cleared.reason);
        self.0.events.tell_by(by, tenant, Kind::LimitCleared, target, told);
        self.0.routes.tell_tenant(tenant);
        Ok(cleared)
    }
}
