//! What the runs of one workflow used up on one day at one agent for one capability. It stays when its runs go.

use mainstay_kernel::budget::spend::{Source, Spend};
use mainstay_kernel::budget::window::Day;
use mainstay_kernel::name::Name;

use super::{RecordError, key};

const KIND: &str = "spend";
const SCHEMA: u16 = 1;

/// Prefix of a tenant's entries, by day.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::SPEND)
}

/// Where a tenant's entries of `day` begin.
#[must_use]
pub fn from(tenant: &str, day: Day) -> Vec<u8> {
    let mut key = prefix(tenant);
    // The sign bit turned, so that days before 1970 come first.
    key.extend_from_slice(&(day.0.cast_unsigned() ^ (1 << 31)).to_be_bytes());
    key
}

/// Key of one.
#[must_use]
pub fn key(tenant: &str, workflow: &Name, source: &Source) -> Vec<u8> {
    let mut key = from(tenant, source.day);
    key.extend_from_slice(format!("{workflow}\0{}\0{}", source.agent, source.capability).as_bytes());
    key
}

/// What the part of a key behind its prefix names.
#[must_use]
pub fn place(rest: &[u8]) -> Option<(Name, Source)> {
    let (day, rest) = rest.split_first_chunk()?;
    let day = Day((u32::from_be_bytes(*day) ^ (1 << 31)).cast_signed());
    let mut names = std::str::from_utf8(rest).ok()?.split('\0');
    let (workflow, agent, capability) = (names.next()?, names.next()?, names.next()?);
    let source = Source { day, agent: agent.to_owned(), capability: capability.to_owned() };
    Some((Name::new(workflow).ok()?, source))
}

/// Encodes one.
pub fn encode(spend: &Spend) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, spend)
}

/// Decodes one.
pub fn decode(bytes: &[u8]) -> Result<Spend, RecordError> {
    super::decode(KIND, SCHEMA, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_by_day_and_read_back() {
        let workflow = Name::new("answer").unwrap();
        let source = |day| Source { day: Day(day), agent: "writer".into(), capability: "text.draft".into() };
        let key = |day| key("acme", &workflow, &source(day));
        assert!(key(-1) < key(0) && key(0) < key(1) && key(255) < key(256));
        assert!(from("acme", Day(1)) < key(1) && key(1) < from("acme", Day(2)));
        let rest = &key(20_000)[prefix("acme").len()..];
        assert_eq!(place(rest), Some((workflow.clone(), source(20_000))));
        assert_eq!(place(b"abc"), None);
    }
}
