//! What every document people put has in common: its fields are read with every problem reported at once, each with a
//! stable code, its place and a way out, and its content has a hash that layout does not change.

mod fields;
mod hash;
mod nearest;
mod problem;

pub use self::fields::MAX_DESCRIPTION_CHARS;
pub(crate) use self::fields::{Field, Fields};
pub use self::hash::DocumentHash;
pub(crate) use self::nearest::nearest;
pub(crate) use self::problem::Report;
pub use self::problem::{Code, Problem};
