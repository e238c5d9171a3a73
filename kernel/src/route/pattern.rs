//! Which capabilities a document may route to: a name, or a family of them.

use crate::name::{Name, NameError};

/// `billing.refund`, or `billing.*` for all whose names begin with `billing.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This very capability.
    Exactly(Name),
    /// Every capability whose name begins with this name and a dot.
    Below(Name),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If it is no name, nor a name followed by `.*`.
    pub fn new(text: &str) -> Result<Self, NameError> {
        match text.strip_suffix(".*") {
            Some(family) => Name::new(family).map(Self::Below),
            None => Name::new(text).map(Self::Exactly),
        }
    }

    /// Whether `capability` is meant.
    #[must_use]
    pub fn matches(&self, capability: &Name) -> bool {
        match self {
            Self::Exactly(name) => name == capability,
            Self::Below(family) => {
                let rest = capability.as_str().strip_prefix(family.as_str());
                rest.is_some_and(|rest| rest.starts_with('.'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_what_lies_below_the_dot() {
        let matches =
            |pattern: &str, name: &str| Pattern::new(pattern).unwrap().matches(&Name::new(name).unwrap());
        assert!(matches("billing.*", "billing.refund") && matches("billing.refund", "billing.refund"));
        assert!(!matches("billing.*", "billing") && !matches("billing.*", "billings.refund"));
        assert!(!matches("billing.refund", "billing.refunds"));
    }

    #[test]
    fn other_stars_are_no_patterns() {
        for text in ["*", ".*", "a*", "a.*.b", "a.**", "b\u{456}lling.*"] {
            assert!(Pattern::new(text).is_err(), "{text}");
        }
    }
}
