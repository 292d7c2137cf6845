//! Optimisers over one flat parameter vector, with their moments in plain sight, so that a snapshot holds them.

use std::ops::Range;

use crate::config::OptimizerKind;

/// Exponential decay of the second moment (Kingma & Ba 2015, section 2).
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// Decoupled weight decay of `adamw` (Loshchilov & Hutter 2019).
const WEIGHT_DECAY: f64 = 1e-2;

/// Updates parameters from gradients.
#[derive(Debug)]
pub struct Optimizer {
    kind: OptimizerKind,
    rate: f64,
    /// Exponential decay of the first moment.
    momentum: f64,
    /// Steps taken, for the bias correction of the moments.
    steps: u64,
    /// Parameters that don't decay: a value that learning starts from is no less likely for being far from 0.
    lasting: Range<usize>,
    /// First and second moment, one entry a parameter (empty for sgd).
    moments: [Vec<f32>; 2],
    /// Space for the next parameters and moments.
    next: [Vec<f32>; 3],
}

impl Optimizer {
    /// An optimiser that has taken no step.
    #[must_use]
    pub fn new(
        kind: OptimizerKind,
        rate: f64,
        momentum: f64,
        num_params: usize,
        lasting: Range<usize>,
    ) -> Self {
        let len = if kind == OptimizerKind::Sgd { 0 } else { num_params };
        let (moments, next) =
            ([vec![0.0; len], vec![0.0; len]], [vec![0.0; num_params], vec![0.0; len], vec![0.0; len]]);
        Self { kind, rate, momentum, steps: 0, lasting, moments, next }
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// First and second moment.
    #[must_use]
    pub fn moments(&self) -> &[Vec<f32>; 2] {
        &self.moments
    }

    /// Goes on from these steps and moments; where they are another kind of optimiser's, its own start at 0.
    pub fn restore(&mut self, steps: u64, moments: [Vec<f32>; 2]) {
        if moments[0].len() == self.moments[0].len() {
            (self.steps, self.moments) = (steps, moments);
        }
    }

    /// First and second moment, to be changed with the parameters where those get another meaning; `None` where it has none.
    pub fn moments_mut(&mut self) -> Option<[&mut [f32]; 2]> {
        let [first, second] = &mut self.moments;
        (!first.is_empty()).then_some([first, second])
    }

    /// Takes one step down `gradient`, unless that would make a parameter or a moment not finite; whether it did.
    pub fn step(&mut self, params: &mut Vec<f32>, gradient: &[f32]) -> bool {
        let is_finite = match self.kind {
            OptimizerKind::Sgd => self.follow(params, gradient),
            OptimizerKind::Adam | OptimizerKind::Adamw => self.adapt(params, gradient),
        };
        if is_finite {
            self.steps += 1;
            let [next, first, second] = &mut self.next;
            let [own_first, own_second] = &mut self.moments;
            for (now, next) in [(params, next), (own_first, first), (own_second, second)] {
                std::mem::swap(now, next);
            }
        }
        is_finite
    }

    /// Writes the next parameters of plain gradient descent; whether they are finite.
    fn follow(&mut self, params: &[f32], gradient: &[f32]) -> bool {
        let rate = self.rate as f32;
        let mut is_finite = true;
        for ((next, p), g) in self.next[0].iter_mut().zip(params).zip(gradient) {
            *next = p - rate * g;
            is_finite &= next.is_finite();
        }
        is_finite
    }

    /// Writes the next parameters and moments of Adam; whether they are finite.
    fn adapt(&mut self, params: &[f32], gradient: &[f32]) -> bool {
        let steps = (self.steps + 1).min(i32::MAX as u64) as i32;
        let correct1 = 1.0 - self.momentum.powi(steps);
        let correct2 = (1.0 - BETA2.powi(steps)).sqrt();
        let rate = (self.rate * correct2 / correct1) as f32;
        // In Kingma & Ba's form, epsilon is added to the corrected root of the second moment.
        let epsilon = (EPSILON * correct2) as f32;
        let (beta1, beta2) = (self.momentum as f32, BETA2 as f32);
        let decay =
            if self.kind == OptimizerKind::Adamw { (1.0 - self.rate * WEIGHT_DECAY) as f32 } else { 1.0 };
        let ([first, second], [next, next_first, next_second]) = (&self.moments, &mut self.next);
        let mut is_finite = true;
        let Range { start, end } = self.lasting;
        for (part, keep) in [(0..start, decay), (start..end, 1.0), (end..params.len(), decay)] {
            let now = params[part.clone()].iter().zip(&gradient[part.clone()]);
            let moments = first[part.clone()].iter().zip(&second[part.clone()]);
            let next_moments = next_first[part.clone()].iter_mut().zip(&mut next_second[part.clone()]);
            let next = next[part].iter_mut().zip(next_moments);
            for (((p, g), (m, v)), (next, (next_m, next_v))) in now.zip(moments).zip(next) {
                *next_m = beta1 * m + (1.0 - beta1) * g;
                *next_v = beta2 * v + (1.0 - beta2) * g * g;
                *next = p * keep - rate * *next_m / (next_v.sqrt() + epsilon);
                // All of them are tested: a loop that ends early is a slow one.
                is_finite &= next.is_finite() & next_m.is_finite() & next_v.is_finite();
            }
        }
        is_finite
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_step_of_adam_is_the_rate_against_the_sign_of_the_gradient() {
        let mut params = vec![1.0, -2.0, 3.0];
        assert!(Optimizer::new(OptimizerKind::Adam, 0.1, 0.9, 3, 0..0).step(&mut params, &[5.0, -1e-3, 0.0]));
        for (param, expected) in params.iter().zip([0.9, -1.9, 3.0]) {
            assert!((param - expected).abs() < 1e-4, "{params:?}");
        }
    }

    #[test]
    fn without_momentum_a_step_is_by_the_last_gradient_alone() {
        for (momentum, expected) in [(0.0, 0.0), (0.9, -0.1)] {
            let (mut params, mut optimizer) =
                (vec![0.0], Optimizer::new(OptimizerKind::Adam, 0.1, momentum, 1, 0..0));
            optimizer.step(&mut params, &[1.0]);
            optimizer.step(&mut params, &[-1.0]);
            assert!((params[0] - expected).abs() < 0.01, "{momentum}: {params:?}");
        }
    }

    #[test]
    fn a_step_to_what_is_not_finite_is_not_taken() {
        let kinds = [OptimizerKind::Sgd, OptimizerKind::Adam, OptimizerKind::Adamw];
        for (kind, gradient) in kinds.into_iter().flat_map(|kind| [(kind, f32::NAN), (kind, f32::INFINITY)]) {
            let mut optimizer = Optimizer::new(kind, 0.1, 0.9, 2, 0..0);
            let mut params = vec![1.0, 2.0];
            assert!(optimizer.step(&mut params, &[0.5, 0.5]));
            let before = (params.clone(), optimizer.moments().clone(), optimizer.steps());
            assert!(!optimizer.step(&mut params, &[0.5, gradient]));
            assert_eq!((params, optimizer.moments().clone(), optimizer.steps()), before);
        }
    }

    #[test]
    fn a_moment_that_would_overflow_is_noticed() {
        let mut optimizer = Optimizer::new(OptimizerKind::Adam, 0.1, 0.9, 1, 0..0);
        assert!(!optimizer.step(&mut vec![0.0], &[1e30]));
        assert!(optimizer.moments().iter().flatten().all(|moment| moment.is_finite()));
    }

    #[test]
    fn adamw_decays_weights_and_sgd_follows_the_gradient() {
        let (mut decayed, mut followed) = (vec![1.0; 3], vec![1.0]);
        Optimizer::new(OptimizerKind::Adamw, 0.1, 0.9, 3, 1..2).step(&mut decayed, &[0.0; 3]);
        Optimizer::new(OptimizerKind::Sgd, 0.1, 0.9, 1, 0..0).step(&mut followed, &[2.0]);
        assert!((decayed[0] - 0.999).abs() < 1e-6 && (followed[0] - 0.8).abs() < 1e-6);
        assert_eq!((decayed[1], decayed[2]), (1.0, decayed[0]));
    }
}
