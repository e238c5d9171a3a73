//! A budget over time that an operator set: one entry for each target and period, deleted when it is lifted.

use mainstay_kernel::budget::window::{Period, Target};

use super::{RecordError, key};
use crate::budgets::SetByHand;

const KIND: &str = "budget";
const SCHEMA: u16 = 1;

/// Prefix of a tenant's entries.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::BUDGET)
}

/// Key of one.
#[must_use]
pub fn key(tenant: &str, target: &Target, period: Period) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend_from_slice(format!("{target} {}", period.as_str()).as_bytes());
    key
}

/// What the part of a key behind its prefix names.
#[must_use]
pub fn place(rest: &[u8]) -> Option<(Target, Period)> {
    let (target, period) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
    Some((target.parse().ok()?, period.parse().ok()?))
}

/// Encodes one.
pub fn encode(budget: &SetByHand) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, budget)
}

/// Decodes one.
pub fn decode(bytes: &[u8]) -> Result<SetByHand, RecordError> {
    super::decode(KIND, SCHEMA, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back() {
        let target: Target = "workflow/answer".parse().unwrap();
        let key = key("acme", &target, Period::Month);
        assert_eq!(place(&key[prefix("acme").len()..]), Some((target, Period::Month)));
        assert_eq!(place(b"workflow/answer"), None);
    }
}
