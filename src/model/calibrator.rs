//! Learns the map that calibrates a net's distributions, from where the targets lie in those that their events were given.
//!
//! Each target moves the map's parameters by a natural-gradient step (Amari 1998) up the log likelihood of its normal score: the gradient times
//! the inverse of the Fisher information at the identity. So a map that is right scatters about that by ½ rate · information⁻¹, which costs
//! 2 rate nats a target. Where the scores' distribution is one that a map can make, and does not change, it ends there.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::{normaliser::Normaliser, saved::Misfit};
use crate::{
    density::{
        Density, Workspace,
        calibrated::normal_score,
        recalibration::{NUM_PARAMS, Recalibration},
    },
    math::normal,
};

/// The rate after n targets is 1 / (n + this), …
const FIRST: f64 = 500.0;
/// … and no less than this: what was 5,000 targets ago is forgotten.
const LEAST_RATE: f64 = 2e-4;
/// The precision of a prior by which neighbouring knots have the same slope, for what one target tells: where scores are hardly ever seen
/// the map goes on as it does further in.
const PRIOR: f64 = 1e-3;
/// No target moves a parameter by more.
const MOST_AT_ONCE: f64 = 0.2;
/// The score at 0 stays within this, …
const MOST_SHIFT: f64 = 4.0;
/// … and logarithms of slopes within this: from a quarter to four.
const MOST_LOG_SLOPE: f64 = 1.4;
/// Scores further out are as if they were here.
const FURTHEST: f64 = 40.0;

/// The place of the first slope's logarithm among the parameters; the last one's is the last.
const FIRST_SLOPE: usize = 1;

type Square = [[f64; NUM_PARAMS]; NUM_PARAMS];

/// The inverse of the information of a target, prior and all.
static PRECONDITIONER: LazyLock<Square> = LazyLock::new(|| inverse(information()));

/// The map under learning.
pub struct Calibrator {
    net: Arc<dyn Density>,
    step: Option<f64>,
    state: SavedCalibrator,
    ws: Workspace,
}

/// All that the next map depends on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SavedCalibrator {
    /// Targets learned from.
    pub records: u64,
    /// The map's parameters.
    pub params: [f64; NUM_PARAMS],
}

impl SavedCalibrator {
    fn check(&self) -> Result<(), Misfit> {
        let is_within = self.params.iter().zip(bounds()).all(|(param, most)| param.abs() <= most);
        if is_within { Ok(()) } else { Err(Misfit::new("its calibration has a parameter beyond its bounds")) }
    }
}

fn bounds() -> [f64; NUM_PARAMS] {
    std::array::from_fn(|nth| if nth == 0 { MOST_SHIFT } else { MOST_LOG_SLOPE })
}

impl Calibrator {
    /// One that has seen nothing: the identity. `step` is what targets are rounded to.
    #[must_use]
    pub fn new(net: Arc<dyn Density>, step: Option<f64>) -> Self {
        Self { ws: net.workspace(), net, step, state: SavedCalibrator::default() }
    }

    /// What its next map depends on.
    #[must_use]
    pub fn saved(&self) -> SavedCalibrator {
        self.state.clone()
    }

    /// Goes on from what was saved.
    ///
    /// # Errors
    /// When it is not within bounds.
    pub fn restore(&mut self, saved: SavedCalibrator) -> Result<(), Misfit> {
        saved.check()?;
        self.state = saved;
        Ok(())
    }

    /// Writes the map's parameters.
    pub fn write(&self, out: &mut [f32]) {
        out.iter_mut().zip(self.state.params).for_each(|(out, param)| *out = param as f32);
    }

