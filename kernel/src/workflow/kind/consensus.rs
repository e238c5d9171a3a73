//! Several agents asked the same, none hearing of the others.

use std::time::Duration;

use crate::schema::Schema;
use crate::workflow::Call;

/// Fewest and most members: one alone agrees with itself, and what nine do not see a tenth does not either.
pub const MEMBERS: std::ops::RangeInclusive<usize> = 2..=9;

/// Longest rubric in characters: two pages.
pub const MAX_RUBRIC_CHARS: usize = 8_000;

/// The same question to several agents, and one answer made of theirs.
#[derive(Debug, Clone)]
pub struct Consensus {
    /// Whom it asks; each is given the step's input and nothing else.
    pub of: Vec<Call>,
    /// What every answer must meet.
    pub schema: Schema,
    /// How many must answer.
    pub quorum: usize,
    /// Who chooses among the answers; without one the answer given most often is chosen.
    pub judge: Option<Judge>,
    /// How long the members have: who has not answered by then is left out.
    pub within: Option<Duration>,
}

/// Who chooses among answers that it cannot tell the authors of.
#[derive(Debug, Clone)]
pub struct Judge {
    /// The call.
    pub call: Call,
    /// What a good answer is, in words.
    pub rubric: String,
    /// What its verdict must meet.
    pub verdict: Schema,
}

impl Judge {
    /// A judge by this rubric.
    #[must_use]
    pub fn new(call: Call, rubric: String) -> Self {
        let schema = serde_json::json!({
            "type": "object",
            "required": ["choice"],
            "properties": {
                "choice": { "enum": MEMBERS.clone().chain([1]).map(|n| label(n - 1)).collect::<Vec<_>>() },
                "confidence": { "type": "number", "minimum": 0, "maximum": 1 },
                "grounds": { "type": "string" },
            },
        });
        let verdict = Schema::compile(&(&schema).into()).unwrap_or_else(|_| Schema::anything());
        Self { call, rubric, verdict }
    }
}

/// The name under which a judge sees an answer: `A` for the first it is shown.
#[must_use]
pub fn label(place: usize) -> String {
    char::from(b'A' + u8::try_from(place % 26).unwrap_or(0)).to_string()
}
