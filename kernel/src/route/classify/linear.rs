//! One linear classifier a capability, each against all the rest, trained together.
//!
//! A support vector machine with squared hinge loss, solved in its dual form by coordinate descent (Hsieh et al.: "A Dual
//! Coordinate Descent Method for Large-scale Linear SVM", ICML 2008): no step size to choose, and every quantity of it
//! exact arithmetic in a fixed order. All capabilities are solved in lockstep: an example's features are looked up once and
//! the innermost loop runs over capabilities, side by side in memory. Sums are taken feature by feature, never split, so the
//! same examples give the same bits on every machine.
//!
//! The dual also says what an example contributes to its own verdict, so that each can be judged as if it had not been
//! learned: that is what verdicts are calibrated with, without training twice.

use super::vocabulary::Vector;
use crate::dice::Dice;

/// Most weights in all, 4 bytes each: 64 MiB. With 150 capabilities the vocabulary keeps its 65,536 features.
pub(super) const MAX_WEIGHTS: usize = 16 * 1024 * 1024;
/// Rounds over all examples. More change hardly a verdict.
const ROUNDS: u32 = 6;
/// What an error weighs against large weights; the usual value for texts.
const COST: f32 = 1.0;
/// What the constant feature weighs.
const BIAS: f32 = 1.0;
/// Any number will do, as long as it stays the same.
const SEED: u64 = 0x726f_7574_6573;

/// Weights by feature, then capability.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    classes: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// How well an example would have been told apart, had it not been learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Held {
    /// The score of its own capability.
    pub(super) own: f32,
    /// The best score of the others.
    pub(super) other: f32,
}

impl Linear {
    /// Learns from `examples`, each with its class out of `classes`.
    pub(super) fn train(examples: &[(Vector, usize)], features: usize, classes: usize) -> (Self, Vec<Held>) {
        let mut model = Self { classes, weights: vec![0.0; features * classes], bias: vec![0.0; classes] };
        let mut alphas = vec![0.0_f32; examples.len() * classes];
        let mut order: Vec<usize> = (0..examples.len()).collect();
        let mut dice = Dice::seeded(SEED);
        let mut scores = vec![0.0_f32; classes];
        let mut moves = Vec::new();
        for _ in 0..ROUNDS {
            // Fisher and Yates.
            for at in (1..order.len()).rev() {
                order.swap(at, dice.below(at + 1));
            }
            for &at in &order {
                let (vector, own) = &examples[at];
                model.score(vector, &mut scores);
                let alphas = &mut alphas[at * classes..(at + 1) * classes];
                steps(&scores, alphas, *own, length(vector), &mut moves);
                model.add(vector, &moves);
            }
        }
        let held = (0..examples.len()).map(|at| {
            let (vector, own) = &examples[at];
            model.score(vector, &mut scores);
            held(&scores, &alphas[at * classes..(at + 1) * classes], *own, length(vector))
        });
        let held = held.collect();
        (model, held)
    }

    /// The score of every class, into `scores`.
    pub(super) fn score(&self, vector: &Vector, scores: &mut [f32]) {
        scores.copy_from_slice(&self.bias);
        for &(feature, value) in vector {
            for (score, weight) in scores.iter_mut().zip(self.row(feature)) {
                *score += value * weight;
            }
        }
    }

    /// The weight of a feature for a class.
    pub(super) fn weight(&self, feature: u32, class: usize) -> f32 {
        self.row(feature).get(class).copied().unwrap_or_default()
    }

    pub(super) const fn classes(&self) -> usize {
        self.classes
    }

    fn row(&self, feature: u32) -> &[f32] {
        let from = feature as usize * self.classes;
        self.weights.get(from..from + self.classes).unwrap_or_default()
    }

    /// Adds a multiple of `vector` to the weights of some classes.
    fn add(&mut self, vector: &Vector, moves: &[(usize, f32)]) {
        for &(class, by) in moves {
            self.bias[class] += by * BIAS;
        }
        for &(feature, value) in vector {
            let from = feature as usize * self.classes;
            let Some(row) = self.weights.get_mut(from..from + self.classes) else { continue };
            for &(class, by) in moves {
                row[class] += by * value;
            }
        }
    }
}

fn length(vector: &Vector) -> f32 {
    vector.iter().map(|(_, value)| value * value).sum()
}

/// One step of descent for every class: new dual values into `alphas`, what follows for the weights into `moves`.
fn steps(scores: &[f32], alphas: &mut [f32], own: usize, length: f32, moves: &mut Vec<(usize, f32)>) {
    let diagonal = 0.5 / COST;
    let curvature = length + BIAS * BIAS + diagonal;
    moves.clear();
    for (class, (alpha, score)) in alphas.iter_mut().zip(scores).enumerate() {
        let sign = if class == own { 1.0 } else { -1.0 };
        let gradient = sign * score - 1.0 + diagonal * *alpha;
        let next = (*alpha - gradient / curvature).max(0.0);
        if next != *alpha {
            moves.push((class, (next - *alpha) * sign));
            *alpha = next;
        }
    }
}

/// The scores of an example without what it added to them itself.
fn held(scores: &[f32], alphas: &[f32], own: usize, length: f32) -> Held {
    let mut held = Held { own: 0.0, other: f32::MIN };
    for (class, (score, alpha)) in scores.iter().zip(alphas).enumerate() {
        if class == own {
            held.own = score - alpha * length;
        } else {
            held.other = held.other.max(score + alpha * length);
        }
    }
    held
}
