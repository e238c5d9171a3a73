//! A run in virtual time: what a run does when everything around it is known beforehand.
//!
//! The shell compares what a run is owed with what is under way, waits for the first thing that happens, and asks
//! [`run::step()`] what follows. Here the very same is done with a [`World`] in place of agents, people and clocks, so a run
//! takes as long as its decisions and nothing else: what is decided is decided by the functions that decide in production,
//! and only what happens is made up. Offline tests of workflows ([`crate::rehearsal`]) and replays of recorded runs
//! ([`crate::replay`]) are two such worlds; the kernel's own golden runs are a third.

use std::collections::BTreeMap;

use crate::effect::EffectClass;
use crate::mode::Mode;
use crate::outcome::{Answer, Failure};
use crate::retry::budget::Leave;
use crate::run::{
    self, Attempt, AttemptRecord, Call, Ignored, Input, Owed, Run, Start, StartError, Transition, outstanding,
};
use crate::time::Wall;

/// What a run meets.
pub trait World {
    /// How a call that begins at `now` will end. Asked once for each try; nothing means that it never does.
    fn reply(&mut self, run: &Run, call: &Call, now: Wall) -> Option<Reply>;

    /// What comes next from outside, and when; what lies in the past comes now. Asked before each turn.
    fn word(&mut self, run: &Run) -> Option<(Wall, Input)>;

    /// The word that [`World::word`] gave last was said.
    fn said(&mut self);

    /// Whether time passes. While it stands still, only calls end and words come. Asked after the others.
    fn time_passes(&self) -> bool {
        true
    }
}

/// How a call ends.
#[derive(Debug, Clone)]
pub struct Reply {
    /// When.
    pub at: Wall,
    /// What it may have done to the world.
    pub effect: EffectClass,
    /// The answer, or why there is none.
    pub result: Result<Answer, Failure>,
    /// The calls it took.
    pub attempts: Vec<AttemptRecord>,
    /// What the agent's retry budget says, should the call be made again.
    pub leave: Leave,
}

/// What happens first.
#[derive(Debug, Clone, PartialEq)]
pub enum First {
    /// The run is woken.
    Wake,
    /// This call ends.
    End(Box<Call>),
    /// Word comes from outside.
    Word,
}

/// Of what is owed, what ends when, and what is said, the first thing and its time. At one time a timer comes before an
/// answer and an answer before a word, as a run decides in that order too; of two answers, the one of the earlier step.
#[must_use]
pub fn first(owed: &Owed, ends: impl Fn(&Call) -> Option<Wall>, word: Option<Wall>) -> Option<(Wall, First)> {
    let call = owed.calls.iter().filter_map(|call| Some((ends(call)?, call))).min_by_key(|(at, _)| *at);
    let wake = owed.wake_at.map(|at| (at, First::Wake));
    let end = call.map(|(at, call)| (at, First::End(Box::new(call.clone()))));
    let word = word.map(|at| (at, First::Word));
    // The first of equals is kept.
    [wake, end, word].into_iter().flatten().min_by_key(|(at, _)| *at)
}

/// What one turn came to.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a run that waits for ever must be noticed"]
pub enum Turn {
    /// A decision followed.
    Went,
    /// Nobody listened to a word from outside.
    Refused(Input, Ignored),
    /// Nothing is left that could happen.
    Still,
}

/// A run under way in its world.
#[derive(Debug)]
pub struct Play<W> {
    /// What it meets.
    pub world: W,
    run: Run,
    now: Wall,
    mode: Mode,
    log: Vec<Transition>,
    /// What was begun, and how it will end.
    begun: BTreeMap<Attempt, Option<Reply>>,
}

impl<W: World> Play<W> {
    /// Starts a run at `now`.
    ///
    /// # Errors
    /// Those of [`run::start`].
    pub fn start(start: Start, now: Wall, world: W) -> Result<Self, StartError> {
        let (id, mode, workflow) = (start.id, start.mode, start.workflow.clone());
        let first = run::start(start, now)?;
        let run = Run::begin(&first, workflow, id)?;
        Ok(Self { world, run, now, mode, log: vec![first], begun: BTreeMap::new() })
    }

    /// Goes on with a run that is under way.
    #[must_use]
    pub fn of(run: Run, mode: Mode, world: W) -> Self {
        let now = run.last_at;
        Self { world, run, now, mode, log: Vec::new(), begun: BTreeMap::new() }
    }

    /// The run as it stands.
    #[must_use]
    pub const fn run(&self) -> &Run {
        &self.run
    }

    /// What was decided here, in order.
    pub fn log(&self) -> &[Transition] {
        &self.log
    }

    /// Lets the next thing happen.
    pub fn turn(&mut self) -> Turn {
        let mut owed = outstanding(&self.run);
        if self.run.end.is_some() {
            return Turn::Still;
        }
        for call in &owed.calls {
            if !self.begun.contains_key(&call.attempt) {
                let reply = self.world.reply(&self.run, call, self.now);
                self.begun.insert(call.attempt, reply);
            }
        }
        let word = self.world.word(&self.run);
        owed.wake_at = owed.wake_at.filter(|_| self.world.time_passes());
        let ends = |call: &Call| self.begun.get(&call.attempt)?.as_ref().map(|reply| reply.at.max(self.now));
        let said_at = word.as_ref().map(|(at, _)| (*at).max(self.now));
        let Some((at, next)) = first(&owed, ends, said_at) else { return Turn::Still };
        self.now = self.now.max(at);
        match next {
            First::Wake => self.tell(Input::Woken, NO_LEAVE),
            First::End(call) => {
                let Some(Some(reply)) = self.begun.get(&call.attempt).cloned() else { return Turn::Still };
                let Reply { effect, result, attempts, leave, .. } = reply;
                self.tell(Input::AttemptEnded { attempt: call.attempt, effect, result, attempts }, leave)
            }
            First::Word => {
                self.world.said();
                match word {
                    Some((_, input)) => self.tell(input, NO_LEAVE),
                    None => Turn::Still,
                }
            }
        }
    }

    fn tell(&mut self, input: Input, leave: Leave) -> Turn {
        let decided = run::step(&self.run, input.clone(), self.now, self.mode, |_, _| leave)
            .and_then(|transition| Ok(self.run.fold(&transition).map(|()| transition)?));
        match decided {
            Ok(transition) => {
                self.log.push(transition);
                Turn::Went
            }
            Err(ignored) => Turn::Refused(input, ignored),
        }
    }
}

/// Asked by nothing but the end of a try, which has a leave of its own.
const NO_LEAVE: Leave = Leave::Refused;