    /// Learns from the target of an event that was given a row which begins with these parameters of the net's.
    pub fn learn(&mut self, params: &[f32], unit: &Normaliser, y: f64) {
        self.net.load(&params[..self.net.num_params()], &mut self.ws);
        let y = unit.normalise(y);
        let mut score = |y: f64| normal_score(self.net.as_ref(), y, &mut self.ws).clamp(-FURTHEST, FURTHEST);
        let map = Recalibration::new(self.state.params);
        let mut gradient = [0.0; NUM_PARAMS];
        match self.step.map(|step| 0.5 * step / unit.scale) {
            None => map.log_density_grad(score(y), &mut gradient),
            Some(half) => {
                let [low, high] = [score(y - half), score(y + half)];
                // Where an interval is too narrow to be told from a point, it is one.
                if high - low > 1e-6 {
                    map.log_mass_grad([low, high], &mut gradient)
                } else {
                    map.log_density_grad(0.5 * (low + high), &mut gradient)
                }
            }
        };
        if !gradient.iter().all(|by| by.is_finite()) {
            return;
        }
        self.state.records += 1;
        let rate = LEAST_RATE.max(1.0 / (self.state.records as f64 + FIRST));
        for nth in FIRST_SLOPE..NUM_PARAMS - 1 {
            let pull = PRIOR * (self.state.params[nth + 1] - self.state.params[nth]);
            gradient[nth] += pull;
            gradient[nth + 1] -= pull;
        }
        for ((param, row), most) in self.state.params.iter_mut().zip(&*PRECONDITIONER).zip(bounds()) {
            let step: f64 = row.iter().zip(gradient).map(|(a, by)| a * by).sum();
            *param = (*param + (rate * step).clamp(-MOST_AT_ONCE, MOST_AT_ONCE)).clamp(-most, most);
        }
    }
}

/// The mean of the gradient's square over standard normal scores at the identity, and the prior.
fn information() -> Square {
    const STEPS: i32 = 4_000;
    let identity = Recalibration::new([0.0; NUM_PARAMS]);
    let mut sum = [[0.0; NUM_PARAMS]; NUM_PARAMS];
    for nth in 0..STEPS {
        // Midpoints, so that none is a knot.
        let z = 20.0 * ((f64::from(nth) + 0.5) / f64::from(STEPS) - 0.5);
        let mut gradient = [0.0; NUM_PARAMS];
        identity.log_density_grad(z, &mut gradient);
        let weight = normal::log_pdf(z).exp() * 20.0 / f64::from(STEPS);
        for (row, a) in sum.iter_mut().zip(gradient) {
            row.iter_mut().zip(gradient).for_each(|(sum, b)| *sum += weight * a * b);
        }
    }
    for nth in FIRST_SLOPE..NUM_PARAMS - 1 {
        for (i, j, sign) in
            [(nth, nth, 1.0), (nth + 1, nth + 1, 1.0), (nth, nth + 1, -1.0), (nth + 1, nth, -1.0)]
        {
            sum[i][j] += sign * PRIOR;
        }
    }
    sum
}

