//! One registration's lease: the sidecar's promise to come back, and what its silence means.
//!
//! **A lease lapses when the owner of this machine notices, not when a clock says so.** [`Lease::handle_timeout`] is the
//! only way to lapse. A control plane that was itself too busy to look in time must not evict the agents that knocked
//! meanwhile: a renewal that arrives before the lapse was noticed proves that the instance lives, and nobody has been told
//! otherwise. After the lapse there is no way back but a new registration, so that routing never sees an instance blink.
//!
//! Leases live on the monotonic clock: a wall clock that jumps an hour evicts nobody. They are not written down on
//! renewal; after a restart each lease is [`Lease::restored`] with a full term and a grace, because the silence of the
//! outage was the control plane's own.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::LeaseId;
use crate::time::Mono;

/// How long after a restart a restored lease runs beyond its term. Sidecars notice the outage within one renewal and
/// knock again with jitter; 30 s lets a herd of 10,000 pass the admission of one control plane before anyone is given up.
pub const RESTART_GRACE: Duration = Duration::from_secs(30);

/// The term of a lease, within [`Ttl::MIN`] ..= [`Ttl::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Duration", into = "Duration")]
pub struct Ttl(Duration);

/// A term outside the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease of {given:?} is out of bounds: give {min:?} to {max:?}", min = Ttl::MIN.0, max = Ttl::MAX.0)]
pub struct TtlError {
    /// What was asked for.
    pub given: Duration,
}

/// A lease held, renewed and in the end given up. See the module's page.
#[derive(Debug, Clone)]
pub struct Lease {
    id: LeaseId,
    ttl: Ttl,
    renewed: Mono,
    due: Mono,
    lapsed: bool,
}

/// The lease lapsed: the instance leaves routing, its history stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a lapsed instance must leave routing"]
pub struct Lapse {
    /// When the lapse was noticed.
    pub at: Mono,
    /// How long the holder had been silent.
    pub silent_for: Duration,
}

/// A renewal refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// The id is not that of the current lease: another sidecar registered this instance since.
    #[error("the lease is held under another id; register again if this instance is yours")]
    NotHolder,
    /// The lease lapsed before.
    #[error("the lease lapsed; register again")]
    Lapsed,
}

impl Ttl {
    /// The shortest term, 5 s: what the strictest store backend can keep, and room for two lost renewals.
    pub const MIN: Self = Self(Duration::from_secs(5));
    /// The longest term, 10 min: an instance that died unseen is listed no longer than that.
    pub const MAX: Self = Self(Duration::from_secs(600));
    /// The usual term, 15 s: a renewal every 5 s is cheap for 10,000 instances, and health polls notice a death sooner.
    pub const DEFAULT: Self = Self(Duration::from_secs(15));

    /// The term as a span of time.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        self.0
    }

    /// How often the holder should renew: three times a term, so that two renewals may be lost.
    #[must_use]
    pub fn renewal_interval(self) -> Duration {
        self.0 / 3
    }
}

impl Default for Ttl {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<Duration> for Ttl {
    type Error = TtlError;
    fn try_from(given: Duration) -> Result<Self, TtlError> {
        let bounds = Self::MIN.0..=Self::MAX.0;
        if bounds.contains(&given) { Ok(Self(given)) } else { Err(TtlError { given }) }
    }
}

impl From<Ttl> for Duration {
    fn from(ttl: Ttl) -> Self {
        ttl.0
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl Lease {
    /// A lease granted now.
    #[must_use]
    pub fn grant(id: LeaseId, ttl: Ttl, now: Mono) -> Self {
        Self { id, ttl, renewed: now, due: now + ttl.0, lapsed: false }
    }

    /// A lease read back after a restart: a full term, and `grace` beyond it (usually [`RESTART_GRACE`]).
    #[must_use]
    pub fn restored(id: LeaseId, ttl: Ttl, grace: Duration, now: Mono) -> Self {
        Self { due: now + ttl.0 + grace, ..Self::grant(id, ttl, now) }
    }

    /// The holder knocks: the lease runs a full term from `now`, never less than it had left.
    ///
    /// # Errors
    /// [`RenewError::NotHolder`] if `id` is not the lease's, [`RenewError::Lapsed`] if it lapsed before.
    pub fn renew(&mut self, id: LeaseId, now: Mono) -> Result<(), RenewError> {
        if id != self.id {
            return Err(RenewError::NotHolder);
        }
        if self.lapsed {
            return Err(RenewError::Lapsed);
        }
        self.renewed = now;
        self.due = self.due.max(now + self.ttl.0);
        Ok(())
    }

    /// Whether time is up: the lapse, once.
    pub fn handle_timeout(&mut self, now: Mono) -> Option<Lapse> {
        if self.lapsed || now < self.due {
            return None;
        }
        self.lapsed = true;
        Some(Lapse { at: now, silent_for: now - self.renewed })
    }

    /// When to call [`Lease::handle_timeout`] next; `None` once lapsed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        (!self.lapsed).then_some(self.due)
    }

    /// Whether the lease is held.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        !self.lapsed
    }

