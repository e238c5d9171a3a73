//! Who is calling whom on whose behalf, down to a call: what keeps workers apart, and calls from going in circles.
//!
//! An agent that carries out a call is told by whom it was reached and hands that on with every call it makes itself. Such a
//! call is made only if the operator of the one that makes it says so ([`MayCall`]), if nobody above is carrying out the
//! same capability already, and if the chain is not too long.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::Name;

/// Calls inside calls. Each waits for the one inside it, so a chain holds as many places as it is long; people write
/// systems of two and three levels.
pub const MAX_LINKS: usize = 8;

/// Capabilities that one capability may name in its [`MayCall`].
pub const MAX_CALLEES: usize = 64;

/// What stands for every capability in a [`MayCall`].
pub const ANY: &str = "*";

/// A call that is not allowed by the one on whose behalf it is made.
pub const CALL_NOT_ALLOWED: &str = "CALL_NOT_ALLOWED";

/// A call that would go in a circle, or too deep.
pub const CALL_CHAIN_CUT: &str = "CALL_CHAIN_CUT";

/// The calls on whose behalf a call is made, the outermost first; none for a client's own. Written as
/// `agent/capability, agent/capability`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Chain(Arc<[Link]>);

/// One call under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Who carries it out.
    pub agent: Name,
    /// What is carried out.
    pub capability: Name,
}

/// Which capabilities whoever carries out a capability may have carried out by others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MayCall {
    /// These; none by default.
    Only(Vec<Name>),
    /// All of them.
    Any,
}

/// What is no chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A link is not two names.
    #[error("must be links `agent/capability`, separated by commas; {0:?} is none")]
    Link(String),
    /// It has more links than there can be.
    #[error("has more than {} links", MAX_LINKS)]
    TooLong,
}

/// What is no list of callees.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be at most {MAX_CALLEES} names of capabilities, or \"{ANY}\" alone")]
pub struct MayCallError;

/// Why a call is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// Its maker may not.
    #[error("{} may not have {callee} carried out by others: `may_call` of its {} does not name it", by.agent, by.capability)]
    NotAllowed {
        /// On whose behalf the call would be made.
        by: Link,
        /// What it would be.
        callee: Name,
    },
    /// It would go in a circle.
    #[error("{callee} is being carried out already, further up: {chain}")]
    Circle {
        /// What it would be.
        callee: Name,
        /// Who called whom.
        chain: Chain,
    },
    /// It would go too deep.
    #[error("{callee} would be a call inside {} others, the most there may be: {chain}", MAX_LINKS)]
    TooDeep {
        /// What it would be.
        callee: Name,
        /// Who called whom.
        chain: Chain,
    },
}

impl Chain {
    /// Whether a client makes the call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// On whose behalf the call is made.
    #[must_use]
    pub fn caller(&self) -> Option<&Link> {
        self.0.last()
    }

    /// The chain of the calls that `agent` makes while it carries out `capability`. One link too many is not lost: a call
    /// with it is cut.
    #[must_use]
    pub fn with(&self, agent: Name, capability: Name) -> Self {
        Self(self.0.iter().cloned().chain([Link { agent, capability }]).collect())
    }

    /// Whether a call of `callee` is made, by what its caller may call.
    ///
    /// # Errors
    /// Why it is not.
    pub fn admit(&self, callee: &Name, may_call: &MayCall) -> Result<(), Cut> {
        let Some(by) = self.caller() else { return Ok(()) };
        let callee = callee.clone();
        if !may_call.allows(&callee) {
            return Err(Cut::NotAllowed { by: by.clone(), callee });
        }
        if self.0.iter().any(|link| link.capability == callee) {
            return Err(Cut::Circle { callee, chain: self.clone() });
        }
        if self.0.len() >= MAX_LINKS {
            return Err(Cut::TooDeep { callee, chain: self.clone() });
        }
        Ok(())
    }
}

impl MayCall {
    /// What is declared as a list of names.
    ///
    /// # Errors
    /// If one is no name, or there are too many.
    pub fn declare<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, MayCallError> {
        let names: Vec<_> = names.into_iter().collect();
        if names == [ANY] {
            return Ok(Self::Any);
        }
        if names.len() > MAX_CALLEES {
            return Err(MayCallError);
        }
        let names = names.into_iter().map(|name| Name::new(name).map_err(|_| MayCallError));
        names.collect::<Result<_, _>>().map(Self::Only)
    }

