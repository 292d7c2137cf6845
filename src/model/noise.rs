//! Noise regularisation (Rothfuss et al. 2019, arXiv 1907.08982): Gaussian noise on the normalised numeric
//! inputs and targets of each training row, drawn afresh each step.
//!
//! A draw is a function of (seed, step, row) alone, so there is no generator state to save or restore.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use rand_distr::{Distribution, StandardNormal};

use crate::config::Noise;

/// Independent draws for one row of one step.
pub struct Draws(ChaCha8Rng);

/// Rows of one step are this many 32-bit words of the key stream apart: 2^20 rows fit one step's stream, with
/// more than 30,000 draws each.
const WORDS_PER_ROW: u128 = 1 << 16;

impl Draws {
    /// The draws that belong to `row` of mini-batch `step`.
    #[must_use]
    pub fn new(seed: u64, step: u64, row: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(step);
        rng.set_word_pos(row as u128 * WORDS_PER_ROW);
        Self(rng)
    }

    /// The next draw, uniform on the open interval (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
    }

    /// The next draw, standard normal.
    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }
}

/// Standard deviations of the noise on inputs and targets, in normalised units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseScale {
    /// On each numeric input.
    pub x: f64,
    /// On each target field.
    pub y: f64,
}

/// The noise after `seen` labelled records, for `dims` numeric inputs and targets together.
///
/// `auto` is cde's rule c·n^(−1/(4+d)) with c = 0.5 (Rothfuss et al. 2019, section 5).
#[must_use]
pub fn scale(noise: Noise, seen: u64, dims: usize) -> NoiseScale {
    match noise {
        Noise::Off => NoiseScale { x: 0.0, y: 0.0 },
        Noise::Fixed { x, y } => NoiseScale { x, y },
        Noise::Auto => {
            let std = 0.5 * (seen.max(1) as f64).powf(-1.0 / (4.0 + dims as f64));
            NoiseScale { x: std, y: std }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_seed_step_and_row_alone() {
        let first = |seed, step, row| Draws::new(seed, step, row).normal();
        assert_eq!(first(1, 2, 3), first(1, 2, 3));
        assert_ne!(first(1, 2, 3), first(2, 2, 3));
        assert_ne!(first(1, 2, 3), first(1, 3, 3));
        assert_ne!(first(1, 2, 3), first(1, 2, 4));
    }

    #[test]
    fn draws_are_standard_normal() {
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|row| Draws::new(7, 1, row).normal()).collect();
        let mean = draws.iter().sum::<f64>() / n as f64;
        let variance = draws.iter().map(|z| z * z).sum::<f64>() / n as f64 - mean * mean;
        assert!(mean.abs() < 0.03, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
    }

    #[test]
    fn automatic_noise_shrinks_as_the_window_grows() {
        let small = scale(Noise::Auto, 100, 3);
        let large = scale(Noise::Auto, 100_000, 3);
        assert!(small.x > large.x && large.x > 0.0);
        assert!((small.x - 0.5 * 100f64.powf(-1.0 / 7.0)).abs() < 1e-15);
    }
}
