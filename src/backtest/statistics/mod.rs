//! Whether forecasts of the tails have held: tests, scores and their uncertainty, all of them of streams. An accumulator takes
//! one event at a time, in order, and its memory does not depend on how many there were.

mod binomial;
pub mod coverage;
#[cfg(test)]
mod golden;
pub mod inference;
pub mod poisson_binomial;
pub mod power;
pub mod proper;
pub mod shortfall;
pub mod uniformity;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::function::gamma::gamma_ur;

/// What a test came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Test {
    /// The test's statistic; each test says which.
    pub statistic: f64,
    /// How likely a statistic that is at least as far out is where the forecasts are right.
    pub p_value: f64,
}

impl Test {
    /// Of a statistic that is χ² distributed with so many degrees of freedom where the forecasts are right.
    fn chi_squared(statistic: f64, degrees: usize) -> Self {
        // Rounding may take a statistic of nothing below 0.
        let statistic = statistic.max(0.0);
        let p_value = if statistic > 0.0 { gamma_ur(0.5 * degrees as f64, 0.5 * statistic) } else { 1.0 };
        Self { statistic, p_value }
    }
}

/// Both tails at once: twice the smaller one, so that each side has half of the error.
fn two_sided(lower: f64, upper: f64) -> f64 {
    (2.0 * lower.min(upper)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chi_squared_p_values_are_those_of_scipy() {
        for case in golden::cases("chi_squared") {
            let test = Test::chi_squared(case.number("statistic"), case.number("degrees") as usize);
            case.check("p_value", test.p_value, 1e-12);
        }
        assert_eq!(Test::chi_squared(-1e-17, 2), Test { statistic: 0.0, p_value: 1.0 });
    }
}
