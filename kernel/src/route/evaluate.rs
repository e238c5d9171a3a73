//! How well a document routes a labelled set: accuracy by rung, what is mistaken for what, and which capabilities overlap.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Decision, Rung};
use crate::name::Name;

/// Two capabilities overlap if so large a part of one's requests goes to the other, in basis points: one in twenty.
const OVERLAP_BP: u32 = 500;
/// And so many of them at least: one mistake is no pattern.
const OVERLAP_LEAST: u32 = 2;

/// What becomes of a labelled set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Evaluation {
    /// Requests in all.
    pub requests: u32,
    /// Those that ended where they should. A request that belongs nowhere should pass the rules and the classifier.
    pub right: u32,
    /// Requests that belong somewhere, and those of them that got there.
    pub in_scope: Share,
    /// Requests that belong nowhere, and those of them that were sent onward.
    pub out_of_scope: Share,
    /// By the rung that decided.
    pub rungs: BTreeMap<Rung, Share>,
    /// By what was expected, then by what was decided: how often. Nothing expected, or decided, is `None`.
    #[serde(skip)]
    confusion: BTreeMap<Option<Name>, BTreeMap<Option<Name>, u32>>,
}

/// How many there were, and how many of them were right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Share {
    /// All of them.
    pub requests: u32,
    /// Those that were right.
    pub right: u32,
}

/// One cell of the confusion matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// The capability that was expected; nothing for a request that belongs nowhere.
    pub expected: Option<Name>,
    /// The capability it went to; nothing if it was sent onward.
    pub decided: Option<Name>,
    /// How often.
    pub count: u32,
}

/// Two capabilities that are taken for each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// One of them.
    pub capability: Name,
    /// The other.
    pub with: Name,
    /// How many of the requests of both went to the wrong one of the two.
    pub mistaken: u32,
    /// How many requests both have together.
    pub requests: u32,
}

impl Evaluation {
    /// Counts a decision about a request that belongs to `expected`, or nowhere.
    pub fn add(&mut self, expected: Option<&Name>, decision: &Decision) {
        let onward = decision.rung >= Rung::Router;
        let decided = decision.target.as_ref().map(|target| &target.capability);
        let right = match expected {
            Some(expected) => decided == Some(expected),
            None => onward,
        };
        let scope = if expected.is_some() { &mut self.in_scope } else { &mut self.out_of_scope };
        scope.add(right);
        self.rungs.entry(decision.rung).or_default().add(right);
        self.requests += 1;
        self.right += u32::from(right);
        let cell = match (right, onward) {
            (true, _) => expected.cloned(),
            (false, true) => None,
            (false, false) => decided.cloned(),
        };
        *self.confusion.entry(expected.cloned()).or_default().entry(cell).or_default() += 1;
    }

    /// The share that was right, from 0 to 1; 1 for an empty set.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        Share { requests: self.requests, right: self.right }.accuracy()
    }

    /// What was mistaken for what, the most frequent first. Right decisions are left out.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Confusion> {
        let mut all: Vec<Confusion> = self.matrix().filter(|cell| cell.expected != cell.decided).collect();
        all.sort_by(|a, b| {
            b.count.cmp(&a.count).then_with(|| (&a.expected, &a.decided).cmp(&(&b.expected, &b.decided)))
        });
        all
    }

    /// The confusion matrix, cell by cell, by what was expected.
    pub fn matrix(&self) -> impl Iterator<Item = Confusion> {
        self.confusion.iter().flat_map(|(expected, row)| {
            row.iter().map(|(decided, count)| Confusion {
                expected: expected.clone(),
                decided: decided.clone(),
                count: *count,
            })
        })
    }

    /// Pairs of capabilities that are taken for each other too often, the worst first.
    #[must_use]
    pub fn overlaps(&self) -> Vec<Overlap> {
        let row = |name: &Name| self.confusion.get(&Some(name.clone()));
        let total = |name: &Name| row(name).map_or(0, |row| row.values().sum());
        let to = |from: &Name, to: &Name| {
            row(from).and_then(|row| row.get(&Some(to.clone()))).copied().unwrap_or(0)
        };
        let mut pairs: BTreeMap<(Name, Name), u32> = BTreeMap::new();
        for Confusion { expected, decided, count } in self.mistakes() {
            if let (Some(one), Some(other)) = (expected, decided) {
                let pair = if one < other { (one, other) } else { (other, one) };
                *pairs.entry(pair).or_default() += count;
            }
        }
        let overlapping = pairs.into_iter().filter(|((one, other), mistaken)| {
            let often = |a: &Name, b: &Name| to(a, b) * 10_000 >= OVERLAP_BP * total(a) && to(a, b) > 0;
            *mistaken >= OVERLAP_LEAST && (often(one, other) || often(other, one))
        });
        let mut overlaps: Vec<Overlap> = overlapping
            .map(|((capability, with), mistaken)| {
                let requests = total(&capability) + total(&with);
                Overlap { capability, with, mistaken, requests }
            })
            .collect();
        overlaps.sort_by_key(|overlap| std::cmp::Reverse(overlap.mistaken));
        overlaps
    }
}

