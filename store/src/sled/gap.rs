//! Iteration that survives a damaged page.
//!
//! sled's iterator answers a page that it cannot read with an error, and then with the same error for ever. What lies
//! behind the page is fine, but its border is written in the page itself. It is found by bisection instead: a scan
//! that starts in or right before the damaged page fails at once, one that starts behind it does not.

use super::{IVec, Iter, Tree, Unread, read};
use crate::engine::Slot;
use crate::quarantine::Damage;
use bytes::Bytes;

/// Bytes of a key that the search looks at. Keys behind the page that agree in all of them are given up with it: 64
/// bytes are more than any key of ours needs to differ from its neighbour, and bound the search to 512 probes.
const DEPTH: usize = 64;

/// Raw records under a prefix in key order; a range that cannot be read is one error.
pub(super) struct Rows<'a> {
    tree: &'a Tree,
    prefix: &'a [u8],
    rows: Option<Iter>,
    /// The next key is not below this.
    position: Vec<u8>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(tree: &'a Tree, prefix: &'a [u8], after: Option<&[u8]>) -> Self {
        let position = match after.filter(|after| *after >= prefix) {
            Some(after) => successor(after),
            None => prefix.to_vec(),
        };
        Self { tree, prefix, rows: Some(tree.range(position.clone()..)), position }
    }

    /// Steps over the range that cannot be read. If it is the disk that fails, there is nothing behind it either.
    fn skip(&mut self, unread: Unread) -> (Bytes, Slot) {
        let key = Bytes::from(std::mem::take(&mut self.position));
        self.rows = None;
        let detail = match unread {
            Unread::Failed(reason) => return (key, Slot::Failed(reason)),
            Unread::Damaged(detail) => detail,
        };
        let until = first_readable(self.tree, &key).filter(|until| until.starts_with(self.prefix));
        if let Some(until) = &until {
            self.rows = Some(self.tree.range(until.clone()..));
            self.position.clone_from(until);
        }
        (key, Slot::Damaged(Damage::Unreadable { until: until.map(Bytes::from), detail }))
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<(IVec, IVec), (Bytes, Slot)>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.rows.as_mut()?;
        match read(|| rows.next().transpose()) {
            Ok(Some((key, record))) if key.starts_with(self.prefix) => {
                self.position = successor(&key);
                Some(Ok((key, record)))
            }
            Ok(_) => {
                self.rows = None;
                None
            }
            Err(unread) => Some(Err(self.skip(unread))),
        }
    }
}

/// The lowest position found above `unreadable` from which a scan can start, if there is one.
fn first_readable(tree: &Tree, unreadable: &[u8]) -> Option<Vec<u8>> {
    let readable = |key: &[u8; DEPTH]| read(|| tree.range(&key[..]..).next().transpose()).is_ok();
    let mut low = [0; DEPTH];
    let len = unreadable.len().min(DEPTH);
    low[..len].copy_from_slice(&unreadable[..len]);
    let mut high = [0xff; DEPTH];
    if !readable(&high) {
        return None;
    }
    while let Some(middle) = between(&low, &high) {
        if readable(&middle) { high = middle } else { low = middle }
    }
    // Trailing zeros are the search's, not the key's: without them the key only sorts earlier, still behind `low`.
    let end = high.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    Some(high[..end.max(1)].to_vec())
}

/// The number in the middle, if there is one strictly between.
fn between(low: &[u8; DEPTH], high: &[u8; DEPTH]) -> Option<[u8; DEPTH]> {
    let mut middle = [0; DEPTH];
    let mut carry = 0_u16;
    for at in (0..DEPTH).rev() {
        let sum = u16::from(low[at]) + u16::from(high[at]) + carry;
        middle[at] = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    for byte in &mut middle {
        let sum = (carry << 8) | u16::from(*byte);
        *byte = (sum >> 1) as u8;
        carry = sum & 1;
    }
    (middle > *low).then_some(middle)
}

/// The first key above `key`.
pub(super) fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_lies_strictly_between_until_the_ends_touch() {
        let (mut low, high) = ([0; DEPTH], [0xff; DEPTH]);
        let mut steps = 0;
        while let Some(middle) = between(&low, &high) {
            assert!(low < middle && middle < high);
            low = middle;
            steps += 1;
        }
        assert_eq!(steps, DEPTH * 8, "one probe a bit");
    }
}