    /// Whether nobody may be called.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        matches!(self, Self::Only(names) if names.is_empty())
    }

    /// As it was declared.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (names, any) = match self {
            Self::Only(names) => (names.as_slice(), None),
            Self::Any => (&[][..], Some(ANY)),
        };
        names.iter().map(Name::as_str).chain(any)
    }

    fn allows(&self, callee: &Name) -> bool {
        match self {
            Self::Only(names) => names.contains(callee),
            Self::Any => true,
        }
    }
}

impl Cut {
    /// The code under which it is told.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAllowed { .. } => CALL_NOT_ALLOWED,
            Self::Circle { .. } | Self::TooDeep { .. } => CALL_CHAIN_CUT,
        }
    }
}

impl Default for MayCall {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Link { agent, capability }) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{agent}/{capability}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({self})")
    }
}

impl FromStr for Chain {
    type Err = ChainError;

    fn from_str(text: &str) -> Result<Self, ChainError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let links: Vec<_> = text.split(',').map(str::trim).take(MAX_LINKS + 1).collect();
        if links.len() > MAX_LINKS {
            return Err(ChainError::TooLong);
        }
        let link = |link: &str| {
            let (agent, capability) = link.split_once('/')?;
            Some(Link { agent: Name::new(agent).ok()?, capability: Name::new(capability).ok()? })
        };
        let links = links.into_iter().map(|text| link(text).ok_or_else(|| ChainError::Link(text.to_owned())));
        links.collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Chain {
    type Error = ChainError;

    fn try_from(text: String) -> Result<Self, ChainError> {
        text.parse()
    }
}

impl From<Chain> for String {
    fn from(chain: Chain) -> Self {
        chain.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn what_is_handed_on_is_read_as_it_was_written_and_nothing_else_is_a_chain() {
        for text in ["", "planner/trip.plan", "planner/trip.plan, finder/flights.search"] {
            assert_eq!(text.parse::<Chain>().unwrap().to_string(), text);
        }
        assert_eq!("a/b,c/d".parse::<Chain>().unwrap().to_string(), "a/b, c/d");
        for text in ["a", "a/", "/b", "a/b,", "a/b/c", "A/b", "a/b;c/d"] {
            assert!(matches!(text.parse::<Chain>(), Err(ChainError::Link(_))), "{text}");
        }
        assert_eq!(["a/b"; MAX_LINKS + 1].join(",").parse::<Chain>(), Err(ChainError::TooLong));
        assert!(serde_json::from_str::<Chain>("\"a\"").is_err());
    }

    #[test]
    fn a_client_calls_whom_it_likes_and_a_worker_whom_it_may() {
        let nobody = MayCall::default();
        assert_eq!(Chain::default().admit(&name("b"), &nobody), Ok(()));
        let chain = Chain::default().with(name("worker"), name("a"));
        let cut = chain.admit(&name("b"), &nobody).unwrap_err();
        assert_eq!(cut.code(), CALL_NOT_ALLOWED);
        assert_eq!(
            cut.to_string(),
            "worker may not have b carried out by others: `may_call` of its a does not name it"
        );
        assert_eq!(chain.admit(&name("b"), &MayCall::declare(["b", "c"]).unwrap()), Ok(()));
        assert!(chain.admit(&name("d"), &MayCall::declare(["b", "c"]).unwrap()).is_err());
        assert_eq!(chain.admit(&name("d"), &MayCall::Any), Ok(()));
    }

    #[test]
    fn a_chain_that_comes_back_or_goes_too_deep_is_cut() {
        let mut chain = Chain::default();
        for depth in 0..MAX_LINKS {
            assert_eq!(chain.admit(&name(&format!("c{depth}")), &MayCall::Any), Ok(()));
            chain = chain.with(name("x"), name(&format!("c{depth}")));
        }
        let circle = chain.admit(&name("c3"), &MayCall::Any).unwrap_err();
        assert!(matches!(&circle, Cut::Circle { callee, .. } if callee.as_str() == "c3"), "{circle}");
        let deep = chain.admit(&name("new"), &MayCall::Any).unwrap_err();
        assert!(matches!(&deep, Cut::TooDeep { .. }), "{deep}");
        assert_eq!((circle.code(), deep.code()), (CALL_CHAIN_CUT, CALL_CHAIN_CUT));
    }

    #[test]
    fn who_may_be_called_is_told_as_it_was_declared() {
        for names in [vec![], vec!["a", "b"], vec![ANY]] {
            assert_eq!(MayCall::declare(names.clone()).unwrap().names().collect::<Vec<_>>(), names);
        }
        for wrong in [vec!["A"], vec![ANY, "a"], vec!["a"; MAX_CALLEES + 1]] {
            assert_eq!(MayCall::declare(wrong), Err(MayCallError));
        }
        assert!(MayCall::default().is_nobody());
    }
}