impl Share {
    fn add(&mut self, right: bool) {
        self.requests += 1;
        self.right += u32::from(right);
    }

    /// The share that was right, from 0 to 1; 1 where there is nothing.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        if self.requests == 0 { 1.0 } else { f64::from(self.right) / f64::from(self.requests) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Target;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn decision(rung: Rung, capability: Option<&str>) -> Decision {
        let target = capability.map(|capability| Target { capability: name(capability), agent: None });
        Decision { rung, target, ..Decision::open() }
    }

    fn counted(rows: &[(Option<&str>, Rung, Option<&str>)]) -> Evaluation {
        let mut evaluation = Evaluation::default();
        for (expected, rung, capability) in rows {
            evaluation.add(expected.map(name).as_ref(), &decision(*rung, *capability));
        }
        evaluation
    }

    #[test]
    fn accuracy_counts_who_got_there_and_who_was_sent_onward() {
        let evaluation = counted(&[
            (Some("a"), Rung::Classifier, Some("a")),
            (Some("a"), Rung::Classifier, Some("b")),
            (Some("a"), Rung::Static, None),
            (None, Rung::Generalist, Some("anything")),
            (None, Rung::Rules, Some("a")),
        ]);
        assert_eq!((evaluation.requests, evaluation.right), (5, 2));
        assert_eq!(evaluation.in_scope, Share { requests: 3, right: 1 });
        assert_eq!(evaluation.out_of_scope, Share { requests: 2, right: 1 });
        assert_eq!(evaluation.rungs[&Rung::Classifier], Share { requests: 2, right: 1 });
        assert!((Evaluation::default().accuracy() - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn mistakes_name_both_sides_and_what_was_sent_onward() {
        let evaluation = counted(&[
            (Some("a"), Rung::Classifier, Some("b")),
            (Some("a"), Rung::Classifier, Some("b")),
            (Some("a"), Rung::Static, None),
            (None, Rung::Rules, Some("a")),
            (None, Rung::Generalist, Some("g")),
        ]);
        let mistakes: Vec<_> = evaluation
            .mistakes()
            .into_iter()
            .map(|mistake| {
                (
                    mistake.expected.map(|n| n.to_string()),
                    mistake.decided.map(|n| n.to_string()),
                    mistake.count,
                )
            })
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(mistakes, [(some("a"), some("b"), 2), (None, some("a"), 1), (some("a"), None, 1)]);
    }

    #[test]
    fn capabilities_that_are_taken_for_each_other_overlap_and_one_mistake_is_no_pattern() {
        let mut rows = vec![(Some("a"), Rung::Classifier, Some("a")); 20];
        rows.push((Some("a"), Rung::Classifier, Some("b")));
        assert_eq!(counted(&rows).overlaps(), []);
        rows.push((Some("b"), Rung::Classifier, Some("a")));
        rows.push((Some("b"), Rung::Classifier, Some("b")));
        let [overlap] = &counted(&rows).overlaps()[..] else { panic!("one pair") };
        assert_eq!((overlap.capability.as_str(), overlap.with.as_str()), ("a", "b"));
        assert_eq!((overlap.mistaken, overlap.requests), (2, 23));
    }
}
