//! Lambert W × Gaussian tails.

use super::{Derivatives, FAR, Shape};
use crate::math::scalar::{lambert_w, lambert_w_of_exp};

/// w = u exp(ξ u² / 2), so that u = w exp(−W/2) with Lambert's W = W(ξ w²) (Goerg 2015, "The Lambert way to Gaussianize
/// heavy-tailed data", section 2). With ξ = 0 it is the identity, and the tail stays Gaussian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lambert;

/// W(ξ w²).
fn lambert(w: f64, index: f64) -> f64 {
    if w > FAR && index > 0.0 {
        lambert_w_of_exp(index.ln() + 2.0 * w.ln())
    } else {
        lambert_w(index * w * w)
    }
}

impl Shape for Lambert {
    fn to_base(self, w: f64, index: f64) -> (f64, f64) {
        if w == f64::INFINITY {
            return (w, f64::NEG_INFINITY);
        }
        let lambert = lambert(w, index);
        (w * (-0.5 * lambert).exp(), -0.5 * lambert - lambert.ln_1p())
    }

    fn to_data(self, u: f64, index: f64) -> f64 {
        u * (0.5 * index * u * u).exp()
    }

    fn derivatives(self, w: f64, index: f64) -> Derivatives {
        // dW(t)/dt = e^−W / (1 + W).
        let lambert = lambert(w, index);
        let shrink = (-0.5 * lambert).exp();
        let u = w * shrink;
        let below = 1.0 + lambert;
        let (lambert_by_w, lambert_by_index) = (2.0 * index * u * shrink / below, u * u / below);
        let l_by_lambert = -0.5 - 1.0 / below;
        Derivatives {
            u_by_w: shrink / below,
            u_by_index: -0.5 * u * lambert_by_index,
            l_by_w: l_by_lambert * lambert_by_w,
            l_by_index: l_by_lambert * lambert_by_index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_index_it_is_the_identity() {
        for w in [0.0, 1e-300, 0.3, 7.0, 1e9] {
            assert_eq!(Lambert.to_base(w, 0.0), (w, 0.0));
            assert_eq!(Lambert.to_data(w, 0.0), w);
        }
    }
}
