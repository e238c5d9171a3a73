//! What became of a call that may have been sent before a crash.
//!
//! Its journal says that it was owed, not to whom it went. So everyone who could have got it is asked, and one rule reads
//! the answers: a ledger that knows decides; one that is silent or still at work must be asked again; only if *all* say
//! "never seen", which fences stragglers off, has the call certainly not begun.

use super::Ledger;
use crate::outcome::{Answer, Began, Class, Failure, OUTCOME_UNKNOWN};

/// What to do with such a call.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "the call is still owed"]
pub enum Inquiry {
    /// It had ended, or nobody will ever know.
    Settled {
        /// How it ended.
        result: Result<Answer, Failure>,
        /// Whose answer says so, by its place; nobody's if it stays unknown for want of one.
        by: Option<usize>,
    },
    /// It has not begun anywhere: make it.
    Send,
    /// Some did not know yet: ask again in a moment.
    AskAgain,
}

/// Reads the answers of everyone who could have got the call. `last` says that there is no time to ask again.
pub fn inquiry(answers: Vec<Ledger>, last: bool) -> Inquiry {
    let (mut silent, mut lost) = (false, None);
    for (at, answer) in answers.into_iter().enumerate() {
        match answer {
            Ledger::Ended(result) => return Inquiry::Settled { result, by: Some(at) },
            Ledger::Running | Ledger::Unreachable => silent = true,
            Ledger::Lost => lost = Some(at),
            Ledger::NeverSeen => {}
        }
    }
    match (lost, silent, last) {
        (Some(_), _, _) => Inquiry::Settled {
            result: Err(unknown("a crash of its sidecar hides how the call ended")),
            by: lost,
        },
        (None, true, true) => Inquiry::Settled {
            result: Err(unknown("the ledger that may know it did not answer in time")),
            by: None,
        },
        (None, true, false) => Inquiry::AskAgain,
        (None, false, _) => Inquiry::Send,
    }
}

fn unknown(why: &str) -> Failure {
    Failure {
        class: Class::Transport,
        code: OUTCOME_UNKNOWN.to_owned(),
        message: why.to_owned(),
        began: Began::Unknown,
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended() -> Ledger {
        Ledger::Ended(Err(unknown("x")))
    }

    #[test]
    fn only_a_call_that_nobody_ever_saw_is_made() {
        assert_eq!(inquiry(vec![Ledger::NeverSeen, Ledger::NeverSeen], false), Inquiry::Send);
        assert_eq!(inquiry(vec![], false), Inquiry::Send);
        assert_eq!(inquiry(vec![Ledger::NeverSeen, Ledger::Unreachable], false), Inquiry::AskAgain);
        assert_eq!(inquiry(vec![Ledger::Running], false), Inquiry::AskAgain);
    }

    #[test]
    fn a_ledger_that_knows_decides_over_all_others() {
        let answers = vec![Ledger::Unreachable, Ledger::NeverSeen, ended(), Ledger::Lost];
        let settled = inquiry(answers, false);
        assert!(
            matches!(settled, Inquiry::Settled { result: Err(failure), by: Some(2) } if failure.message == "x")
        );
    }

    #[test]
    fn what_stays_unknown_is_reported_and_never_made_again() {
        for (answers, last) in
            [(vec![Ledger::Lost, Ledger::NeverSeen], false), (vec![Ledger::Unreachable], true)]
        {
            let Inquiry::Settled { result: Err(failure), .. } = inquiry(answers, last) else {
                panic!("not settled")
            };
            assert_eq!((failure.code.as_str(), failure.began), (OUTCOME_UNKNOWN, Began::Unknown));
        }
    }
}
