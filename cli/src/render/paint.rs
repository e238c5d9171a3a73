//! Colours, where a terminal shows them. They repeat what the words say and never carry a meaning alone.

use crate::console::Style;

/// What a colour stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// On its way, or needs a look.
    Busy,
    /// As it should not be.
    Bad,
    /// Beside the point.
    Dim,
    /// The point.
    Strong,
    /// Nothing in particular.
    Normal,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Busy => "33",
            Self::Bad => "31",
            Self::Dim => "2",
            Self::Strong => "1",
            Self::Normal => "0",
        }
    }

    /// The tone of a state of runs, steps, outcomes, health and breakers.
    #[must_use]
    pub fn of(state: &str) -> Self {
        match state {
            "completed" | "success" | "healthy" | "closed" => Self::Good,
            "running" | "gathering" | "waiting" | "backing-off" | "half-open" | "overload" => Self::Busy,
            "failed" | "timed-out" | "unhealthy" | "open" => Self::Bad,
            "pending" | "skipped" | "cancelled" | "unknown" | "gone" => Self::Dim,
            _ => Self::Normal,
        }
    }
}

/// `text` in a tone, if `style` has colours.
#[must_use]
pub fn paint(text: &str, tone: Tone, style: Style) -> String {
    if !style.colour || tone == Tone::Normal || text.is_empty() {
        return text.to_owned();
    }
    format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code())
}
