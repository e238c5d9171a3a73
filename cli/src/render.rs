//! Views, made readable for people. Everything that came from elsewhere passes [`text::plain`] on its way.

use mainstay_proto::pb;

use crate::console::Style;
use crate::view::run::RunView;

pub mod agent;
pub mod artifact;
pub mod board;
pub mod breaker;
pub mod budget;
pub mod context;
pub mod decision;
pub mod drill;
pub mod escalation;
pub mod evaluation;
pub mod finding;
pub mod kept;
pub mod limit;
pub mod log;
pub mod mode;
pub mod page;
pub mod paint;
pub mod pause;
pub mod rehearsal;
pub mod replay;
pub mod rollout;
pub mod routing;
pub mod run;
pub mod schedule;
pub mod status;
pub mod table;
pub mod text;
pub mod trace;
pub mod workflow;

/// The story of a run, as standard output takes it: see [`trace::story`].
#[must_use]
pub fn trace(run: &pb::Run) -> String {
    trace::story(&RunView::from(run.clone()), Style::of_stdout())
}
