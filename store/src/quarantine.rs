//! Records that cannot be trusted are named and set apart; everything else goes on.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;

use crate::limits::MAX_QUARANTINED;

/// A record that was found damaged.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("record {} is damaged: {damage}", key.escape_ascii())]
pub struct Damaged {
    /// Its key; for [`Damage::Unreadable`] met by a scan, the first position that cannot be read.
    pub key: Bytes,
    /// What is wrong with it.
    pub damage: Damage,
}

/// What is wrong with a damaged record.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Damage {
    /// Shorter than its own header or than the length it states.
    #[error("the record is cut short")]
    Truncated,
    /// Written by a newer format of the store.
    #[error("record format {0} is newer than this program knows")]
    UnknownFormat(u8),
    /// The bytes are not the ones that were written under this key.
    #[error("the checksum does not match")]
    Checksum,
    /// The backend cannot reach the record. Damage of this kind covers a page of the backend, so it usually takes
    /// neighbours along: when a scan meets it, everything from the record's key up to `until` is out of reach.
    #[error("the record cannot be read: {detail}")]
    Unreadable {
        /// Found by a scan: the first key behind the unreadable range, `None` for the rest of the prefix.
        until: Option<Bytes>,
        /// What the backend said.
        detail: String,
    },
}

/// The damaged records met so far.
#[derive(Debug, Default)]
pub(crate) struct Quarantine(Mutex<Ward>);

#[derive(Debug, Default)]
struct Ward {
    named: BTreeMap<Bytes, Damage>,
    met: u64,
}

impl Quarantine {
    pub(crate) fn report(&self, key: &Bytes, damage: &Damage) {
        let mut ward = self.0.lock();
        if let Some(known) = ward.named.get_mut(key) {
            *known = damage.clone();
            return;
        }
        ward.met += 1;
        tracing::warn!(key = %key.escape_ascii(), %damage, "quarantined a damaged record");
        if ward.named.len() < MAX_QUARANTINED {
            ward.named.insert(key.clone(), damage.clone());
        }
    }

    /// A record that was replaced or removed is no longer damaged.
    pub(crate) fn release(&self, key: &Bytes) {
        let mut ward = self.0.lock();
        if !ward.named.is_empty() {
            ward.named.remove(key);
        }
    }

    pub(crate) fn list(&self) -> Vec<Damaged> {
        let ward = self.0.lock();
        ward.named.iter().map(|(key, damage)| Damaged { key: key.clone(), damage: damage.clone() }).collect()
    }

    pub(crate) fn met(&self) -> u64 {
        self.0.lock().met
    }
}