/// By Gauss and Jordan's elimination, of a positive definite matrix: no row need be swapped.
fn inverse(mut matrix: Square) -> Square {
    let mut inverse = std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))));
    for pivot in 0..NUM_PARAMS {
        let by = 1.0 / matrix[pivot][pivot];
        for half in [&mut matrix, &mut inverse] {
            half[pivot].iter_mut().for_each(|value| *value *= by);
        }
        let (own, own_inverse): ([f64; NUM_PARAMS], [f64; NUM_PARAMS]) = (matrix[pivot], inverse[pivot]);
        for other in (0..NUM_PARAMS).filter(|&other| other != pivot) {
            let factor = matrix[other][pivot];
            for column in 0..NUM_PARAMS {
                matrix[other][column] -= factor * own[column];
                inverse[other][column] -= factor * own_inverse[column];
            }
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::FlowKind,
        density::{Calibrated, Level, Nfn},
        model::noise::Draws,
    };

    const LEVELS: [f64; 6] = [0.001, 0.01, 0.5, 0.9, 0.99, 0.999];
    const NUM_TARGETS: usize = 60_000;

    /// The standard normal, and its row.
    fn standard_normal() -> (Arc<dyn Density>, Vec<f32>) {
        (Arc::new(Nfn::new(&[FlowKind::Affine], 1)), vec![0.0, 0.0])
    }

    /// Shares of the last half of these targets at or below each level's quantile as it was when they came, and the map that was
    /// learned.
    fn learn(target: impl Fn(&mut Draws) -> f64, step: Option<f64>) -> ([f64; 6], SavedCalibrator) {
        let (normal, params) = standard_normal();
        let calibrated = Calibrated::new(normal.clone());
        let mut ws = calibrated.workspace();
        let mut calibrator = Calibrator::new(normal, step);
        let mut row = [params.clone(), vec![0.0; NUM_PARAMS]].concat();
        let mut below = [0.0; 6];
        for nth in 0..NUM_TARGETS {
            let mut draws = Draws::new(5, 0, nth);
            let exact = target(&mut draws);
            calibrator.write(&mut row[params.len()..]);
            calibrated.load(&row, &mut ws);
            if nth >= NUM_TARGETS / 2 {
                for (below, p) in below.iter_mut().zip(LEVELS) {
                    let quantile = calibrated.quantile(&Level::from_p(p), &mut ws);
                    *below += f64::from(u8::from(exact <= quantile)) / (NUM_TARGETS / 2) as f64;
                }
            }
            let y = step.map_or(exact, |step| step * (exact / step).round());
            calibrator.learn(&params, &Normaliser::IDENTITY, y);
            assert!(calibrator.state.check().is_ok());
        }
        (below, calibrator.saved())
    }

    /// 1 − p is right to a tenth at the usual levels, and to a half at 0.999, where 30 are above.
    fn assert_holds(name: &str, below: [f64; 6]) {
        println!("{name}: {below:.4?}");
        for (below, p) in below.into_iter().zip(LEVELS) {
            let (rare, told) = if p < 0.5 { (p, below) } else { (1.0 - p, 1.0 - below) };
            let most = if rare < 0.005 { 1.5 } else { 1.16 };
            assert!((1.0 / most..most).contains(&(told / rare)), "{name}: {below} for {p}");
        }
    }

    #[test]
    fn quantiles_of_a_distribution_that_is_wrong_come_to_hold() {
        // Student's t with 4 degrees, whose tails no Gaussian has.
        let heavy = |draws: &mut Draws| {
            let chi: f64 = (0..4).map(|_| draws.normal().powi(2)).sum();
            0.6 * draws.normal() / (chi / 4.0).sqrt()
        };
        let skewed = |draws: &mut Draws| {
            let z = draws.normal();
            0.3 + if z > 0.0 { 1.6 * z } else { 0.7 * z }
        };
        let wide = |draws: &mut Draws| 0.5 + 1.8 * draws.normal();
        assert_holds("wide", learn(wide, None).0);
        assert_holds("wide, rounded", learn(wide, Some(0.5)).0);
        assert_holds("skewed", learn(skewed, None).0);
        assert_holds("heavy", learn(heavy, None).0);
    }

    #[test]
    fn a_distribution_that_is_right_stays_nearly_as_it_is() {
        let (below, saved) = learn(Draws::normal, None);
        assert_holds("right", below);
        // ½ rate · information⁻¹ is 0.02² in the middle and 0.14² at the ends.
        for (param, most) in saved.params.into_iter().zip([0.05, 0.5, 0.2, 0.1, 0.1, 0.1, 0.2, 0.5]) {
            assert!(param.abs() < most, "{:?}", saved.params);
        }
    }

    #[test]
    fn it_stays_within_bounds_whatever_comes() {
        let extremes = [f64::MAX, f64::MIN, 0.0, 1e-300];
        for step in [None, Some(1e-9), Some(1e9)] {
            let (normal, params) = standard_normal();
            let mut calibrator = Calibrator::new(normal, step);
            for nth in 0..20_000 {
                // By turns, and the same for long.
                let y = extremes[(nth % 2 + nth / 5_000) % 4];
                calibrator.learn(&params, &Normaliser::IDENTITY, y);
                assert!(calibrator.state.check().is_ok(), "{:?}", calibrator.state);
            }
        }
    }

    #[test]
    fn the_inverse_of_the_information_is_its_inverse() {
        let information = information();
        for (i, row) in information.iter().enumerate() {
            for j in 0..NUM_PARAMS {
                let product: f64 = row.iter().zip(&*PRECONDITIONER).map(|(a, b)| a * b[j]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-9);
            }
        }
        // Of the score at 0 it is that of a normal's mean.
        assert!((information[0][0] - 1.0).abs() < 1e-4);
    }
}
