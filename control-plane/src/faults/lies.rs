//! What a router agent says that lies: each a different way of being wrong, in turn.
//!
//! None of it names anything that exists, so a request that followed one would be seen to fail.

use mainstay_kernel::json::Json;
use mainstay_kernel::outcome::{Answer, Usage};
use mainstay_kernel::route::Why;
use serde_json::json;

/// Bytes of an answer that says nothing at length.
const LONG: usize = 1024 * 1024;

/// The `nth` lie.
pub(super) fn lie(nth: u64) -> Answer {
    let output = match nth % 5 {
        0 => json!({"capability": "ghost.of-a-drill", "agent": "ghost-of-a-drill", "confidence": 0.99}),
        // The second letter is Cyrillic.
        1 => json!({"capability": "g\u{04bb}ost.of-a-drill", "confidence": 0.99}),
        2 => json!(["garbage", null, 7]),
        3 => json!({"capability": "ghost.of-a-drill", "reason": "x".repeat(LONG)}),
        _ => json!({"capability": "ghost.of-a-drill", "confidence": 7}),
    };
    Answer { output: Json::from(&output), usage: Usage::default(), confidence_bp: None, warnings: Vec::new() }
}

/// Whether a router's answer was refused for what it said.
pub(super) const fn is_disbelief(why: Why) -> bool {
    match why {
        Why::Unknown | Why::Garbage | Why::Forbidden | Why::LowConfidence => true,
        Why::NoMatch
        | Why::Error
        | Why::Down
        | Why::Ambiguous
        | Why::OutOfScope
        | Why::Nothing
        | Why::Timeout
        | Why::Failed
        | Why::NotAsked
        | Why::Unserved
        | Why::Mode => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lie_is_another_one_and_they_come_in_turn() {
        let lies: Vec<String> = (0..5).map(|nth| lie(nth).output.as_str().to_owned()).collect();
        assert!(lies.iter().enumerate().all(|(at, lie)| !lies[..at].contains(lie)));
        assert_eq!(lie(5).output.as_str(), lies[0]);
        assert!(lies[3].len() > LONG && !lies[1].is_ascii());
    }
}