    /// The id whose holder may renew.
    #[must_use]
    pub const fn id(&self) -> LeaseId {
        self.id
    }

    /// The term.
    #[must_use]
    pub const fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// When the holder was last heard.
    #[must_use]
    pub const fn renewed_at(&self) -> Mono {
        self.renewed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: LeaseId = LeaseId::from_bytes([1; 16]);
    const OTHER: LeaseId = LeaseId::from_bytes([2; 16]);

    fn at(secs: u64) -> Mono {
        Mono::at(Duration::from_secs(secs))
    }

    fn lease() -> Lease {
        Lease::grant(MINE, Ttl::DEFAULT, at(0))
    }

    #[test]
    fn a_term_out_of_bounds_is_refused_by_name() {
        let err = Ttl::try_from(Duration::from_secs(4)).unwrap_err();
        assert_eq!(err.to_string(), "a lease of 4s is out of bounds: give 5s to 600s");
        assert!(Ttl::try_from(Duration::from_secs(601)).is_err());
        assert!(Ttl::try_from(Duration::ZERO).is_err());
        assert!(Ttl::try_from(Duration::MAX).is_err());
        assert_eq!(Ttl::try_from(Duration::from_secs(5)), Ok(Ttl::MIN));
        assert_eq!(Ttl::try_from(Duration::from_secs(600)), Ok(Ttl::MAX));
    }

    #[test]
    fn a_silent_holder_lapses_once_and_only_after_its_term() {
        let mut lease = lease();
        assert_eq!(lease.poll_timeout(), Some(at(15)));
        assert_eq!(lease.handle_timeout(at(14)), None);
        assert_eq!(
            lease.handle_timeout(at(15)),
            Some(Lapse { at: at(15), silent_for: Duration::from_secs(15) })
        );
        assert_eq!(lease.handle_timeout(at(16)), None);
        assert_eq!(lease.poll_timeout(), None);
    }

    #[test]
    fn a_renewal_starts_a_full_term() {
        let mut lease = lease();
        assert_eq!(lease.renew(MINE, at(10)), Ok(()));
        assert_eq!(lease.handle_timeout(at(24)), None);
        assert!(lease.handle_timeout(at(25)).is_some());
    }

    #[test]
    fn a_renewal_that_comes_before_the_lapse_is_noticed_counts() {
        let mut lease = lease();
        assert_eq!(lease.renew(MINE, at(20)), Ok(()));
        assert_eq!(lease.handle_timeout(at(20)), None);
    }

    #[test]
    fn after_the_lapse_only_a_new_registration_helps() {
        let mut lease = lease();
        assert!(lease.handle_timeout(at(15)).is_some());
        assert_eq!(lease.renew(MINE, at(15)), Err(RenewError::Lapsed));
        assert!(!lease.is_held());
    }

    #[test]
    fn somebody_elses_id_renews_nothing() {
        let mut lease = lease();
        assert_eq!(lease.renew(OTHER, at(10)), Err(RenewError::NotHolder));
        assert_eq!(lease.poll_timeout(), Some(at(15)));
    }

    #[test]
    fn after_a_restart_the_silence_of_the_outage_is_forgiven() {
        let mut lease = Lease::restored(MINE, Ttl::DEFAULT, RESTART_GRACE, at(0));
        assert_eq!(lease.handle_timeout(at(44)), None);
        assert_eq!(lease.renew(MINE, at(1)), Ok(()));
        assert_eq!(lease.poll_timeout(), Some(at(45)), "a renewal never shortens the grace");
        assert!(lease.handle_timeout(at(45)).is_some());
    }
}
