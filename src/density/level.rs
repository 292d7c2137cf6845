//! Probability levels.

use crate::math::{normal, scalar::log_1m_exp};

/// The level of a quantile, with what the densities need of it worked out once: in log space, so that levels as near
/// to 1 as 1 − e⁻¹⁰⁰⁰ can be told apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    p: f64,
    log_cdf: f64,
    log_sf: f64,
    z: f64,
}

impl Level {
    /// The level P(Y ≤ q) = `p`, 0 < p < 1.
    #[must_use]
    pub fn from_p(p: f64) -> Self {
        Self { p, log_cdf: p.ln(), log_sf: (-p).ln_1p(), z: normal::quantile(p) }
    }

    /// The level log P(Y > q) = `log_sf` < 0.
    #[must_use]
    pub fn from_log_sf(log_sf: f64) -> Self {
        let (p, log_cdf) = (-log_sf.exp_m1(), log_1m_exp(log_sf));
        Self { p, log_cdf, log_sf, z: normal::quantile_of_log_sf(log_sf) }
    }

    /// The level whose standard normal quantile is `z`.
    #[must_use]
    pub fn from_z(z: f64) -> Self {
        Self { p: normal::cdf(z), log_cdf: normal::log_cdf(z), log_sf: normal::log_sf(z), z }
    }

    /// P(Y ≤ q).
    #[must_use]
    pub fn p(&self) -> f64 {
        self.p
    }

    /// log P(Y ≤ q).
    #[must_use]
    pub fn log_cdf(&self) -> f64 {
        self.log_cdf
    }

    /// log P(Y > q).
    #[must_use]
    pub fn log_sf(&self) -> f64 {
        self.log_sf
    }

    /// The standard normal's quantile.
    #[must_use]
    pub fn z(&self) -> f64 {
        self.z
    }
}
